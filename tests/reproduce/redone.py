"""A run that was reproduced, and ways to ask for it."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ctr_pipeline.engines.interrupt import Interrupt
from ctr_pipeline.reproduce.request import Request
from ctr_pipeline.reproduce.verdict import Judgement
from ctr_pipeline.reproduce.workflow import Reproduction, reproduce
from ctr_pipeline.workflows.driver import DrivenRun
from ctr_pipeline.workflows.execution import ExecutionFolder
from tests.plugins.run_fixtures import FinishedRun, SilentWatcher
from tracking.records import RunStatus
from tracking.tracker import Tracker


class Noting(SilentWatcher):
    """Notes what is being done."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.steps: list[tuple[str, RunStatus]] = []

    def doing(self, what: str) -> None:
        """See `ReproductionWatcher`."""
        self.done.append(what)

    def step_ended(self, name: str, status: RunStatus, wall_s: float) -> None:  # noqa: ARG002 - the protocol's signature
        """See `Watcher`."""
        self.steps.append((name, status))


@dataclass(frozen=True, slots=True)
class Redone:
    """A run that was reproduced: read it, or copy it."""

    run: FinishedRun
    found: Reproduction
    driven: list[DrivenRun]
    watcher: Noting
    before: Mapping[str, str]
    scratch: Path

    @property
    def judgement(self) -> Judgement:
        assert self.found.judgement is not None
        return self.found.judgement

    @property
    def new_folder(self) -> ExecutionFolder:
        assert self.judgement.again is not None
        return self.run.home.execution(str(self.judgement.again.execution_id))

    @property
    def tracker(self) -> Tracker:
        return self.run.place.tracker()


def listing(*folders: Path) -> dict[str, str]:
    """Return a digest by path of all that lies in folders."""
    return {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest()
        for folder in folders
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def ask(
    run: FinishedRun,
    watcher: Noting | None = None,
    interrupt: Interrupt | None = None,
    **asked: Any,  # noqa: ANN401 - of any field of a request
) -> Reproduction:
    request = Request(**{"run_id": run.run_id, "start": run.project, **asked})
    return reproduce(request, run.place, watcher or Noting(), interrupt)


def judge(run: FinishedRun, **asked: Any) -> Judgement:  # noqa: ANN401 - of any field of a request
    found = ask(run, **asked)
    assert found.unlogged is None
    assert found.judgement is not None
    return found.judgement


def executions(run: FinishedRun) -> list[str]:
    return sorted(folder.name for folder in (run.home.path / "runs").iterdir())
