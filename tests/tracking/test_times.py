"""Durations and instants are read exactly or refused."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracking.times import duration_us, instant_us, positive_duration_us


@pytest.mark.parametrize(
    ("text", "microseconds"),
    [
        ("0s", 0),
        ("7us", 7),
        ("2ms", 2_000),
        ("90s", 90_000_000),
        ("3m", 180_000_000),
        ("1h", 3_600_000_000),
        ("1d", 86_400_000_000),
    ],
)
def test_a_duration_is_a_number_and_a_unit(text: str, microseconds: int) -> None:
    assert duration_us(text) == microseconds


@pytest.mark.parametrize("text", ["100001d", "9" * 5_000 + "us"])
def test_a_duration_beyond_any_log_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^must be at most 100000d$"):
        duration_us(text)
    assert duration_us("100000d") == 8_640_000_000_000_000


@pytest.mark.parametrize("text", ["", "1", "d", "-1d", "1.5h", "1 d", "1w", "1d2h"])
def test_any_other_duration_is_refused(text: str) -> None:
    with pytest.raises(
        ValueError, match=r"^must be a whole number and a unit of us, ms, s, m, h, d, such as 1d or 90s$"
    ):
        duration_us(text)


@pytest.mark.parametrize(
    ("text", "other"),
    [
        ("2026-03-01", "2026-03-01T00:00:00Z"),
        ("2026-03-01T12:00:00", "2026-03-01T12:00:00+00:00"),
        ("2026-03-01T12:00:00Z", "2026-03-01T14:00:00+02:00"),
    ],
)
def test_an_instant_without_a_zone_is_utc(text: str, other: str) -> None:
    assert instant_us(text) == instant_us(other)


@given(st.datetimes(min_value=datetime(1, 1, 2), max_value=datetime(9999, 12, 30), timezones=st.just(UTC)))  # noqa: DTZ001 - hypothesis adds the zone
def test_an_instant_is_exact_to_the_microsecond(moment: datetime) -> None:
    assert datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=instant_us(moment.isoformat())) == moment


def test_any_other_instant_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^must be an ISO 8601 date or time, such as 2026-03-01"):
        instant_us("yesterday")


def test_nothing_is_no_positive_duration() -> None:
    with pytest.raises(ValueError, match=r"^must be longer than 0, such as 1h or 1d$"):
        positive_duration_us("0h")
    assert positive_duration_us("1us") == 1
