"""The evaluated rows by day, by hour, by the values of a column, cold and warm apart.

Slices of a column come worst first, by `Segment.excess`: the part of the overall logloss that is owed to the slice
being predicted worse, for its click rate, than rows are on the whole, be it by miscalibration or by poor ranking. So a
slice comes first when it is bad and large. Values with too few rows, or with too few clicks both seen and predicted,
are listed apart: one with many predicted clicks and none seen stays among the others.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from ctr_pipeline.evaluation.bootstrap import Units
from ctr_pipeline.evaluation.scored import Scored
from ctr_pipeline.evaluation.segments import Segment, segments
from tracking.errors import InputError

_HOUR_US: Final = 3_600_000_000
_DAY_US: Final = 24 * _HOUR_US


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceRules:
    """Which slices are told apart.

    Attributes:
        min_rows: slices with fewer rows are listed as too few to tell.
        min_clicks: the same for the greater of clicks seen and clicks predicted.
    """

    min_rows: int = 100
    min_clicks: int = 5

    def __post_init__(self) -> None:
        for name, value in (("slice_min_rows", self.min_rows), ("slice_min_clicks", self.min_clicks)):
            if value < 0:
                raise InputError(f"evaluate.{name} == {value}, must be >= 0; 0 lists every value")


@dataclass(frozen=True, slots=True)
class SliceTable:
    """The slices of one column.

    Attributes:
        column: its name.
        worst_first: slices with enough rows and clicks, greatest excess first.
        too_few: the others, most rows first.
    """

    column: str
    worst_first: tuple[Segment, ...]
    too_few: tuple[Segment, ...]


def by_day(scored: Scored, units: Units, level: float = 0.95) -> tuple[Segment, ...]:
    """Return the metrics of each UTC day with rows, in order of time; nothing without a time column."""
    if scored.time_us is None:
        return ()
    days, codes = np.unique(scored.time_us // _DAY_US, return_inverse=True)
    return segments(scored, codes, [str(np.datetime64(int(day), "D")) for day in days], units, level)


def by_hour(scored: Scored, units: Units, level: float = 0.95) -> tuple[Segment, ...]:
    """Return the metrics of each UTC hour of the day with rows, `00` first; nothing without a time column."""
    if scored.time_us is None:
        return ()
    hours, codes = np.unique(scored.time_us // _HOUR_US % 24, return_inverse=True)
    return segments(scored, codes, [f"{hour:02d}" for hour in hours], units, level)


def by_coldness(scored: Scored, units: Units, level: float = 0.95) -> tuple[Segment, ...]:
    """Return the metrics of `warm` rows and of `cold` ones (any category unseen or rare); nothing without the mask."""
    if scored.cold is None:
        return ()
    present, codes = np.unique(scored.cold, return_inverse=True)
    return segments(scored, codes, ["cold" if is_cold else "warm" for is_cold in present], units, level)


def by_value(
    scored: Scored, column: str, units: Units, rules: SliceRules | None = None, level: float = 0.95
) -> SliceTable:
    """Return the metrics of each value of a column, worst first.

    Args:
        scored: the evaluated rows.
        column: one of `scored.slices`.
        units: what is independent of one another.
        rules: which values are told apart.
        level: confidence of the intervals, 0 to 1.
    """
    rules, encoded = rules or SliceRules(), scored.slices[column]
    present, codes = np.unique(encoded.codes, return_inverse=True)
    values = [None if code < 0 else encoded.values[code] for code in present]
    found = segments(scored, codes, values, units, level)
    return SliceTable(
        column=column,
        worst_first=tuple(sorted((part for part in found if _is_enough(part, rules)), key=_badness)),
        too_few=tuple(sorted((part for part in found if not _is_enough(part, rules)), key=_size)),
    )


def _is_enough(part: Segment, rules: SliceRules) -> bool:
    clicks = max(part.n_clicks, part.mean_prediction * part.n_rows)
    return part.n_rows >= rules.min_rows and clicks >= rules.min_clicks


def _badness(part: Segment) -> tuple[float, int, str]:
    return -part.excess, -part.n_rows, part.value or ""


def _size(part: Segment) -> tuple[int, str]:
    return -part.n_rows, part.value or ""
