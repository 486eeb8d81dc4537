from tests.plugins.diff_fixtures import compared
from tests.plugins.mlflow_fixtures import mlflow_server, mlflow_templates, sqlite_tracker
from tests.plugins.run_fixtures import finished_run, run_copy

__all__ = ["compared", "finished_run", "mlflow_server", "mlflow_templates", "run_copy", "sqlite_tracker"]
