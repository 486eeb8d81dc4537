"""Every metric of one set of rows at once, for any weights on the units that a bootstrap draws.

Built once per evaluation: one sort, one recalibration, and the sums of the additive metrics by unit. `Panel.values`
then costs one pass over the rows and a few over the units. The point value and each replicate go through the same
formulas.

The recalibrated entropy of a replicate takes one Newton step from the optimum of the evaluated rows and the loss that
the step gains to second order: sums by unit again. The error is of third order in the replicate's distance, far below
the width of any interval.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from ctr_pipeline.evaluation.calibration import bin_edges
from ctr_pipeline.evaluation.custom import CustomMetric
from ctr_pipeline.evaluation.metrics import constant_loss, entropy, row_losses
from ctr_pipeline.evaluation.ranking import (
    Groups,
    Places,
    Ranking,
    Trace,
    auc_of,
    average_precision_of,
    lift_of,
    rank,
)
from ctr_pipeline.evaluation.recalibration import Likelihood, is_separated, log_odds, newton_step
from ctr_pipeline.evaluation.scored import Floats, Scored
from tracking.errors import InputError

_NAN: Final = float("nan")


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricChoice:
    """What is measured, beyond what always is.

    Attributes:
        lift_fractions: shares of the rows, best scores first, each in (0, 1].
        calibration_bins: equal-mass bins of the ECE, at most.
        train_base_rate: click rate of the training rows, 0 to 1; the constant that a forecast could have been.
        custom: a team's own metrics.
    """

    lift_fractions: tuple[float, ...] = (0.01, 0.05, 0.1, 0.2)
    calibration_bins: int = 20
    train_base_rate: float | None = None
    custom: tuple[CustomMetric, ...] = ()

    def __post_init__(self) -> None:
        for fraction in self.lift_fractions:
            if not 0 < fraction <= 1:
                raise InputError(f"evaluate.lift_at has {fraction}, must be > 0 and <= 1; give shares such as 0.05")
        if self.calibration_bins < 1:
            raise InputError(f"evaluate.calibration_bins == {self.calibration_bins}, must be >= 1; 20 is usual")
        if self.train_base_rate is not None and not 0 <= self.train_base_rate <= 1:
            raise InputError(f"train base rate == {self.train_base_rate}, must be in [0, 1]; pass clicks / rows")
        names = self.names
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise InputError(f"metric {twice[0]!r} is listed twice, names must differ; rename or drop one")

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all metrics, in the scorecard's order; own metrics last."""
        return (*_NAMES, *map(lift_name, self.lift_fractions), *(metric.name for metric in self.custom))


def lift_name(fraction: float) -> str:
    """Name the lift at a share of the rows: `lift_at_5pct`, `lift_at_0_5pct`."""
    return f"lift_at_{f'{fraction * 100:.6g}'.replace('.', '_')}pct"


@dataclass(frozen=True, slots=True, eq=False)
class Panel:
    """The prepared rows.

    Attributes:
        scored: the rows.
        choice: what is measured.
        units: unit of each row, 0 to n_units - 1, shape (n,).
        n_units: how many units there are.
        sums: additive terms by unit, one row for each of `_TERMS`, shape (n_terms, n_units).
        ranking: of all rows.
        ranked_units, ranked_probability: of the row at each place of the ranking, shape (n,).
        bins: places in the ranking where each calibration bin begins, and n at last.
        bin_knots: first knot at or behind each of those places.
        bin_excess: clicks predicted minus clicks seen in each bin.
        groups: rows of the groups that hold both labels; None without a group column.
        group_units: unit of each of those rows.
        is_recalibrated: whether a recalibration exists.
    """

    scored: Scored
    choice: MetricChoice
    units: Places
    n_units: int
    sums: Floats
    ranking: Ranking
    ranked_units: Places
    ranked_probability: Floats
    bins: Places
    bin_knots: Places
    bin_excess: Floats
    groups: Groups | None
    group_units: Places | None
    is_recalibrated: bool

    @classmethod
    def build(cls, scored: Scored, choice: MetricChoice, units: Places, n_units: int) -> "Panel":
        """Sort, recalibrate and sum by unit; see the attributes."""
        ranking = rank(scored.label, scored.probability)
        ranked = scored.probability[ranking.order]
        bins = bin_edges(ranked, choice.calibration_bins)
        groups = None if scored.group is None else Groups.find(scored.label, scored.probability, scored.group)
        recalibration = _recalibration_terms(scored)
        shares = () if groups is None else (groups.shares,)
        terms = (
            np.ones(scored.n_rows),
            scored.label.astype(np.float64),
            scored.probability,
            row_losses(scored.label, scored.probability),
            *(() if recalibration is None else recalibration),
            *shares,
        )
        return cls(
            scored=scored,
            choice=choice,
            units=units,
            n_units=n_units,
            sums=np.stack([np.bincount(units, weights=term, minlength=n_units) for term in terms]),
            ranking=ranking,
            ranked_units=units[ranking.order],
            ranked_probability=ranked,
            bins=bins,
            bin_knots=np.searchsorted(ranking.start, bins),
            bin_excess=np.add.reduceat(ranked - scored.label[ranking.order], bins[:-1]),
            groups=groups,
            group_units=None if groups is None else units[groups.rows],
            is_recalibrated=recalibration is not None,
        )

    def values(self, weight: Floats) -> tuple[float, ...]:
        """Return every metric but the own ones, in the order of `choice.names`; nan where undefined.

        Args:
            weight: of each unit, >= 0, shape (n_units,).
        """
        # Not a matrix product: BLAS would make the last bits depend on the number of threads.
        product = np.empty_like(weight)
        sums = [float(np.add.reduce(np.multiply(term, weight, out=product))) for term in self.sums]
        rows, clicks, predicted, loss = sums[:4]
        if rows <= 0:
            return (_NAN,) * (len(_NAMES) + len(self.choice.lift_fractions))
        rate = clicks / rows
        trace = self.ranking.trace(ranked := np.take(weight, self.ranked_units))
        constant = self.choice.train_base_rate
        base_entropy = entropy(rate)
        excess = self._bin_excess(ranked, trace)
        return (
            loss / rows,
            auc_of(trace),
            *self._grouped(weight, sums[-1]),
            average_precision_of(trace),
            _ratio(loss / rows, base_entropy),
            _ratio(self._recalibrated_loss(sums) / rows, base_entropy),
            _ratio(predicted, clicks),
            float(np.add.reduce(np.abs(excess))) / rows,
            float(np.add.reduce(np.abs(excess - self.bin_excess))) / rows,
            rate,
            predicted / rows,
            _NAN if constant is None else constant_loss(rate, constant),
            base_entropy,
            *(lift_of(trace, fraction) for fraction in self.choice.lift_fractions),
        )

    def custom_values(self, weight: Floats | None) -> tuple[float, ...]:
        """Return the own metrics: of the rows as they are (None), else of the replicate with these unit weights."""
        if not self.choice.custom:
            return ()
        label, probability = self.scored.label, self.scored.probability
        if weight is None:
            return tuple(metric.value(label, probability) for metric in self.choice.custom)
        row_weight = weight[self.units]
        return tuple(metric.weighted(label, probability, row_weight) for metric in self.choice.custom)

    def _recalibrated_loss(self, sums: Sequence[float]) -> float:
        if not self.is_recalibrated:
            return _NAN
        at_optimum = np.array(sums[4:10])
        return float(at_optimum[0]) - newton_step(at_optimum)[2]

    def _grouped(self, weight: Floats, n_groups: float) -> tuple[float, float, float]:
        if self.groups is None or self.group_units is None:
            return _NAN, _NAN, _NAN
        weighted, unweighted, mixed = self.groups.averages(np.take(weight, self.group_units))
        # The shares of a group add up to 1 but for rounding.
        return weighted, unweighted, max(0.0, 1.0 - mixed / n_groups)

    def _bin_excess(self, ranked: Floats, trace: Trace) -> Floats:
        predicted: Floats = np.add.reduceat(ranked * self.ranked_probability, self.bins[:-1])
        return predicted - np.diff(trace.clicks[self.bin_knots])


_NAMES: Final = (
    "logloss",
    "auc",
    "grouped_auc",
    "grouped_auc_unweighted",
    "grouped_auc_left_out_rate",
    "pr_auc",
    "normalized_entropy",
    "normalized_entropy_recalibrated",
    "calibration",
    "ece",
    "ece_by_chance",
    "base_rate",
    "mean_prediction",
    "logloss_train_base_rate",
    "logloss_test_base_rate",
)


def _recalibration_terms(scored: Scored) -> Floats | None:
    """Return the rows' loss, gradient and curvature at the best recalibration, shape (6, n); None without one."""
    margin = log_odds(scored)
    if scored.n_clicks in {0, scored.n_rows} or is_separated(scored.label, margin):
        return None
    likelihood = Likelihood.of(scored.label, margin)
    intercept, slope, _ = likelihood.fit()
    return likelihood.terms(intercept, slope)


def _ratio(over: float, under: float) -> float:
    return over / under if under > 0 else _NAN
