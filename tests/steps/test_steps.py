"""The three steps on a small log: what they find out, and that nothing but the data and settings decides it."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ctr_pipeline.steps.job import StepRecord
from tests.small_log import data_folder, impressions, run_step, run_steps, small_settings
from tracking.errors import InputError
from tracking.items import read_items
from tracking.records import Artifact, DatasetInput, Metric, ModelArtifact, Param, Tag

TABLE = impressions(2_000)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, StepRecord]]:
    """A folder of finished steps, and their records."""
    folder = tmp_path_factory.mktemp("finished")
    data = data_folder({"a.parquet": TABLE}, folder)
    return folder, run_steps(small_settings(evaluate={"slices": ["site", "position"]}), data, folder)


def _outputs(records: dict[str, StepRecord]) -> dict[str, str]:
    return {name: digest for record in records.values() for name, digest in record.outputs.items()}


@pytest.mark.parametrize("by", ["time", "user", "row"])
@pytest.mark.parametrize("scheme", ["time", "kfold"])
def test_shuffled_rows_files_columns_and_blocks_give_the_same_model(tmp_path: Path, by: str, scheme: str) -> None:
    sections: dict[str, Any] = {"split": {"by": by}, "features": {"statistics": {"scheme": scheme}}}
    one = run_steps(small_settings(**sections), data_folder({"a.parquet": TABLE}, tmp_path / "1"), tmp_path / "1")
    shuffled = TABLE.take(np.random.default_rng(3).permutation(TABLE.num_rows)).select(sorted(TABLE.schema.names))
    files = {f"part-{place}.parquet": shuffled.slice(place * 700, 700) for place in (2, 0, 1)}
    spilled = small_settings(**sections, runtime={"batch_rows": 111, "threads": 2})
    again = run_steps(spilled, data_folder(files, tmp_path / "2"), tmp_path / "2")
    assert _outputs(again) == _outputs(one)


def test_every_row_is_counted_once(finished: tuple[Path, dict[str, StepRecord]]) -> None:
    facts = finished[1]["preprocess"].facts
    assert sum(split["n_rows"] for split in facts["splits"].values()) + facts["left_out_rows"] == TABLE.num_rows
    assert sum(split["n_clicks"] for split in facts["splits"].values()) == sum(TABLE["click"].to_pylist())
    assert facts["windows"]["test_end"] == "2026-03-08T00:00:00Z"
    assert facts["statistics_scheme"] == "time"
    assert facts["categories"] == {"site": 12, "ad": 60, "site x device": 36}


def test_nothing_of_the_scratch_is_left(finished: tuple[Path, dict[str, StepRecord]]) -> None:
    names = {path.name for path in (finished[0] / "preprocess").iterdir()}
    assert names == {
        "encoder",
        "items.jsonl",
        "step.json",
        "test.parquet",
        "train.parquet",
        "validation.parquet",
    }


def test_the_steps_items_name_data_settings_and_figures(finished: tuple[Path, dict[str, StepRecord]]) -> None:
    items = {name: read_items(finished[0] / name / "items.jsonl") for name in finished[1]}
    datasets = {item.name: item.context for item in items["preprocess"] if isinstance(item, DatasetInput)}
    assert datasets == {"small": "raw", "train": "training", "validation": "validation", "test": "test"}
    params = {item.key: item.value for name in items for item in items[name] if isinstance(item, Param)}
    assert params["train.max_depth"] == "3"
    assert params["features.clip.price"] == "[null,80.0]"
    assert params["data.columns.label"] == "click"
    assert params["evaluate.replicates"] == "100"
    assert params["booster.tree_method"] == "hist"
    curve = [item for item in items["train"] if isinstance(item, Metric) and item.key == "train.logloss_by_round"]
    assert [item.step for item in curve] == list(range(1, finished[1]["train"].facts["rounds_run"] + 1))
    assert [item.name for item in items["train"] if isinstance(item, ModelArtifact)] == ["ctr-model"]
    assert finished[1]["train"].outputs["model"] in [item.value for item in items["train"] if isinstance(item, Tag)]
    measured = {item.key for item in items["evaluate"] if isinstance(item, Metric)}
    assert {"test.logloss", "test.auc", "test.auc.low", "test.calibration", "test.as_logged.logloss"} <= measured
    assert {item.path for item in items["evaluate"] if isinstance(item, Artifact)} == {
        "evaluation.json",
        "predictions.parquet",
    }


def test_importances_are_listed_best_first(finished: tuple[Path, dict[str, StepRecord]]) -> None:
    with (finished[0] / "train" / "importance.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    gains = [float(row["total_gain"]) for row in rows]
    assert gains == sorted(gains, reverse=True)
    assert {row["feature"] for row in rows} == set(finished[1]["preprocess"].facts["feature_names"])


def test_predictions_are_kept_for_each_test_row_without_user_ids(finished: tuple[Path, dict[str, StepRecord]]) -> None:
    table = pq.read_table(finished[0] / "evaluate" / "predictions.parquet")
    assert table.num_rows == finished[1]["preprocess"].facts["splits"]["test"]["n_rows"]
    assert set(table.schema.names) == {"@row", "label", "margin", "probability", "cold", "probability_as_logged"}
    assert table["@row"].to_pylist() == pq.read_table(finished[0] / "preprocess" / "test.parquet")["@row"].to_pylist()


def test_the_evaluation_is_json_with_slices_in_it(finished: tuple[Path, dict[str, StepRecord]]) -> None:
    text = (finished[0] / "evaluate" / "evaluation.json").read_text(encoding="utf-8")
    evaluation = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert evaluation["format"] == 1
    assert [table["column"] for table in evaluation["slices"]] == ["position", "site"]
    assert evaluation["scorecard"]["bootstrap"]["unit"] == "user"


def test_without_validation_clicks_nothing_stops_early(tmp_path: Path) -> None:
    quiet = TABLE.set_column(TABLE.schema.get_field_index("click"), "click", _quiet_validation())
    settings = small_settings(train={"rounds": 60, "learning_rate": 1.0, "early_stopping_rounds": 1})
    data = data_folder({"a.parquet": quiet}, tmp_path)
    splits = run_step("preprocess", settings, tmp_path / "splits", data=data)
    assert splits.facts["splits"]["validation"]["n_clicks"] == 0
    facts = run_step("train", settings, tmp_path / "train", splits=tmp_path / "splits").facts
    assert (facts["best_round"], set(facts["best"])) == (60, {"train"})
    assert facts["early_stopping"] == "off: the validation split has no click"
    assert Tag("early_stopping", facts["early_stopping"], scope="run") in read_items(tmp_path / "train" / "items.jsonl")


@pytest.mark.parametrize(
    ("sections", "told"),
    [
        ({}, "on"),
        ({"train": {"early_stopping_rounds": None}}, "off: train.early_stopping_rounds is null"),
        ({"split": {"validation_rate": 0.0}}, "off: the validation split has no rows"),
    ],
)
def test_a_run_is_told_whether_it_may_stop_early(tmp_path: Path, sections: dict[str, Any], told: str) -> None:
    settings = small_settings(
        **{"split": {"by": "row"}} | {k: {"by": "row"} | v if k == "split" else v for k, v in sections.items()}
    )
    data = data_folder({"a.parquet": TABLE}, tmp_path)
    run_step("preprocess", settings, tmp_path / "splits", data=data)
    assert run_step("train", settings, tmp_path / "train", splits=tmp_path / "splits").facts["early_stopping"] == told


@pytest.mark.parametrize(("end", "warned"), [("2026-03-08", False), ("2026-03-08T22:00:00Z", True)])
def test_a_test_window_that_the_log_hardly_covers_is_warned_of(tmp_path: Path, end: str, *, warned: bool) -> None:
    data = data_folder({"a.parquet": TABLE}, tmp_path)
    run_step("preprocess", small_settings(split={"end": end}), tmp_path / "splits", data=data)
    items = read_items(tmp_path / "splits" / "items.jsonl")
    tags = [item.value for item in items if isinstance(item, Tag) and item.key == "test_window"]
    assert [tag[:28] for tag in tags] == (["warning: the log covers 8.2%"] if warned else [])


def _quiet_validation() -> pa.Array:
    days = TABLE["time"].cast(pa.int64()).to_numpy() // 86_400_000_000
    return pa.array(np.where(days == days.max() - 1, 0, TABLE["click"].to_numpy()).astype(np.int8))


def test_a_log_without_users_times_or_context_is_evaluated_too(tmp_path: Path) -> None:
    columns: dict[str, Any] = {"time": None, "user": None, "context": {}}
    settings = small_settings(data={"columns": columns}, split={"by": "row"}, features={"time_parts": []})
    table = TABLE.drop_columns(["time", "user", "position"])
    records = run_steps(settings, data_folder({"a.parquet": table}, tmp_path), tmp_path)
    metrics = records["evaluate"].facts["metrics"]
    assert "test.logloss" in metrics
    assert not any(name.startswith(("test.as_logged", "test.grouped_auc")) for name in metrics)
    assert records["preprocess"].facts["time_range_us"] is None


def test_rows_of_nobody_known_are_not_one_user(tmp_path: Path) -> None:
    users = pa.array([None] * TABLE.num_rows, pa.string())
    table = TABLE.set_column(TABLE.schema.get_field_index("user"), "user", users)
    records = run_steps(small_settings(), data_folder({"a.parquet": table}, tmp_path), tmp_path)
    bootstrap = records["evaluate"].facts["bootstrap"]
    assert bootstrap["n_units"] == records["preprocess"].facts["splits"]["test"]["n_rows"]


def test_repeated_rows_do_not_leak_their_label_through_folds(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    n_rows = 4_000
    # Sixteen different rows and a label by chance: whatever tells the labels apart is a leak.
    table = pa.table({"site": rng.integers(0, 16, n_rows), "click": rng.integers(0, 2, n_rows)})
    columns: dict[str, Any] = {
        "time": None,
        "user": None,
        "context": {},
        "numeric": [],
        "native": [],
        "categorical": ["site"],
    }
    features: dict[str, Any] = {"time_parts": [], "crosses": [], "clip": {}}
    settings = small_settings(data={"columns": columns}, split={"by": "row"}, features=features)
    records = run_steps(settings, data_folder({"a.parquet": table}, tmp_path), tmp_path)
    assert records["evaluate"].facts["metrics"]["test.auc"] == pytest.approx(0.5, abs=0.06)
    train = pq.read_table(tmp_path / "preprocess" / "train.parquet")
    rates, clicks = train["site.rate"].to_numpy(), train["@label"].to_numpy()
    assert rates[clicks == 1].mean() == pytest.approx(rates[clicks == 0].mean(), abs=0.02)


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        (
            {"split": {"by": "row", "test_rate": 0}},
            r"^the test split has no rows, must have some; check split\.\* against",
        ),
        (
            {"split": {"by": "files", "test_files": ["*"]}},
            r"^no row is left to train on, must be some; check split\.\* against the data$",
        ),
        (
            {"split": {"by": "row"}, "train": {"monotone": {"prize": 1}}},
            r"^train\.monotone names 'prize', must be a feature: price, ",
        ),
        (
            {"evaluate": {"metrics": {"own": "nowhere.metrics:hits"}}},
            r"^own metric own == 'nowhere\.metrics:hits', its mod",
        ),
    ],
)
def test_a_plan_that_cannot_end_well_is_refused_before_the_training(
    tmp_path: Path, sections: dict[str, Any], message: str
) -> None:
    data = data_folder({"a.parquet": TABLE.slice(0, 100)}, tmp_path)
    with pytest.raises(InputError, match=message):
        run_step("preprocess", small_settings(**sections), tmp_path / "splits", data=data)
