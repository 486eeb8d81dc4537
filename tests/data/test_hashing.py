"""Value hashes: the published vectors, one value in many storages, and what has no canonical form."""

import datetime as dt
import json
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctr_pipeline.data import hashing
from ctr_pipeline.data.hashing import hash_array, hash_lanes, hash_text, mix64, type_name
from tests.data import reference_digest as reference
from tracking.errors import InputError

GOLDEN = Path(__file__).parent.parent / "golden" / "digest-vectors.json"
ARROW_TYPES = {
    "null": pa.null(),
    "boolean": pa.bool_(),
    "integer": pa.int64(),
    "real": pa.float64(),
    "time": pa.timestamp("us", tz="UTC"),
    "text": pa.string(),
    "bytes": pa.binary(),
}


def array_of(kind: str, values: Sequence[reference.Value]) -> pa.Array:
    unsigned = kind == "integer" and any(isinstance(v, int) and v >= 2**63 for v in values)
    return pa.array(values, type=pa.uint64() if unsigned else ARROW_TYPES[kind])


def hashes_of(array: pa.Array) -> list[int]:
    return [int(word) for word in hash_array(array)]


def test_the_published_vectors_are_those_of_the_reference() -> None:
    assert json.loads(GOLDEN.read_text(encoding="utf-8")) == reference.vectors()


def test_words_are_mixed_as_published() -> None:
    for vector in json.loads(GOLDEN.read_text(encoding="utf-8"))["mix"]:
        mixed = mix64(np.array([int(vector["word"], 16)], dtype=np.uint64))
        assert f"{int(mixed[0]):016x}" == vector["mixed"]


@pytest.mark.parametrize(("kind", "value"), reference.VALUES)
def test_values_hash_as_published_in_both_lanes(kind: str, value: reference.Value) -> None:
    array = array_of(kind, [value])
    assert [int(words[0]) for words in hash_lanes(array)] == [
        reference.value_hash(kind, value, lane) for lane in (0, 1)
    ]


@given(st.lists(st.none() | st.text(max_size=40), max_size=20))
def test_any_text_hashes_as_the_reference(values: list[str | None]) -> None:
    expected = [reference.value_hash("text", value, 0) for value in values]
    assert hashes_of(pa.array(values, pa.string())) == expected
    assert hashes_of(pa.array(values, pa.large_string())) == expected
    assert hashes_of(pa.array(values, pa.string_view())) == expected
    assert hashes_of(pa.array(values, pa.string()).dictionary_encode()) == expected


@given(st.lists(st.none() | st.floats(), max_size=20))
def test_any_real_hashes_as_the_reference(values: list[float | None]) -> None:
    assert hashes_of(pa.array(values, pa.float64())) == [reference.value_hash("real", value, 0) for value in values]


@given(st.lists(st.none() | st.integers(-(2**63), 2**63 - 1), max_size=20))
def test_any_integer_hashes_as_the_reference(values: list[int | None]) -> None:
    assert hashes_of(pa.array(values, pa.int64())) == [reference.value_hash("integer", value, 0) for value in values]


@pytest.mark.parametrize(
    "storage", [pa.int8(), pa.int16(), pa.int32(), pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64()]
)
def test_an_integers_width_does_not_count(storage: pa.DataType) -> None:
    values = [0, 1, 127, None]
    assert hashes_of(pa.array(values, storage)) == hashes_of(pa.array(values, pa.int64()))


@given(st.lists(st.none() | st.integers(0, 2**64 - 1), max_size=20))
def test_any_unsigned_integer_hashes_as_the_reference(values: list[int | None]) -> None:
    assert hashes_of(pa.array(values, pa.uint64())) == [reference.value_hash("integer", value, 0) for value in values]


def test_a_large_unsigned_integer_is_no_negative_one() -> None:
    large, negative = pa.array([2**64 - 5, 2**63], pa.uint64()), pa.array([-5, -(2**63)], pa.int64())
    for unsigned, signed in zip(hash_lanes(large), hash_lanes(negative), strict=True):
        assert not set(unsigned.tolist()) & set(signed.tolist())
    assert hashes_of(large.dictionary_encode()) == hashes_of(large)


def test_a_real_of_32_bits_hashes_as_its_64_bit_value() -> None:
    narrow = pa.array(np.array([0.1, 2.5], dtype=np.float32))
    assert hashes_of(narrow) == hashes_of(narrow.cast(pa.float64()))
    assert hashes_of(narrow)[0] != hash_array(pa.array([0.1]))[0]


def test_every_nan_is_one_and_minus_zero_is_zero() -> None:
    payloads = np.array([0x7FF8000000000000, 0x7FF8000000000001, 0xFFF8000000000000], dtype=np.uint64).view(np.float64)
    assert len(set(hashes_of(pa.array(payloads)))) == 1
    assert len(set(hashes_of(pa.array([0.0, -0.0])))) == 1


def test_null_nan_zero_and_nothing_are_four_values() -> None:
    assert len({*hashes_of(pa.array([None, math.nan, 0.0], pa.float64())), hash_text("")}) == 4


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_a_times_unit_and_zone_do_not_count(unit: str) -> None:
    moment = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)
    expected = [reference.value_hash("time", int(moment.timestamp()) * 1_000_000, 0)]
    for zone in (None, "UTC", "Asia/Tokyo"):
        assert (
            hashes_of(pa.array([int(moment.timestamp())]).cast(pa.timestamp("s")).cast(pa.timestamp(unit, zone)))
            == expected
        )


def test_a_date_is_the_time_at_its_midnight() -> None:
    day = dt.date(1969, 12, 31)
    expected = [reference.value_hash("time", -86_400_000_000, 0)]
    assert hashes_of(pa.array([day], pa.date32())) == hashes_of(pa.array([day], pa.date64())) == expected


def test_a_time_finer_than_a_microsecond_is_refused() -> None:
    with pytest.raises(InputError, match=r"must be a whole number of microseconds; round it first"):
        hash_array(pa.array([1], pa.timestamp("ns")))


def test_a_slice_hashes_as_its_rows() -> None:
    for array in (
        pa.array(["a", None, "ccc", "dd"]),
        pa.array([True, None, False, True]),
        pa.array([1.0, None, 3.0, 4.0]),
    ):
        assert hashes_of(array.slice(1, 2)) == hashes_of(array)[1:3]
        assert hashes_of(array.dictionary_encode().slice(1, 2)) == hashes_of(array)[1:3]


def test_nulls_inside_a_dictionary_are_nulls() -> None:
    array = pa.DictionaryArray.from_arrays(pa.array([0, 1, None]), pa.array([None, "b"], pa.string()))
    assert hashes_of(array) == hashes_of(pa.array([None, "b", None], pa.string()))


def test_a_dictionary_larger_than_its_rows_hashes_the_same() -> None:
    array = pa.DictionaryArray.from_arrays(pa.array([2, None], pa.int32()), pa.array(["a", "b", "c"]))
    assert hashes_of(array) == hashes_of(pa.array(["c", None]))


@pytest.mark.parametrize("storage", [pa.string(), pa.large_string(), pa.string_view()])
def test_repeated_text_hashes_the_same_as_one_by_one(storage: pa.DataType) -> None:
    values = [None if n % 7 == 0 else f"value {n % 5}" for n in range(1_000)]
    assert hashes_of(pa.array(values, storage)) == [reference.value_hash("text", value, 0) for value in values]


def test_chunks_hash_as_one_array() -> None:
    chunked = pa.chunked_array([["a"], [], ["b", None]], type=pa.string())
    assert hashes_of(chunked) == hashes_of(pa.array(["a", "b", None]))
    assert len(hash_array(pa.chunked_array([], type=pa.string()))) == 0


@pytest.mark.parametrize("storage", [pa.list_(pa.int64()), pa.decimal128(5, 2), pa.duration("s")])
def test_a_type_without_a_canonical_form_is_refused(storage: pa.DataType) -> None:
    with pytest.raises(InputError, match=r"must be boolean, integer, real, time, text or bytes"):
        hash_array(pa.chunked_array([], type=storage))


def test_a_dictionary_has_the_type_of_its_values() -> None:
    assert type_name(pa.dictionary(pa.int8(), pa.large_string())) == "text"


def test_canonical_integers_are_two_s_complement_words_with_zero_for_null() -> None:
    assert hashing.canonical_integers(pa.array([2**64 - 1, None], pa.uint64())).tolist() == [-1, 0]
    assert hashing.canonical_integers(pa.array([True, None, False])).tolist() == [1, 0, 0]
