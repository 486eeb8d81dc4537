"""Preprocess with a finished model: test rows alone come out, and nothing is needed to train on."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ctr_pipeline.data.splits import plan_windows
from ctr_pipeline.steps.job import read_step
from tests.small_log import START_US, data_folder, impressions, run_step, small_settings
from tracking.errors import InputError
from tracking.items import read_items
from tracking.records import Artifact, DatasetInput
from tracking.times import DAY_US


def _preprocess(table: pa.Table, folder: Path, **changed: Any) -> Path:  # noqa: ANN401 - settings of any kind
    data = data_folder({"log.parquet": table}, folder)
    run_step("preprocess", small_settings(**changed), folder / "output", data=data, frozen=folder)
    return folder / "output"


def test_only_the_test_rows_come_out(tmp_path: Path) -> None:
    output = _preprocess(impressions(600), tmp_path)
    record = read_step(output)
    assert record.outputs.keys() == {"split.test"}
    assert record.facts["splits"].keys() == {"test"}
    assert sorted(path.name for path in output.iterdir()) == ["items.jsonl", "step.json", "test.parquet"]
    items = read_items(output / "items.jsonl")
    assert [item.context for item in items if isinstance(item, DatasetInput)] == ["raw", "test"]
    assert not any(isinstance(item, Artifact) for item in items)


def test_the_test_rows_are_those_that_a_whole_preprocessing_finds(tmp_path: Path) -> None:
    data = data_folder({"log.parquet": impressions(600)}, tmp_path)
    for name, more in (("whole", {}), ("frozen", {"frozen": tmp_path})):
        run_step("preprocess", small_settings(), tmp_path / name, data=data, **more)
    whole, frozen = read_step(tmp_path / "whole"), read_step(tmp_path / "frozen")
    assert frozen.outputs["split.test"] == whole.outputs["split.test"]
    assert frozen.facts["windows"] == whole.facts["windows"]
    assert pq.read_table(tmp_path / "frozen/test.parquet").equals(pq.read_table(tmp_path / "whole/test.parquet"))


@pytest.mark.parametrize("batch_rows", [50, 100_000], ids=["spilled", "in memory"])
def test_a_log_of_one_day_is_tested_whole(batch_rows: int, tmp_path: Path) -> None:
    output = _preprocess(impressions(300, days=1), tmp_path, runtime={"batch_rows": batch_rows})
    assert read_step(output).facts["splits"]["test"]["n_rows"] == 300


def test_a_log_whose_rows_are_all_of_the_test_split_will_do(tmp_path: Path) -> None:
    split = {"by": "files", "test_files": ["log.parquet"]}
    output = _preprocess(impressions(50), tmp_path, split=split)
    assert read_step(output).facts["splits"]["test"]["n_rows"] == 50


def test_without_a_test_row_it_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the test split has no rows, must have some"):
        _preprocess(impressions(3), tmp_path, split={"by": "user", "test_rate": 1e-6, "validation_rate": 0.1})


def test_windows_of_a_short_log_keep_their_length() -> None:
    split = small_settings().split
    short = plan_windows(split, START_US, START_US + DAY_US - 1)
    whole = plan_windows(split, START_US, START_US + DAY_US - 1, only_test=True)
    assert short.test_end - short.test_start == DAY_US // 5
    assert (whole.test_start, whole.test_end) == (START_US, START_US + DAY_US)
