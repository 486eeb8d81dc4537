"""Target statistics: how often each category was shown and clicked, as it was known before a row.

Counts are integers, so sums are exact in any order. A row of period `b` sees the periods up to `b - lag`: with lag 1, a
period sees all earlier ones, and rows of equal time never see each other.
"""

from dataclasses import dataclass
from functools import reduce
from typing import Final, Self

import numpy as np
import numpy.typing as npt

from ctr_pipeline.data.hashing import U64, mix64

type I64 = npt.NDArray[np.int64]
type F64 = npt.NDArray[np.float64]

CROSS_SEED: Final = np.uint64(0x2545F4914F6CDD1D)


@dataclass(frozen=True, slots=True)
class Counts:
    """Clicks and impressions of n rows' categories, each of shape (n,)."""

    clicks: I64
    impressions: I64


@dataclass(frozen=True, slots=True)
class CategoryTable:
    """Clicks and impressions by category key, m of them, sorted by key."""

    keys: U64
    clicks: I64
    impressions: I64

    @classmethod
    def empty(cls) -> Self:
        """Return a table without categories."""
        return cls(np.empty(0, np.uint64), np.empty(0, np.int64), np.empty(0, np.int64))

    @classmethod
    def of(cls, keys: U64, clicks: I64, impressions: I64) -> Self:
        """Return the sums by key of (key, clicks, impressions) in any order, shape (n,)."""
        unique, codes = np.unique(keys, return_inverse=True)
        return cls(unique, exact_sums(codes, clicks, len(unique)), exact_sums(codes, impressions, len(unique)))

    @classmethod
    def of_rows(cls, keys: U64, labels: npt.NDArray[np.uint8]) -> Self:
        """Return the counts by key of rows with labels 0 or 1, shape (n,)."""
        return cls.of(keys, labels.astype(np.int64), np.ones(len(keys), np.int64))

    def plus(self, other: Self) -> Self:
        """Return the sums of both tables."""
        if not len(other.keys):
            return self
        if not len(self.keys):
            return other
        return type(self).of(
            np.concatenate((self.keys, other.keys)),
            np.concatenate((self.clicks, other.clicks)),
            np.concatenate((self.impressions, other.impressions)),
        )

    def look_up(self, keys: U64) -> Counts:
        """Return the counts of rows' keys, 0 where a key is unknown; shape (n,)."""
        if not len(self.keys):
            return Counts(np.zeros(len(keys), np.int64), np.zeros(len(keys), np.int64))
        places = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
        known = self.keys[places] == keys
        return Counts(np.where(known, self.clicks[places], 0), np.where(known, self.impressions[places], 0))


class ProgressiveCounts:
    """Counts known before each row, over rows that come in the order of their periods."""

    def __init__(self, lag: int) -> None:
        """Start without any row.

        Args:
            lag: periods that pass until a row is seen, at least 1.
        """
        self._lag = lag
        self._settled = CategoryTable.empty()
        self._recent = _PeriodCounts.empty()

    def observe(self, keys: U64, periods: I64, labels: npt.NDArray[np.uint8]) -> Counts:
        """Return what was known before each of the next rows, then learn their labels.

        Args:
            keys: category keys, shape (n,).
            periods: period of each row, never falling, also not from call to call; shape (n,).
            labels: 0 or 1, shape (n,).
        """
        if not len(keys):
            return Counts(np.empty(0, np.int64), np.empty(0, np.int64))
        self._settle(up_to=int(periods[0]) - self._lag)
        self._recent = self._recent.plus(keys, periods, labels)
        recent = self._recent.before(keys, periods - self._lag)
        settled = self._settled.look_up(keys)
        return Counts(settled.clicks + recent.clicks, settled.impressions + recent.impressions)

    def total(self) -> CategoryTable:
        """Return the counts of all rows seen."""
        recent = self._recent
        return self._settled.plus(CategoryTable.of(recent.keys, recent.clicks, recent.impressions))

    def _settle(self, up_to: int) -> None:
        settled, self._recent = self._recent.divided(up_to)
        self._settled = self._settled.plus(CategoryTable.of(settled.keys, settled.clicks, settled.impressions))


class FoldCounts:
    """Counts by category and fold, for rows that have no time."""

    def __init__(self, folds: int) -> None:
        """Start without any row."""
        self._tables = [CategoryTable.empty() for _ in range(folds)]
        self._total: CategoryTable | None = None

    def learn(self, keys: U64, folds: I64, labels: npt.NDArray[np.uint8]) -> None:
        """Count rows; keys, folds (0 to folds - 1) and labels have shape (n,)."""
        self._total = None
        for fold, table in enumerate(self._tables):
            chosen = folds == fold
            self._tables[fold] = table.plus(CategoryTable.of_rows(keys[chosen], labels[chosen]))

    def others(self, keys: U64, folds: I64) -> Counts:
        """Return the counts of each row's category in all folds but its own, shape (n,)."""
        total = self.total().look_up(keys)
        clicks, impressions = total.clicks.copy(), total.impressions.copy()
        for fold, table in enumerate(self._tables):
            chosen = folds == fold
            own = table.look_up(keys[chosen])
            clicks[chosen] -= own.clicks
            impressions[chosen] -= own.impressions
        return Counts(clicks, impressions)

    def total(self) -> CategoryTable:
        """Return the counts over all folds."""
        if self._total is None:
            self._total = reduce(CategoryTable.plus, self._tables)
        return self._total


def cross_keys(parts: list[U64]) -> U64:
    """Return the keys of combined categories: ``h = mix(h ^ key) + key`` over the parts from a fixed seed.

    Args:
        parts: the keys of each combined column, each of shape (n,).
    """
    hashes = np.full(len(parts[0]), CROSS_SEED, dtype=np.uint64)
    for keys in parts:
        hashes = mix64(hashes ^ keys) + keys
    return hashes


def smoothed_rates(counts: Counts, prior: F64, smoothing: float) -> F64:
    """Return click rates drawn towards a prior: ``(clicks + s * prior) / (impressions + s)``, shape (n,).

    Only + x / in binary64: every machine rounds them alike.
    """
    return (counts.clicks + smoothing * prior) / (counts.impressions + smoothing)


def exact_sums(codes: npt.NDArray[np.intp], values: I64, n_codes: int) -> I64:
    """Return integer sums of `values` by code, shape (n_codes,); exact below 2**53."""
    return np.bincount(codes, weights=values, minlength=n_codes).astype(np.int64)


@dataclass(frozen=True, slots=True)
class _PeriodCounts:
    """Counts by (period, key), for the periods that not every coming row may see yet."""

    keys: U64
    periods: I64
    clicks: I64
    impressions: I64

    @classmethod
    def empty(cls) -> Self:
        none = np.empty(0, np.int64)
        return cls(np.empty(0, np.uint64), none, none, none)

    def plus(self, keys: U64, periods: I64, labels: npt.NDArray[np.uint8]) -> "_PeriodCounts":
        all_keys = np.concatenate((self.keys, keys))
        all_periods = np.concatenate((self.periods, periods))
        clicks = np.concatenate((self.clicks, labels.astype(np.int64)))
        impressions = np.concatenate((self.impressions, np.ones(len(keys), np.int64)))
        order = np.lexsort((all_periods, all_keys))
        all_keys, all_periods = all_keys[order], all_periods[order]
        first = np.ones(len(order), dtype=np.bool_)
        first[1:] = (all_keys[1:] != all_keys[:-1]) | (all_periods[1:] != all_periods[:-1])
        starts = np.flatnonzero(first)
        return _PeriodCounts(
            all_keys[starts],
            all_periods[starts],
            np.add.reduceat(clicks[order], starts),
            np.add.reduceat(impressions[order], starts),
        )

    def before(self, keys: U64, last_periods: I64) -> Counts:
        """Return each key's counts in the periods up to `last_periods`; rows are sorted by (key, period)."""
        unique, codes = np.unique(self.keys, return_inverse=True)
        known_periods, ranks = np.unique(self.periods, return_inverse=True)
        width = len(known_periods) + 1
        places = codes * width + ranks
        wanted = np.searchsorted(unique, keys)
        visible = np.searchsorted(known_periods, last_periods, side="right")
        starts = np.searchsorted(places, wanted * width)
        ends = np.searchsorted(places, wanted * width + visible)
        clicks, impressions = _running(self.clicks), _running(self.impressions)
        return Counts(clicks[ends] - clicks[starts], impressions[ends] - impressions[starts])

    def divided(self, period: int) -> tuple["_PeriodCounts", "_PeriodCounts"]:
        """Return the counts up to `period` and those after it."""
        old = self.periods <= period
        return self._chosen(old), self._chosen(~old)

    def _chosen(self, mask: npt.NDArray[np.bool_]) -> "_PeriodCounts":
        return _PeriodCounts(self.keys[mask], self.periods[mask], self.clicks[mask], self.impressions[mask])


def _running(values: I64) -> I64:
    return np.concatenate((np.zeros(1, np.int64), np.cumsum(values)))
