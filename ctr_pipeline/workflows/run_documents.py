"""A run's documents: from its outputs on this machine, and from the tracker where they are gone."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from ctr_pipeline.workflows.execution import ExecutionFolder
from ctr_pipeline.workflows.find_run import FoundRun
from ctr_pipeline.workflows.recorder import STEP_TAG
from tracking.errors import InputError, ProblemError
from tracking.records import RunRecord, RunStatus
from tracking.tracker import Tracker


class RunDocuments:
    """Reads files of a run; the tracker is opened for what this machine does not have."""

    def __init__(self, found: FoundRun, open_tracker: Callable[[], Tracker]) -> None:
        """Take up a run.

        Args:
            found: the run.
            open_tracker: called at the first need.
        """
        self._found = found
        self._open = open_tracker
        self._tracker: Tracker | None = None
        self._children: tuple[RunRecord, ...] | None = None
        self._scratch = tempfile.TemporaryDirectory(prefix="ctr-show-")
        self.notes: list[str] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._scratch.cleanup()

    @property
    def folder(self) -> ExecutionFolder | None:
        """The outputs on this machine."""
        return self._found.folder

    def of_run(self, artifact: str, here: str) -> Path | None:
        """Return a file of the parent run; None where there is none.

        Args:
            artifact: path among the run's artifacts.
            here: path in the execution's folder.
        """
        return self._here(here) or (self._fetched(self._found.run_id, artifact) if self._was_lost(here) else None)

    def of_step(self, step: str, artifact: str) -> Path | None:
        """Return a file or folder of a step's finished run; None where there is none."""
        here = self._here(f"{step}/{artifact}")
        if here is not None or self._found.run_id is None or not self._was_lost(f"{step}/{artifact}"):
            return here
        finished = [
            child.run_id
            for child in self.children()
            if child.tags.get(STEP_TAG) == step and child.status is RunStatus.FINISHED
        ]
        return self._fetched(finished[-1], artifact) if finished else None

    def children(self) -> tuple[RunRecord, ...]:
        """Return the steps' runs, oldest first; nothing where the tracker cannot be asked."""
        if self._children is None:
            self._children = self._asked(lambda tracker: tracker.children(str(self._found.run_id))) or ()
        return self._children

    def _here(self, path: str) -> Path | None:
        if self._found.folder is None:
            return None
        file = self._found.folder.path / path
        return file if file.exists() else None

    def _was_lost(self, path: str) -> bool:
        """Return whether this machine once had a file, or never had the run: else the tracker has none either."""
        if self._found.folder is None:
            return True
        file = self._found.folder.path / path
        finished = {step.name for step in self._found.folder.load().steps if step.status is RunStatus.FINISHED}
        return not file.parent.exists() and file.parent.name in finished

    def _fetched(self, run_id: str | None, artifact: str) -> Path | None:
        if run_id is None:
            return None
        into = Path(self._scratch.name) / run_id
        into.mkdir(exist_ok=True)
        return self._asked(lambda tracker: _download(tracker, run_id, artifact, into))

    def _asked[T](self, question: Callable[[Tracker], T]) -> T | None:
        """Ask the tracker; what this machine has is still shown where it cannot be reached."""
        if self.notes:
            return None
        try:
            if self._tracker is None:
                self._tracker = self._open()
            return question(self._tracker)
        except ProblemError as error:
            if self._found.folder is None:
                raise
            self.notes.append(f"shown from this machine alone: {error}")
            return None


def _download(tracker: Tracker, run_id: str, artifact: str, into: Path) -> Path | None:
    try:
        return tracker.download(run_id, artifact, into)
    except InputError:
        return None
