"""Fixtures of tests that make real runs, or read them."""

import tempfile
from collections import OrderedDict
from pathlib import Path
from typing import Any, Final

import pytest

from ctr_pipeline.reproduce import workflow
from ctr_pipeline.reproduce.rerun import rerun
from ctr_pipeline.workflows.driver import DrivenRun
from tests.plugins.mlflow_fixtures import mlflow_templates
from tests.plugins.run_fixtures import FinishedRun, finished_run, run_copy
from tests.reproduce.redone import Noting, Redone, ask, listing

__all__ = ["finished_run", "mlflow_templates", "run_copy"]

# MLflow remembers, for the whole process, where a run's artifacts are; copies of a run share its id.
REMEMBERED_ARTIFACTS: Final = "mlflow.tracking._tracking_service.utils._artifact_repos_cache"


@pytest.fixture(autouse=True)
def _own_artifacts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(REMEMBERED_ARTIFACTS, OrderedDict())


@pytest.fixture(scope="session")
def redone(finished_run: FinishedRun, tmp_path_factory: pytest.TempPathFactory) -> Redone:
    """The run reproduced once, with all that it was told."""
    folder = tmp_path_factory.mktemp("redone")
    run = finished_run.copy(folder)
    scratch = folder / "tmp"
    scratch.mkdir()
    driven: list[DrivenRun] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(scratch))
        patch.setattr(REMEMBERED_ARTIFACTS, OrderedDict())

        def noted(*arguments: Any) -> DrivenRun:  # noqa: ANN401 - handed on
            driven.append(rerun(*arguments))
            return driven[0]

        patch.setattr(workflow, "rerun", noted)
        watcher, before = Noting(), listing(run.project, run.log.parent / "log.csv")
        found = ask(run, watcher)
    return Redone(run, found, driven, watcher, before, scratch)


@pytest.fixture
def known(redone: Redone, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FinishedRun:
    """A run to be harmed; its re-run is the one that was made already, so that only the comparing is new."""
    monkeypatch.setattr(workflow, "rerun", lambda *_: redone.driven[0])
    monkeypatch.setattr(workflow, "tell_both", lambda *_: None)
    return redone.run.copy(tmp_path)
