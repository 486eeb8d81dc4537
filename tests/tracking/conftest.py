from tests.plugins.mlflow_fixtures import mlflow_server, mlflow_templates, sqlite_tracker

__all__ = ["mlflow_server", "mlflow_templates", "sqlite_tracker"]
