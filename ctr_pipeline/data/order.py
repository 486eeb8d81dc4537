"""Canonical order of rows: by (period, 64-bit row hash), whatever order the files had them in.

Rows are sorted run by run; runs beyond the first go to disk and are merged block by block, so memory holds about two
runs however long the log is.
"""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.ipc

from ctr_pipeline.data.hashing import U64, mix64

PERIOD: Final = "@period"
ROW_HASH: Final = "@row"
_SAMPLES_PER_BLOCK: Final = 64


class CanonicalOrder:
    """Gathers rows in any order and gives them back in canonical order, as often as asked."""

    def __init__(self, folder: Path, block_rows: int) -> None:
        """Start without rows.

        Args:
            folder: where runs are kept once one block is not enough; the caller removes it.
            block_rows: rows of a run, and about of a block given back.
        """
        self._folder = folder
        self._block_rows = block_rows
        self._waiting: list[pa.Table] = []
        self._n_waiting = 0
        self._n_runs = 0
        self._single: pa.Table | None = None

    def add(self, rows: pa.Table | pa.RecordBatch, periods: npt.NDArray[np.int64], row_hashes: U64) -> None:
        """Gather n rows with their periods and row hashes, each of shape (n,)."""
        table = pa.Table.from_batches([rows]) if isinstance(rows, pa.RecordBatch) else rows
        keyed = table.append_column(PERIOD, pa.array(periods)).append_column(ROW_HASH, pa.array(row_hashes))
        self._waiting.append(keyed)
        self._single = None
        self._n_waiting += table.num_rows
        if self._n_waiting >= self._block_rows:
            self._keep_run()

    def blocks(self) -> Iterator[pa.Table]:
        """Yield all rows in canonical order, with the columns `@period` and `@row`."""
        if not self._n_runs:
            if self._waiting:
                self._single = self._sorted_waiting() if self._single is None else self._single
                yield self._single
            return
        if self._waiting:
            self._keep_run()
        runs = [_Run.open(self._run_path(number)) for number in range(self._n_runs)]
        for low, high in itertools.pairwise(self._splitters(runs)):
            parts = [part for part in (run.between(low, high) for run in runs) if part.num_rows]
            # Where many rows are equal, nothing may lie before the first border.
            if parts:
                yield _sorted(pa.concat_tables(parts))

    def _keep_run(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        table = self._sorted_waiting()
        with pa.ipc.new_file(self._run_path(self._n_runs), table.schema) as writer:
            writer.write_table(table)
        self._n_runs += 1
        self._waiting, self._n_waiting = [], 0

    def _sorted_waiting(self) -> pa.Table:
        return _sorted(pa.concat_tables(self._waiting))

    def _run_path(self, number: int) -> Path:
        return self._folder / f"run-{number:05d}.arrow"

    def _splitters(self, runs: list["_Run"]) -> list[tuple[int, int] | None]:
        """Return the blocks' borders: None, then keys (period, row hash), then None."""
        stride = max(1, self._block_rows // _SAMPLES_PER_BLOCK)
        samples = sorted(itertools.chain.from_iterable(run.sample(stride) for run in runs))
        borders = samples[_SAMPLES_PER_BLOCK::_SAMPLES_PER_BLOCK]
        return [None, *dict.fromkeys(borders), None]


def distinct_words(row_hashes: U64) -> U64:
    """Return a pseudo-random word per row, different also for equal rows, so that chance can divide them.

    Whoever divides rows by their hashes alone puts all copies of a row on one side. As the label is part of the row,
    a side would then tell the label.

    Args:
        row_hashes: all rows of their key in canonical order, equal ones side by side, shape (n,).
    """
    starts = np.ones(len(row_hashes), dtype=np.bool_)
    starts[1:] = row_hashes[1:] != row_hashes[:-1]
    places = np.arange(len(row_hashes))
    copies = places - np.maximum.accumulate(np.where(starts, places, 0))
    return mix64(row_hashes ^ mix64(copies.astype(np.uint64)))


class _Run:
    """A sorted run on disk, mapped into memory."""

    def __init__(self, table: pa.Table) -> None:
        self._table = table
        self._periods: npt.NDArray[np.int64] = table.column(PERIOD).to_numpy()
        self._hashes: U64 = table.column(ROW_HASH).to_numpy()

    @classmethod
    def open(cls, path: Path) -> "_Run":
        return cls(pa.ipc.open_file(pa.memory_map(str(path))).read_all())

    def sample(self, stride: int) -> Iterator[tuple[int, int]]:
        return zip(self._periods[::stride].tolist(), self._hashes[::stride].tolist(), strict=True)

    def between(self, low: tuple[int, int] | None, high: tuple[int, int] | None) -> pa.Table:
        """Return the rows with low <= key < high."""
        start = 0 if low is None else self._place(*low)
        end = len(self._periods) if high is None else self._place(*high)
        return self._table.slice(start, end - start)

    def _place(self, period: int, row_hash: int) -> int:
        first = np.searchsorted(self._periods, period, side="left")
        last = np.searchsorted(self._periods, period, side="right")
        return int(first + np.searchsorted(self._hashes[first:last], np.uint64(row_hash)))


def _sorted(table: pa.Table) -> pa.Table:
    order = np.lexsort((table.column(ROW_HASH).to_numpy(), table.column(PERIOD).to_numpy()))
    # One dictionary per column: the IPC format has no other way to keep several batches in one file.
    return table.unify_dictionaries().combine_chunks().take(pa.array(order))
