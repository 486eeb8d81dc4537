"""Taking over a kept step's output: linked, then verified byte for byte, and only then in place."""

import contextlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Final

from ctr_pipeline.steps.job import STEP_FILE, OutputFile, StepRecord, read_step
from tracking.canonical import sha256_file
from tracking.errors import InputError

_ASIDE: Final = ".partial"


class DamagedOutputError(InputError):
    """A kept output is not what its step left."""


def take_over(kept: Path, into: Path, *, record_sha256: str, check: Callable[[], None]) -> StepRecord:
    """Give a kept output a second place; it appears there whole or not at all.

    Files are hard links where the file system has them, else copies. What is verified is what is then in place, so the
    kept output may be deleted meanwhile.

    Args:
        kept: folder of a finished step's output.
        into: folder to appear.
        record_sha256: of the step's `step.json`.
        check: called between files; raises to end it.

    Raises:
        DamagedOutputError: a file is not the one that the step left.
        FileNotFoundError: the output, or a part of it, is gone.
    """
    aside = into.with_name(into.name + _ASIDE)
    shutil.rmtree(aside, ignore_errors=True)
    try:
        aside.mkdir(parents=True)
        record = _taken_record(kept, aside, record_sha256)
        for path, expected in sorted((record.files or {}).items()):
            check()
            _take(kept / path, aside / path)
            _verify(aside / path, kept / path, expected)
        aside.rename(into)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise
    return record


def _taken_record(kept: Path, aside: Path, record_sha256: str) -> StepRecord:
    _take(kept / STEP_FILE, aside / STEP_FILE)
    if sha256_file(aside / STEP_FILE) != record_sha256:
        raise DamagedOutputError(f"{kept / STEP_FILE} was changed after the step had written it")
    record = read_step(aside)
    if record.files is None:
        raise DamagedOutputError(f"{kept / STEP_FILE} does not list the step's files: an older version wrote it")
    return record


def _take(kept: Path, into: Path) -> None:
    into.parent.mkdir(parents=True, exist_ok=True)
    if kept.is_symlink():
        raise DamagedOutputError(f"{kept} is a link, must be the file that the step left")
    with contextlib.suppress(OSError):
        os.link(kept, into)
        return
    # Another file system, or one without links; what is gone is missing here again.
    shutil.copyfile(kept, into)


def _verify(taken: Path, kept: Path, expected: OutputFile) -> None:
    size = taken.stat().st_size
    if size != expected.size:
        raise DamagedOutputError(f"{kept} has {size} bytes, must have {expected.size}")
    if sha256_file(taken) != expected.sha256:
        raise DamagedOutputError(f"{kept} was changed after the step had written it")
