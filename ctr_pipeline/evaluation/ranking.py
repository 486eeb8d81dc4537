"""Metrics that depend on the order of the predictions only: AUC, PR-AUC, lift, grouped AUC.

Clicks are rare. So the rows are sorted once, best prediction first, and only *tie blocks* that hold a click are kept as
knots: between two knots nothing but rows without a click can lie. For any weights the curve through the knots
(`Ranking.trace`) then gives every metric in time proportional to the clicks. Weights that are whole numbers, as a
bootstrap's are, make every sum exact.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ctr_pipeline.evaluation.scored import Bits, Codes, Floats, Mask

type Places = npt.NDArray[np.intp]


@dataclass(frozen=True, slots=True, eq=False)
class Trace:
    """Weight passed at the knots when going down a ranking.

    Attributes:
        total: weight of all rows.
        edges: weight of the rows before each group, and of all rows at last, shape (n_groups + 1,).
        mass_before, mass_after: weight of the rows before and after each knot, shape (n_knots,).
        clicks: weight of the clicks before each knot, and of all clicks at last, shape (n_knots + 1,).
    """

    total: float
    edges: Floats
    mass_before: Floats
    mass_after: Floats
    clicks: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Ranking:
    """Rows in order of falling prediction within groups, and the tie blocks that hold a click.

    Attributes:
        order: row at each place, shape (m,).
        clicks: places of the clicks, ascending.
        first_click: index in `clicks` of each knot's first click, shape (n_knots,).
        start, end: places where each knot begins and ends, shape (n_knots,).
        edges: places where each group begins, and m at last, shape (n_groups + 1,).
        group: group of each knot, ascending, shape (n_knots,).
    """

    order: Places
    clicks: Places
    first_click: Places
    start: Places
    end: Places
    edges: Places
    group: Places

    def trace(self, weight: Floats) -> Trace:
        """Return the weight passed at the knots.

        Args:
            weight: of the row at each place of `order`, shape (m,).
        """
        passed = np.empty(len(weight) + 1)
        passed[0] = 0.0
        np.cumsum(weight, out=passed[1:])
        clicks = np.zeros(len(self.start) + 1)
        if len(self.clicks):
            np.cumsum(np.add.reduceat(weight[self.clicks], self.first_click), out=clicks[1:])
        return Trace(float(passed[-1]), passed[self.edges], passed[self.start], passed[self.end], clicks)


def rank(label: Bits, score: Floats, group: Codes | None = None) -> Ranking:
    """Sort rows by falling score, within groups where given; equal scores of a group make one tie block."""
    order = np.argsort(-score, kind="stable") if group is None else np.lexsort((-score, group))
    sorted_score = score[order]
    opens_block = np.ones(len(order), dtype=np.bool_)
    opens_block[1:] = sorted_score[1:] != sorted_score[:-1]
    edges = np.array([0], dtype=np.intp)
    if group is not None:
        opens_group = np.ones(len(order), dtype=np.bool_)
        opens_group[1:] = group[order][1:] != group[order][:-1]
        opens_block |= opens_group
        edges = np.flatnonzero(opens_group)
    blocks = np.append(np.flatnonzero(opens_block), len(order))
    clicks = np.flatnonzero(label[order])
    block = np.searchsorted(blocks, clicks, side="right") - 1
    opens_knot = np.ones(len(clicks), dtype=np.bool_)
    opens_knot[1:] = block[1:] != block[:-1]
    first_click = np.flatnonzero(opens_knot)
    start, end = blocks[block[first_click]], blocks[block[first_click] + 1]
    return Ranking(
        order=order,
        clicks=clicks,
        first_click=first_click,
        start=start,
        end=end,
        edges=np.append(edges, len(order)),
        group=np.searchsorted(edges, start, side="right") - 1,
    )


def roc_auc(label: Bits, score: Floats, weight: Floats | None = None) -> float | None:
    """Return the probability that a click is scored above a non-click, ties counting half (Fawcett 2006).

    None where all rows have one label.
    """
    return _defined(auc_of(_whole_trace(label, score, weight)))


def average_precision(label: Bits, score: Floats, weight: Floats | None = None) -> float | None:
    """Return PR-AUC as average precision: precision at each distinct score, weighted by the recall gained there.

    Rows of one score enter together and nothing is interpolated (Davis & Goadrich 2006 on why not). None without
    clicks.
    """
    return _defined(average_precision_of(_whole_trace(label, score, weight)))


def lift_at(label: Bits, score: Floats, fraction: float, weight: Floats | None = None) -> float | None:
    """Return the click rate among the best-scored `fraction` of the rows / the click rate of all.

    A tie block, or a row, that the cut divides counts in proportion: the expected value over random orders within
    ties. None without clicks.
    """
    return _defined(lift_of(_whole_trace(label, score, weight), fraction))


@dataclass(frozen=True, slots=True)
class GroupedAuc:
    """AUC within groups (requests or users), averaged over the groups that hold both labels.

    Attributes:
        weighted: mean by impressions, the GAUC of Zhou et al. 2018; None where no group holds both labels.
        unweighted: mean by groups; None likewise.
        left_out_rate: share of the groups that hold one label only and so have no AUC, 0 to 1.
    """

    weighted: float | None
    unweighted: float | None
    left_out_rate: float


def grouped_auc(label: Bits, score: Floats, group: Codes) -> GroupedAuc:
    """Return the AUC within groups, averaged with and without weighting by impressions."""
    groups = Groups.find(label, score, group)
    if not len(groups.rows):
        return GroupedAuc(None, None, 1.0)
    weighted, unweighted, mixed = groups.averages(np.ones(len(groups.rows)))
    return GroupedAuc(_defined(weighted), _defined(unweighted), 1.0 - mixed / groups.n_groups)


@dataclass(frozen=True, slots=True, eq=False)
class Groups:
    """The rows of groups that hold both labels, ranked within them; no weights can make the others count.

    Attributes:
        rows: the rows in ranked order, shape (m,).
        ranking: of these rows.
        sizes: rows of each group that holds both labels, shape (n_mixed,).
        n_groups: number of all groups.
        shares: 1 / rows of the row's group, for all rows, shape (n,): they add up to the number of groups.
    """

    rows: Places
    ranking: Ranking
    sizes: Floats
    n_groups: int
    shares: Floats

    @classmethod
    def find(cls, label: Bits, score: Floats, group: Codes) -> "Groups":
        """Rank the rows of the groups that hold both labels."""
        _, codes, sizes = np.unique(group, return_inverse=True, return_counts=True)
        clicks = np.bincount(codes, weights=label, minlength=len(sizes))
        mixed: Mask = (clicks > 0) & (clicks < sizes)
        rows = np.flatnonzero(mixed[codes])
        ranking = rank(label[rows], score[rows], codes[rows])
        return cls(rows[ranking.order], ranking, sizes[mixed].astype(np.float64), len(sizes), 1.0 / sizes[codes])

    def averages(self, weight: Floats) -> tuple[float, float, float]:
        """Return the AUC averaged by impressions, by groups, and how many groups count (nan without any).

        A group counts as often as its rows do on average: as often as its user was drawn, where it belongs to one.

        Args:
            weight: of each of `rows`, shape (m,).
        """
        trace = self.ranking.trace(weight)
        auc, mass = group_aucs_of(trace, self.ranking.group)
        counts = ~np.isnan(auc)
        auc, mass, copies = auc[counts], mass[counts], (mass / self.sizes)[counts]
        n_copies = float(np.add.reduce(copies))
        if n_copies <= 0:
            return float("nan"), float("nan"), 0.0
        weighted = float(np.add.reduce(auc * mass)) / float(np.add.reduce(mass))
        return weighted, float(np.add.reduce(auc * copies)) / n_copies, n_copies


def auc_of(trace: Trace) -> float:
    """Return the AUC of a trace of one group; nan where a label has no weight."""
    clicks, others = trace.clicks[-1], trace.total - trace.clicks[-1]
    return float(np.add.reduce(_wins(trace, others)) / (clicks * others)) if clicks > 0 and others > 0 else float("nan")


def average_precision_of(trace: Trace) -> float:
    """Return the average precision of a trace of one group; nan without clicks."""
    clicks = trace.clicks[-1]
    if clicks <= 0:
        return float("nan")
    passed = np.maximum(trace.mass_after, np.finfo(np.float64).tiny)  # a knot of no weight adds 0, not 0 / 0
    return float(np.add.reduce(np.diff(trace.clicks) * trace.clicks[1:] / passed) / clicks)


def lift_of(trace: Trace, fraction: float) -> float:
    """Return the lift at `fraction` of a trace of one group; nan without clicks."""
    if trace.clicks[-1] <= 0:
        return float("nan")
    # Within a knot clicks rise linearly, between knots not at all: linear interpolation is the expected value.
    mass = np.stack((trace.mass_before, trace.mass_after), axis=1).ravel()
    clicks = np.stack((trace.clicks[:-1], trace.clicks[1:]), axis=1).ravel()
    found = np.interp(fraction * trace.total, mass, clicks)
    return float(found / trace.clicks[-1] / fraction)


def group_aucs_of(trace: Trace, group: Places) -> tuple[Floats, Floats]:
    """Return AUC (nan where a label has no weight) and weight of each group; each must hold a knot.

    Args:
        trace: of a ranking within groups.
        group: of each knot, ascending, shape (n_knots,).
    """
    if not len(group):
        return np.empty(0), np.empty(0)
    first_knot = np.flatnonzero(np.diff(group, prepend=-1))
    clicks = np.diff(np.append(trace.clicks[first_knot], trace.clicks[-1]))
    mass = np.diff(trace.edges)
    # Non-clicks passed at each group's end, so that "after the knot" stays within the group.
    others_at_end = (trace.edges[1:] - np.append(trace.clicks[first_knot[1:]], trace.clicks[-1]))[group]
    wins = np.add.reduceat(_wins(trace, others_at_end), first_knot)
    pairs = clicks * (mass - clicks)
    auc = np.full(len(pairs), np.nan)
    np.divide(wins, pairs, out=auc, where=pairs > 0)
    return auc, mass


def _wins(trace: Trace, others_at_end: Floats | float) -> Floats:
    """Return, by knot, the weight of (click, non-click) pairs that are ranked right, ties counting half."""
    others_before = trace.mass_before - trace.clicks[:-1]
    others_after = trace.mass_after - trace.clicks[1:]
    wins: Floats = np.diff(trace.clicks) * (others_at_end - (others_before + others_after) / 2)
    return wins


def _whole_trace(label: Bits, score: Floats, weight: Floats | None) -> Trace:
    ranking = rank(label, score)
    return ranking.trace(np.ones(len(score)) if weight is None else weight[ranking.order])


def _defined(value: float) -> float | None:
    return None if np.isnan(value) else value
