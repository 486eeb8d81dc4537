"""What the tests of tracking share."""

from pathlib import Path

import pytest

from tests.plugins.mlflow_fixtures import mlflow_server, mlflow_templates, sqlite_tracker
from tests.tracking.repository import Repository

__all__ = ["mlflow_server", "mlflow_templates", "sqlite_tracker"]


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "repo")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    folder = tmp_path / "out"
    folder.mkdir()
    return folder
