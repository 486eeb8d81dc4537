"""Executions whose driver is gone: killed with -9, or the machine went down."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from ctr_pipeline.steps.job import FILES_FOLDER
from ctr_pipeline.workflows.execution import Execution, ExecutionFolder
from tracking.records import RunStatus

DATA_FOLDER = "data"
_FAILURE = "its driver was killed, or the machine went down"
_NO_BAND = f"the noise band was not measured: {_FAILURE}"


def is_over(execution: Execution) -> bool:
    """Whether nobody works on an execution any more."""
    return execution.status is not RunStatus.RUNNING or execution.was_left


def mark_killed(folder: ExecutionFolder) -> Execution:
    """Write down that an execution and the step it was in were killed, at the last sign of life; return it.

    One whose steps were over, and that was only measuring its noise band, is finished without one.
    An execution that is not left as it says is returned unchanged.
    """
    execution = folder.load()
    if not execution.was_left:
        return execution
    ended_ms = max(last_sign_ms(folder), execution.started_ms)
    steps = tuple(
        replace(step, status=RunStatus.KILLED, ended_ms=max(ended_ms, step.started_ms))
        if step.status is RunStatus.RUNNING
        else step
        for step in execution.steps
    )
    over = replace(execution, ended_ms=ended_ms, steps=steps)
    if execution.is_computed:
        over = replace(over, status=RunStatus.FINISHED, noise_failure=None if folder.noise_band.exists() else _NO_BAND)
    else:
        over = replace(over, status=RunStatus.KILLED, failure=_FAILURE)
    folder.save(over)
    return over


def last_sign_ms(folder: ExecutionFolder) -> int:
    """Return when a file of an execution was last written, milliseconds since 1970 UTC."""
    times = (path.stat().st_mtime_ns for path in folder.path.rglob("*") if path.is_file())
    return max(times, default=0) // 1_000_000


def half_written(folder: ExecutionFolder) -> Iterator[Path]:
    """Yield what a killed driver leaves: half-written step folders and the working copy of the data."""
    yield from folder.leftovers()
    copy = folder.path / DATA_FOLDER / FILES_FOLDER
    if copy.exists():
        yield copy


def remove(path: Path) -> None:
    """Remove a file or a folder."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def size_of(path: Path) -> int:
    """Return a file's or a folder's size in bytes."""
    if not path.is_dir():
        return path.stat().st_size
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
