"""Permuted rows: the same rows, an order that the seed decides, whatever the buckets."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctr_pipeline.data.permuted import permute_rows


def _permuted(folder: Path, table: pa.Table, *, seed: int, batch_rows: int) -> pa.Table:
    pq.write_table(table, folder / "rows.parquet")
    permute_rows(
        folder / "rows.parquet",
        folder / "permuted.parquet",
        seed=seed,
        batch_rows=batch_rows,
        check=lambda: None,
    )
    return pq.read_table(folder / "permuted.parquet")


@given(n_rows=st.integers(0, 400), batch_rows=st.integers(1, 90), seed=st.integers(0, 2**31 - 1))
def test_every_row_is_there_once(
    n_rows: int, batch_rows: int, seed: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    table = pa.table({"row": np.arange(n_rows), "half": np.arange(n_rows, dtype=np.float32) / 2})
    found = _permuted(tmp_path_factory.mktemp("permuted"), table, seed=seed, batch_rows=batch_rows)
    assert found.schema.equals(table.schema)
    assert found.sort_by("row").equals(table)


def test_the_seed_alone_decides_the_order(tmp_path: Path) -> None:
    table = pa.table({"row": np.arange(1_000)})
    orders = {
        (seed, batch_rows): _permuted(tmp_path, table, seed=seed, batch_rows=batch_rows).column("row").to_pylist()
        for seed, batch_rows in ((1, 1_000), (1, 64), (1, 3), (2, 64))
    }
    assert orders[1, 1_000] == orders[1, 64] == orders[1, 3]
    assert orders[1, 64] != orders[2, 64]
    assert orders[1, 64] != sorted(orders[1, 64])


def test_a_position_is_as_likely_as_any_other(tmp_path: Path) -> None:
    table = pa.table({"row": np.arange(20)})
    places = [_permuted(tmp_path, table, seed=seed, batch_rows=7).column("row").to_pylist() for seed in range(200)]
    assert np.abs(np.mean(places, axis=0) - 9.5).max() < 2


def test_it_can_be_ended_between_batches_and_leaves_no_spilled_rows(tmp_path: Path) -> None:
    pq.write_table(pa.table({"row": np.arange(100)}), tmp_path / "rows.parquet")

    def end() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        permute_rows(tmp_path / "rows.parquet", tmp_path / "permuted.parquet", seed=1, batch_rows=10, check=end)
    assert [path.name for path in tmp_path.iterdir()] == ["rows.parquet"]
