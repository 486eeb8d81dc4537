"""What differs between two runs' metrics: with paired intervals where the test rows are the same.

Both models are measured on the same draws of users (else groups, else rows), and the differences by replicate give the
interval: what both have in common, such as hard and easy users, cancels out.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from ctr_pipeline.evaluation.bootstrap import Replicates
from ctr_pipeline.evaluation.interval import Interval, percentile_interval
from ctr_pipeline.workflows.diff_pairs import UnpairedError, drawn_pair
from ctr_pipeline.workflows.diff_parts import CalibrationView, Finding, Letter, MetricChange, MetricsDiff, Pairing
from ctr_pipeline.workflows.diff_side import Side
from ctr_pipeline.workflows.run_view import EstimateView

LOWER_IS_BETTER: Final = frozenset({"logloss", "normalized_entropy", "normalized_entropy_recalibrated", "ece"})
HIGHER_IS_BETTER: Final = frozenset({"auc", "grouped_auc", "grouped_auc_unweighted", "pr_auc"})
# These say something about the rows, not about a model on them.
_OF_THE_ROWS: Final = frozenset({
    "n_rows", "n_clicks", "base_rate", "logloss_test_base_rate", "ece_by_chance", "grouped_auc_left_out_rate",
})  # fmt: skip
_PERFECT_CALIBRATION: Final = 1.0
_SETTINGS_THAT_DEFINE: Final = {"ece": "calibration_bins"}


def metrics_diff(a: Side, b: Side) -> MetricsDiff:
    """Compare two runs' metrics; where one has none, that is said."""
    old, new = a.view.metrics, b.view.metrics
    if old is None or new is None:
        gone = " and ".join(name for name, metrics in (("A", old), ("B", new)) if metrics is None)
        return MetricsDiff(None, None, None, (), f"no metrics of {gone}: the evaluate step did not finish, or is gone")
    before = {estimate.name: estimate for estimate in old.estimates}
    after = {estimate.name: estimate for estimate in new.estimates}
    names = tuple(dict.fromkeys((*before, *after)))
    try:
        drawn = drawn_pair(a, b)
    except UnpairedError as error:
        changes = tuple(_unpaired(name, before.get(name), after.get(name)) for name in names)
        return MetricsDiff(None, str(error), old.level, changes)
    level = float(a.settings["evaluate"]["confidence"])
    intervals = {name: _interval(name, drawn.a, drawn.b, level) for name in drawn.a.values}
    undefined = dict(_redefined(a, b))
    pairing = Pairing(drawn.a.unit, drawn.a.n_units, drawn.a.n_rows, drawn.a.n_replicates, level, drawn.note)
    changes = tuple(
        _paired(name, before.get(name), after.get(name), intervals.get(name), undefined.get(name))
        for name in names
        if name not in _OF_THE_ROWS
    )
    return MetricsDiff(pairing, None, old.level, changes)


def _redefined(a: Side, b: Side) -> Iterator[tuple[str, str]]:
    for name, key in _SETTINGS_THAT_DEFINE.items():
        if a.settings["evaluate"].get(key) != b.settings["evaluate"].get(key):
            yield name, f"evaluate.{key} differs"


def _unpaired(name: str, a: EstimateView | None, b: EstimateView | None) -> MetricChange:
    return MetricChange(name, a, b, _delta(a, b), None, None, None)


def _paired(
    name: str, a: EstimateView | None, b: EstimateView | None, interval: Interval | None, redefined: str | None
) -> MetricChange:
    delta = _delta(a, b)
    if delta is None:
        return MetricChange(name, a, b, None, None, None, None)
    if interval is None:
        reason = "an own metric is not computed again" if a and b else None
        return MetricChange(name, a, b, delta, None, None, "equal" if delta == 0 else None, reason)
    if redefined is not None:
        return MetricChange(name, a, b, delta, None, None, None, redefined)
    finding = _finding(name, a, b, interval)
    return MetricChange(name, a, b, delta, interval.low, interval.high, finding, interval.reason)


def _delta(a: EstimateView | None, b: EstimateView | None) -> float | None:
    return b.value - a.value if a and b and a.value is not None and b.value is not None else None


def _interval(name: str, a: Replicates, b: Replicates, level: float) -> Interval:
    found = percentile_interval(b.values[name] - a.values[name], level, n_units=a.n_units, unit=a.unit)
    if name != "ece" or found.low is None or found.high is None:
        return found
    # Replicates have chance's share of the ECE twice, of both models but not alike: the basic interval corrects it.
    twice = 2 * (b.point[name] - a.point[name])
    return Interval(twice - found.high, twice - found.low, found.n_undefined)


def _finding(name: str, a: EstimateView | None, b: EstimateView | None, interval: Interval) -> Finding | None:
    delta = _delta(a, b)
    if delta == 0:
        return "equal"
    if interval.low is None or interval.high is None or a is None or b is None:
        return None
    if interval.low <= 0 <= interval.high:
        return "unclear"
    return _direction(name, a.value or 0.0, b.value or 0.0)


def _direction(name: str, a: float, b: float) -> Finding:
    """Return what a clear difference means for the model."""
    if name == "calibration" and (a > _PERFECT_CALIBRATION) == (b > _PERFECT_CALIBRATION):
        return "better" if abs(b - _PERFECT_CALIBRATION) < abs(a - _PERFECT_CALIBRATION) else "worse"
    if name in LOWER_IS_BETTER:
        return "better" if b < a else "worse"
    if name in HIGHER_IS_BETTER or name.startswith("lift_at_"):
        return "better" if b > a else "worse"
    return "moved"


def calibration_views(run: Letter, evaluation: Mapping[str, Any] | None) -> Iterator[CalibrationView]:
    """Yield the bins of a run's reliability diagram."""
    for found in (evaluation or {}).get("reliability", ()):
        rate = found["ctr"]
        yield CalibrationView(run, found["mean_prediction"], rate["value"], rate["low"], rate["high"], found["n_rows"])
