"""Logical digests: what a data set says, whatever the order of its rows, columns, files and batches.

Each value is hashed in two lanes (`hashing`), each row is a nonlinear mix of its values' hashes, and rows are summed
modulo 2^64, so that parts can be digested apart and merged. `docs/digests.md` states the definition and its test
vectors. The digest tells changes apart; it is no proof against forgery (the files' sha256 are).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Final, Self

import numpy as np
import pyarrow as pa

from ctr_pipeline.data.hashing import (
    LANES,
    TAG_POSITION,
    TAG_ROW,
    U64,
    Lane,
    dictionary_indices,
    dictionary_tables,
    encode_repeated,
    hash_lanes,
    hash_text,
    hash_words,
    mix64,
    seed_word,
    type_name,
)
from tracking.canonical import canonical_json, sha256_hex
from tracking.errors import InputError

DIGEST_FORMAT: Final = 1
VERSION_DIGITS: Final = 32
# Small enough for a processor's cache, large enough that numpy's call costs vanish.
BATCH_ROWS: Final = 65_536

_MASK: Final = 0xFFFFFFFFFFFFFFFF

type LaneSums = tuple[int, int]


@dataclass(frozen=True, slots=True)
class ColumnDigest:
    """What one column holds, whatever its name and the order of the rows.

    Attributes:
        name: the column's name.
        type: its canonical type, `hashing.type_name`.
        digest: 32 hex digits.
    """

    name: str
    type: str
    digest: str


@dataclass(frozen=True, slots=True)
class LogicalDigest:
    """What a data set says.

    Attributes:
        n_rows: number of rows.
        columns: one digest per column, sorted by name.
        digest: sha256 over all of it, 64 hex digits.
    """

    n_rows: int
    columns: tuple[ColumnDigest, ...]
    digest: str

    @property
    def data_version(self) -> str:
        """The digest's first 32 hex digits, as long as a tracker's dataset digest may be."""
        return self.digest[:VERSION_DIGITS]


class DigestState:
    """A logical digest in the making: feed it batches, merge it with the states of other parts.

    Args:
        schema: the columns, for data that may have no row; else the first batch names them.
        first_row: position of the first row where the order of the rows counts; None where it does not.
    """

    def __init__(self, schema: pa.Schema | None = None, *, first_row: int | None = None) -> None:
        self.n_rows = 0
        self._first_row = first_row
        self._columns: dict[str, _ColumnSum] | None = None
        self._rows: LaneSums = (0, 0)
        self._tables: dict[str, tuple[pa.Array, tuple[U64, ...]]] = {}
        if schema is not None:
            self._columns = _columns_of(schema)

    def update(self, batch: pa.RecordBatch) -> U64:
        """Take the rows of one batch in.

        Args:
            batch: n rows with the columns of the batches before, in any order.

        Returns:
            The rows' hashes in lane 0, shape (n,): what `row_hashes` gives.

        Raises:
            InputError: a column is new, gone, doubled, of another type than before, or of a type without a canonical
                form.
        """
        found = _columns_of(batch.schema)
        sums, totals = _hash_batch(batch, LANES, self._tables)
        seen = {name: _ColumnSum(column.type, (sums[name][0], sums[name][1])) for name, column in found.items()}
        hashes = [_row_hash(total, lane) for lane, total in zip(LANES, totals, strict=True)]
        rows = hashes if self._first_row is None else _placed(hashes, self._first_row + self.n_rows)
        self._take(seen, (_sum(rows[0]), _sum(rows[1])), batch.num_rows)
        return hashes[0]

    def merge(self, other: Self) -> Self:
        """Take in what another state has seen; its rows count as if they had come here.

        Raises:
            InputError: the other's columns differ from this one's.
        """
        if other._columns is not None:
            self._take(other._columns, other._rows, other.n_rows)
        return self

    def finish(self) -> LogicalDigest:
        """Return the digest of all rows so far; the state stays usable."""
        columns = tuple(
            ColumnDigest(name, column.type, _hex(column.sums)) for name, column in sorted((self._columns or {}).items())
        )
        content = {
            "columns": [{"digest": c.digest, "name": c.name, "type": c.type} for c in columns],
            "format": DIGEST_FORMAT,
            "n_rows": self.n_rows,
            "ordered": self._first_row is not None,
            "rows": _hex(self._rows),
        }
        return LogicalDigest(self.n_rows, columns, sha256_hex(canonical_json(content)))

    def _take(self, columns: Mapping[str, "_ColumnSum"], rows: LaneSums, n_rows: int) -> None:
        if self._columns is None:
            self._columns = dict(columns)
        else:
            _same_names(self._columns, columns)
            for name, column in columns.items():
                self._columns[name] = self._columns[name].plus(column, name)
        self._rows = _plus(self._rows, rows)
        self.n_rows += n_rows


def row_hashes(batch: pa.RecordBatch) -> U64:
    """Hash each row over its (column name, value) pairs in lane 0; the order of the columns does not count.

    Args:
        batch: n rows.

    Returns:
        Hashes, shape (n,).

    Raises:
        InputError: a column is doubled or of a type without a canonical form.
    """
    _columns_of(batch.schema)
    _, totals = _hash_batch(batch, (0,), {})
    return _row_hash(totals[0], 0)


def table_digest(table: pa.Table, *, ordered: bool) -> str:
    """Digest a table in memory: a split, an encoder's table, predictions.

    Args:
        table: any rows.
        ordered: whether the order of the rows counts.

    Returns:
        32 hex digits; equal to the data version of the same rows where `ordered` is false.

    Raises:
        InputError: as `row_hashes`.
    """
    state = DigestState(table.schema, first_row=0 if ordered else None)
    for batch in table.to_batches(max_chunksize=BATCH_ROWS):
        state.update(batch)
    return state.finish().data_version


@dataclass(frozen=True, slots=True)
class _ColumnSum:
    type: str
    sums: LaneSums

    def plus(self, other: Self, name: str) -> "_ColumnSum":
        if self.type != other.type and "null" not in {self.type, other.type}:
            raise InputError(
                f"column {name!r} has type {other.type!r}, must be {self.type!r} as in the rows "
                "before; "
                "write the column with one type in every file"
            )
        kind = other.type if self.type == "null" else self.type
        return _ColumnSum(kind, _plus(self.sums, other.sums))


def _hash_batch(
    batch: pa.RecordBatch, lanes: tuple[Lane, ...], known: dict[str, tuple[pa.Array, tuple[U64, ...]]]
) -> tuple[dict[str, tuple[int, ...]], tuple[U64, ...]]:
    """Return each column's sum per lane and, per lane, each row's sum of salted hashes."""
    totals = tuple(np.zeros(batch.num_rows, dtype=np.uint64) for _ in lanes)
    sums = {}
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        salts = tuple(_salt(name, lane) for lane in lanes)
        array = _encoded(column)
        if pa.types.is_dictionary(array.type) and len(array.dictionary) <= len(array):
            tables = _tables_of(name, array.dictionary, lanes, known)
            sums[name] = _add_places(totals, dictionary_indices(array), tables, salts)
        else:
            sums[name] = _add_hashes(totals, hash_lanes(array, lanes), salts)
    return sums, totals


def _encoded(array: pa.Array) -> pa.Array:
    if type_name(array.type) not in {"text", "bytes"} or pa.types.is_dictionary(array.type):
        return array
    encoded = encode_repeated(array)
    return array if encoded is None else encoded


def _tables_of(
    name: str,
    dictionary: pa.Array,
    lanes: tuple[Lane, ...],
    known: dict[str, tuple[pa.Array, tuple[U64, ...]]],
) -> tuple[U64, ...]:
    # The batches of one Parquet row group repeat their dictionary: comparing it is cheaper than hashing it.
    if name in known and known[name][0].equals(dictionary):
        return known[name][1]
    tables = dictionary_tables(dictionary, lanes)
    known[name] = (dictionary, tables)
    return tables


def _add_places(
    totals: tuple[U64, ...], places: np.ndarray, tables: tuple[U64, ...], salts: tuple[np.uint64, ...]
) -> tuple[int, ...]:
    counts = np.bincount(places, minlength=len(tables[0])).view(np.uint64)
    for total, table, salt in zip(totals, tables, salts, strict=True):
        total += (table * salt)[places]  # noqa: PLW2901 - in place: the row's total
    return tuple(_sum(counts * table) for table in tables)


def _add_hashes(totals: tuple[U64, ...], hashes: tuple[U64, ...], salts: tuple[np.uint64, ...]) -> tuple[int, ...]:
    sums = tuple(_sum(values) for values in hashes)
    for total, values, salt in zip(totals, hashes, salts, strict=True):
        values *= salt  # noqa: PLW2901 - in place: our own arrays
        total += values  # noqa: PLW2901 - in place: the row's total
    return sums


def _row_hash(totals: U64, lane: Lane) -> U64:
    return mix64(totals + seed_word(lane, TAG_ROW))


def _placed(hashes: list[U64], first: int) -> list[U64]:
    positions = np.arange(first, first + len(hashes[0]), dtype=np.uint64)
    return [
        mix64(values + hash_words(positions, lane=lane, tag=TAG_POSITION))
        for lane, values in zip(LANES, hashes, strict=True)
    ]


@cache
def _salt(name: str, lane: Lane) -> np.uint64:
    # Odd, so that multiplying by it loses nothing of the value's hash.
    return np.uint64(hash_text(name, lane=lane) | 1)


def _columns_of(schema: pa.Schema) -> dict[str, _ColumnSum]:
    columns: dict[str, _ColumnSum] = {}
    for field in schema:
        if field.name in columns:
            raise InputError(f"column {field.name!r} occurs twice, must be unique; rename or drop one of the two")
        try:
            columns[field.name] = _ColumnSum(type_name(field.type), (0, 0))
        except InputError as error:
            raise InputError(f"column {field.name!r}: {error}") from error
    return columns


def _same_names(known: Mapping[str, object], found: Mapping[str, object]) -> None:
    gone, new = sorted(known.keys() - found.keys()), sorted(found.keys() - known.keys())
    if gone or new:
        raise InputError(
            f"columns differ from the rows before: missing {gone}, unexpected {new}; give every part the same columns"
        )


def _sum(words: U64) -> int:
    return int(np.add.reduce(words, dtype=np.uint64))


def _plus(left: LaneSums, right: LaneSums) -> LaneSums:
    return ((left[0] + right[0]) & _MASK, (left[1] + right[1]) & _MASK)


def _hex(sums: LaneSums) -> str:
    return "".join(f"{lane_sum:016x}" for lane_sum in sums)
