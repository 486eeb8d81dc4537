from tests.plugins.diff_fixtures import compared
from tests.plugins.mlflow_fixtures import mlflow_server, mlflow_templates, sqlite_tracker
from tests.plugins.run_fixtures import finished_run, run_copy
from tests.plugins.s3_fixtures import s3_bucket, s3_server, s3_variables, versioned_bucket

__all__ = [
    "compared",
    "finished_run",
    "mlflow_server",
    "mlflow_templates",
    "run_copy",
    "s3_bucket",
    "s3_server",
    "s3_variables",
    "sqlite_tracker",
    "versioned_bucket",
]
