import pandas as pd
import pyarrow as pa
import pytest

from tracking.mlflow_model import to_table

SCHEMA = pa.schema(
    [
        pa.field("n", pa.int64()),
        pa.field("t", pa.timestamp("us", tz="UTC"), nullable=False),
        pa.field("s", pa.large_string()),
    ]
)


def test_a_frame_is_brought_to_the_schema_whatever_its_columns_order_and_index() -> None:
    rows = pd.DataFrame(
        {"s": ["a", None], "x": [0, 0], "t": ["2026-03-01T02:00:01.25+02:00", "2026-03-01"], "n": [1.0, None]}, [5, 5]
    )
    table = to_table(rows, SCHEMA)
    assert table.schema == SCHEMA
    assert table["n"].to_pylist() == [1, None]
    assert table["s"].to_pylist() == ["a", None]
    assert [time.isoformat() for time in table["t"].to_pylist()] == [
        "2026-03-01T00:00:01.250000+00:00",
        "2026-03-01T00:00:00+00:00",
    ]


def test_times_with_a_zone_are_converted_and_others_are_utc() -> None:
    for zone, hour in ((None, 5), ("Asia/Tokyo", 20)):
        rows = pd.DataFrame({"t": pd.to_datetime(["2026-03-01 05:00"]).tz_localize(zone)})
        (time,) = to_table(rows, SCHEMA)["t"].to_pylist()
        assert time.hour == hour


def test_a_missing_optional_column_is_null_and_a_missing_required_one_is_named() -> None:
    times = pd.DataFrame({"t": pd.to_datetime(["2026-03-01"])})
    assert to_table(times, SCHEMA)["s"].to_pylist() == [None]
    with pytest.raises(ValueError, match=r"^column 't' is missing, the model needs it as timestamp\[us, tz=UTC\]"):
        to_table(pd.DataFrame({"n": [1]}), SCHEMA)


@pytest.mark.parametrize("values", [["many"], [1.5], [object()]])
def test_a_value_that_does_not_fit_names_its_column(values: list[object]) -> None:
    rows = pd.DataFrame({"n": values, "t": pd.to_datetime(["2026-03-01"])})
    with pytest.raises(ValueError, match=r"^column 'n' cannot be read as int64: "):
        to_table(rows, SCHEMA)


def test_no_rows_give_no_rows() -> None:
    rows = pd.DataFrame({"t": pd.to_datetime([])})
    assert to_table(rows, SCHEMA).num_rows == 0
