"""The installer `uv`: found, run, and what it says when it fails."""

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tracking.errors import TrackingError

_LONGEST_S: Final = 1_800
_SHOWN_LINES: Final = 6
REMEDY: Final = "install uv (`python -m pip install uv`)"


class UvError(TrackingError):
    """A command of uv failed; `said` is its standard error."""

    def __init__(self, arguments: Sequence[str], said: str) -> None:
        lines = [line.strip() for line in said.splitlines() if line.strip()]
        told = " ".join(lines[:_SHOWN_LINES]) or "it said nothing"
        super().__init__(f"uv {' '.join(arguments[:2])} failed: {told}")
        self.said = said


def find_uv() -> tuple[str, ...] | None:
    """Return how uv is started on this machine; None where it is not installed.

    It is what `uv run` names to its children, else the one on the path, else the module of this Python or of the one
    that this environment was made from.
    """
    named = os.environ.get("UV")
    found = named if named and Path(named).is_file() else shutil.which("uv")
    if found:
        return (found,)
    if importlib.util.find_spec("uv") is not None:
        return (sys.executable, "-m", "uv")
    base = getattr(sys, "_base_executable", sys.executable)
    asked = subprocess.run([base, "-m", "uv", "--version"], capture_output=True, check=False, timeout=60)
    return (base, "-m", "uv") if asked.returncode == 0 else None


def run_uv(arguments: Sequence[str], *, cwd: Path) -> str:
    """Run a command of uv and return what it prints.

    Args:
        arguments: of uv.
        cwd: where to stand: a project file there would be read.

    Raises:
        UvError: uv is not installed, takes longer than half an hour, or fails.
    """
    uv = find_uv()
    if uv is None:
        raise UvError(arguments, f"uv is not installed on this machine; {REMEDY}")
    inherited = {name: value for name, value in os.environ.items() if name not in {"VIRTUAL_ENV", "UV_PROJECT"}}
    try:
        done = subprocess.run(
            [*uv, *arguments, "--no-progress"],
            cwd=cwd,
            env=inherited,
            capture_output=True,
            text=True,
            check=False,
            timeout=_LONGEST_S,
        )
    except subprocess.TimeoutExpired as error:
        raise UvError(arguments, f"it takes longer than {_LONGEST_S} s") from error
    if done.returncode != 0:
        raise UvError(arguments, done.stderr)
    return done.stdout
