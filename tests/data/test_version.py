"""Logical digests: what counts (every cell, row and association) and what does not (order, parts, storage)."""

import datetime as dt
import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctr_pipeline.data.version import ColumnDigest, DigestState, LogicalDigest, row_hashes, table_digest
from tests.data import reference_digest as reference
from tests.data.test_hashing import array_of
from tracking.errors import InputError

GOLDEN = Path(__file__).parent.parent / "golden" / "digest-vectors.json"
DOCS = Path(__file__).parents[2] / "docs" / "digests.md"

ROWS = st.lists(
    st.tuples(
        st.none() | st.integers(-3, 3),
        st.none() | st.sampled_from(["", "a", "b", "größe", "a longer text than one word"]),
        st.none() | st.floats(width=32),
        st.none() | st.booleans(),
    ),
    max_size=12,
)
SCHEMA = pa.schema([("i", pa.int64()), ("t", pa.string()), ("f", pa.float64()), ("b", pa.bool_())])


def table_of(rows: Sequence[Sequence[Any]]) -> pa.Table:
    return pa.table([pa.array([row[n] for row in rows], field.type) for n, field in enumerate(SCHEMA)], schema=SCHEMA)


def digest(table: pa.Table) -> LogicalDigest:
    return digest_of_parts([table])


def digest_of_parts(parts: Sequence[pa.Table], batch_rows: int = 65_536) -> LogicalDigest:
    whole = DigestState(parts[0].schema)
    for part in parts:
        state = DigestState()
        for batch in part.to_batches(max_chunksize=batch_rows):
            state.update(batch)
        whole.merge(state)
    return whole.finish()


def large(n_rows: int = 10_050) -> pa.Table:
    """A log longer than the 10,000 rows that a tracker's own digest looks at."""
    rng = np.random.default_rng(0)
    start = dt.datetime(2026, 3, 1, tzinfo=dt.UTC)
    return pa.table(
        {
            "click": pa.array(rng.random(n_rows) < 0.1),
            "time": pa.array([start + dt.timedelta(seconds=n) for n in range(n_rows)], pa.timestamp("us", "UTC")),
            "ad": pa.array([f"ad-{n}" for n in rng.integers(0, 50, n_rows)]),
            "price": pa.array(rng.random(n_rows)),
        }
    )


def with_cell(table: pa.Table, name: str, row: int, change: Callable[[Any], Any]) -> pa.Table:
    values = table[name].to_pylist()
    values[row] = change(values[row])
    return table.set_column(table.schema.get_field_index(name), name, pa.array(values, table.schema.field(name).type))


@pytest.mark.parametrize("vector", json.loads(GOLDEN.read_text(encoding="utf-8"))["tables"], ids=lambda v: v["title"])
def test_tables_digest_as_published(vector: dict[str, Any]) -> None:
    columns = reference.TABLES[vector["title"]]
    table = pa.table({name: array_of(kind, values) for name, kind, values in columns})
    state = DigestState(table.schema)
    rows = [word for batch in table.to_batches() for word in state.update(batch)]
    found = state.finish()
    assert [f"{int(word):016x}" for word in rows] == vector["row_hashes"]
    assert {c.name: c.digest for c in found.columns} == {c["name"]: c["digest"] for c in vector["columns"]}
    assert found.digest == vector["digest"]
    assert table_digest(table, ordered=False) == vector["digest"][:32]
    assert table_digest(table, ordered=True) == vector["ordered_digest"][:32]


def test_the_docs_show_the_published_vectors() -> None:
    text = DOCS.read_text(encoding="utf-8")
    published = json.loads(GOLDEN.read_text(encoding="utf-8"))
    for vector in published["values"]:
        assert vector["lane_0"] in text, vector
        assert vector["lane_1"] in text, vector
    for table in published["tables"]:
        assert table["digest"] in text
        assert table["ordered_digest"] in text


@given(ROWS)
def test_any_table_digests_as_the_reference(rows: list[tuple[Any, ...]]) -> None:
    kinds = ("integer", "text", "real", "boolean")
    columns = [
        (name, kind, [row[n] for row in rows]) for n, (name, kind) in enumerate(zip(SCHEMA.names, kinds, strict=True))
    ]
    assert digest(table_of(rows)).digest == reference.table_digest(columns, len(rows), ordered=False)
    assert table_digest(table_of(rows), ordered=True) == reference.table_digest(columns, len(rows), ordered=True)[:32]


@given(ROWS, st.randoms(use_true_random=False), st.integers(1, 5))
def test_order_of_rows_and_columns_and_partition_do_not_count(
    rows: list[tuple[Any, ...]], chance: Random, size: int
) -> None:
    shuffled = list(rows)
    chance.shuffle(shuffled)
    names = list(SCHEMA.names)
    chance.shuffle(names)
    cut = chance.randint(0, len(rows))
    parts = [table_of(shuffled[:cut]).select(names), table_of(shuffled[cut:])]
    assert digest_of_parts(parts, batch_rows=size) == digest(table_of(rows))


@given(ROWS.filter(bool), st.data())
def test_any_changed_cell_counts_and_its_column_is_named(rows: list[tuple[Any, ...]], data: st.DataObject) -> None:
    row, column = data.draw(st.integers(0, len(rows) - 1)), data.draw(st.integers(0, 3))
    other = data.draw(ROWS.filter(bool))[0][column]
    old = rows[row][column]
    if other == old or (isinstance(other, float) and isinstance(old, float) and math.isnan(other) and math.isnan(old)):
        return
    changed = [list(values) for values in rows]
    changed[row][column] = other
    before, after = digest(table_of(rows)), digest(table_of(changed))
    assert before.digest != after.digest
    assert [b.name for b, a in zip(before.columns, after.columns, strict=True) if b != a] == [SCHEMA.names[column]]


@given(ROWS.filter(bool))
def test_a_row_more_or_less_counts(rows: list[tuple[Any, ...]]) -> None:
    assert digest(table_of(rows)).digest != digest(table_of(rows[1:])).digest
    assert digest(table_of(rows)).digest != digest(table_of([*rows, rows[0]])).digest


def test_a_row_with_only_nulls_counts() -> None:
    assert digest(table_of([])).digest != digest(table_of([(None,) * 4])).digest


def test_values_swapped_between_two_rows_change_the_whole_but_no_column() -> None:
    before, after = (
        digest(table_of([(1, "a", 0, True), (2, "b", 0, True)])),
        digest(table_of([(1, "b", 0, True), (2, "a", 0, True)])),
    )
    assert before.columns == after.columns
    assert before.digest != after.digest


def test_values_swapped_between_two_columns_count() -> None:
    one, other = pa.table({"a": [1, 5], "b": [2, 5]}), pa.table({"a": [2, 5], "b": [1, 5]})
    assert digest(one).digest != digest(other).digest


def test_a_renamed_column_counts_but_keeps_its_own_digest() -> None:
    one, other = digest(pa.table({"a": [1, 2]})), digest(pa.table({"b": [1, 2]}))
    assert one.digest != other.digest
    assert one.columns[0].digest == other.columns[0].digest


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("click", lambda value: not value),
        ("time", lambda value: value + dt.timedelta(microseconds=1)),
        ("time", lambda value: value + dt.timedelta(hours=1)),
        ("ad", lambda value: value + " "),
        ("ad", lambda _: None),
        ("price", lambda value: math.nextafter(value, 2.0)),
        ("price", lambda _: math.nan),
        ("price", lambda _: None),
    ],
)
@pytest.mark.parametrize("row", [0, 10_040])
def test_one_cell_is_seen_in_any_row(name: str, change: Callable[[Any], Any], row: int) -> None:
    before, after = digest(large()), digest(with_cell(large(), name, row, change))
    assert before.digest != after.digest
    assert [b.name for b, a in zip(before.columns, after.columns, strict=True) if b != a] == [name]


def test_all_booleans_flipped_and_all_times_shifted_are_seen() -> None:
    table = large()
    flipped = table.set_column(0, "click", pc.invert(table["click"]))
    shifted = table.set_column(
        1, "time", pc.add(table["time"], pa.scalar(3600, pa.duration("s"))).cast(pa.timestamp("us", "UTC"))
    )
    assert len({digest(each).digest for each in (table, flipped, shifted)}) == 3


def test_minus_zero_is_zero_but_nan_and_null_are_not() -> None:
    versions = [
        digest(pa.table({"x": pa.array([value], pa.float64())})).digest for value in (0.0, -0.0, math.nan, None)
    ]
    assert versions[0] == versions[1]
    assert len(set(versions)) == 3


def test_storage_does_not_count() -> None:
    table = large()
    encoded = table.set_column(2, "ad", table["ad"].dictionary_encode())
    wide = table.set_column(2, "ad", table["ad"].cast(pa.large_string()))
    nanoseconds = table.set_column(1, "time", table["time"].cast(pa.timestamp("ns")))
    assert len({digest(each).digest for each in (table, encoded, wide, nanoseconds)}) == 1


def test_batches_with_growing_and_changing_dictionaries_digest_alike() -> None:
    values = [f"v{n % 7}" for n in range(3_000)]
    batches = [pa.record_batch({"t": pa.array(values[n : n + 500]).dictionary_encode()}) for n in range(0, 3_000, 500)]
    state = DigestState()
    for batch in batches:
        state.update(batch)
    assert state.finish() == digest(pa.table({"t": values}))


def test_batches_that_share_a_dictionary_digest_alike() -> None:
    values = [f"v{n % 7}" for n in range(3_000)]
    encoded = pa.table({"t": pa.array(values).dictionary_encode()})
    assert digest_of_parts([encoded], batch_rows=500) == digest(pa.table({"t": values}))


def test_dictionaries_larger_than_their_batch_digest_alike() -> None:
    encoded = pa.table({"t": pa.array([f"v{n}" for n in range(1_000)]).dictionary_encode()})
    assert digest_of_parts([encoded], batch_rows=10) == digest(pa.table({"t": encoded["t"].cast(pa.string())}))


def test_an_all_null_part_without_a_type_merges_with_a_typed_one() -> None:
    typed, untyped = pa.table({"a": pa.array([1, None])}), pa.table({"a": pa.nulls(2)})
    expected = digest(pa.table({"a": pa.array([1, None, None, None])}))
    assert digest_of_parts([typed, untyped]) == digest_of_parts([untyped, typed]) == expected


def test_states_merge_to_what_one_state_saw() -> None:
    table = large()
    one, two = DigestState(), DigestState()
    one.update(table.slice(0, 4_000).to_batches()[0])
    two.update(table.slice(4_000).to_batches()[0])
    assert one.merge(two).merge(DigestState()).finish() == digest(table)


def test_update_returns_the_row_hashes_that_row_hashes_gives() -> None:
    batch = large().to_batches()[0]
    expected = row_hashes(batch)
    assert expected.dtype == np.uint64
    assert (DigestState().update(batch) == expected).all()
    assert (DigestState(first_row=3).update(batch) == expected).all()
    reordered = batch.select(["price", "ad", "click", "time"])
    assert (row_hashes(reordered) == expected).all()


def test_ordered_digests_see_the_rows_order_and_unordered_ones_equal_the_data_version() -> None:
    table = pa.table({"a": [1, 2, 2]})
    turned = pa.table({"a": [2, 1, 2]})
    assert table_digest(table, ordered=True) != table_digest(turned, ordered=True)
    assert table_digest(table, ordered=True) != table_digest(table, ordered=False)
    assert table_digest(table, ordered=False) == table_digest(turned, ordered=False) == digest(table).data_version


@given(ROWS, st.integers(1, 5))
def test_the_batches_of_an_ordered_digest_do_not_count(rows: list[tuple[Any, ...]], size: int) -> None:
    table, state = table_of(rows), DigestState(SCHEMA, first_row=0)
    for batch in table.to_batches(max_chunksize=size):
        state.update(batch)
    assert state.finish().data_version == table_digest(table, ordered=True)


def test_no_rows_still_have_columns() -> None:
    assert digest(table_of([])).columns[0] == ColumnDigest("b", "boolean", "0" * 32)
    assert DigestState().finish().columns == ()


def test_a_column_with_two_types_is_refused_by_name() -> None:
    with pytest.raises(
        InputError, match=r"column 'a' has type 'text', must be 'integer' as in the rows before; write the column"
    ):
        digest_of_parts([pa.table({"a": [1]}), pa.table({"a": ["1"]})])


def test_other_columns_are_refused_by_name() -> None:
    with pytest.raises(InputError, match=r"missing \['a'\], unexpected \['b'\]; give every part the same columns"):
        digest_of_parts([pa.table({"a": [1]}), pa.table({"b": [1]})])


def test_a_doubled_column_is_refused_by_name() -> None:
    with pytest.raises(InputError, match=r"column 'a' occurs twice, must be unique"):
        row_hashes(pa.RecordBatch.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"]))


def test_a_nested_column_is_refused_by_name() -> None:
    with pytest.raises(InputError, match=r"column 'a': column type == list"):
        table_digest(pa.table({"a": [[1]]}), ordered=False)
