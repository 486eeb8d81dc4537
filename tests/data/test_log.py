"""A log in canonical order: which rows are in which split, whatever order and files they came in."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ctr_pipeline.config import Settings
from ctr_pipeline.data.log import ImpressionLog, gather_log, read_raw_split, write_raw_split
from ctr_pipeline.data.order import ROW_HASH
from ctr_pipeline.data.source import Source
from ctr_pipeline.data.splits import Split
from tests.small_log import impressions, small_settings
from tracking.errors import InputError
from tracking.times import HOUR_US

_PLANS: Mapping[str, Mapping[str, Any]] = {
    "time": {},
    "user": {"split": {"by": "user"}},
    "row": {"split": {"by": "row"}},
}


def _gather(folder: Path, files: Mapping[str, pa.Table], settings: Settings) -> ImpressionLog:
    for name, table in files.items():
        path = folder / "raw" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, path)
    source = Source.open(str(folder / "raw"))
    return gather_log(source, settings, period_us=HOUR_US, folder=folder / "runs", on_rows=lambda _: None)


def _digests(log: ImpressionLog, folder: Path) -> dict[str, tuple[int, int, str]]:
    found = {split.name: write_raw_split(log, split, folder / f"{split.name}.parquet") for split in Split}
    return {name: (summary.n_rows, summary.n_clicks, summary.digest) for name, summary in found.items()}


@pytest.mark.parametrize("plan", _PLANS)
def test_shuffled_rows_files_and_blocks_give_the_same_splits(tmp_path: Path, plan: str) -> None:
    table = impressions(1_500)
    one = _digests(_gather(tmp_path / "a", {"all.parquet": table}, small_settings(**_PLANS[plan])), tmp_path / "a")
    shuffled = table.take(np.random.default_rng(5).permutation(1_500))
    shuffled = shuffled.select(sorted(shuffled.schema.names))
    parts = {f"z{9 - place}/part.parquet": shuffled.slice(place * 500, 500) for place in range(3)}
    spilled = small_settings(**_PLANS[plan], runtime={"batch_rows": 97})
    assert _digests(_gather(tmp_path / "b", parts, spilled), tmp_path / "b") == one
    assert list((tmp_path / "b" / "runs").glob("run-*.arrow"))
    assert sum(n_rows for n_rows, _, _ in one.values()) == 1_500
    assert all(one[name][0] > 50 for name in ("TRAIN", "VALIDATION", "TEST"))


def test_rows_of_one_user_stay_together(tmp_path: Path) -> None:
    log = _gather(tmp_path, {"a.parquet": impressions(1_000)}, small_settings(split={"by": "user"}))
    users = [
        {user for block in log.blocks(split) for user in block.rows.column("user").to_pylist()}
        for split in (Split.TRAIN, Split.VALIDATION, Split.TEST)
    ]
    assert sum(len(found) for found in users) == len(set.union(*users))


@pytest.mark.parametrize("unknown", ["null", "dictionary"])
def test_rows_of_nobody_known_are_divided_like_rows_and_not_like_one_user(tmp_path: Path, unknown: str) -> None:
    table = impressions(1_000)
    users = pa.array([None] * 900 + table["user"].to_pylist()[900:], pa.string())
    users = users.dictionary_encode() if unknown == "dictionary" else users
    table = table.set_column(table.schema.get_field_index("user"), "user", users)
    log = _gather(tmp_path, {"a.parquet": table}, small_settings(split={"by": "user"}))
    for split, share in ((Split.TRAIN, 0.7), (Split.VALIDATION, 0.1), (Split.TEST, 0.2)):
        found = sum(block.rows.column("user").null_count for block in log.blocks(split))
        assert found == pytest.approx(900 * share, rel=0.3)


def test_files_say_their_rows_split(tmp_path: Path) -> None:
    table = impressions(300)
    files = {
        "day=1/a.parquet": table.slice(0, 150),
        "day=2/a.parquet": table.slice(150, 50),
        "day=3/a.parquet": table.slice(200),
    }
    plan = {"by": "files", "validation_files": ["day=2/*"], "test_files": ["day=3/*"]}
    log = _gather(tmp_path, files, small_settings(split=plan))
    found = {split: sum(len(block.rows) for block in log.blocks(split)) for split in Split}
    assert found == {Split.LEFT_OUT: 0, Split.TRAIN: 150, Split.VALIDATION: 50, Split.TEST: 100}
    assert all("@split" not in block.rows.table.schema.names for block in log.blocks(Split.TEST))


def test_copies_of_a_row_are_divided_like_other_rows_whatever_their_label(tmp_path: Path) -> None:
    one = impressions(2).slice(0, 1).drop_columns(["click"])
    copies = [one.append_column("click", pa.array([label], pa.int8())) for label in (0, 1) for _ in range(500)]
    log = _gather(tmp_path, {"a.parquet": pa.concat_tables(copies)}, small_settings(split={"by": "row"}))
    for split in (Split.TRAIN, Split.VALIDATION, Split.TEST):
        labels = np.concatenate([block.rows.labels() for block in log.blocks(split)])
        assert np.mean(labels) == pytest.approx(0.5, abs=0.15)


def test_a_block_knows_its_rows_hashes_and_their_periods_never_fall(tmp_path: Path) -> None:
    log = _gather(tmp_path, {"a.parquet": impressions(500)}, small_settings(runtime={"batch_rows": 50}))
    blocks = list(log.blocks(Split.TRAIN))
    periods = np.concatenate([block.periods for block in blocks])
    assert len(blocks) > 3
    assert (np.diff(periods) >= 0).all()
    for block in blocks:
        times = block.rows.times_us()
        assert times is not None
        assert (times // HOUR_US == block.periods).all()
    assert len(np.unique(np.concatenate([block.words for block in blocks]))) == len(periods)


def test_what_is_gathered_is_told(tmp_path: Path) -> None:
    table = impressions(200)
    log = _gather(tmp_path, {"a.parquet": table}, small_settings())
    times = table["time"].cast(pa.int64()).to_numpy()
    assert (log.n_rows, log.time_range) == (200, (int(times.min()), int(times.max())))
    assert log.windows is not None


def test_without_a_time_column_there_is_no_time_range(tmp_path: Path) -> None:
    settings = small_settings(data={"columns": {"time": None}}, split={"by": "row"}, features={"time_parts": []})
    log = _gather(tmp_path, {"a.parquet": impressions(200).drop_columns(["time"])}, settings)
    assert (log.time_range, log.windows) == (None, None)


def test_a_raw_split_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    log = _gather(tmp_path, {"a.parquet": impressions(300)}, small_settings(runtime={"batch_rows": 40}))
    path = tmp_path / "test.parquet"
    summary = write_raw_split(log, Split.TEST, path)
    batches = list(read_raw_split(path, 7))
    assert all(batch.num_rows <= 7 for batch in batches)
    table = pa.Table.from_batches(batches)
    assert table.num_rows == summary.n_rows
    assert pa.compute.sum(table["click"]).as_py() == summary.n_clicks
    assert set(table.schema.names) == {*impressions(1).schema.names, ROW_HASH}


def test_a_split_without_rows_is_no_file(tmp_path: Path) -> None:
    log = _gather(tmp_path, {"a.parquet": impressions(300)}, small_settings(split={"by": "row", "validation_rate": 0}))
    summary = write_raw_split(log, Split.VALIDATION, tmp_path / "none.parquet")
    assert (summary.n_rows, (tmp_path / "none.parquet").exists()) == (0, False)
    assert list(read_raw_split(tmp_path / "none.parquet", 7)) == []


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"split": {"end": "2027-01-01"}}, r"^the test window .* lies outside the data"),
        (
            {"data": {"columns": {"label": "clik"}}},
            r"^column 'clik' is missing, must be one of .*click.*; mend data\.columns",
        ),
        ({"data": {"columns": {"group": "request"}}}, r"^column 'request' is missing, must be one of"),
        (
            {"evaluate": {"slices": ["country"]}},
            r"^column 'country' is missing, must be one of .*; mend evaluate\.slices or",
        ),
        (
            {
                "data": {"columns": {"numeric": ["price", "made"]}},
                "features": {"custom": "own:make"},
                "evaluate": {"slices": ["made"]},
            },
            r"^column 'made' is missing, must be one of the log's own .*, as slices are of raw columns; mend",
        ),
        (
            {"split": {"by": "files", "test_files": ["z*"]}},
            r"^split\.test_files has 'z\*', must fit a file of the data: a\.p",
        ),
    ],
)
def test_settings_that_do_not_fit_the_data_are_refused_before_anything_is_computed(
    tmp_path: Path, sections: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        _gather(tmp_path, {"a.parquet": impressions(100)}, small_settings(**sections))


def test_a_custom_function_may_make_features_that_the_log_lacks(tmp_path: Path) -> None:
    settings = small_settings(data={"columns": {"numeric": ["price", "made"]}}, features={"custom": "own:make"})
    assert _gather(tmp_path, {"a.parquet": impressions(100)}, settings).n_rows == 100


def test_a_log_without_rows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"^sample:open_bandit has no rows, must have some; bring a log with impressions$"
    ):
        _gather(tmp_path, {"a.parquet": impressions(1).slice(0, 0)}, small_settings())


def test_rows_at_or_after_the_runs_clock_are_left_out(tmp_path: Path) -> None:
    table = impressions(1_200)
    clock = "2026-03-06T12:00:00Z"
    log = _gather(tmp_path / "all", {"a.parquet": table}, small_settings(as_of=clock))
    before = table.filter(pa.array([time.isoformat() < clock[:-1] for time in table["time"].to_pylist()]))
    cut = _gather(tmp_path / "cut", {"a.parquet": before}, small_settings())
    assert 0 < before.num_rows < 1_200
    assert log.n_rows == 1_200
    assert _digests(log, tmp_path / "all") == _digests(cut, tmp_path / "cut")
