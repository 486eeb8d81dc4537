"""Data drift: how far a column's values have moved between two logs.

The population stability index (PSI) sums ``(new - old) * ln(new / old)`` over the shares of bins: the old values'
deciles for numbers, the most frequent old values for categories, missing values apart. By a rule of thumb (Siddiqi,
Credit Risk Scorecards, 2006) more than .1 is notable and more than .25 large. Few rows alone make a PSI: without any
drift it is distributed about as chi-square with bins - 1 degrees of freedom, times ``1/n_old + 1/n_new`` (Yurdakul,
Statistical Properties of Population Stability Index, 2018). What that explains in 19 of 20 cases counts as small.

Logs are read once, batch by batch. At most so many rows of each are kept, every k-th of them, so that memory is bounded
and the same logs give the same figures.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ctr_pipeline.columns import Columns
from ctr_pipeline.data.hashing import validity
from ctr_pipeline.data.rows import Rows

type DriftRole = Literal["label", "numeric", "categorical", "native", "context"]
type DriftLevel = Literal["small", "notable", "large"]

NOTABLE: Final = 0.1
LARGE: Final = 0.25
QUANTILES: Final = (0.05, 0.25, 0.5, 0.75, 0.95)
_DECILES: Final = tuple(place / 10 for place in range(1, 10))
_TOP: Final = 20
# A category with fewer old rows is none of the top ones: bins of a row or two would be all chance.
_LEAST_TOP_ROWS: Final = 5
# Rows that an empty bin counts as, so that the logarithm exists.
_LEAST_ROWS: Final = 0.5
_Z95: Final = 1.6448536269514722


@dataclass(frozen=True, slots=True)
class ColumnDrift:
    """How a column's values differ between the original's data and the new ones.

    Attributes:
        column: its name.
        role: what the run takes it for; context columns are numeric or native as their settings say.
        rows_original: rows that were looked at.
        rows_again: rows of the new data that were looked at.
        missing_original: share of missing values, 0 to 1.
        missing_again: share of missing values in the new data, 0 to 1.
        mean_original: of numbers; of the label it is the click rate, 0 to 1; None for categories.
        mean_again: in the new data.
        quantiles_original: of numbers, at .05, .25, .5, .75 and .95; empty for categories.
        quantiles_again: in the new data.
        unseen: of categories, share of the new rows with a value that no old row has, 0 to 1; None for numbers.
        psi: population stability index, 0 and more.
        psi_by_chance: what the numbers of rows alone explain in 19 of 20 cases.
        level: "large" above .25, "notable" above .1, unless chance explains it; else "small".
    """

    column: str
    role: DriftRole
    rows_original: int
    rows_again: int
    missing_original: float
    missing_again: float
    mean_original: float | None
    mean_again: float | None
    quantiles_original: tuple[float, ...]
    quantiles_again: tuple[float, ...]
    unseen: float | None
    psi: float
    psi_by_chance: float
    level: DriftLevel


@dataclass(frozen=True, slots=True, eq=False)
class ColumnSample:
    """A column's values in n rows.

    Attributes:
        role: of the column.
        values: numbers with NaN for missing, or the keys of categories, shape (n,).
        present: whether there is a value, shape (n,).
    """

    role: DriftRole
    values: npt.NDArray[np.float64] | npt.NDArray[np.uint64]
    present: npt.NDArray[np.bool_]


def drift_columns(columns: Columns, known: Iterable[str]) -> tuple[str, ...]:
    """Return the columns whose drift is measured: the label and the features, as far as the log has them."""
    names = set(known)
    return tuple(name for name in (columns.label, *columns.features) if name in names)


def sample_log(
    batches: Iterable[pa.RecordBatch], columns: Columns, names: Sequence[str], *, every: int
) -> dict[str, ColumnSample]:
    """Read columns of a log and keep every k-th row.

    Args:
        batches: of the log, in its order.
        columns: the columns' roles.
        names: of the columns wanted, each the label or a feature.
        every: k, at least 1.

    Raises:
        InputError: a value is unreadable.
    """
    kept: dict[str, list[tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]]] = {name: [] for name in names}
    seen = 0
    for batch in batches:
        chosen = np.arange(-seen % every, batch.num_rows, every)
        seen += batch.num_rows
        rows = Rows(batch.take(pa.array(chosen)) if every > 1 else batch, columns)
        for name in names:
            kept[name].append(_values(name, rows))
    return {name: _joined(_role(name, columns), parts) for name, parts in kept.items()}


def measure_drift(before: Mapping[str, ColumnSample], after: Mapping[str, ColumnSample]) -> tuple[ColumnDrift, ...]:
    """Compare the columns that both logs have, in the old log's order.

    Args:
        before: of the original's data.
        after: of the new data, at least a row.
    """
    return tuple(_drift(name, old, after[name]) for name, old in before.items() if name in after)


def _values(name: str, rows: Rows) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]:
    if name == rows.columns.label:
        labels = rows.labels().astype(np.float64)
        return labels, np.ones(len(labels), np.bool_)
    if _is_number(name, rows.columns):
        numbers = rows.numbers(name)
        return numbers, ~np.isnan(numbers)
    return rows.keys(name), validity(rows.texts(name))


def _is_number(name: str, columns: Columns) -> bool:
    context = columns.context.get(name)
    return name in columns.numeric or (context is not None and context.kind == "numeric")


def _role(name: str, columns: Columns) -> DriftRole:
    if name == columns.label:
        return "label"
    if name in columns.context:
        return "context"
    if name in columns.numeric:
        return "numeric"
    return "native" if name in columns.native else "categorical"


def _joined(role: DriftRole, parts: list[tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]]) -> ColumnSample:
    if not parts:
        return ColumnSample(role, np.empty(0), np.empty(0, np.bool_))
    return ColumnSample(role, np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts]))


def _drift(name: str, old: ColumnSample, new: ColumnSample) -> ColumnDrift:
    old_values, new_values = old.values[old.present], new.values[new.present]
    is_number = old_values.dtype.kind == "f"
    bins = _number_bins if is_number else _category_bins
    counts = _with_missing(*bins(old_values, new_values), _n_missing(old), _n_missing(new))
    psi, chance = _psi(*counts), _psi_by_chance(len(counts[0]), len(old.present), len(new.present))
    return ColumnDrift(
        column=name,
        role=old.role,
        rows_original=len(old.present),
        rows_again=len(new.present),
        missing_original=_missing(old),
        missing_again=_missing(new),
        mean_original=_mean(old_values) if is_number else None,
        mean_again=_mean(new_values) if is_number else None,
        quantiles_original=_quantiles(old_values) if is_number else (),
        quantiles_again=_quantiles(new_values) if is_number else (),
        unseen=None if is_number else _unseen(old_values, new_values, len(new.present)),
        psi=psi,
        psi_by_chance=chance,
        level=_level(psi, chance),
    )


def _number_bins(old: npt.NDArray[Any], new: npt.NDArray[Any]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Count values between the old ones' deciles; equal deciles, as of a flag, are one."""
    edges = np.unique(np.quantile(old, _DECILES)) if len(old) else np.empty(0)
    old_counts, new_counts = (
        np.bincount(np.searchsorted(edges, values, side="left"), minlength=len(edges) + 1) for values in (old, new)
    )
    return old_counts, new_counts


def _category_bins(old: npt.NDArray[Any], new: npt.NDArray[Any]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Count the old top values one by one, and all others together: unseen values are told of apart."""
    keys, counts = np.unique(old, return_counts=True)
    keys, counts = keys[counts >= _LEAST_TOP_ROWS], counts[counts >= _LEAST_TOP_ROWS]
    top = np.sort(keys[np.lexsort((keys, -counts))[:_TOP]])
    old_counts, new_counts = (_count(values, top) for values in (old, new))
    return old_counts, new_counts


def _count(values: npt.NDArray[Any], top: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    if not len(top):
        return np.array([len(values)], np.int64)
    places = np.searchsorted(top, values)
    is_top = top[np.minimum(places, len(top) - 1)] == values
    return np.bincount(np.where(is_top, places, len(top)), minlength=len(top) + 1)


def _with_missing(
    old: npt.NDArray[np.int64], new: npt.NDArray[np.int64], old_missing: int, new_missing: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Add a bin of missing values, and leave out bins that neither log has rows in."""
    old, new = np.append(old, old_missing), np.append(new, new_missing)
    filled = (old > 0) | (new > 0)
    return old[filled], new[filled]


def _psi(old: npt.NDArray[np.int64], new: npt.NDArray[np.int64]) -> float:
    shares = [np.maximum(counts, _LEAST_ROWS) / max(1, int(counts.sum())) for counts in (old, new)]
    return float(np.sum((shares[1] - shares[0]) * np.log(shares[1] / shares[0])))


def _psi_by_chance(n_bins: int, n_old: int, n_new: int) -> float:
    if n_bins <= 1 or not n_old or not n_new:
        return 0.0
    # The .95 quantile of chi-square (Wilson and Hilferty, 1931).
    free = n_bins - 1
    part = 2 / (9 * free)
    return free * (1 - part + _Z95 * math.sqrt(part)) ** 3 * (1 / n_old + 1 / n_new)


def _level(psi: float, by_chance: float) -> DriftLevel:
    if psi <= max(NOTABLE, by_chance):
        return "small"
    return "large" if psi > LARGE else "notable"


def _n_missing(sample: ColumnSample) -> int:
    return len(sample.present) - int(np.count_nonzero(sample.present))


def _missing(sample: ColumnSample) -> float:
    return float(np.mean(~sample.present)) if len(sample.present) else 0.0


def _mean(values: npt.NDArray[Any]) -> float | None:
    return float(np.mean(values)) if len(values) else None


def _quantiles(values: npt.NDArray[Any]) -> tuple[float, ...]:
    return tuple(float(value) for value in np.quantile(values, QUANTILES)) if len(values) else ()


def _unseen(old: npt.NDArray[Any], new: npt.NDArray[Any], n_rows: int) -> float:
    return float(np.count_nonzero(~np.isin(new, np.unique(old)))) / n_rows if n_rows else 0.0
