"""The laboratory of the hazards: one run for the session, a workbench for each test."""

from pathlib import Path

import pytest

from ctr_pipeline.reproduce.verdict import Judgement
from tests.hazards.laboratory import Baseline, Workbench, make_baseline
from tests.plugins.mlflow_fixtures import mlflow_server, mlflow_templates
from tests.plugins.s3_fixtures import s3_bucket, s3_server, s3_variables, versioned_bucket

__all__ = ["mlflow_server", "mlflow_templates", "s3_bucket", "s3_server", "s3_variables", "versioned_bucket"]


@pytest.fixture(scope="session")
def baseline(tmp_path_factory: pytest.TempPathFactory, mlflow_templates: Path) -> Baseline:
    """The run that is to be redone."""
    return make_baseline(tmp_path_factory.mktemp("hazards"), mlflow_templates)


@pytest.fixture(scope="session")
def redone(baseline: Baseline, tmp_path_factory: pytest.TempPathFactory) -> Judgement:
    """What became of the run where nothing at all had happened since."""
    return baseline.workbench(tmp_path_factory.mktemp("redone")).reproduce()


@pytest.fixture
def bench(baseline: Baseline, tmp_path: Path) -> Workbench:
    """A copy of the project, beside the home that the session shares."""
    return baseline.workbench(tmp_path)


@pytest.fixture
def own_bench(baseline: Baseline, tmp_path: Path) -> Workbench:
    """A copy of the project, and of the home."""
    return baseline.workbench(tmp_path, own_home=True)
