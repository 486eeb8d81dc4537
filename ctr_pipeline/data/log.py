"""An impression log in canonical order, divided into splits."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from ctr_pipeline.config import Settings
from ctr_pipeline.data.hashing import TAG_NULL, U64, seed_word
from ctr_pipeline.data.order import PERIOD, ROW_HASH, CanonicalOrder, distinct_words
from ctr_pipeline.data.rows import Rows
from ctr_pipeline.data.source import Source
from ctr_pipeline.data.splits import (
    Split,
    SplitCodes,
    Windows,
    assign_by_hash,
    plan_windows,
    require_matches,
    split_of_file,
)
from ctr_pipeline.data.version import DigestState, row_hashes
from tracking.errors import InputError
from tracking.times import instant_us

_SPLIT: Final = "@split"


@dataclass(frozen=True, slots=True)
class LogBlock:
    """Rows of one split in canonical order, n of them.

    Attributes:
        rows: the raw rows.
        periods: never falling, shape (n,).
        hashes: of the rows, shape (n,).
        words: pseudo-random, different also for equal rows, shape (n,).
    """

    rows: Rows
    periods: npt.NDArray[np.int64]
    hashes: U64
    words: U64


@dataclass(frozen=True, slots=True)
class SplitSummary:
    """How large a split is, and the digest of its rows in their order (32 hex digits)."""

    n_rows: int
    n_clicks: int
    digest: str


@dataclass(frozen=True, slots=True)
class ImpressionLog:
    """All rows, and how they are split.

    Attributes:
        settings: the run's settings.
        n_rows: of the whole log.
        windows: where rows are split by time.
        time_range: first and last time in microseconds since 1970 UTC; None without a time column.
    """

    settings: Settings
    n_rows: int
    windows: Windows | None
    time_range: tuple[int, int] | None
    _order: CanonicalOrder

    def blocks(self, split: Split) -> Iterator[LogBlock]:
        """Yield the rows of one split, block by block."""
        columns = self.settings.data.columns
        for table in self._order.blocks():
            words = distinct_words(table.column(ROW_HASH).to_numpy())
            mask = self._codes(table, words) == split
            chosen = table.filter(pa.array(mask))
            if chosen.num_rows:
                periods, hashes = chosen.column(PERIOD).to_numpy(), chosen.column(ROW_HASH).to_numpy()
                hidden = [name for name in (PERIOD, ROW_HASH, _SPLIT) if name in chosen.schema.names]
                yield LogBlock(Rows(chosen.drop_columns(hidden), columns), periods, hashes, words[mask])

    def _codes(self, table: pa.Table, words: U64) -> SplitCodes:
        settings, columns = self.settings.split, self.settings.data.columns
        if settings.by == "files":
            given: SplitCodes = table.column(_SPLIT).to_numpy()
            return given
        rows = Rows(table, columns)
        if self.windows is not None:
            times = rows.times_us()
            return self.windows.assign(times if times is not None else np.empty(0, np.int64))
        if settings.by == "user" and columns.user is not None:
            keys = rows.keys(columns.user)
            # Rows of nobody known are divided row by row: they are not one user.
            words = np.where(keys == seed_word(0, TAG_NULL), words, keys)
        return assign_by_hash(words, settings)


def gather_log(
    source: Source,
    settings: Settings,
    *,
    period_us: int,
    folder: Path,
    on_rows: Callable[[int], None],
    only_test: bool = False,
) -> ImpressionLog:
    """Read a source once and bring its rows into canonical order.

    Args:
        source: the raw rows.
        settings: roles, split and batch size.
        period_us: length of a period of the canonical order, in microseconds.
        folder: where rows are kept that do not fit one batch.
        on_rows: called with the number of rows read so far.
        only_test: whether nothing is trained, so that no rows need be left for it.

    Raises:
        InputError: there is no row, a column is missing, a time is unreadable, or a window lies outside the data.
    """
    _require_columns(source.schema.names, settings)
    if settings.split.by == "files":
        require_matches([file.path for file in source.files], settings.split)
    order = CanonicalOrder(folder, settings.runtime.batch_rows)
    bounds: list[int] = []
    n_rows = 0
    for reading in source.readings():
        for batch in reading:
            n_rows += batch.num_rows
            on_rows(n_rows)
            times = Rows(batch, settings.data.columns).times_us()
            if settings.as_of is not None and times is not None:
                known = times < instant_us(settings.as_of)
                batch, times = batch.filter(pa.array(known)), times[known]  # noqa: PLW2901 - what was known by then
            periods = np.zeros(batch.num_rows, np.int64) if times is None else times // period_us
            if times is not None and len(times):
                bounds += (int(times.min()), int(times.max()))
            order.add(_with_split(batch, reading.file.path, settings), periods, row_hashes(batch))
    if not n_rows:
        raise InputError(f"{settings.data.uri} has no rows, must have some; bring a log with impressions")
    time_range = (min(bounds), max(bounds)) if bounds else None
    by_time = settings.split.by == "time" and time_range is not None
    windows = plan_windows(settings.split, min(bounds), max(bounds), only_test=only_test) if by_time else None
    return ImpressionLog(settings, n_rows, windows, time_range, order)


def write_raw_split(log: ImpressionLog, split: Split, path: Path) -> SplitSummary:
    """Write a split's raw rows with the column `@row`, their hashes; without rows no file is written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    state = DigestState(first_row=0)
    writer: pq.ParquetWriter | None = None
    n_rows, n_clicks = 0, 0
    for block in log.blocks(split):
        table = block.rows.table.append_column(ROW_HASH, pa.array(block.hashes))
        for batch in table.combine_chunks().to_batches():
            state.update(batch)
        writer = writer or pq.ParquetWriter(path, table.schema, compression="zstd")
        writer.write_table(table)
        n_rows += len(block.hashes)
        n_clicks += int(block.rows.labels().sum())
    if writer is not None:
        writer.close()
    return SplitSummary(n_rows, n_clicks, state.finish().data_version)


def read_raw_split(path: Path, batch_rows: int) -> Iterator[pa.RecordBatch]:
    """Yield the rows that `write_raw_split` wrote, at most `batch_rows` at once; none without a file."""
    if path.exists():
        with pq.ParquetFile(path) as file:
            yield from file.iter_batches(batch_rows)


def _require_columns(known: Sequence[str], settings: Settings) -> None:
    """Find a missing column now, not after the training; a custom function may make features, nothing else."""
    columns = settings.data.columns
    made = set(columns.features) if settings.features.custom is not None else set()
    for name in columns.used:
        if name not in known and name not in made:
            raise InputError(
                f"column {name!r} is missing, must be one of {', '.join(known)}; mend data.columns or the data"
            )
    for name in settings.evaluate.slices:
        if name not in known:
            raise InputError(
                f"column {name!r} is missing, must be one of the log's own {', '.join(known)}, as slices are of raw "
                "columns; mend evaluate.slices or the data"
            )


def _with_split(batch: pa.RecordBatch, path: str, settings: Settings) -> pa.RecordBatch:
    if settings.split.by != "files":
        return batch
    code = int(split_of_file(path, settings.split))
    return batch.append_column(_SPLIT, pa.array(np.full(batch.num_rows, code, np.int8)))
