"""A small team's project with one finished run, and workbenches on which a test stages what may have happened since."""

import random
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest

from ctr_pipeline.config_file import load_settings
from ctr_pipeline.reproduce.request import Request
from ctr_pipeline.reproduce.verdict import Circumstance, Judgement
from ctr_pipeline.reproduce.workflow import Reproduction, reproduce
from ctr_pipeline.workflows.execution import ExecutionFolder, Home
from ctr_pipeline.workflows.place import Place
from ctr_pipeline.workflows.run import RunReport, run_pipeline
from tests.plugins.run_fixtures import FinishedRun, SilentWatcher
from tracking.recipe import Recipe

ROOT: Final = Path(__file__).resolve().parent.parent.parent

# Past the row at which a tracker's own digest stops looking.
N_ROWS: Final = 12_000
PARTS: Final = ("part-0.csv", "part-1.csv")
LOG: Final = "log"
_BEGAN: Final = datetime(2026, 1, 1, tzinfo=UTC)
_DAYS: Final = 5
HEADER: Final = "shown_at,click,user,price,ad,device,position"

_CONFIG: Final = """\
name: hazards
data:
  uri: log
  columns:
    time: shown_at
    user: user
    numeric: [price, margin]
    categorical: [ad]
    native: [device]
    context:
      position: {kind: numeric, pinned: 1}
features:
  custom: team.features:add_margin
  crosses: [[ad, device]]
train: {rounds: 5, early_stopping_rounds: null, subsample: 0.8}
evaluate:
  replicates: 100
  metrics: {brier: "team.metrics:brier"}
runtime: {threads: 1}
"""
_FEATURES: Final = """\
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from team.costs import COST_RATE

RULES = json.loads((Path(__file__).parent / "rules.json").read_text())


def add_margin(batch: pa.RecordBatch) -> pa.RecordBatch:
    price = pc.cast(batch.column("price"), "double")
    margin = pc.subtract(pc.multiply(price, 1 - COST_RATE), float(RULES["fee"]))
    return batch.append_column("margin", margin)
"""
_METRICS: Final = """\
import numpy as np


def brier(label, probability, weight):
    return float(np.average((label - probability) ** 2, weights=weight))
"""
_FILES: Final[Mapping[str, str]] = {
    ".gitignore": "log/\n.ctr/\n",
    "configs/default.yaml": _CONFIG,
    "team/__init__.py": "",
    "team/features.py": _FEATURES,
    "team/costs.py": "COST_RATE = 0.25\n",
    "team/rules.json": '{"fee": 1}\n',
    "team/metrics.py": _METRICS,
}


@dataclass(frozen=True, slots=True)
class Workbench:
    """A checkout of the project that a test may change, and the home with the run in it.

    Attributes:
        project: a git repository with the log.
        home: of the baseline, or a copy of it.
        run_id: of the run that is to be redone.
    """

    project: Path
    home: Home
    run_id: str

    @property
    def place(self) -> Place:
        """The project, the home and its tracker."""
        return Place(self.project, self.home, self.home.tracking_uri)

    @property
    def folder(self) -> ExecutionFolder:
        """The run's own folder."""
        return next(folder for folder in self.home.executions() if folder.load_logged().run_id == self.run_id)

    @property
    def recipe(self) -> Recipe:
        """What the run was made of."""
        return Recipe.from_json(self.folder.recipe.read_bytes())

    def git(self, *arguments: str) -> str:
        """Run git in the project."""
        done = subprocess.run(["git", *arguments], cwd=self.project, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    def write(self, path: str, text: str) -> Path:
        """Write a file of the project."""
        file = self.project / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
        return file

    def edit(self, path: str, change: Callable[[str], str]) -> None:
        """Rewrite a file of the project."""
        file = self.project / path
        before = file.read_text(encoding="utf-8")
        after = change(before)
        assert after != before, f"{path} was to be changed"
        file.write_text(after, encoding="utf-8")

    def plan(self, **asked: Any) -> Reproduction:  # noqa: ANN401 - of any field of a request
        """Look everything up and compute nothing."""
        return self._reproduced(check_only=True, **asked)

    def reproduce(self, **asked: Any) -> Judgement:  # noqa: ANN401 - of any field of a request
        """Redo the run and return what it came to; `asked` are fields of a `Request`."""
        found = self._reproduced(**asked)
        assert found.unlogged is None, found.unlogged
        assert found.judgement is not None
        return found.judgement

    def run(self, *overrides: str, reuse: bool = True) -> RunReport:
        """Make another run of the project as it is now, in the same home."""
        return run_project(self.project, self.home, *overrides, reuse=reuse)

    def of(self, report: RunReport) -> "Workbench":
        """Return this workbench with another run to be redone."""
        return replace(self, run_id=str(report.run_id))

    def _reproduced(self, **asked: Any) -> Reproduction:  # noqa: ANN401 - of any field of a request
        request = Request(**{"run_id": self.run_id, "start": self.project, **asked})
        return reproduce(request, self.place, Silence())


@dataclass(frozen=True, slots=True)
class Baseline:
    """The run that is to be redone. Shared by the session: read it, or `workbench` a copy.

    Attributes:
        project: a git repository, clean, with the log in an ignored folder.
        home: everything that runs left.
        report: what `run` told.
    """

    project: Path
    home: Home
    report: RunReport

    @property
    def run_id(self) -> str:
        """The tracker's id."""
        return str(self.report.run_id)

    def workbench(self, folder: Path, *, own_home: bool = False) -> Workbench:
        """Return a copy of the project at another path.

        Args:
            folder: that receives it.
            own_home: whether the home is copied too, so that it can be harmed.
        """
        project, home = folder / "project", self.home
        shutil.copytree(self.project, project, symlinks=True)
        if own_home:
            home = FinishedRun(self.home, self.report, self.project, self.project / LOG).copy(folder).home
        return Workbench(project, home, self.run_id)


class Silence(SilentWatcher):
    """Watches a reproduction and says nothing."""

    def doing(self, what: str) -> None:
        """See `ReproductionWatcher`."""


def circumstance(judgement: Judgement, name: str) -> Circumstance:
    """Return a circumstance that differs."""
    return next(item for item in judgement.circumstances if item.name == name)


def make_baseline(folder: Path, templates: Path) -> Baseline:
    """Write the project and its log, commit it, and run it once.

    Args:
        folder: to be filled.
        templates: of migrated databases, which spare a second.
    """
    project, home = folder / "project", Home(folder / ".ctr")
    for path, text in _FILES.items():
        (project / path).parent.mkdir(parents=True, exist_ok=True)
        (project / path).write_text(text, encoding="utf-8")
    shutil.copyfile(ROOT / "uv.lock", project / "uv.lock")
    for command in (["init", "--quiet", "--initial-branch=main"], ["add", "--all"], ["commit", "--quiet", "-m", "one"]):
        subprocess.run(["git", *command], cwd=project, check=True, capture_output=True)
    write_log(project / LOG)
    home.cache.mkdir(parents=True)
    for template in templates.glob("mlflow-*.db"):
        shutil.copy(template, home.cache)
    return Baseline(project, home, run_project(project, home))


def run_project(project: Path, home: Home, *overrides: str, reuse: bool = False) -> RunReport:
    """Run a project as it is now, from its own folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CTR_HOME", str(home.path))
        patch.chdir(project)
        loaded = load_settings(project / "configs" / "default.yaml", overrides)
        return run_pipeline(loaded, SilentWatcher(), start=project, argv=["ctr-pipeline", "run"], reuse=reuse)


def write_log(folder: Path, *, n_rows: int = N_ROWS, seed: int = 1) -> None:
    """Write impressions of five days in two parts: ad and device matter, nothing else does."""
    folder.mkdir(parents=True)
    rows = list(log_rows(n_rows, seed))
    half = len(rows) // len(PARTS)
    for part, lines in zip(PARTS, (rows[:half], rows[half:]), strict=True):
        (folder / part).write_text("\n".join([HEADER, *lines]) + "\n", encoding="utf-8")


def log_rows(n_rows: int, seed: int) -> Iterator[str]:
    """Yield impressions in the order of time."""
    draw = random.Random(seed)  # noqa: S311 - no secret
    for row in range(n_rows):
        shown_at = _BEGAN + timedelta(days=_DAYS) * row / n_rows
        ad, device = f"ad-{draw.randrange(12)}", draw.choice(["phone", "desk"])
        rate = 0.05 + 0.25 * (ad in {"ad-1", "ad-2"}) + 0.1 * (device == "phone")
        yield (
            f"{shown_at.isoformat()},{int(draw.random() < rate)},u{draw.randrange(200)},{draw.uniform(0, 60):.2f},"
            f"{ad},{device},{draw.randrange(1, 5)}"
        )
