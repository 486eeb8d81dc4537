"""Durations and instants as people write them, in microseconds."""

import re
from datetime import UTC, datetime
from typing import Final

_DURATION: Final = re.compile(r"(\d+)(us|ms|s|m|h|d)")
_UNITS_US: Final = {"us": 1, "ms": 1_000, "s": 1_000_000, "m": 60_000_000, "h": 3_600_000_000, "d": 86_400_000_000}
DAY_US: Final = _UNITS_US["d"]
HOUR_US: Final = _UNITS_US["h"]
# Far beyond any log, and sums of a few of them still fit 64 bits and a calendar.
_LONGEST_US: Final = 100_000 * DAY_US
_MOST_DIGITS: Final = 20


def duration_us(text: str) -> int:
    """Return a duration such as `90s`, `12h` or `1d` in microseconds.

    Raises:
        ValueError: the text is no whole number followed by us, ms, s, m, h or d, or is longer than 100,000 days.
    """
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ValueError("must be a whole number and a unit of us, ms, s, m, h, d, such as 1d or 90s")
    # By its digits first: Python refuses to read numbers of thousands of digits.
    elapsed = int(match[1]) * _UNITS_US[match[2]] if len(match[1]) <= _MOST_DIGITS else _LONGEST_US + 1
    if elapsed > _LONGEST_US:
        raise ValueError(f"must be at most {_LONGEST_US // DAY_US}d")
    return elapsed


def positive_duration_us(text: str) -> int:
    """Return a duration longer than nothing in microseconds.

    Raises:
        ValueError: as `duration_us`, or it is 0.
    """
    elapsed = duration_us(text)
    if not elapsed:
        raise ValueError("must be longer than 0, such as 1h or 1d")
    return elapsed


def instant_us(text: str) -> int:
    """Return an ISO 8601 date or time in microseconds since 1970 UTC; without a zone it is UTC.

    Raises:
        ValueError: the text is no ISO 8601 date or time.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise ValueError("must be an ISO 8601 date or time, such as 2026-03-01 or 2026-03-01T12:00:00Z") from error
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    elapsed = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return (elapsed.days * 86_400 + elapsed.seconds) * 1_000_000 + elapsed.microseconds
