"""Logged values become labels, times, numbers and categories, whatever types they were logged in."""

from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctr_pipeline.columns import Columns
from ctr_pipeline.data.rows import Rows, category_texts, number_values, rows_from_objects, time_values
from tracking.errors import InputError
from tracking.times import HOUR_US

NOON = int(datetime(2026, 3, 1, 12, tzinfo=UTC).timestamp()) * 1_000_000


def _rows(columns: dict[str, Any], **roles: Any) -> Rows:  # noqa: ANN401 - columns of any type, roles as in YAML
    return Rows(pa.table(columns), Columns(**roles))


@pytest.mark.parametrize(
    "values", [[1, 0], [1.0, 0.0], [True, False], ["1", " 0 "], pa.array(["1", "0"]).dictionary_encode()]
)
def test_a_label_is_0_or_1_in_any_type(values: Any) -> None:  # noqa: ANN401 - see the parameters
    labels = _rows({"click": values}).labels()
    assert labels.dtype == np.uint8
    assert labels.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            [0, 2, 3],
            r"^label column 'click' == 2\.0, must be 0 or 1 in every row; 2 rows of this batch are not: drop or",
        ),
        ([0, None], r"^label column 'click' == null, must be 0 or 1 in every row; 1 rows of this batch are not"),
        (["0", "yes"], r"^column 'click' has 'yes', must be a number; mend it or make it categorical$"),
        ([b"0"], r"^column 'click' is of type binary, must hold numbers; give it another role$"),
    ],
)
def test_any_other_label_is_refused(values: list[Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        _rows({"click": values}).labels()


def test_a_missing_column_is_named_with_those_there_are() -> None:
    with pytest.raises(
        InputError, match=r"^column 'b' is missing, must be one of a, click; mend data\.columns or the d"
    ):
        _rows({"a": [1], "click": [0]}).numbers("b")


def test_a_column_in_several_chunks_is_one_array() -> None:
    table = pa.concat_tables([pa.table({"a": [1.5]}), pa.table({"a": [2.5]})])
    rows = Rows(table, Columns())
    assert rows.numbers("a").tolist() == [1.5, 2.5]
    assert len(rows) == 2


def test_a_record_batch_will_do() -> None:
    rows = Rows(pa.RecordBatch.from_pydict({"a": [1.5], "click": [1]}), Columns())
    assert (rows.numbers("a").tolist(), rows.labels().tolist()) == ([1.5], [1])


@pytest.mark.parametrize("text", ["", "NA", "N/A", "NaN", "nan", "NULL", "null", "None", "\\N", " NA "])
def test_texts_that_other_tools_write_for_nothing_are_missing_numbers(text: str) -> None:
    for array in (
        pa.array([text, "1"]),
        pa.array([text, "1"]).dictionary_encode(),
        pa.array([text, "1"], pa.large_string()),
    ):
        assert np.array_equal(number_values("a", array), [np.nan, 1.0], equal_nan=True)


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1))
def test_a_number_written_as_text_is_the_same_number(numbers: list[float]) -> None:
    texts = pa.array([repr(number) for number in numbers])
    assert number_values("a", texts).tobytes() == np.array(numbers).tobytes()


def test_numbers_of_any_type_are_reals_with_nan_for_missing() -> None:
    for array in (
        pa.array([1, None]),
        pa.array([1.0, None]),
        pa.array([True, None]),
        pa.array([1, None]).dictionary_encode(),
    ):
        assert np.array_equal(number_values("a", array), [1.0, np.nan], equal_nan=True)
    assert np.isnan(number_values("a", pa.nulls(1))).all()


def test_a_text_that_no_decimal_number_is_is_refused_by_name() -> None:
    with pytest.raises(InputError, match=r"^column 'a' has 'a text that is no decimal number', must be a number"):
        number_values("a", pa.array(["1_0"]))


@pytest.mark.parametrize(
    ("values", "time_format"),
    [
        (pa.array([NOON], pa.timestamp("us", tz="UTC")), "auto"),
        (pa.array([NOON], pa.timestamp("us")), "auto"),
        (pa.array([NOON * 1000], pa.timestamp("ns")), "iso"),
        (pa.array(["2026-03-01T12:00:00Z"]), "auto"),
        (pa.array(["2026-03-01 12:00:00"]), "auto"),
        (pa.array(["2026-03-01T14:00:00+02:00"]), "iso"),
        (pa.array(["2026-03-01 12:00:00"]).dictionary_encode(), "auto"),
        (pa.array([NOON // 1_000_000]), "s"),
        (pa.array([NOON / 1_000_000]), "s"),
        (pa.array([str(NOON // 1_000_000)]), "s"),
        (pa.array([f"{NOON // 1_000_000}.0"]), "s"),
        (pa.array([NOON // 1_000]), "ms"),
        (pa.array([NOON]), "us"),
        (pa.array([26030112]), "yymmddhh"),
        (pa.array(["26030112"]), "yymmddhh"),
    ],
)
def test_a_time_is_microseconds_since_1970_however_it_is_written(values: pa.Array, time_format: str) -> None:
    assert time_values("t", values, time_format).tolist() == [NOON]


def test_hours_of_the_years_from_2000_may_have_lost_their_zero() -> None:
    expected = int(datetime(2005, 1, 2, 3, tzinfo=UTC).timestamp()) * 1_000_000
    assert time_values("t", pa.array([5010203]), "yymmddhh").tolist() == [expected]


def test_a_date_is_its_midnight() -> None:
    assert time_values("t", pa.array([datetime(1970, 1, 2, tzinfo=UTC).date()]), "auto").tolist() == [86_400_000_000]


def test_fractions_of_a_second_are_cut_downwards() -> None:
    assert time_values("t", pa.array([0.0000015, -0.0000005]), "s").tolist() == [1, -1]


@pytest.mark.parametrize(
    ("values", "time_format", "message"),
    [
        (["2026-03-01", None], "auto", r"^time column 't' has 1 missing values, must have none; drop them$"),
        ([float("nan")], "s", r"^time column 't' has missing values, must have none; drop them$"),
        (
            [5],
            "auto",
            r"^time column 't' is of type int64 with data\.columns\.time_format == 'auto', must be s, ms, us or",
        ),
        (["soon"], "auto", r"^time column 't': .*; state data\.columns\.time_format or mend the value$"),
        (["99999999"], "yymmddhh", r"^time column 't': .*; state data\.columns\.time_format or mend the value$"),
        (["soon"], "s", r"^column 't' has 'soon', must be a number"),
        (
            [NOON],
            "s",
            r"^time column 't' has 1772366400000000, must lie in the years 1 to 9999; state data\.columns\.time",
        ),
        ([float(NOON)], "s", r"^time column 't' has 1772366400000000\.0, must lie in the years 1 to 9999"),
        ([2**62], "us", r"^time column 't' has 4611686018427387904, must lie in the years 1 to 9999"),
    ],
)
def test_a_time_that_cannot_be_read_is_refused(values: list[Any], time_format: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        time_values("t", pa.array(values), time_format)


def test_without_a_time_column_there_are_no_times() -> None:
    assert _rows({"click": [1]}).times_us() is None
    assert _rows({"click": [1], "t": [NOON]}, time="t", time_format="us").times_us() is not None


@pytest.mark.parametrize(
    ("array", "texts"),
    [
        (pa.array([7, None]), ["7", None]),
        (pa.array([7.0, None, float("nan")]), ["7", None, None]),
        (pa.array([-0.0, 2.5, 0.1, 1e300, float("inf")]), ["0", "2.5", "0.1", "1e+300", "inf"]),
        (
            pa.array([9999999999.5, 10000000000.5, 1.5e-6, 9.9e-7]),
            ["9999999999.5", "1.00000000005e+10", "0.0000015", "9.9e-7"],
        ),
        (pa.array([2.5], pa.float32()), ["2.5"]),
        (pa.array([True, False, None]), ["true", "false", None]),
        (pa.array(["7", "", None]), ["7", "", None]),
        (pa.array([2**64 - 1], pa.uint64()), ["18446744073709551615"]),
        (pa.nulls(2), [None, None]),
        (pa.array([NOON], pa.timestamp("us")), [str(NOON)]),
    ],
)
def test_a_category_has_one_text_whatever_its_type(array: pa.Array, texts: list[str | None]) -> None:
    assert category_texts(array).to_pylist() == texts
    encoded = category_texts(array.dictionary_encode())
    assert encoded.to_pylist() == texts


@given(st.lists(st.none() | st.integers(-(2**52), 2**52)))
def test_whole_numbers_are_one_category_in_any_type(numbers: list[int | None]) -> None:
    columns = {
        "whole": pa.array(numbers, pa.int64()),
        "real": pa.array(numbers, pa.float64()),
        "text": pa.array([None if number is None else str(number) for number in numbers], pa.string()),
    }
    columns |= {f"{name}_dictionary": array.dictionary_encode() for name, array in columns.items()}
    rows = Rows(pa.table(columns), Columns())
    keys = [rows.keys(name).tolist() for name in columns]
    assert all(found == keys[0] for found in keys)


def test_bytes_are_no_category() -> None:
    with pytest.raises(
        InputError, match=r"^a categorical column is of type binary, must be text, a number or a boolean; co"
    ):
        category_texts(pa.array([b"x"]))


def test_pinned_rows_have_the_context_at_its_pinned_values() -> None:
    context = {"position": {"kind": "numeric", "pinned": 2}, "slot": {"kind": "native", "pinned": None}}
    rows = _rows({"click": [0, 1], "position": ["1", "3"]}, context=context)
    pinned = rows.pinned()
    assert pinned.numbers("position").tolist() == [2.0, 2.0]
    assert pinned.texts("slot").to_pylist() == [None, None]
    assert rows.numbers("position").tolist() == [1.0, 3.0]
    assert rows.pinned_among(("slot",)).numbers("position").tolist() == [1.0, 3.0]


def test_objects_become_rows_with_null_for_what_they_lack() -> None:
    rows = rows_from_objects([{"a": 1}, {"b": "x", "a": None}], Columns())
    assert rows.table.to_pylist() == [{"a": 1, "b": None}, {"a": None, "b": "x"}]


def test_objects_that_mix_types_in_a_column_are_refused() -> None:
    with pytest.raises(InputError, match=r"^column 'a' mixes types \(.*\), must hold one; convert its values$"):
        rows_from_objects([{"a": 1}, {"a": "x"}], Columns())


def test_missing_times_are_missing_categories() -> None:
    times = pa.array([NOON, None], pa.timestamp("us", tz="UTC"))
    assert category_texts(times).to_pylist() == [str(NOON), None]
    assert category_texts(times.dictionary_encode()).to_pylist() == [str(NOON), None]


def test_texts_with_and_without_a_zone_may_be_mixed() -> None:
    texts = ["2026-03-01T12:00:00", "2026-03-01 14:00:00+02:00", "2026-03-01T12:00:00Z", "2026-03-01T07:00:00-0500"]
    assert time_values("t", pa.array([*texts, "2026-03-01"]), "iso").tolist() == [NOON] * 4 + [NOON - 12 * HOUR_US]


def test_a_text_that_is_no_time_is_named_among_mixed_ones() -> None:
    with pytest.raises(InputError, match=r"^time column 't': .*'noon'.*; state data\.columns\.time_format or mend"):
        time_values("t", pa.array(["2026-03-01T12:00:00", "2026-03-01T12:00:00Z", "noon"]), "iso")
