"""Job contract v1: how a step is started, what it reads, what it leaves (`docs/job-contract.md`).

``python -m ctr_pipeline.steps.NAME --settings FILE --input CHANNEL=FOLDER ... --output FOLDER``

A step computes, then writes `items.jsonl` (what is to be logged) and, last of all, `step.json`: a folder without it is
half-written and never read. A step talks to no tracker.
"""

import argparse
import contextlib
import json
import os
import resource
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from ctr_pipeline.config import Settings
from tracking.aside import FULL_DISK
from tracking.canonical import sha256_file
from tracking.cores import usable_cores
from tracking.errors import InputError, ProblemError
from tracking.items import write_items
from tracking.records import Item

CONTRACT: Final = 1
STEP_FILE: Final = "step.json"
ITEMS_FILE: Final = "items.jsonl"
PROGRESS_FILE: Final = "progress.json"
FAILURE_FILE: Final = "failure"
# The channel of pinned impressions holds these two.
MANIFEST_FILE: Final = "manifest.json"
FILES_FOLDER: Final = "files"
OPT_ML: Final = Path("/opt/ml")
_PROGRESS_EVERY_S: Final = 0.1


@dataclass(slots=True)
class Progress:
    """Tells whoever watches how far a step is, at most ten times a second per kind of work, through a small file."""

    path: Path
    _next: float = 0.0
    _doing: str = ""

    def report(self, doing: str, done: int, total: int | None) -> None:
        """Say what is being done, how many of how many units; the total is None where it is unknown."""
        now = time.monotonic()
        if now < self._next and done != total and doing == self._doing:
            return
        self._next, self._doing = now + _PROGRESS_EVERY_S, doing
        aside = self.path.with_suffix(".tmp")
        aside.write_text(json.dumps({"doing": doing, "done": done, "total": total}), encoding="utf-8")
        aside.replace(self.path)


@dataclass(frozen=True, slots=True)
class Job:
    """What a step is given.

    Attributes:
        settings: the run's settings.
        inputs: folder by channel.
        output: folder that the step fills.
        progress: where to tell how far it is.
    """

    settings: Settings
    inputs: Mapping[str, Path]
    output: Path
    progress: Progress

    @property
    def threads(self) -> int:
        """Threads that the step may use."""
        return self.settings.runtime.threads or usable_cores()

    def input(self, channel: str) -> Path:
        """Return a channel's folder.

        Raises:
            InputError: the step was started without it.
        """
        if channel not in self.inputs:
            raise InputError(f"input {channel!r} is missing, must be given as --input {channel}=FOLDER")
        return self.inputs[channel]


@dataclass(frozen=True, slots=True)
class StepResult:
    """What a step found out.

    Attributes:
        outputs: digest by name of output.
        facts: JSON values that later steps and the recipe read.
        items: what is to be logged.
    """

    outputs: Mapping[str, str]
    facts: Mapping[str, Any]
    items: tuple[Item, ...]


@dataclass(frozen=True, slots=True)
class OutputFile:
    """A file of a step's output; `size` in bytes, `sha256` as 64 hex digits."""

    sha256: str
    size: int


@dataclass(frozen=True, slots=True)
class StepRecord:
    """A finished step's `step.json`.

    Attributes:
        step: its name.
        outputs: digest by name of output.
        facts: JSON values.
        wall_s: seconds that it took.
        peak_memory_bytes: largest resident set.
        files: every other file of the output by its path in it; None where an older version wrote the record.
    """

    step: str
    outputs: Mapping[str, str]
    facts: Mapping[str, Any]
    wall_s: float
    peak_memory_bytes: int = field(default=0)
    files: Mapping[str, OutputFile] | None = None


type StepFunction = Callable[[Job], StepResult]


def read_step(folder: Path) -> StepRecord:
    """Read what a finished step left.

    Raises:
        InputError: the folder is half-written, or of a newer contract.
    """
    path = folder / STEP_FILE
    try:
        values = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise InputError(f"{folder} holds no {STEP_FILE}: the step did not finish; run it again") from error
    if values["contract"] != CONTRACT:
        raise InputError(f"{path}: contract == {values['contract']}, must be {CONTRACT}; update ctr-pipeline")
    return StepRecord(
        step=values["step"],
        outputs=values["outputs"],
        facts=values["facts"],
        wall_s=values["wall_s"],
        peak_memory_bytes=values["peak_memory_bytes"],
        files=_files(values["files"]) if "files" in values else None,
    )


def main(name: str, function: StepFunction, arguments: Sequence[str] | None = None) -> int:
    """Run a step from its command line and return its exit code: 0 done, 1 failed, 2 bad input."""
    job = _parse(name, arguments)
    try:
        perform(name, function, job)
    except ProblemError as error:
        return _failed(job, str(error), error.exit_code)
    except OSError as error:
        return _failed(job, _explained(error, job.output), 1)
    except Exception as error:  # noqa: BLE001 - a step's last word must reach the failure file
        return _failed(job, _unexpected(error), 1)
    return 0


def perform(name: str, function: StepFunction, job: Job) -> StepRecord:
    """Run a step in this process and write what the contract asks for."""
    started = time.monotonic()
    job.output.mkdir(parents=True, exist_ok=True)
    # What an earlier attempt left must not make this one look finished, or failed.
    for left in (STEP_FILE, FAILURE_FILE):
        (job.output / left).unlink(missing_ok=True)
    result = function(job)
    write_items(job.output / ITEMS_FILE, result.items)
    job.progress.path.unlink(missing_ok=True)
    record = StepRecord(
        step=name,
        outputs=dict(result.outputs),
        facts=dict(result.facts),
        wall_s=round(time.monotonic() - started, 3),
        peak_memory_bytes=_peak_memory_bytes(),
        files=dict(_written(job.output)),
    )
    _write_record(job.output / STEP_FILE, record)
    return record


def _written(output: Path) -> Iterator[tuple[str, OutputFile]]:
    """Yield what lies in the output, by relative path: whoever uses it again later can verify it byte for byte."""
    for path in sorted(output.rglob("*")):
        if path.is_file():
            yield path.relative_to(output).as_posix(), OutputFile(sha256_file(path), path.stat().st_size)


def _files(values: Mapping[str, Any]) -> dict[str, OutputFile]:
    return {path: OutputFile(file["sha256"], file["size"]) for path, file in values.items()}


def _peak_memory_bytes() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Linux counts in KiB, macOS in bytes.
    return peak if sys.platform == "darwin" else peak * 1024


def _parse(name: str, arguments: Sequence[str] | None) -> Job:
    parser = argparse.ArgumentParser(prog=f"python -m ctr_pipeline.steps.{name}")
    parser.add_argument("--settings", type=Path, default=OPT_ML / "input/config/settings.json")
    parser.add_argument("--input", action="append", default=[], metavar="CHANNEL=FOLDER")
    parser.add_argument("--output", type=Path, default=OPT_ML / "output/data")
    parsed = parser.parse_args(arguments)
    try:
        settings = Settings.from_json(parsed.settings.read_bytes())
    except OSError as error:
        parser.error(f"--settings {parsed.settings} cannot be read ({error.strerror}); give the resolved settings")
    except ValidationError as error:
        parser.error(f"--settings {parsed.settings}: {error.errors()[0]['msg']} at {error.errors()[0]['loc']}")
    inputs = _default_inputs()
    for text in parsed.input:
        channel, equals, folder = text.partition("=")
        if not equals:
            parser.error(f"--input {text} must be CHANNEL=FOLDER")
        inputs[channel] = Path(folder)
    return Job(settings, inputs, parsed.output, Progress(parsed.output / PROGRESS_FILE))


def _default_inputs() -> dict[str, Path]:
    data = OPT_ML / "input/data"
    return {folder.name: folder for folder in sorted(data.iterdir())} if data.is_dir() else {}


def _explained(error: OSError, output: Path) -> str:
    if error.errno in FULL_DISK:
        return f"{error.filename or output}: no space is left; free some there, then run again"
    if error.errno is None or error.filename is None:
        return _unexpected(error)
    return f"{error.filename}: {os.strerror(error.errno)}; mend the file or folder, then run again"


def _unexpected(error: BaseException) -> str:
    traceback.print_exception(error)
    return f"{type(error).__name__}: {error}"


def _failed(job: Job, message: str, exit_code: int) -> int:
    print(message, file=sys.stderr)  # noqa: T201 - a step's standard error is its log
    # Where nothing can be written, standard error has to do.
    with contextlib.suppress(OSError):
        job.output.mkdir(parents=True, exist_ok=True)
        (job.output / FAILURE_FILE).write_text(message, encoding="utf-8")
    return exit_code


def _write_record(path: Path, record: StepRecord) -> None:
    values = {
        "contract": CONTRACT,
        "step": record.step,
        "outputs": record.outputs,
        "facts": record.facts,
        "wall_s": record.wall_s,
        "peak_memory_bytes": record.peak_memory_bytes,
        "files": {path: asdict(file) for path, file in (record.files or {}).items()},
    }
    aside = path.with_suffix(".tmp")
    with aside.open("w", encoding="utf-8") as file:
        json.dump(values, file, indent=1, sort_keys=True)
        file.flush()
        os.fsync(file.fileno())
    aside.replace(path)
