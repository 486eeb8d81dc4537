"""The checkout that the tests judge, and a way to run a tool in it."""

import os
import subprocess
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent.parent
PACKAGES: Final = ("ctr_pipeline", "tracking")
_SOURCES: Final = (*PACKAGES, "scripts", "tests", "benchmarks")
# What the running tests were told must not reach the pytest and coverage of an inner process.
_OUTER: Final = ("PYTEST_", "COVERAGE_", "COV_CORE_")


def source_files() -> Iterator[Path]:
    """Yield every Python file of the project."""
    for folder in _SOURCES:
        yield from sorted((ROOT / folder).rglob("*.py"))


def pyproject() -> Mapping[str, Any]:
    """Return the project's settings."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def run_tool(command: Sequence[str], folder: Path, text: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run `command` in `folder`, apart from the outer pytest and coverage, and return what it printed."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(_OUTER)}
    environment["COLUMNS"] = "200"
    return subprocess.run(
        command, cwd=folder, env=environment, input=text, capture_output=True, text=True, check=False, timeout=200
    )
