"""One real run of the whole pipeline for the session, and private copies of its home."""

import random
import shutil
import sqlite3
import subprocess
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import pytest

from ctr_pipeline.config_file import load_settings
from ctr_pipeline.engines.attempt import StepProgress
from ctr_pipeline.workflows.execution import ExecutionFolder, Home
from ctr_pipeline.workflows.place import Place
from ctr_pipeline.workflows.run import RunReport, run_pipeline
from tracking.records import RunStatus

N_ROWS: Final = 2_000
_CONFIG: Final = """\
name: tiny
data:
  uri: {log}
  columns:
    label: click
    time: shown_at
    user: user
    numeric: [price]
    categorical: [ad]
    native: [device]
    context:
      position: {{kind: numeric, pinned: 1}}
features:
  clip: {{price: [0, 50]}}
  crosses: [[ad, device]]
train: {{rounds: 5, early_stopping_rounds: null}}
evaluate: {{replicates: 100, slices: [device]}}
runtime: {{threads: 1}}
"""


@dataclass(frozen=True, slots=True)
class FinishedRun:
    """A run that is over and completely logged. Shared by the session: read it, or copy it before writing.

    Attributes:
        home: everything that the run left.
        report: what `run` told.
        project: a git repository with one uncommitted change, where the run was started.
        log: the impressions, a CSV file.
    """

    home: Home
    report: RunReport
    project: Path
    log: Path

    @property
    def run_id(self) -> str:
        """The tracker's id of the parent run."""
        return str(self.report.run_id)

    @property
    def folder(self) -> ExecutionFolder:
        """The outputs."""
        return self.home.execution(self.report.execution_id)

    @property
    def place(self) -> Place:
        """The home and its tracker."""
        return Place(self.project, self.home, self.home.tracking_uri)

    def copy(self, into: Path) -> "FinishedRun":
        """Return a copy that may be written to: outputs, store, database and artifacts."""
        home = Home(into / ".ctr")
        shutil.copytree(self.home.path, home.path)
        moved = FinishedRun(home, self.report, self.project, self.log)
        moved.folder.save(replace(moved.folder.load(), tracking_uri=home.tracking_uri))
        with closing(sqlite3.connect(home.path / "mlflow.db")) as database, database:
            places = (("runs", "artifact_uri"), ("experiments", "artifact_location"))
            for table, column in (*places, ("logged_models", "artifact_location")):
                database.execute(
                    f"UPDATE {table} SET {column} = replace({column}, ?, ?)",  # noqa: S608 - names from above
                    (str(self.home.path), str(home.path)),
                )
        return moved


class SilentWatcher:
    """Watches a run and says nothing."""

    def step_began(self, name: str) -> None:
        """See `Watcher`."""

    def step_moved(self, progress: StepProgress) -> None:
        """See `Watcher`."""

    def step_ended(self, name: str, status: RunStatus, wall_s: float) -> None:
        """See `Watcher`."""


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory: pytest.TempPathFactory, mlflow_templates: Path) -> FinishedRun:
    """A real run on a tiny log, in a home of its own."""
    folder = tmp_path_factory.mktemp("finished-run")
    log = write_log(folder / "log.csv")
    project = write_project(folder / "project", log)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CTR_HOME", str(folder / ".ctr"))
        home = Home.find(project)
        home.cache.mkdir(parents=True)
        for template in mlflow_templates.glob("mlflow-*.db"):
            shutil.copy(template, home.cache)
        loaded = load_settings(project / "configs" / "default.yaml")
        report = run_pipeline(loaded, SilentWatcher(), start=project, argv=["ctr-pipeline", "run"])
    return FinishedRun(home, report, project, log)


@pytest.fixture
def run_copy(finished_run: FinishedRun, tmp_path: Path) -> FinishedRun:
    """The finished run in a home that the test may change."""
    return finished_run.copy(tmp_path)


def write_log(path: Path, n_rows: int = N_ROWS, seed: int = 1) -> Path:
    """Write impressions of five days: ad and device matter, nothing else does."""
    draw = random.Random(seed)  # noqa: S311 - no secret
    began = datetime(2026, 1, 1, tzinfo=UTC)
    lines = ["shown_at,click,user,price,ad,device,position"]
    for row in range(n_rows):
        shown_at = began + timedelta(days=5) * row / n_rows
        ad, device = f"ad-{draw.randrange(12)}", draw.choice(["phone", "desk"])
        rate = 0.05 + 0.25 * (ad in {"ad-1", "ad-2"}) + 0.1 * (device == "phone")
        lines.append(
            f"{shown_at.isoformat()},{int(draw.random() < rate)},u{draw.randrange(200)},{draw.uniform(0, 60):.2f},"
            f"{ad},{device},{draw.randrange(1, 5)}"
        )
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def write_project(root: Path, log: Path) -> Path:
    """Make a git repository with a config that is committed and a module that was changed since."""
    (root / "configs").mkdir(parents=True)
    (root / "configs" / "default.yaml").write_text(_CONFIG.format(log=log), encoding="utf-8")
    (root / "bids.py").write_text("FLOOR = 1\n", encoding="utf-8")
    for command in (["init", "--quiet", "--initial-branch=main"], ["add", "--all"], ["commit", "--quiet", "-m", "one"]):
        subprocess.run(["git", *command], cwd=root, check=True, capture_output=True)
    (root / "bids.py").write_text("FLOOR = 20\n", encoding="utf-8")
    return root
