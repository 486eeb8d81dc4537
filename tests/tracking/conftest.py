"""What the tests of tracking share."""

from pathlib import Path

import pytest

from tests.plugins.mlflow_fixtures import mlflow_server, mlflow_templates, sqlite_tracker
from tests.plugins.s3_fixtures import s3_bucket, s3_server, s3_variables, versioned_bucket
from tests.tracking.repository import Repository

__all__ = [
    "mlflow_server",
    "mlflow_templates",
    "s3_bucket",
    "s3_server",
    "s3_variables",
    "sqlite_tracker",
    "versioned_bucket",
]


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "repo")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    folder = tmp_path / "out"
    folder.mkdir()
    return folder
