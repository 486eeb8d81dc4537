"""One attempt at a step, whoever runs it: where its output goes, how far it is, what its end means."""

import json
import shutil
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ctr_pipeline.pipeline import StepSpec
from ctr_pipeline.steps import job
from tracking.errors import InputError, JobError

PARTIAL_SUFFIX: Final = ".partial"
LOG_SUFFIX: Final = ".log"
_TAIL_LINES: Final = 20
_TAIL_WIDTH: Final = 300
# The stack of a crash ends in the names of all compiled modules, some hundred.
_NOT_TOLD: Final = "Extension modules:"
# Where a file system is full, what is left of it is less than a message takes.
_TOO_LITTLE_BYTES: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class StepProgress:
    """How far a running step is; `total` is None where it is unknown."""

    step: str
    doing: str
    done: int
    total: int | None


@dataclass(frozen=True, slots=True)
class StepJob:
    """One attempt at a step.

    Attributes:
        spec: the step.
        settings: file of the resolved settings.
        inputs: folder by channel.
        output: folder to be filled; appears whole or not at all.
        code_folders: folders from which a team's own modules are imported, the first one first.
    """

    spec: StepSpec
    settings: Path
    inputs: Mapping[str, Path]
    output: Path
    code_folders: tuple[Path, ...] = ()

    @property
    def partial(self) -> Path:
        """Folder that the step writes before its output appears."""
        return self.output.with_name(self.output.name + PARTIAL_SUFFIX)

    @property
    def log(self) -> Path:
        """File of the step's standard output and error."""
        return self.output.with_name(self.output.name + LOG_SUFFIX)


def tell_progress(attempt: StepJob, on_progress: Callable[[StepProgress], None]) -> None:
    """Hand on what a running step says of how far it is, if it has said anything."""
    try:
        said = json.loads((attempt.partial / job.PROGRESS_FILE).read_bytes())
    except FileNotFoundError:
        return
    on_progress(StepProgress(attempt.spec.name, said["doing"], said["done"], said["total"]))


def keep_output(attempt: StepJob, exit_code: int) -> job.StepRecord:
    """Move the output of a step that has ended into place and return its record.

    Args:
        attempt: the step.
        exit_code: of its process, negative where a signal ended it.

    Raises:
        InputError: the step refused its input, or ended without its record.
        JobError: the step failed, was killed, or crashed.
    """
    if exit_code != 0:
        raise _failure(attempt, exit_code)
    record = job.read_step(attempt.partial)
    attempt.partial.rename(attempt.output)
    return record


def _failure(attempt: StepJob, exit_code: int) -> JobError | InputError:
    name = attempt.spec.name
    failure = attempt.partial / job.FAILURE_FILE
    said = failure.read_text(encoding="utf-8") if failure.exists() else ""
    if exit_code == InputError.exit_code and said:
        return InputError(said)
    tail = said or _last_lines(attempt.log)
    if exit_code < 0:
        cause = f"was killed by {signal.Signals(-exit_code).name}"
        cause += " (was the memory exhausted?)" if exit_code == -signal.SIGKILL else ""
        told = f": {tail}" if tail else ""
        return JobError(
            f"step {name} {cause}{told}; nothing half-written was kept, run again. Its log is {attempt.log}"
        )
    tail = tail or _silence(attempt.partial)
    return JobError(f"step {name} failed with exit code {exit_code}: {tail}. Its log is {attempt.log}")


def _silence(folder: Path) -> str:
    """Return why a step could not even say why it failed."""
    if shutil.disk_usage(folder).free < _TOO_LITTLE_BYTES:
        return f"no space left in {folder}; free some space there, or set CTR_HOME to a folder with more"
    return "it said nothing"


def _last_lines(log: Path) -> str:
    if not log.exists():
        return ""
    lines = (line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines())
    told = [line[:_TAIL_WIDTH] for line in lines if line and not line.startswith(_NOT_TOLD)]
    return " | ".join(told[-_TAIL_LINES:])
