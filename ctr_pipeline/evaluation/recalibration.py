"""Logistic recalibration: how good the predictions would be if their level and spread were right.

The model is P(click) = 1 / (1 + exp(-(intercept + slope * margin))) (Platt 1999; Cox 1958 as a test of calibration),
fitted on the evaluated rows themselves by maximum likelihood. Two parameters on n rows make the loss about 1 / n nats
too good. The slope may come out negative: a ranking that is the wrong way round is turned.
"""

from dataclasses import dataclass
from typing import Final, Self

import numpy as np

from ctr_pipeline.evaluation.metrics import CLIP
from ctr_pipeline.evaluation.scored import Bits, Floats, Scored

_MAX_STEPS: Final = 60
# A step that can gain less than this share of the loss is not worth taking: rounding would hide it.
_GAIN: Final = 1e-12
_BLOCK: Final = 65_536


@dataclass(frozen=True, slots=True)
class Recalibration:
    """A fitted recalibration.

    Attributes:
        intercept, slope: of the margin as given, in log-odds.
        logloss: mean loss of the recalibrated rows, in nats.
    """

    intercept: float
    slope: float
    logloss: float


@dataclass(frozen=True, slots=True, eq=False)
class Likelihood:
    """The loss as a function of (intercept, slope) of the *standardised* margin.

    Attributes:
        label: shape (n,).
        z: margin minus its mean / its standard deviation; all 0 where the margin is constant, shape (n,).
        shift, scale: that mean and standard deviation (1 where the margin is constant).
        weight: of the rows, shape (n,).
    """

    label: Bits
    z: Floats
    shift: float
    scale: float
    weight: Floats

    @classmethod
    def of(cls, label: Bits, margin: Floats, weight: Floats | None = None) -> Self:
        """Standardise the margin, so that Newton steps are well conditioned."""
        weights = np.ones(len(label)) if weight is None else weight
        total = float(np.add.reduce(weights))
        shift = float(np.add.reduce(weights * margin)) / total
        scale = float(np.sqrt(np.add.reduce(weights * (margin - shift) ** 2) / total))
        if margin.min() == margin.max() or scale == 0:
            return cls(label, np.zeros(len(label)), shift, 1.0, weights)
        return cls(label, (margin - shift) / scale, shift, scale, weights)

    def terms(self, intercept: float, slope: float, rows: slice = slice(None)) -> Floats:
        """Return each row's loss, gradient (2) and curvature (3: aa, ab, bb), unweighted, shape (6, n)."""
        z, label = self.z[rows], self.label[rows]
        odds = intercept + slope * z
        tail = np.exp(-np.abs(odds))
        probability = np.where(odds >= 0, 1.0, tail) / (1.0 + tail)
        loss = np.maximum(odds, 0.0) + np.log1p(tail) - odds * label
        gradient = probability - label
        curvature = tail / (1.0 + tail) ** 2
        return np.stack((loss, gradient, gradient * z, curvature, curvature * z, curvature * z * z))

    def sums(self, intercept: float, slope: float) -> Floats:
        """Return the weighted sums of `terms`, shape (6,); a block of rows at a time, to stay within the cache."""
        total = np.zeros(6)
        for start in range(0, len(self.z), _BLOCK):
            rows = slice(start, start + _BLOCK)
            total += np.add.reduce(self.terms(intercept, slope, rows) * self.weight[rows], axis=1)
        return total

    def fit(self) -> tuple[float, float, float]:
        """Return (intercept, slope, loss summed over the rows) at the optimum, by damped Newton steps."""
        rate = float(np.add.reduce(self.weight * self.label) / np.add.reduce(self.weight))
        intercept, slope = float(np.log(rate) - np.log1p(-rate)), 0.0
        sums = self.sums(intercept, slope)
        for _ in range(_MAX_STEPS):
            step_a, step_b, gain = newton_step(sums)
            if gain <= _GAIN * sums[0]:
                break
            size, tried = 1.0, self.sums(intercept + step_a, slope + step_b)
            # Armijo's rule. The loss is convex, and in the end a step of no length meets the rule: the halving stops.
            while tried[0] > sums[0] - size * gain / 2:
                size /= 2
                tried = self.sums(intercept + size * step_a, slope + size * step_b)
            intercept, slope, sums = intercept + size * step_a, slope + size * step_b, tried
        return intercept, slope, float(sums[0])


def newton_step(sums: Floats) -> tuple[float, float, float]:
    """Return Newton's step in intercept and slope and the loss it gains to second order.

    Args:
        sums: of loss, gradient (2) and curvature (3), as `Likelihood.sums` gives them.

    Returns:
        (step, step, gain); nan without any curvature. Where the slope has none (a constant margin), the step is in the
        intercept only.
    """
    _, ga, gb, haa, hab, hbb = (float(value) for value in sums)
    if haa <= 0:
        return float("nan"), float("nan"), float("nan")
    determinant = haa * hbb - hab * hab
    if determinant <= CLIP * haa * hbb:
        return -ga / haa, 0.0, ga * ga / haa / 2
    step_a = (hab * gb - hbb * ga) / determinant
    step_b = (hab * ga - haa * gb) / determinant
    return step_a, step_b, -(ga * step_a + gb * step_b) / 2


def log_odds(scored: Scored) -> Floats:
    """Return the rows' margins, else the log-odds of their probabilities, clipped to some +-36, shape (n,)."""
    if scored.margin is not None:
        return scored.margin.astype(np.float64)
    clipped = np.clip(scored.probability, CLIP, 1.0 - CLIP)
    odds: Floats = np.log(clipped) - np.log1p(-clipped)
    return odds


def is_separated(label: Bits, margin: Floats) -> bool:
    """Return whether a threshold parts clicks from non-clicks, so that the best slope is infinite."""
    clicked, others = margin[label == 1], margin[label == 0]
    if margin.min() == margin.max():
        return False
    return bool(clicked.min() >= others.max() or clicked.max() <= others.min())


def recalibrate(label: Bits, margin: Floats, weight: Floats | None = None) -> Recalibration | None:
    """Fit the recalibration.

    Args:
        label: 0 or 1, shape (n,).
        margin: log-odds or any other score, finite, shape (n,).
        weight: > 0, shape (n,).

    Returns:
        None where no finite optimum exists: all rows have one label, or a threshold on the margin parts the labels.
    """
    if label.min() == label.max() or is_separated(label, margin):
        return None
    likelihood = Likelihood.of(label, margin, weight)
    intercept, slope, loss = likelihood.fit()
    raw_slope = slope / likelihood.scale
    return Recalibration(
        intercept - raw_slope * likelihood.shift, raw_slope, loss / float(np.add.reduce(likelihood.weight))
    )
