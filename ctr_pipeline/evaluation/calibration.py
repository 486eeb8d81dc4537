"""Calibration by bins of equal mass: the expected calibration error and the points of a reliability diagram.

Bins are cut on the sorted predictions so that each holds about the same number of rows (Nguyen & O'Connor 2015); rows
of one prediction are never parted, so that there may be fewer bins than asked for, and they never depend on the row
order.
"""

from dataclasses import dataclass

import numpy as np

from ctr_pipeline.evaluation.estimate import Estimate, wilson
from ctr_pipeline.evaluation.ranking import Places
from ctr_pipeline.evaluation.scored import Bits, Floats, Scored


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """One point of a reliability diagram.

    Attributes:
        low, high: least and greatest prediction in the bin, 0 to 1.
        mean_prediction: 0 to 1.
        ctr: click rate with its Wilson interval.
        n_rows: rows in the bin.
    """

    low: float
    high: float
    mean_prediction: float
    ctr: Estimate
    n_rows: int


def bin_edges(ordered: Floats, n_bins: int, weight: Floats | None = None) -> Places:
    """Cut sorted predictions into bins of about equal mass; a tie block goes where its middle falls.

    Args:
        ordered: predictions in ascending or descending order, shape (n,), n > 0.
        n_bins: most bins there may be.
        weight: of the rows in that order, shape (n,).

    Returns:
        Places where each bin begins, and n at last.
    """
    opens = np.ones(len(ordered), dtype=np.bool_)
    opens[1:] = ordered[1:] != ordered[:-1]
    starts = np.flatnonzero(opens)
    if weight is None:
        ends = np.append(starts[1:], len(ordered)).astype(np.float64)
    else:
        ends = np.cumsum(np.add.reduceat(weight, starts))
    middle = (np.append(0.0, ends[:-1]) + ends) / 2
    chosen = np.minimum((middle * n_bins / ends[-1]).astype(np.intp), n_bins - 1)
    return np.append(starts[np.flatnonzero(np.diff(chosen, prepend=-1))], len(ordered))


def expected_calibration_error(
    label: Bits, probability: Floats, weight: Floats | None = None, *, n_bins: int = 20
) -> float | None:
    """Return the mean over rows of |mean prediction - click rate| of the row's bin (Guo et al. 2017, equation 3).

    Chance alone makes it positive: even a perfect forecast has about sqrt(2 ctr n_bins / (pi n)). None without weight.
    """
    order = np.argsort(-probability, kind="stable")
    weights = np.ones(len(order)) if weight is None else weight[order]
    total = float(np.add.reduce(weights))
    if total <= 0:
        return None
    starts = bin_edges(probability[order], n_bins, weights)[:-1]
    excess = np.add.reduceat(weights * (probability[order] - label[order]), starts)
    return float(np.add.reduce(np.abs(excess))) / total


def reliability(scored: Scored, n_bins: int = 20, level: float = 0.95) -> tuple[ReliabilityBin, ...]:
    """Return mean prediction and click rate by bin, lowest predictions first.

    Args:
        scored: the evaluated rows.
        n_bins: most bins there may be.
        level: confidence of the click rates' intervals, 0 to 1.
    """
    order = np.argsort(scored.probability, kind="stable")
    ordered = scored.probability[order]
    edges = bin_edges(ordered, n_bins)
    sizes = np.diff(edges)
    predicted = np.add.reduceat(ordered, edges[:-1]) / sizes
    clicks = np.add.reduceat(scored.label[order].astype(np.int64), edges[:-1])
    return tuple(
        ReliabilityBin(
            low=float(ordered[start]),
            high=float(ordered[end - 1]),
            mean_prediction=float(mean),
            ctr=wilson(int(n_clicks), int(end - start), level),
            n_rows=int(end - start),
        )
        for start, end, mean, n_clicks in zip(edges[:-1], edges[1:], predicted, clicks, strict=True)
    )
