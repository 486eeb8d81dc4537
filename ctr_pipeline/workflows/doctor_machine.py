"""The machine: clock, disk, git, Python, libraries and the tracking server's version."""

import importlib.metadata
import platform
import shutil
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from ctr_pipeline.workflows.diagnosis import Finding
from ctr_pipeline.workflows.place import Place
from ctr_pipeline.workflows.provenance import MUST_BE_LOCKED
from tracking.code import SourceTree
from tracking.environment import find_lock, installed_packages
from tracking.errors import ProblemError

LEAST_FREE_BYTES: Final = 1 << 30
_CLOCK_SLACK_S: Final = 300.0
_ANSWER_S: Final = 4.0


def machine_findings(place: Place, *, now_s: float) -> Iterator[Finding]:
    """Yield what about the machine endangers runs.

    Args:
        place: the home and its source tree.
        now_s: the time, in seconds since 1970.
    """
    yield from _clock(place, now_s)
    yield from _disk(place)
    yield from _git(place)
    yield from _python(place)
    yield from _libraries(place)


def server_findings(place: Place) -> Iterator[Finding]:
    """Yield a difference between our MLflow and the tracking server's."""
    if not place.uri.startswith(("http://", "https://")):
        return
    ours = importlib.metadata.version("mlflow")
    try:
        with urllib.request.urlopen(f"{place.uri.rstrip('/')}/version", timeout=_ANSWER_S) as answer:  # noqa: S310 - http
            theirs = answer.read(64).decode(errors="replace").strip()
    except (OSError, ValueError):  # a server that keeps its version to itself
        return
    if _minor(ours) != _minor(theirs):
        yield Finding(
            "mlflow-version",
            place.shown_uri,
            f"the server has MLflow {theirs}, this environment {ours}",
            "some pages or calls may be missing; bring both to one minor version",
        )


def _clock(place: Place, now_s: float) -> Iterator[Finding]:
    for folder in place.home.executions():
        try:
            started_s = folder.load().started_ms / 1000
        except (ProblemError, ValueError, LookupError, TypeError):  # told as unreadable already
            continue
        if started_s > now_s + _CLOCK_SLACK_S:
            yield Finding(
                "clock",
                folder.path.name,
                f"it started {started_s - now_s:,.0f} s in the future: the clock was, or is, wrong",
                "set the clock; `gc` and `latest` go by it",
            )


def _disk(place: Place) -> Iterator[Finding]:
    there = next(folder for folder in (place.home.path, *place.home.path.parents) if folder.exists())
    free = shutil.disk_usage(there).free
    if free < LEAST_FREE_BYTES:
        yield Finding(
            "disk",
            str(there),
            f"{free:,} bytes are free, should be {LEAST_FREE_BYTES:,} at least",
            "free some space; `ctr-pipeline gc` lists what may go",
        )


def _git(place: Place) -> Iterator[Finding]:
    if shutil.which("git") is None:
        yield Finding("git", "git", "the command is not installed", "install it: without it no run knows its commit")
        return
    note = SourceTree.find(place.root).note
    if "distrusts" in note:
        yield Finding("git", str(place.root), note, "run that command: without it no run knows its commit")


def _python(place: Place) -> Iterator[Finding]:
    wanted_file = place.root / ".python-version"
    wanted = wanted_file.read_text(encoding="utf-8").strip() if wanted_file.is_file() else ""
    running = platform.python_version()
    if wanted and not f"{running}.".startswith(f"{wanted}."):
        yield Finding(
            "python", running, f"the project asks for Python {wanted}", "run with `uv run`, which brings that version"
        )


def _libraries(place: Place) -> Iterator[Finding]:
    lock = find_lock(Path(place.root), installed_packages(), must_be_locked=MUST_BE_LOCKED)
    if lock is not None and lock.drift:
        more = f" and {len(lock.drift) - 1} more" if len(lock.drift) > 1 else ""
        yield Finding(
            "lock", str(lock.path), f"other libraries are installed: {lock.drift[0]}{more}", "run `uv sync --frozen`"
        )


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])
