"""Predictions of the same rows are paired by the rows' hashes; a copy that nothing proves is not taken."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ctr_pipeline.data.order import ROW_HASH
from ctr_pipeline.data.version import table_digest
from ctr_pipeline.reproduce.original import Original
from ctr_pipeline.reproduce.predictions import (
    MARGIN,
    PROBABILITY,
    Predictions,
    compare_predictions,
    differ_by_rounding,
    original_predictions,
    read_predictions,
)
from tracking.recipe import Circumstances, Identity, Outputs, Recipe

_ROWS: Final = [7, 3, 3, 2**64 - 1]
_MARGINS: Final = [0.5, -1.0, -2.0, 2.0]


def _table(rows: list[int], margins: list[float], probabilities: list[float] | None = None) -> pa.Table:
    chances = probabilities or [1 / (1 + np.exp(-margin)) for margin in margins]
    return pa.table(
        {
            ROW_HASH: pa.array(rows, pa.uint64()),
            MARGIN: pa.array(margins, pa.float32()),
            PROBABILITY: pa.array(chances, pa.float64()),
        }
    )


def _digests(table: pa.Table) -> dict[str, str]:
    pairs = {"margins": MARGIN, "predictions": PROBABILITY}
    return {layer: table_digest(table.select([ROW_HASH, name]), ordered=False) for layer, name in pairs.items()}


def _write(path: Path, table: pa.Table) -> Path:
    pq.write_table(table, path)
    return path


def _read(path: Path, table: pa.Table) -> Predictions:
    found = read_predictions(_write(path, table))
    assert found is not None
    return found


def test_rows_are_paired_in_whatever_order_they_were_written(tmp_path: Path) -> None:
    first = _read(tmp_path / "a.parquet", _table(_ROWS, _MARGINS))
    second = _read(tmp_path / "b.parquet", _table(_ROWS[::-1], _MARGINS[::-1]))
    assert first.rows.tolist() == [3, 3, 7, 2**64 - 1]
    assert first.margins.tolist() == second.margins.tolist() == [-2.0, -1.0, 0.5, 2.0]
    found = compare_predictions(first, second)
    assert found is not None
    assert (found.n_rows, found.n_differing, found.largest, found.largest_probability) == (4, 0, 0.0, 0.0)


def test_how_far_predictions_moved_is_measured_in_log_odds_and_as_probability(tmp_path: Path) -> None:
    first = _read(tmp_path / "a.parquet", _table([1, 2, 3, 4], [0.0] * 4, [0.5] * 4))
    second = _read(tmp_path / "b.parquet", _table([1, 2, 3, 4], [0.0, 1.0, -3.0, 0.0], [0.5, 0.75, 0.0625, 0.5]))
    found = compare_predictions(first, second)
    assert found is not None
    assert (found.n_differing, found.mean, found.median, found.largest) == (2, 1.0, 0.5, 3.0)
    assert found.largest_probability == 0.4375
    assert 2.9 < found.q99 < 3.0


@pytest.mark.parametrize("rows", [[7, 3, 4, 2**64 - 1], [7, 3, 3]])
def test_predictions_of_other_rows_are_not_compared(tmp_path: Path, rows: list[int]) -> None:
    first = _read(tmp_path / "a.parquet", _table(_ROWS, _MARGINS))
    second = _read(tmp_path / "b.parquet", _table(rows, _MARGINS[: len(rows)]))
    assert compare_predictions(first, second) is None
    assert not differ_by_rounding(first, second)


def test_no_rows_have_no_difference(tmp_path: Path) -> None:
    none = _read(tmp_path / "a.parquet", _table([], [], []))
    found = compare_predictions(none, none)
    assert found is not None
    assert (found.n_rows, found.largest, found.largest_probability) == (0, 0.0, 0.0)


@pytest.mark.parametrize(("ulps", "is_rounding"), [(0, True), (4, True), (-4, True), (5, False), (-40, False)])
def test_rounding_is_at_most_four_units_in_the_last_place(tmp_path: Path, ulps: int, *, is_rounding: bool) -> None:
    probability = 0.3
    moved = probability + ulps * float(np.spacing(probability))
    first = _read(tmp_path / "a.parquet", _table([1], [0.5], [probability]))
    second = _read(tmp_path / "b.parquet", _table([1], [0.5], [moved]))
    assert differ_by_rounding(first, second) is is_rounding


def test_other_margins_are_no_rounding(tmp_path: Path) -> None:
    first = _read(tmp_path / "a.parquet", _table([1], [0.5], [0.3]))
    second = _read(tmp_path / "b.parquet", _table([1], [float(np.nextafter(np.float32(0.5), np.float32(1)))], [0.3]))
    assert not differ_by_rounding(first, second)


def test_a_file_is_taken_only_with_the_margins_and_the_probabilities_of_the_recipe(tmp_path: Path) -> None:
    table = _table(_ROWS, _MARGINS)
    path, digests = _write(tmp_path / "a.parquet", table), _digests(table)
    assert read_predictions(path, digests) is not None
    assert read_predictions(path, {**digests, "margins": "0" * 32}) is None
    assert read_predictions(path, {**digests, "predictions": "0" * 32}) is None
    assert read_predictions(path, {"margins": digests["margins"]}) is None


def test_what_is_no_prediction_file_is_not_taken(tmp_path: Path) -> None:
    (tmp_path / "broken.parquet").write_bytes(b"broken")
    _write(tmp_path / "other.parquet", pa.table({ROW_HASH: [1]}))
    nested = _table([1], [0.5]).set_column(1, MARGIN, pa.array([[{"a": 1}]]))
    _write(tmp_path / "nested.parquet", nested)
    for name in ("broken", "other", "gone", "nested"):
        assert read_predictions(tmp_path / f"{name}.parquet", _digests(_table([1], [0.5]))) is None, name


@dataclass
class _Documents:
    paths: list[Path]

    def copies(self, artifact: str) -> list[Path]:
        assert artifact == "predictions.parquet"
        return self.paths


def test_the_first_copy_that_the_recipe_proves_is_taken(tmp_path: Path) -> None:
    table = _table(_ROWS, _MARGINS)
    harmed = _write(tmp_path / "harmed.parquet", _table(_ROWS, [*_MARGINS[:3], 2.5]))
    right = _write(tmp_path / "right.parquet", table)
    identity = Identity("c", "d", {}, "l", "3.12.1", 1)
    recipe = Recipe(identity, Circumstances(), Outputs(_digests(table)))
    documents: Any = _Documents([harmed, right])
    found = original_predictions(Original(documents, recipe))
    assert found is not None
    assert found.margins.tolist() == sorted(_MARGINS, key=lambda margin: {-2.0: 0, -1.0: 1, 0.5: 2, 2.0: 3}[margin])
    without: Any = _Documents([harmed])
    assert original_predictions(Original(without, recipe)) is None
    assert original_predictions(Original(documents, None)) is None
    assert original_predictions(Original(cast("Any", documents), Recipe(identity, Circumstances()))) is None
