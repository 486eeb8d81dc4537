from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.workplace import Workplace, copy_checkout
from tests.plugins.mlflow_fixtures import mlflow_server, mlflow_templates
from tests.plugins.s3_fixtures import s3_bucket, s3_server, s3_variables, versioned_bucket

__all__ = ["mlflow_server", "mlflow_templates", "s3_bucket", "s3_server", "s3_variables", "versioned_bucket"]


@dataclass(frozen=True, slots=True)
class Checkout:
    """A fresh clone."""

    place: Workplace
    commit: str


@pytest.fixture
def small(tmp_path: Path) -> Workplace:
    """A fresh workplace with a small log and its settings."""
    return Workplace.small(tmp_path)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """A git repository that holds the working tree as its one commit, and nothing else."""
    folder = tmp_path_factory.mktemp("checkout")
    commit = copy_checkout(folder / "ctr-pipeline")
    # Coverage would look for the copied sources when they are gone.
    return Checkout(Workplace(folder / "ctr-pipeline", folder / "home", covered=False), commit)
