"""Metrics of two runs: paired where the rows are the same, with the unit that was drawn, else side by side."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ctr_pipeline.evaluation.bootstrap import replicates
from ctr_pipeline.evaluation.interval import percentile_interval
from ctr_pipeline.evaluation.panel import MetricChoice
from ctr_pipeline.evaluation.scored import Scored
from ctr_pipeline.workflows import diff_metrics
from ctr_pipeline.workflows.diff import diff_runs
from ctr_pipeline.workflows.diff_metrics import _direction
from ctr_pipeline.workflows.diff_parts import MetricChange, MetricsDiff
from ctr_pipeline.workflows.execution import ExecutionFolder
from ctr_pipeline.workflows.place import Place
from tests.plugins.diff_fixtures import ComparedRuns
from tracking.plain import plain
from tracking.recipe import Recipe


@pytest.fixture(scope="module")
def paired(compared: ComparedRuns) -> MetricsDiff:
    return compared.diff(compared.a, compared.b).metrics


def by_name(metrics: MetricsDiff) -> dict[str, MetricChange]:
    return {change.name: change for change in metrics.metrics}


def folder_of(place: Place, run_id: str) -> ExecutionFolder:
    return next(folder for folder in place.home.executions() if folder.load_logged().run_id == run_id)


def rewrite(path: Path, **columns: Any) -> None:  # noqa: ANN401 - arrays of any type
    table = pq.read_table(path)
    for name, values in columns.items():
        place = table.schema.names.index(name)
        table = table.set_column(place, name, pa.array(values, table.schema.field(name).type))
    pq.write_table(table, path)


def test_the_same_rows_are_paired_by_user(paired: MetricsDiff) -> None:
    assert paired.unpaired is None
    assert paired.pairing is not None
    assert (paired.pairing.unit, paired.pairing.n_replicates, paired.pairing.note) == ("user", 100, "")
    assert 0 < paired.pairing.n_units < paired.pairing.n_rows


def test_a_difference_is_that_of_the_recorded_values_and_lies_in_its_interval(paired: MetricsDiff) -> None:
    for name in ("logloss", "auc", "calibration"):
        change = by_name(paired)[name]
        assert change.a is not None
        assert change.b is not None
        assert change.delta == pytest.approx(float(change.b.value or 0) - float(change.a.value or 0))
        assert change.low is not None
        assert change.high is not None
        assert change.low <= float(change.delta or 0) <= change.high


def test_a_paired_interval_is_narrower_than_the_runs_own(paired: MetricsDiff) -> None:
    change = by_name(paired)["logloss"]
    assert change.a is not None
    own = float(change.a.high or 0) - float(change.a.low or 0)
    assert float(change.high or 0) - float(change.low or 0) < own / 2


def test_the_interval_is_the_one_of_replicates_over_the_same_users(compared: ComparedRuns, paired: MetricsDiff) -> None:
    place = compared.first.place
    users = pq.read_table(folder_of(place, compared.a).path / "preprocess" / "test.parquet")
    drawn = []
    for run_id in (compared.a, compared.b):
        table = pq.read_table(folder_of(place, run_id).path / "evaluate" / "predictions.parquet")
        assert table.column("@row").equals(users.column("@row"))
        codes = np.unique(users.column("user").to_pylist(), return_inverse=True)[1].astype(np.uint64)
        scored = Scored(table.column("label").to_numpy(), table.column("probability").to_numpy(), cluster=codes)
        drawn.append(replicates(scored, 0, 400, MetricChoice()).values["logloss"])
    expected = percentile_interval(drawn[1] - drawn[0], 0.95, n_units=200, unit="user")
    found = by_name(paired)["logloss"]
    assert found.low == pytest.approx(expected.low, abs=abs(float(expected.high or 0) - float(expected.low or 0)) / 3)
    assert found.high == pytest.approx(expected.high, abs=abs(float(expected.high or 0) - float(expected.low or 0)) / 3)


def test_a_run_against_itself_has_zero_differences_and_intervals_of_no_width(compared: ComparedRuns) -> None:
    metrics = compared.diff(compared.a, compared.a).metrics.metrics
    assert metrics
    defined = [change for change in metrics if change.delta is not None]
    assert {(change.delta, change.low, change.high, change.finding) for change in defined} == {(0, 0, 0, "equal")}


def test_other_test_rows_stand_side_by_side_with_their_own_intervals(compared: ComparedRuns) -> None:
    metrics = compared.diff(compared.a, compared.other).metrics
    assert metrics.pairing is None
    assert str(metrics.unpaired).startswith("the test rows differ: 0 rows are in both, of ")
    change = by_name(metrics)["logloss"]
    assert (change.low, change.high, change.finding) == (None, None, None)
    assert change.a is not None
    assert change.a.low is not None
    assert "n_rows" in by_name(metrics)


def test_one_other_row_is_enough_not_to_pair(compared: ComparedRuns, tmp_path: Path) -> None:
    place = compared.first.copy(tmp_path).place
    path = folder_of(place, compared.b).path / "evaluate" / "predictions.parquet"
    rows = pq.read_table(path).column("@row").to_numpy().copy()
    rows[0] ^= np.uint64(1)
    rewrite(path, **{"@row": rows})
    metrics = diff_runs(compared.a, compared.b, place).metrics
    n = len(rows)
    assert metrics.unpaired == f"the test rows differ: {n - 1:,} rows are in both, of {n:,} in A and {n:,} in B"


def test_rows_in_another_order_are_paired_all_the_same(
    compared: ComparedRuns, tmp_path: Path, paired: MetricsDiff
) -> None:
    place = compared.first.copy(tmp_path).place
    path = folder_of(place, compared.b).path / "evaluate" / "predictions.parquet"
    pq.write_table(pq.read_table(path)[::-1], path)
    assert diff_runs(compared.a, compared.b, place).metrics == paired


@pytest.mark.parametrize(
    ("content", "note"),
    [(b"no parquet", "the raw test rows cannot be read"), (None, "the raw test rows are not on this machine")],
    ids=["broken", "gone"],
)
def test_without_the_raw_rows_of_either_run_rows_are_drawn_and_said_to_be(
    compared: ComparedRuns, tmp_path: Path, content: bytes | None, note: str
) -> None:
    place = compared.first.copy(tmp_path).place
    for run_id in (compared.a, compared.b):
        path = folder_of(place, run_id).path / "preprocess" / "test.parquet"
        path.unlink()
        if content is not None:
            path.write_bytes(content)
    pairing = diff_runs(compared.a, compared.b, place).metrics.pairing
    assert pairing is not None
    assert (pairing.unit, pairing.n_units) == ("row", pairing.n_rows)
    assert pairing.note.startswith(note)


def test_the_other_runs_raw_rows_serve_too(compared: ComparedRuns, tmp_path: Path, paired: MetricsDiff) -> None:
    place = compared.first.copy(tmp_path).place
    (folder_of(place, compared.a).path / "preprocess" / "test.parquet").unlink()
    assert diff_runs(compared.a, compared.b, place).metrics.pairing == paired.pairing


def test_raw_rows_that_are_others_are_not_used(compared: ComparedRuns, tmp_path: Path) -> None:
    place = compared.first.copy(tmp_path).place
    path = folder_of(place, compared.a).path / "preprocess" / "test.parquet"
    pq.write_table(pq.read_table(path)[1:], path)
    pairing = diff_runs(compared.a, compared.b, place).metrics.pairing
    assert pairing is not None
    assert pairing.note == "the raw test rows on this machine are others: rows were drawn"


def test_broken_predictions_are_said(compared: ComparedRuns, tmp_path: Path) -> None:
    place = compared.first.copy(tmp_path).place
    (folder_of(place, compared.b).path / "evaluate" / "predictions.parquet").write_bytes(b"no parquet")
    metrics = diff_runs(compared.a, compared.b, place).metrics
    assert str(metrics.unpaired).startswith("the predictions of B cannot be read (")


@pytest.mark.parametrize(
    ("name", "values", "finding"),
    [
        ("logloss", (0.2, 0.1), "better"),
        ("logloss", (0.1, 0.2), "worse"),
        ("auc", (0.6, 0.7), "better"),
        ("lift_at_5pct", (3.0, 2.0), "worse"),
        ("calibration", (1.4, 1.1), "better"),
        ("calibration", (0.9, 0.7), "worse"),
        ("calibration", (0.9, 1.2), "moved"),
        ("mean_prediction", (0.1, 0.2), "moved"),
    ],
    ids=["loss-down", "loss-up", "auc-up", "lift-down", "nearer", "farther", "across", "neutral"],
)
def test_a_clear_difference_is_judged_by_the_metrics_direction(
    name: str, values: tuple[float, float], finding: str
) -> None:
    assert _direction(name, *values) == finding


def edit_evaluation(place: Place, run_id: str, estimates: Mapping[str, Any]) -> None:
    path = folder_of(place, run_id).path / "evaluate" / "evaluation.json"
    values = json.loads(path.read_bytes())
    values["scorecard"]["estimates"] |= estimates
    path.write_text(json.dumps(values), encoding="utf-8")


def test_own_metrics_are_told_without_a_paired_interval(compared: ComparedRuns, tmp_path: Path) -> None:
    place = compared.first.copy(tmp_path).place
    own = {"value": 0.5, "low": 0.4, "high": 0.6, "n_rows": 400, "n_clicks": 40, "reason": None}
    edit_evaluation(place, compared.a, {"profit": own, "margin_only_a": own})
    edit_evaluation(place, compared.b, {"profit": {**own, "value": 0.75}})
    found = by_name(diff_runs(compared.a, compared.b, place).metrics)
    assert (found["profit"].delta, found["profit"].low) == (0.25, None)
    assert found["profit"].reason == "an own metric is not computed again"
    assert (found["margin_only_a"].b, found["margin_only_a"].delta) == (None, None)


def test_a_metric_that_the_runs_define_otherwise_is_not_paired(
    compared: ComparedRuns, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = compared.first.copy(tmp_path).place
    monkeypatch.setattr(diff_metrics, "_SETTINGS_THAT_DEFINE", {"ece": "slice_min_rows"})
    found = by_name(diff_runs(compared.a, compared.b, place).metrics)
    assert found["ece"].reason is None
    folder = folder_of(place, compared.b)
    recipe = Recipe.from_json(folder.recipe.read_bytes())
    settings = json.loads(json.dumps(plain(recipe.identity.settings)))
    settings["evaluate"]["slice_min_rows"] = 7
    folder.recipe.write_bytes(replace(recipe, identity=replace(recipe.identity, settings=settings)).to_json())
    found = by_name(diff_runs(compared.a, compared.b, place).metrics)
    assert (found["ece"].low, found["ece"].reason) == (None, "evaluate.slice_min_rows differs")


def test_a_column_that_tells_no_users_leaves_rows_to_be_drawn(compared: ComparedRuns, tmp_path: Path) -> None:
    place = compared.first.copy(tmp_path).place
    folder = folder_of(place, compared.a)
    recipe = Recipe.from_json(folder.recipe.read_bytes())
    settings = json.loads(json.dumps(plain(recipe.identity.settings)))
    settings["data"]["columns"]["user"] = None
    folder.recipe.write_bytes(replace(recipe, identity=replace(recipe.identity, settings=settings)).to_json())
    pairing = diff_runs(compared.a, compared.b, place).metrics.pairing
    assert pairing is not None
    assert (pairing.unit, pairing.note) == ("row", "no column tells users: rows were drawn")
    settings["data"]["columns"]["group"] = "user"
    folder.recipe.write_bytes(replace(recipe, identity=replace(recipe.identity, settings=settings)).to_json())
    pairing = diff_runs(compared.a, compared.b, place).metrics.pairing
    assert pairing is not None
    assert (pairing.unit, pairing.note) == ("group", "")
