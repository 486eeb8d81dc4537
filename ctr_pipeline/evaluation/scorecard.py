"""The metrics of one set of rows with their intervals, and the same as flat names for a tracker."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import numpy as np

from ctr_pipeline.evaluation.bootstrap import Replicates, Resampling, UnitName, replicates
from ctr_pipeline.evaluation.estimate import Estimate
from ctr_pipeline.evaluation.interval import Interval, calibration_error_interval, percentile_interval
from ctr_pipeline.evaluation.panel import MetricChoice
from ctr_pipeline.evaluation.scored import Scored

_NEED_BOTH_LABELS: Final = frozenset({"auc", "normalized_entropy", "normalized_entropy_recalibrated"})
_NEED_CLICKS: Final = frozenset({"pr_auc", "calibration"})
_COUNT_REASON: Final = "a count of the evaluated rows has no interval"
_REFERENCE_REASON: Final = "a mean over the replicates has no interval"


@dataclass(frozen=True, slots=True)
class BootstrapNote:
    """How the intervals were made.

    Attributes:
        unit: what was drawn.
        n_units: how many there are.
        n_replicates: how many replicates were drawn.
        n_requested: how many were asked for; more than `n_replicates` where the work allowed did not suffice.
        level: confidence of the intervals, 0 to 1.
        seed: of the draws.
        n_undefined: metric -> replicates in which it was undefined and which were left out; metrics with any.
    """

    unit: UnitName
    n_units: int
    n_replicates: int
    n_requested: int
    level: float
    seed: int
    n_undefined: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Scorecard:
    """Metrics by name, in a fixed order, own metrics and counts last.

    Attributes:
        estimates: losses and entropies in nats, rates 0 to 1; `logloss_train_base_rate` is the loss of always
            predicting the training rows' click rate (a forecast), `logloss_test_base_rate` that of the evaluated rows'
            own (hindsight, the denominator of `normalized_entropy`); `ece_by_chance` is the mean `ece` that a perfectly
            calibrated forecast would show on such rows.
        bootstrap: how the intervals were made.
    """

    estimates: Mapping[str, Estimate]
    bootstrap: BootstrapNote


def score(scored: Scored, choice: MetricChoice | None = None, resampling: Resampling | None = None) -> Scorecard:
    """Measure the rows, each metric with its bootstrap interval.

    Args:
        scored: the evaluated rows.
        choice: what is measured.
        resampling: how the bootstrap draws.

    Raises:
        InputError: an own metric failed.
    """
    choice, resampling = choice or MetricChoice(), resampling or Resampling()
    drawn = replicates(scored, resampling.seed, resampling.affordable(scored.n_rows), choice)
    estimates: dict[str, Estimate] = {}
    undefined: dict[str, int] = {}
    for name in choice.names:
        estimates[name], n_undefined = _estimate(name, scored, drawn, resampling.level)
        if n_undefined:
            undefined[name] = n_undefined
    for name, count in (("n_rows", scored.n_rows), ("n_clicks", scored.n_clicks)):
        estimates[name] = Estimate(float(count), None, None, scored.n_rows, scored.n_clicks, _COUNT_REASON)
    return Scorecard(MappingProxyType(estimates), _note(drawn, resampling, undefined))


def to_metrics(scorecard: Scorecard, prefix: str) -> dict[str, float]:
    """Return `prefix.name`, `prefix.name.low` and `prefix.name.high` -> value, leaving out what is None.

    Letters, digits, `_` and `.` are all that the names hold, which every tracker takes.
    """
    metrics: dict[str, float] = {}
    for name, estimate in scorecard.estimates.items():
        parts = (("", estimate.value), (".low", estimate.low), (".high", estimate.high))
        metrics.update({f"{prefix}.{name}{suffix}": value for suffix, value in parts if value is not None})
    return metrics


def _estimate(name: str, scored: Scored, drawn: Replicates, level: float) -> tuple[Estimate, int]:
    """Return the metric and in how many replicates it was undefined."""
    counts = (scored.n_rows, scored.n_clicks)
    if name == "ece_by_chance":
        return Estimate(float(np.mean(drawn.values[name])), None, None, *counts, _REFERENCE_REASON), 0
    if not np.isfinite(drawn.point[name]):
        return Estimate(None, None, None, *counts, _why_undefined(name, scored)), 0
    interval = _interval(name, drawn, level)
    estimate = Estimate(drawn.point[name], interval.low, interval.high, *counts, interval.reason)
    return estimate, interval.n_undefined


def _interval(name: str, drawn: Replicates, level: float) -> Interval:
    if name == "ece":
        return calibration_error_interval(drawn, level)
    return percentile_interval(drawn.values[name], level, n_units=drawn.n_units, unit=drawn.unit)


def _note(drawn: Replicates, resampling: Resampling, undefined: Mapping[str, int]) -> BootstrapNote:
    return BootstrapNote(
        unit=drawn.unit,
        n_units=drawn.n_units,
        n_replicates=drawn.n_replicates,
        n_requested=resampling.replicates,
        level=resampling.level,
        seed=drawn.seed,
        n_undefined=MappingProxyType(dict(undefined)),
    )


def _why_undefined(name: str, scored: Scored) -> str:
    if name == "logloss_train_base_rate":
        return "no base rate of the training rows was given"
    if name.startswith("grouped_auc"):
        return _why_no_group(scored)
    if scored.n_clicks == 0 and (name in _NEED_BOTH_LABELS or name in _NEED_CLICKS or name.startswith("lift_at_")):
        return f"none of the {scored.n_rows} rows has a click"
    if scored.n_clicks == scored.n_rows:
        return f"all {scored.n_rows} rows have a click"
    return "a threshold on the margin parts clicks from non-clicks, the best slope is infinite"


def _why_no_group(scored: Scored) -> str:
    if scored.group is None:
        return "no column for the request or the user to group by"
    return "no group has both clicks and non-clicks"
