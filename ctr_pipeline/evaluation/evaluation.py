"""Everything that is measured on one set of rows."""

from dataclasses import dataclass

from ctr_pipeline.evaluation.bootstrap import Resampling, Units
from ctr_pipeline.evaluation.calibration import ReliabilityBin, reliability
from ctr_pipeline.evaluation.panel import MetricChoice
from ctr_pipeline.evaluation.scorecard import Scorecard, score
from ctr_pipeline.evaluation.scored import Scored
from ctr_pipeline.evaluation.segments import Segment
from ctr_pipeline.evaluation.slices import SliceRules, SliceTable, by_coldness, by_day, by_hour, by_value


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The scorecard and the same rows by part.

    Attributes:
        scorecard: metrics with bootstrap intervals.
        days, hours: by UTC day and by UTC hour of the day; empty without a time column.
        coldness: warm and cold rows; empty without the mask.
        slices: a table for each configured column, in order of the names.
        reliability: points of the reliability diagram, lowest predictions first.
    """

    scorecard: Scorecard
    days: tuple[Segment, ...]
    hours: tuple[Segment, ...]
    coldness: tuple[Segment, ...]
    slices: tuple[SliceTable, ...]
    reliability: tuple[ReliabilityBin, ...]


def evaluate(
    scored: Scored,
    choice: MetricChoice | None = None,
    resampling: Resampling | None = None,
    rules: SliceRules | None = None,
) -> Evaluation:
    """Measure the rows.

    Args:
        scored: labels and predictions with what they are grouped by.
        choice: what is measured.
        resampling: how the bootstrap draws, and the confidence of all intervals.
        rules: which slices are told apart.

    Raises:
        InputError: an own metric failed.
    """
    choice, resampling = choice or MetricChoice(), resampling or Resampling()
    units, level = Units.find(scored), resampling.level
    return Evaluation(
        scorecard=score(scored, choice, resampling),
        days=by_day(scored, units, level),
        hours=by_hour(scored, units, level),
        coldness=by_coldness(scored, units, level),
        slices=tuple(by_value(scored, column, units, rules, level) for column in sorted(scored.slices)),
        reliability=reliability(scored, choice.calibration_bins, level),
    )
