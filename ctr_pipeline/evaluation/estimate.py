"""A figure with its confidence interval, or the reason why there is none."""

import math
from dataclasses import dataclass
from statistics import NormalDist


@dataclass(frozen=True, slots=True)
class Estimate:
    """A metric's value and confidence interval; never NaN.

    Attributes:
        value: None where the metric is undefined.
        low, high: ends of the interval; None where there is no interval.
        n_rows, n_clicks: of the rows that were evaluated.
        reason: in words, why `value` or the interval is None; else None.
    """

    value: float | None
    low: float | None
    high: float | None
    n_rows: int
    n_clicks: int
    reason: str | None = None


def wilson(n_clicks: int, n_rows: int, level: float = 0.95, design_effect: float = 1.0) -> Estimate:
    """Return a click rate with its score interval (Wilson 1927).

    Args:
        n_clicks: rows with label 1.
        n_rows: all rows, > 0.
        level: confidence, 0 to 1.
        design_effect: variance of the rate / that of independent rows (Kish 1965); the interval is that of
            n_rows / design_effect rows, never of more than n_rows.
    """
    z = NormalDist().inv_cdf(0.5 + level / 2)
    rate, n = n_clicks / n_rows, n_rows / max(1.0, design_effect)
    centre = (rate + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(rate * (1 - rate) / n + z * z / (4 * n * n))
    # At 0 and n clicks the interval ends at the rate exactly; rounding must not push it past.
    low, high = max(0.0, min(rate, centre - half)), min(1.0, max(rate, centre + half))
    return Estimate(rate, low, high, n_rows, n_clicks)
