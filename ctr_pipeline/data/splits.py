"""Which rows train, validate and test: by windows of time, by hash of the user or the row, or by file."""

import fnmatch
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import IntEnum
from typing import Final

import numpy as np
import numpy.typing as npt

from ctr_pipeline.config import SplitSettings
from ctr_pipeline.data.hashing import U64, hash_text, mix64
from tracking.errors import InputError
from tracking.times import DAY_US, duration_us, instant_us

type SplitCodes = npt.NDArray[np.int8]

SHORT_LOG_US: Final = 3 * DAY_US
_SALT: Final = np.uint64(hash_text("ctr-pipeline split"))
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Split(IntEnum):
    """Where a row goes; `LEFT_OUT` rows lie in a gap or behind the last window."""

    LEFT_OUT = -1
    TRAIN = 0
    VALIDATION = 1
    TEST = 2


@dataclass(frozen=True, slots=True)
class Windows:
    """Windows of time, each from its start up to but not including its end, microseconds since 1970 UTC."""

    train_end: int
    validation_start: int
    validation_end: int
    test_start: int
    test_end: int

    def assign(self, times_us: npt.NDArray[np.int64]) -> SplitCodes:
        """Return each row's split, shape (n,)."""
        codes = np.full(len(times_us), Split.LEFT_OUT, dtype=np.int8)
        codes[times_us < self.train_end] = Split.TRAIN
        codes[(times_us >= self.validation_start) & (times_us < self.validation_end)] = Split.VALIDATION
        codes[(times_us >= self.test_start) & (times_us < self.test_end)] = Split.TEST
        return codes

    def test_share(self, first_us: int, last_us: int) -> float:
        """Return the share of the test window, 0 to 1, that a log from `first_us` to `last_us` covers."""
        covered = min(self.test_end, last_us + 1) - max(self.test_start, first_us)
        return covered / (self.test_end - self.test_start)


def plan_windows(settings: SplitSettings, first_us: int, last_us: int, *, only_test: bool = False) -> Windows:
    """Lay the test window at the log's end and the validation window before it.

    Windows of whole days end at midnight UTC after the last row, others right behind it. In a log shorter than three
    days each window is `short_log_rate` of the log's time range instead, so that a single day can be tried out.

    Args:
        settings: the windows' lengths, the gap, the end.
        first_us: time of the earliest row.
        last_us: time of the latest row.
        only_test: whether nothing is trained: the test window then has its full length however short the log is.

    Raises:
        InputError: the test window lies outside the data, or nothing is left to train on.
    """
    test, validation, gap = (duration_us(text) for text in (settings.test, settings.validation, settings.gap))
    span = last_us - first_us + 1
    short = span < SHORT_LOG_US and settings.end is None and not only_test
    if short:
        test = validation = max(1, int(span * settings.short_log_rate))
    whole_days = not short and test % DAY_US == 0 and validation % DAY_US == 0
    end = last_us + 1
    if settings.end is not None:
        end = instant_us(settings.end)
    elif whole_days:
        end = -(-end // DAY_US) * DAY_US
    windows = Windows(
        train_end=end - test - gap - validation - gap,
        validation_start=end - test - gap - validation,
        validation_end=end - test - gap,
        test_start=end - test,
        test_end=end,
    )
    if windows.test_start > last_us or windows.test_end <= first_us:
        raise InputError(
            f"the test window {utc_text(windows.test_start)} to {utc_text(windows.test_end)} lies outside the data "
            f"({utc_text(first_us)} to {utc_text(last_us)}), must overlap them; change split.end or split.test"
        )
    if windows.train_end <= first_us and not only_test:
        raise InputError(
            f"nothing is left to train on before {utc_text(windows.train_end)}, as the data start at "
            f"{utc_text(first_us)}; shorten split.test, split.validation or split.gap, or bring a longer log"
        )
    return windows


def assign_by_hash(keys: U64, settings: SplitSettings) -> SplitCodes:
    """Return each row's split by the hash of its user or of itself, shape (n,)."""
    places = mix64(keys ^ _SALT)
    test_end = _threshold(settings.test_rate)
    validation_end = _threshold(settings.test_rate + settings.validation_rate)
    codes = np.full(len(keys), Split.TRAIN, dtype=np.int8)
    codes[places < validation_end] = Split.VALIDATION
    codes[places < test_end] = Split.TEST
    return codes


def split_of_file(path: str, settings: SplitSettings) -> Split:
    """Return the split of every row of the file at the relative `path`."""
    if any(fnmatch.fnmatch(path, pattern) for pattern in settings.test_files):
        return Split.TEST
    if any(fnmatch.fnmatch(path, pattern) for pattern in settings.validation_files):
        return Split.VALIDATION
    return Split.TRAIN


def require_matches(paths: Sequence[str], settings: SplitSettings) -> None:
    """Check that every pattern of files finds one.

    Raises:
        InputError: a pattern fits none of the relative `paths`.
    """
    for key in ("validation_files", "test_files"):
        for pattern in getattr(settings, key):
            if not fnmatch.filter(paths, pattern):
                raise InputError(f"split.{key} has {pattern!r}, must fit a file of the data: {', '.join(paths)}")


def utc_text(time_us: int) -> str:
    """Return a time as ISO 8601 text in UTC."""
    return (_EPOCH + timedelta(microseconds=time_us)).isoformat().replace("+00:00", "Z")


def _threshold(rate: float) -> np.uint64:
    return np.uint64(min(int(rate * 2.0**64), 2**64 - 1))
