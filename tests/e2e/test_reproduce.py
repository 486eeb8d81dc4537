"""Months later: the bundled run again, from another checkout, after everything around it has changed."""

import os
import platform
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.e2e.conftest import Checkout
from tests.e2e.workplace import ROOT, Outcome, Workplace, copy_checkout
from tests.plugins.s3_fixtures import Bucket
from tracking.environment import installed_packages
from tracking.environment_plan import plan_environment
from tracking.rebuilt_environment import MissingPackagesError, rebuild_environment

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

_SAMPLE: Final = ROOT / "ctr_pipeline" / "data" / "samples" / "open_bandit.parquet"
_FLIPPED_ROW: Final = 50_000
_CHANGED: Final = {"TZ": "Asia/Tokyo", "LANG": "C", "PYTHONHASHSEED": "3", "OMP_NUM_THREADS": "1"}
_OLDER: Final = {"xgboost": "3.3.0", "mlflow": "3.16.0", "mlflow-skinny": "3.16.0", "mlflow-tracing": "3.16.0"}
_HELPER: Final = "ctr_pipeline/features/statistics.py"


@dataclass(frozen=True, slots=True)
class Recorded:
    """A run of the bundled data, and another checkout from which it is redone.

    Attributes:
        run_id: of the run.
        log: the file that it read.
        original: the checkout in which it was made.
        clone: another one, of the same commit, without a run of its own.
    """

    run_id: str
    log: Path
    original: Workplace
    clone: Workplace

    def redo(self, *options: str, **variables: str) -> Outcome:
        """Reproduce the run from the clone, with JSON."""
        found = ("--run-id", self.run_id, "--tracking-uri", self.original.tracking_uri)
        return self.clone.run("reproduce", *found, *options, "--json", **variables)

    def judged(self, *options: str, **variables: str) -> dict[str, Any]:
        """Reproduce the run and return the judgement, whatever it is."""
        outcome = self.redo(*options, **variables)
        judgement = replace(outcome, exit_code=0).report
        assert judgement["exit_code"] == outcome.exit_code, outcome.stderr
        return judgement


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    folder = tmp_path_factory.mktemp("recorded")
    log = Path(shutil.copy(_SAMPLE, folder / "log.parquet"))
    copy_checkout(folder / "original")
    original = Workplace(folder / "original", folder / "home", covered=False)
    run = original.run("run", "--json", "--set", f"data.uri={log}", "--set", "train.early_stopping_rounds=5").report
    assert run["recipe_grade"] == "A", run
    _git(folder, "clone", "--quiet", str(original.folder), "elsewhere/clone")
    clone = Workplace(folder / "elsewhere" / "clone", folder / "other-home", covered=False)
    return Recorded(run["run_id"], log, original, clone)


@pytest.fixture
def edited(recorded: Recorded) -> Recorded:
    """The run with a clone as it was committed; a test may edit it."""
    _git(recorded.clone.folder, "checkout", "--quiet", ".")
    return recorded


def test_the_run_is_identical_whatever_has_happened_around_it(recorded: Recorded) -> None:
    root = recorded.original.folder
    (root / "ctr_pipeline" / "model.py").write_text("raise SystemExit('broken meanwhile')\n", encoding="utf-8")
    _git(root, "commit", "--quiet", "--all", "--amend", "--message=another history")
    _git(root, "reflog", "expire", "--expire=now", "--all")
    _git(root, "gc", "--quiet", "--prune=now")
    _shuffle(recorded.log)
    inside = replace(recorded, clone=replace(recorded.clone, folder=recorded.clone.folder / "docs"))

    judgement = inside.judged(PYTHONPATH=str(recorded.clone.folder), **_CHANGED)

    assert judgement["verdict"] == "IDENTICAL", judgement["reason"]
    assert judgement["exit_code"] == 0
    assert all(layer["equal"] for layer in judgement["layers"])
    changed = {circumstance["name"] for circumstance in judgement["circumstances"]}
    assert changed >= {f"variables.{name}" for name in _CHANGED} | {"timezone"}
    run = recorded.original.client.get_run(recorded.run_id)
    assert run.data.tags["reproduced"] == "IDENTICAL"
    again = recorded.original.client.get_run(judgement["again"]["run_id"])
    assert again.data.tags["reproduces"] == recorded.run_id


def test_shuffled_rows_read_in_place_of_the_pinned_ones_change_nothing(recorded: Recorded) -> None:
    shutil.copy(_SAMPLE, recorded.log)
    _shuffle(recorded.log)
    judgement = recorded.judged("--use-current-data")
    assert judgement["verdict"] == "IDENTICAL"
    assert "the input's files differ, their rows are equal" in judgement["notes"]


def test_one_flipped_label_is_named_by_its_column(recorded: Recorded) -> None:
    table = pq.read_table(_SAMPLE)
    clicks = table.column("click").to_numpy().copy()
    clicks[_FLIPPED_ROW] = 1 - clicks[_FLIPPED_ROW]
    place = table.schema.get_field_index("click")
    pq.write_table(table.set_column(place, "click", pa.array(clicks, table.schema.field(place).type)), recorded.log)

    judgement = recorded.judged("--use-current-data")

    assert (judgement["verdict"], judgement["exit_code"]) == ("DIVERGED", 4)
    assert [(column["column"], column["change"]) for column in judgement["columns"]] == [("click", "values")]
    assert [difference["what"] for difference in judgement["differences"]] == ["column click holds other values"]
    assert judgement["first_divergence"].startswith("split.")
    assert "column click holds other values" in judgement["cause"]


def test_an_edited_helper_is_named_and_told_from_one_that_changes_results(edited: Recorded) -> None:
    helper = edited.clone.folder / _HELPER
    helper.write_text(helper.read_text(encoding="utf-8") + "\n# A remark.\n", encoding="utf-8")
    remarked = edited.judged("--use-current-code")
    assert (remarked["verdict"], remarked["exit_code"]) == ("EQUIVALENT", 3)
    assert [difference["what"] for difference in remarked["differences"]] == [f"{_HELPER} edited"]
    assert "+# A remark." in remarked["differences"][0]["detail"]

    source = helper.read_text(encoding="utf-8")
    changed = source.replace("(counts.impressions + smoothing)", "(counts.impressions + smoothing + 1)")
    assert changed != source
    helper.write_text(changed, encoding="utf-8")
    judgement = edited.judged("--use-current-code")
    assert (judgement["verdict"], judgement["exit_code"]) == ("DIVERGED", 4)
    assert judgement["first_divergence"] == "split.train"
    assert judgement["cause"].startswith(f"{_HELPER} edited")


def test_a_changed_default_is_named_whether_it_acts_or_not(edited: Recorded) -> None:
    config = edited.clone.folder / "ctr_pipeline" / "config.py"
    source = config.read_text(encoding="utf-8")
    config.write_text(
        source.replace("learning_rate: float = Field(0.05,", "learning_rate: float = Field(0.06,"), encoding="utf-8"
    )

    idle = edited.judged("--use-current-code")
    assert idle["verdict"] == "EQUIVALENT"
    assert "the default of train.learning_rate 0.05 -> 0.06 (the run's own value is used)" in idle["cause"]

    acting = edited.judged(
        "--use-current-code",
        "--use-current-settings",
        *("--set", f"data.uri={edited.log}", "--set", "train.early_stopping_rounds=5"),
    )
    assert acting["verdict"] == "DIVERGED"
    assert acting["first_divergence"] == "booster"
    assert acting["cause"].startswith("train.learning_rate 0.05 -> 0.06; ctr_pipeline/config.py edited")


@pytest.mark.parametrize(
    ("patterns", "ingredient"),
    [
        (("runs/*/provenance/uv.lock", "artifacts/*/{run}/artifacts/provenance/uv.lock"), "lock"),
        (("runs/*/provenance/source.tar.gz", "artifacts/*/{run}/artifacts/provenance/source.tar.gz"), "source"),
        (("store/sha256",), "data"),
    ],
    ids=["lock", "source", "data"],
)
def test_what_is_gone_is_named_before_anything_is_computed(
    recorded: Recorded, tmp_path: Path, patterns: tuple[str, ...], ingredient: str
) -> None:
    gone = [path for pattern in patterns for path in recorded.original.home.glob(pattern.format(run=recorded.run_id))]
    assert len(gone) == len(patterns)
    before = recorded.clone.executions()
    kept = [(path, path.rename(tmp_path / f"kept-{number}")) for number, path in enumerate(gone)]
    try:
        judgement = recorded.judged()
    finally:
        for path, moved in kept:
            moved.rename(path)
    assert (judgement["verdict"], judgement["exit_code"]) == ("CANNOT", 5)
    (missing,) = (item for item in judgement["ingredients"] if not item["ready"])
    assert missing["name"] == ingredient
    assert missing["remedy"] in judgement["reason"]
    assert judgement["again"] is None
    assert recorded.clone.executions() == before


def test_a_run_of_older_libraries_is_redone_with_them(checkout: Checkout, tmp_path: Path) -> None:
    older = {**{package.name: package.version for package in installed_packages()}, **_OLDER}
    plan = plan_environment(platform.python_version(), older, ROOT / "uv.lock", carried=("ctr-pipeline",))
    try:
        python = rebuild_environment(plan, Path(os.environ["CTR_CACHE"]) / "older").python
    except MissingPackagesError as error:
        pytest.skip(f"the package index does not have the older libraries: {error}")
    place = checkout.place
    command = [str(python), *place.command("run", "--set", "train.early_stopping_rounds=5", "--json")[1:]]
    made = subprocess.run(
        command, cwd=place.folder, env=place.environment(), capture_output=True, text=True, check=False
    )
    run = Outcome(made.returncode, made.stdout, made.stderr).report
    redone = ("reproduce", "--run-id", run["run_id"], "--json")

    judgement = place.run(*redone).report
    assert judgement["verdict"] == "IDENTICAL", judgement["reason"]

    upgraded = replace(place.run(*redone, "--use-current-env"), exit_code=0).report
    assert upgraded["verdict"] == "DIVERGED"
    assert upgraded["first_divergence"] == "booster"
    now = {package.name: package.version for package in installed_packages()}
    assert upgraded["cause"].startswith(f"xgboost 3.3.0 -> {now['xgboost']}")
    assert {difference["layer"] for difference in upgraded["differences"]} == {"environment"}


@pytest.mark.server
def test_a_machine_with_nothing_but_server_and_store_redoes_the_run(
    small: Workplace, mlflow_server: str, s3_bucket: Bucket, s3_variables: Mapping[str, str], tmp_path: Path
) -> None:
    there = replace(small, variables=s3_variables)
    run = there.run(
        *("run", "--config", "small.yaml", "--json"),
        *("--set", f"tracking.uri={mlflow_server}", "--set", f"data.store={s3_bucket.uri}/pinned"),
    ).report
    shutil.rmtree(there.home)
    shutil.rmtree(there.folder)
    empty = tmp_path / "empty"
    empty.mkdir()
    here = Workplace(empty, tmp_path / "new-home", s3_variables)
    found = ("--run-id", run["run_id"], "--tracking-uri", mlflow_server, "--json")

    plan = here.run("reproduce", *found, "--check-only").report
    assert plan["ready"]
    judgement = here.run("reproduce", *found).report

    assert judgement["verdict"] == "IDENTICAL", judgement["reason"]
    assert judgement["original"]["run_id"] == run["run_id"]


def test_the_module_is_the_command(recorded: Recorded) -> None:
    command = recorded.clone.command("--run-id", "no-such-run", "--tracking-uri", recorded.original.tracking_uri)
    command[2] = "ctr_pipeline.reproduce"
    environment = recorded.clone.environment()
    done = subprocess.run(
        command, cwd=recorded.clone.folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("error: run 'no-such-run' is known neither in ")


def _shuffle(log: Path) -> None:
    table = pq.read_table(log)
    order = np.random.default_rng(4).permutation(len(table))
    pq.write_table(table.take(order), log, compression="zstd", row_group_size=7_000)


def _git(folder: Path, *arguments: str) -> None:
    subprocess.run(("git", *arguments), cwd=folder, check=True, capture_output=True)
