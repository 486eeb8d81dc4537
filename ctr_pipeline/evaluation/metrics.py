"""Metrics that are sums over rows: logloss, base rate, normalized entropy, calibration.

Every function takes labels (0 or 1) and predicted probabilities of shape (n,), and optional weights >= 0 of the same
shape, a row of weight 2 counting as two rows. Logarithms are natural: losses are in nats. What is undefined is None.
"""

import math
from typing import Final

import numpy as np

from ctr_pipeline.evaluation.scored import Bits, Floats

# A prediction of exactly 0 or 1 is taken as this far away from it, else one wrong row makes the loss infinite.
CLIP: Final = float(np.finfo(np.float64).eps)


def row_losses(label: Bits, probability: Floats) -> Floats:
    """Return -log of the probability given to what happened, in nats, shape (n,).

    Probabilities are clipped to [2.2e-16, 1 - 2.2e-16], as scikit-learn's `log_loss` does.
    """
    given = np.where(label == 1, probability, 1.0 - probability)
    losses: Floats = -np.log(np.clip(given, CLIP, 1.0 - CLIP))
    return losses


def log_loss(label: Bits, probability: Floats, weight: Floats | None = None) -> float | None:
    """Return the mean of `row_losses`, in nats; None without weight."""
    return _mean(row_losses(label, probability), weight)


def base_rate(label: Bits, weight: Floats | None = None) -> float | None:
    """Return the share of clicked rows, 0 to 1; None without weight."""
    return _mean(label.astype(np.float64), weight)


def entropy(rate: float) -> float:
    """Return the entropy of a click of probability `rate`, in nats: the logloss of always predicting the base rate."""
    return 0.0 - sum(part * math.log(part) for part in (rate, 1.0 - rate) if part > 0)


def constant_loss(rate: float, constant: float) -> float:
    """Return the logloss, in nats, of predicting `constant` for rows whose base rate is `rate`."""
    constant = min(max(constant, CLIP), 1.0 - CLIP)
    return -(rate * math.log(constant) + (1.0 - rate) * math.log1p(-constant))


def normalized_entropy(label: Bits, probability: Floats, weight: Floats | None = None) -> float | None:
    """Return logloss / entropy of the same rows' base rate (He et al. 2014); below 1 beats a constant.

    None where all rows have one label: the entropy is 0 then.
    """
    loss, rate = log_loss(label, probability, weight), base_rate(label, weight)
    if loss is None or rate is None or entropy(rate) == 0:
        return None
    return loss / entropy(rate)


def calibration(label: Bits, probability: Floats, weight: Floats | None = None) -> float | None:
    """Return predicted / actual clicks, the PCOC (He et al. 2014): 1 is right, 1.1 is 10 % too many.

    None without clicks.
    """
    clicked = base_rate(label, weight)
    predicted = _mean(probability, weight)
    return None if not clicked or predicted is None else predicted / clicked


def _mean(values: Floats, weight: Floats | None) -> float | None:
    # np.add.reduce sums in an order that no number of threads changes; a dot product would go through BLAS.
    if weight is None:
        return float(np.add.reduce(values)) / len(values) if len(values) else None
    total = float(np.add.reduce(weight))
    return float(np.add.reduce(values * weight)) / total if total > 0 else None
