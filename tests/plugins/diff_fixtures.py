"""Three real runs in one home: two on the same data with other settings and code, one on other data."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from ctr_pipeline.config_file import load_settings
from ctr_pipeline.workflows.diff import diff_runs
from ctr_pipeline.workflows.diff_view import RunDiff
from ctr_pipeline.workflows.run import run_pipeline
from tests.plugins.run_fixtures import FinishedRun, SilentWatcher, write_log, write_project

CHANGED: Final = (
    "train.rounds=9",
    "train.max_depth=3",
    "features.clip={price: [0, 40]}",
    "features.crosses=[]",
    "features.statistics.smoothing=5",
)


@dataclass(frozen=True, slots=True)
class ComparedRuns:
    """Three finished runs; read them, or copy them before writing.

    Attributes:
        first: the run that the session shares, in a home that holds the others too.
        a: the tracker's id of the first run.
        b: of the second: the same data, other settings, other code.
        other: of the third: other rows and one column less.
    """

    first: FinishedRun
    a: str
    b: str
    other: str

    def diff(self, a: str, b: str) -> RunDiff:
        """Compare two of them."""
        return diff_runs(a, b, self.first.place)


@pytest.fixture(scope="session")
def compared(finished_run: FinishedRun, tmp_path_factory: pytest.TempPathFactory) -> ComparedRuns:
    """Three real runs in a home of their own."""
    folder = tmp_path_factory.mktemp("compared")
    first = finished_run.copy(folder)
    second = write_project(folder / "second", first.log)
    (second / "bids.py").write_text("FLOOR = 30\nCEILING = 90\n", encoding="utf-8")
    (second / "logo.py").write_bytes(b"# \xff\xfe is no UTF-8\n")
    log = write_log(folder / "other.csv", seed=2)
    rows = [line.split(",") for line in log.read_text(encoding="utf-8").splitlines()]
    log.write_text("\n".join(",".join(row[:3] + row[4:]) for row in rows) + "\n", encoding="utf-8")
    third = write_project(folder / "third", log)
    config = third / "configs" / "default.yaml"
    text = config.read_text(encoding="utf-8")
    config.write_text(text.replace("[price]", "[]").replace("  clip: {price: [0, 50]}\n", ""), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CTR_HOME", str(first.home.path))
        ids = [_run(second, CHANGED), _run(third, ())]
    return ComparedRuns(first, finished_run.run_id, *ids)


def _run(project: Path, overrides: tuple[str, ...]) -> str:
    loaded = load_settings(project / "configs" / "default.yaml", overrides)
    report = run_pipeline(loaded, SilentWatcher(), start=project, argv=["ctr-pipeline", "run"])
    return str(report.run_id)
