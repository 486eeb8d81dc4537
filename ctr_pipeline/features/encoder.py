"""The fitted preprocessing: raw rows in, a matrix of float32 features out, nothing fitted on the way.

`docs/encoder-format.md` publishes the format and its arithmetic, so that another language can serve it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ctr_pipeline.data.rows import Rows
from ctr_pipeline.features.statistics import CategoryTable, Counts, cross_keys, smoothed_rates
from tracking.times import DAY_US, HOUR_US

type Matrix = npt.NDArray[np.float32]
type FeatureType = Literal["q", "c"]

_MONDAY_SHIFT: Final = 3  # 1970-01-01 was a Thursday
# XGBoost takes no infinity, and a tree asks for nothing but the order.
_LARGEST: Final = float(np.finfo(np.float32).max)


@dataclass(frozen=True, slots=True)
class NumericFeature:
    """A number as logged, clipped where configured and to what float32 can hold; missing stays NaN."""

    name: str
    column: str
    low: float | None
    high: float | None

    def values(self, rows: Rows) -> npt.NDArray[np.float64]:
        """Return the feature, shape (n,)."""
        numbers = rows.numbers(self.column)
        if self.low is not None:
            numbers = np.where(numbers < self.low, self.low, numbers)
        if self.high is not None:
            numbers = np.where(numbers > self.high, self.high, numbers)
        return np.clip(numbers, -_LARGEST, _LARGEST)


@dataclass(frozen=True, slots=True)
class NativeFeature:
    """A category of few values as its place in the list of training values; unseen and missing are NaN."""

    name: str
    column: str
    categories: tuple[str, ...]

    def values(self, rows: Rows) -> npt.NDArray[np.float64]:
        """Return the feature, shape (n,)."""
        texts = rows.texts(self.column)
        if pa.types.is_dictionary(texts.type):
            texts = texts.dictionary_decode()
        known = pa.array(self.categories, type=pa.string())
        places = pc.index_in(texts.cast(pa.string()), value_set=known, skip_nulls=True)
        codes: npt.NDArray[np.float64] = places.cast(pa.float64()).to_numpy(zero_copy_only=False)
        return codes


@dataclass(frozen=True, slots=True)
class TimeFeature:
    """The hour (0 to 23) or the weekday (Monday 0 to Sunday 6) of the time, in UTC."""

    name: str
    part: Literal["hour", "weekday"]

    def values(self, rows: Rows) -> npt.NDArray[np.float64]:
        """Return the feature, shape (n,)."""
        times = rows.times_us()
        if times is None:
            return np.full(len(rows), np.nan)
        part = times // HOUR_US % 24 if self.part == "hour" else (times // DAY_US + _MONDAY_SHIFT) % 7
        return part.astype(np.float64)


@dataclass(frozen=True, slots=True)
class StatisticFeature:
    """Two features of one category or cross: its smoothed click rate, and its number of impressions."""

    name: str
    columns: tuple[str, ...]

    def keys(self, rows: Rows) -> npt.NDArray[np.uint64]:
        """Return the rows' category keys, shape (n,)."""
        parts = [rows.keys(column) for column in self.columns]
        return parts[0] if len(parts) == 1 else cross_keys(parts)


type PlainFeature = NumericFeature | NativeFeature | TimeFeature


@dataclass(frozen=True, slots=True)
class Encoder:
    """A fitted preprocessing.

    Attributes:
        plain: features of one value each, in the matrix's order.
        statistics: target statistics, behind the plain features, two columns each: rate, count.
        tables: the statistics' counts over all training rows, by name.
        totals: clicks and impressions of all training rows.
        smoothing: impressions that the prior rate is worth.
        prior_rate: the rate before any row.
        prior_weight: impressions that `prior_rate` is worth.
        rare_impressions: a category seen less often counts as cold.
    """

    plain: tuple[PlainFeature, ...]
    statistics: tuple[StatisticFeature, ...]
    tables: Mapping[str, CategoryTable]
    totals: Counts
    smoothing: float
    prior_rate: float
    prior_weight: float
    rare_impressions: int

    @property
    def feature_names(self) -> tuple[str, ...]:
        """The matrix's columns."""
        statistics = (f"{feature.name}.{part}" for feature in self.statistics for part in ("rate", "count"))
        return (*(feature.name for feature in self.plain), *statistics)

    @property
    def feature_types(self) -> tuple[FeatureType, ...]:
        """XGBoost's type of each of the matrix's columns."""
        plain: tuple[FeatureType, ...] = tuple("c" if isinstance(f, NativeFeature) else "q" for f in self.plain)
        statistics: list[FeatureType] = ["q"] * (2 * len(self.statistics))
        return (*plain, *statistics)

    def encode(self, rows: Rows) -> "Encoded":
        """Return the features of raw rows, statistics from all training rows."""
        prior = self.prior(self.totals)
        cold = np.zeros(len(rows), dtype=np.bool_)
        matrix = self.plain_matrix(rows)
        for place, feature in enumerate(self.statistics):
            counts = self.tables[feature.name].look_up(feature.keys(rows))
            self.put_statistic(matrix, place, counts, prior)
            cold |= counts.impressions < self.rare_impressions
        return Encoded(matrix, cold)

    def plain_matrix(self, rows: Rows) -> Matrix:
        """Return a matrix with the plain features filled in; shape (n, number of features)."""
        matrix = np.empty((len(rows), len(self.feature_names)), dtype=np.float32)
        for place, feature in enumerate(self.plain):
            matrix[:, place] = feature.values(rows)
        return matrix

    def put_statistic(self, matrix: Matrix, place: int, counts: Counts, prior: npt.NDArray[np.float64]) -> None:
        """Fill in the two columns of the statistic number `place`.

        Args:
            matrix: shape (n, number of features).
            place: index into `statistics`.
            counts: what is known of each row's category, shape (n,).
            prior: the overall rate known then, shape (n,) or (1,).
        """
        column = len(self.plain) + 2 * place
        matrix[:, column] = smoothed_rates(counts, prior, self.smoothing)
        matrix[:, column + 1] = counts.impressions

    def prior(self, totals: Counts) -> npt.NDArray[np.float64]:
        """Return the overall click rate drawn towards `prior_rate`, of the shape of `totals`."""
        rate = np.full(len(totals.clicks), self.prior_rate)
        return smoothed_rates(totals, rate, self.prior_weight)


@dataclass(frozen=True, slots=True)
class Encoded:
    """Features of n rows.

    Attributes:
        matrix: shape (n, number of features).
        cold: where a row has a category that training saw too rarely, shape (n,).
    """

    matrix: Matrix
    cold: npt.NDArray[np.bool_]
