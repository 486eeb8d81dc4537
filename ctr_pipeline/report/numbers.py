"""Numbers and digests as people read them, the same in every place."""

from typing import Final

DIGEST_SHOWN: Final = 12
NONE: Final = "–"  # noqa: RUF001 - a dash, meant
_SIGNIFICANT: Final = 5
# From here on no digits behind the point are shown, and none before it are lost.
_WHOLE: Final = 1_000


def figure(value: float | None) -> str:
    """Return a measured value with five significant digits."""
    return NONE if value is None else f"{value:.{_SIGNIFICANT}g}"


def signed(value: float | None) -> str:
    """Return a difference with its sign and three significant digits; an exact zero has none."""
    if value is None:
        return NONE
    return "0" if value == 0 else f"{value:{'+,.0f' if abs(value) >= _WHOLE else '+.3g'}}".replace("-", "−")  # noqa: RUF001 - the sign, as wide as a plus


def between(low: float | None, high: float | None) -> str:
    """Return an interval of values."""
    return "" if low is None or high is None else f"{low:.4g} to {high:.4g}"


def signed_between(low: float | None, high: float | None) -> str:
    """Return an interval of differences."""
    return "" if low is None or high is None else f"{signed(low)} to {signed(high)}"


def count(value: int | None) -> str:
    """Return a whole number with its thousands apart."""
    return NONE if value is None else f"{value:,}"


def counted(n: int, noun: str, plural: str | None = None) -> str:
    """Return a number with its noun: 1 file, 2 files."""
    return f"{n:,} {noun if n == 1 else plural or noun + 's'}"


def short(digest: str | None) -> str:
    """Return the start of a digest."""
    return NONE if digest is None else digest[:DIGEST_SHOWN]
