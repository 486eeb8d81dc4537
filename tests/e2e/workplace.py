"""A folder in which commands are run as a user runs them: processes of their own, a home of their own."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

from mlflow import MlflowClient
from mlflow.entities import Run

from tests.e2e.click_log import make_log, write_config, write_log

ROOT: Final = Path(__file__).resolve().parent.parent.parent
_LONGEST_S: Final = 150
# What the running tests were told must not reach the pytest of an inner process.
_OUTER: Final = ("PYTEST_", "COV_CORE_")
_COVERAGE: Final = "COVERAGE_"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a command came to."""

    exit_code: int
    stdout: str
    stderr: str

    @property
    def report(self) -> dict[str, Any]:
        """The one JSON object on standard output; the command must have succeeded."""
        assert self.exit_code == 0, self.stderr
        values: dict[str, Any] = json.loads(self.stdout)
        return values

    @property
    def errors(self) -> list[str]:
        """The lines of standard error from the first that starts with `error:`; progress bars stand before it."""
        lines = [line for line in self.stderr.splitlines() if line.strip()]
        first = next((place for place, line in enumerate(lines) if line.startswith("error:")), len(lines))
        return lines[first:]


@dataclass(frozen=True, slots=True)
class Workplace:
    """A folder to stand in, the home of its runs, and variables laid over the environment."""

    folder: Path
    home: Path
    variables: Mapping[str, str] = field(default_factory=dict)
    covered: bool = True

    @classmethod
    def small(cls, folder: Path) -> Self:
        """Make a workplace with a small log and the settings that train on it, `small.yaml`."""
        log = write_log(folder / "project" / "data", make_log())
        write_config(folder / "project" / "small.yaml", log)
        return cls(folder / "project", folder / "home")

    def run(self, *arguments: str, **variables: str) -> Outcome:
        """Run `ctr-pipeline` to its end."""
        done = subprocess.run(
            self.command(*arguments),
            cwd=self.folder,
            env=self.environment(**variables),
            capture_output=True,
            text=True,
            check=False,
            timeout=_LONGEST_S,
        )
        return Outcome(done.returncode, done.stdout, done.stderr)

    def start(self, *arguments: str, **variables: str) -> "subprocess.Popen[str]":
        """Start `ctr-pipeline` as the leader of a process group, as a terminal does."""
        return subprocess.Popen(
            self.command(*arguments),
            cwd=self.folder,
            env=self.environment(**variables),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def command(self, *arguments: str) -> list[str]:
        """Return the command line of `ctr-pipeline ARGUMENTS`."""
        return [sys.executable, "-m", "ctr_pipeline", *arguments]

    def environment(self, **variables: str) -> dict[str, str]:
        """Return the environment that commands get."""
        outer = _OUTER if self.covered else (*_OUTER, _COVERAGE)
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(outer)}
        wide = {"COLUMNS": "200"}
        return {**inherited, **wide, "CTR_HOME": str(self.home), **self.variables, **variables}

    @property
    def tracking_uri(self) -> str:
        """The home's own MLflow database."""
        return f"sqlite:///{self.home / 'mlflow.db'}"

    @property
    def client(self) -> MlflowClient:
        """A plain MLflow client on the home's database."""
        return MlflowClient(self.tracking_uri)

    def executions(self) -> list[Path]:
        """Return the folders of all executions, oldest first."""
        return sorted((self.home / "runs").glob("*"))

    def execution(self) -> Path:
        """Return the folder of the newest execution."""
        return self.executions()[-1]


def runs_of(client: MlflowClient, execution_id: str = "%", experiment: str = "ctr-pipeline") -> list[Run]:
    """Return the runs of an execution, or of all; none where the experiment does not exist."""
    found = client.get_experiment_by_name(experiment)
    condition = f"tags.`ctr.execution_id` LIKE '{execution_id}'"
    return list(client.search_runs([found.experiment_id], condition)) if found else []


def wait_for[T](what: str, find: Callable[[], T | None], within_s: float = 120.0) -> T:
    """Look again and again until something is there, and return it; fail when it takes too long."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        found = find()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError(f"{what} did not come within {within_s:.0f} s")


def uv_command() -> list[str]:
    """Return how uv is started: by the path that `uv run` tells its children, by name, or as a module."""
    found = os.environ.get("UV") or shutil.which("uv")
    return [found] if found else ["python3", "-m", "uv"]


def copy_checkout(into: Path) -> str:
    """Copy the working tree, changes and new files included, into a fresh git repository; return its one commit."""
    listed = _git(ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    for path in listed.split("\0"):
        source, target = ROOT / path, into / path
        if path and source.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)
    _git(into, "init", "--quiet", "--initial-branch=main")
    _git(into, "add", "--all")
    _git(into, "commit", "--quiet", "--message=a copy of the working tree")
    return _git(into, "rev-parse", "HEAD").strip()


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(("git", *arguments), cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout
