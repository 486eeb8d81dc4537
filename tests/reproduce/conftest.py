"""Fixtures of tests that make real runs, or read them."""

from collections import OrderedDict
from typing import Final

import pytest

from tests.plugins.mlflow_fixtures import mlflow_templates
from tests.plugins.run_fixtures import finished_run, run_copy

__all__ = ["finished_run", "mlflow_templates", "run_copy"]

# MLflow remembers, for the whole process, where a run's artifacts are; copies of a run share its id.
REMEMBERED_ARTIFACTS: Final = "mlflow.tracking._tracking_service.utils._artifact_repos_cache"


@pytest.fixture(autouse=True)
def _own_artifacts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(REMEMBERED_ARTIFACTS, OrderedDict())
