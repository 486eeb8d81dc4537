"""Metrics of parts of the rows, with intervals in closed form.

A part's mean loss and its predicted / actual are ratios of sums over users. Their standard errors come from the users'
residuals (the linearised, or delta-method, variance of a ratio: Cochran 1977, section 6.4, with users as clusters), so
that every part of every column has an interval at the cost of one pass. Calibration is taken on the logarithmic scale,
where a ratio of few clicks is nearly symmetric. Click rates have Wilson's interval at the effective number of rows, the
number divided by the design effect of the clustering (Kish 1965).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final, Self

import numpy as np

from ctr_pipeline.evaluation.bootstrap import Units
from ctr_pipeline.evaluation.estimate import Estimate, wilson
from ctr_pipeline.evaluation.interval import LEAST_UNITS, too_few_units
from ctr_pipeline.evaluation.metrics import entropy, normalized_entropy, row_losses
from ctr_pipeline.evaluation.ranking import Places, group_aucs_of, rank
from ctr_pipeline.evaluation.scored import Floats, Integers, Scored

_ROWS, _CLICKS, _PREDICTED, _LOSS = range(4)
_NAN: Final = float("nan")


@dataclass(frozen=True, slots=True)
class Segment:
    """Metrics of a part of the rows.

    Attributes:
        value: what the part is: a day (`2026-03-01`), an hour (`00` to `23`), a column's value (None for null).
        ctr: click rate, 0 to 1.
        mean_prediction: 0 to 1.
        calibration: predicted / actual; without value where there is no click.
        logloss: in nats.
        normalized_entropy, auc: None where all rows have one label.
        excess: the part's contribution to the logloss beyond its fair share, in nats per evaluated row:
            ``rows / all rows * (logloss - NE * H(ctr))`` with the entropy H of the part's own click rate and the
            normalized entropy NE of all rows (1 where undefined).
    """

    value: str | None
    ctr: Estimate
    mean_prediction: float
    calibration: Estimate
    logloss: Estimate
    normalized_entropy: float | None
    auc: float | None
    excess: float

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return self.ctr.n_rows

    @property
    def n_clicks(self) -> int:
        """Number of clicks."""
        return self.ctr.n_clicks


def segments(
    scored: Scored, codes: Integers | Places, values: Sequence[str | None], units: Units, level: float = 0.95
) -> tuple[Segment, ...]:
    """Return the metrics of each part of the rows.

    Args:
        scored: the evaluated rows.
        codes: part of each row, 0 to len(values) - 1, none empty, shape (n,).
        values: what each part is.
        units: what is independent of one another: users, groups or rows.
        level: confidence of the intervals, 0 to 1.
    """
    sums = _PartSums.of(scored, codes, len(values), units)
    aucs = _aucs(scored, codes, sums.totals)
    overall = normalized_entropy(scored.label, scored.probability)
    return tuple(
        _segment(value, part, auc, level, fair=1.0 if overall is None else overall, n_all=scored.n_rows)
        for value, part, auc in zip(values, sums.parts(units.name), aucs, strict=True)
    )


@dataclass(frozen=True, slots=True)
class _Part:
    """One part's sums and standard errors (nan where undefined)."""

    n_rows: int
    n_clicks: int
    predicted: float
    loss: float
    rate_error: float
    calibration_error: float
    loss_error: float
    why_no_interval: str | None


@dataclass(frozen=True, slots=True, eq=False)
class _PartSums:
    """Sums over the rows of each (part, unit), and of each part.

    Attributes:
        part: of each pair, shape (n_pairs,).
        pairs: rows, clicks, predicted clicks and loss of each pair, shape (4, n_pairs).
        totals: the same of each part, shape (4, n_parts).
    """

    part: Places
    pairs: Floats
    totals: Floats

    @classmethod
    def of(cls, scored: Scored, codes: Integers | Places, n_parts: int, units: Units) -> Self:
        losses = row_losses(scored.label, scored.probability)
        terms: Floats = np.stack((np.ones(scored.n_rows), scored.label, scored.probability, losses))
        part = np.asarray(codes, dtype=np.intp)
        if units.name != "row":
            pairs, pair = np.unique(part * units.count + units.of_row, return_inverse=True)
            terms = np.stack([np.bincount(pair, weights=term) for term in terms])
            part = pairs // units.count
        totals = np.stack([np.bincount(part, weights=term, minlength=n_parts) for term in terms])
        return cls(part, terms, totals)

    def parts(self, unit: str) -> list[_Part]:
        n_units = np.bincount(self.part, minlength=self.totals.shape[1])
        rate_error = self._ratio_errors(_CLICKS, _ROWS, n_units)
        calibration_error = self._ratio_errors(_PREDICTED, _CLICKS, n_units)
        loss_error = self._ratio_errors(_LOSS, _ROWS, n_units)
        return [
            _Part(
                n_rows=int(self.totals[_ROWS, at]),
                n_clicks=int(self.totals[_CLICKS, at]),
                predicted=float(self.totals[_PREDICTED, at]),
                loss=float(self.totals[_LOSS, at]),
                rate_error=float(rate_error[at]),
                calibration_error=float(calibration_error[at]),
                loss_error=float(loss_error[at]),
                why_no_interval=_why_no_interval(int(n_units[at]), unit),
            )
            for at in range(len(n_units))
        ]

    def _ratio_errors(self, over: int, under: int, n_units: Places) -> Floats:
        """Return the standard error of each part's sum `over` / sum `under`, nan where undefined."""
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = self.totals[over] / self.totals[under]
            residuals = self.pairs[over] - ratio[self.part] * self.pairs[under]
            squares = np.bincount(self.part, weights=residuals * residuals, minlength=len(ratio))
            errors: Floats = np.sqrt(squares * n_units / (n_units - 1)) / self.totals[under]
        return errors


def _segment(value: str | None, part: _Part, auc: float, level: float, *, fair: float, n_all: int) -> Segment:
    rate, logloss = part.n_clicks / part.n_rows, part.loss / part.n_rows
    own_entropy = entropy(rate)
    return Segment(
        value=value,
        ctr=wilson(part.n_clicks, part.n_rows, level, _design_effect(part, rate)),
        mean_prediction=part.predicted / part.n_rows,
        calibration=_calibration(part, level),
        logloss=_logloss(part, level),
        normalized_entropy=logloss / own_entropy if own_entropy else None,
        auc=None if math.isnan(auc) else auc,
        excess=part.n_rows / n_all * (logloss - fair * own_entropy),
    )


def _design_effect(part: _Part, rate: float) -> float:
    """Return how many times the variance of independent rows the click rate's variance is; 1 where unknown."""
    if part.why_no_interval is not None or not 0 < rate < 1:
        return 1.0
    return part.rate_error**2 / (rate * (1 - rate) / part.n_rows)


def _calibration(part: _Part, level: float) -> Estimate:
    counts = (part.n_rows, part.n_clicks)
    if not part.n_clicks:
        return Estimate(None, None, None, *counts, f"none of the {part.n_rows} rows has a click")
    ratio = part.predicted / part.n_clicks
    if part.why_no_interval is not None or not ratio:
        return Estimate(ratio, None, None, *counts, part.why_no_interval or "every prediction is 0")
    factor = math.exp(_z(level) * part.calibration_error / ratio)
    return Estimate(ratio, ratio / factor, ratio * factor, *counts)


def _logloss(part: _Part, level: float) -> Estimate:
    counts, mean = (part.n_rows, part.n_clicks), part.loss / part.n_rows
    if part.why_no_interval is not None:
        return Estimate(mean, None, None, *counts, part.why_no_interval)
    half = _z(level) * part.loss_error
    return Estimate(mean, max(0.0, mean - half), mean + half, *counts)


def _why_no_interval(n_units: int, unit: str) -> str | None:
    return None if n_units >= LEAST_UNITS else too_few_units(n_units, unit)


def _z(level: float) -> float:
    return NormalDist().inv_cdf(0.5 + level / 2)


def _aucs(scored: Scored, codes: Integers | Places, totals: Floats) -> list[float]:
    """Return the AUC of each part, nan where all its rows have one label."""
    mixed = (totals[_CLICKS] > 0) & (totals[_CLICKS] < totals[_ROWS])
    chosen = np.flatnonzero(mixed[codes])
    ranking = rank(scored.label[chosen], scored.probability[chosen], codes[chosen])
    aucs = np.full(len(mixed), _NAN)
    aucs[mixed], _ = group_aucs_of(ranking.trace(np.ones(len(chosen))), ranking.group)
    values: list[float] = aucs.tolist()
    return values
