"""The parts of a comparison of two runs, as frozen values: what `a`, the first run, and `b`, the second, have of each.

A part whose documents are gone says so in `unavailable` and is empty otherwise.
"""

from dataclasses import dataclass
from typing import Literal

from ctr_pipeline.workflows.run_view import EstimateView

type Letter = Literal["a", "b"]
type Finding = Literal["better", "worse", "moved", "unclear", "equal"]


@dataclass(frozen=True, slots=True)
class Change:
    """A named value of both runs, as text; None where a run has none."""

    name: str
    a: str | None
    b: str | None

    @property
    def is_equal(self) -> bool:
        """Whether both runs say the same."""
        return self.a == self.b


@dataclass(frozen=True, slots=True)
class ColumnChange:
    """A column that differs: "added", "removed", "type" or "values"; `a` and `b` are types or digests."""

    column: str
    change: str
    a: str | None
    b: str | None


@dataclass(frozen=True, slots=True)
class FileChange:
    """An input file that differs: "added", "removed", "renamed", "changed", or "rewritten" (the same rows)."""

    path: str
    change: str
    n_rows_a: int | None
    n_rows_b: int | None


@dataclass(frozen=True, slots=True)
class DataDiff:
    """The data; `same_rows` is None where a manifest is gone.

    Attributes:
        association_changed: every column holds the same values, but they moved between rows.
        facts: version, source, rows, time range, splits and their windows.
    """

    same_rows: bool | None
    association_changed: bool
    facts: tuple[Change, ...]
    columns: tuple[ColumnChange, ...]
    files: tuple[FileChange, ...]
    unavailable: str | None = None


@dataclass(frozen=True, slots=True)
class FilePatch:
    """A source file that differs.

    Attributes:
        path: in the source tree; files of installed packages begin with `site/`.
        change: "added", "removed" or "changed".
        lines: of the unified diff, without line ends.
        reason: why there are no lines: it is binary, or too large.
    """

    path: str
    change: str
    lines: tuple[str, ...]
    added: int
    removed: int
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class CodeDiff:
    """The code; `same_code` says whether the files that steps can import are equal."""

    same_code: bool
    facts: tuple[Change, ...]
    patches: tuple[FilePatch, ...]
    unavailable: str | None = None


@dataclass(frozen=True, slots=True)
class StatisticChange:
    """A target statistic's categories: how many there are in each run, and how many only one of them has."""

    name: str
    n_a: int | None
    n_b: int | None
    only_a: int
    only_b: int
    n_moved: int

    @property
    def is_equal(self) -> bool:
        """Whether both runs learned the same."""
        return self.n_a == self.n_b and not self.only_a + self.only_b + self.n_moved


@dataclass(frozen=True, slots=True)
class MovedCategory:
    """A category whose smoothed click rate (0 to 1, as the model sees it) differs."""

    statistic: str
    category: str
    rate_a: float
    rate_b: float
    impressions_a: int
    impressions_b: int


@dataclass(frozen=True, slots=True)
class FittedDiff:
    """The fitted preprocessing; `moved` are the categories whose rates moved most."""

    facts: tuple[Change, ...]
    features: tuple[Change, ...]
    statistics: tuple[StatisticChange, ...]
    moved: tuple[MovedCategory, ...]
    unavailable: str | None = None


@dataclass(frozen=True, slots=True)
class ImportanceChange:
    """A feature's share of the total gain, 0 to 1; None where a run has no such feature."""

    feature: str
    a: float | None
    b: float | None

    @property
    def is_equal(self) -> bool:
        """Whether both runs give it the same share."""
        return self.a == self.b


@dataclass(frozen=True, slots=True)
class CurveView:
    """Logloss (nats) by boosting round, from round 1 on."""

    run: Letter
    dataset: str
    values: tuple[float, ...]
    best_round: int | None


@dataclass(frozen=True, slots=True)
class TrainingDiff:
    """The training."""

    facts: tuple[Change, ...]
    importance: tuple[ImportanceChange, ...]
    curves: tuple[CurveView, ...]
    unavailable: str | None = None


@dataclass(frozen=True, slots=True)
class MetricChange:
    """A metric of both runs.

    Attributes:
        delta: b - a; None where one is unknown.
        low, high: the paired interval of the difference; None where there is none.
        finding: what the interval says; None without one, "equal" where the values are.
        reason: why there is no paired interval although the test rows are the same.
    """

    name: str
    a: EstimateView | None
    b: EstimateView | None
    delta: float | None
    low: float | None
    high: float | None
    finding: Finding | None
    reason: str | None = None

    @property
    def is_equal(self) -> bool:
        """Whether both runs have the same value."""
        return (self.a and self.a.value) == (self.b and self.b.value)


@dataclass(frozen=True, slots=True)
class Pairing:
    """How the differences' intervals were made.

    Attributes:
        unit: what was drawn: "user", "group" or "row".
        note: what the choice of the unit means for the intervals; empty where nothing is to be said.
    """

    unit: str
    n_units: int
    n_rows: int
    n_replicates: int
    level: float
    note: str


@dataclass(frozen=True, slots=True)
class MetricsDiff:
    """The metrics on the test rows; `unpaired` says why there are no paired intervals."""

    pairing: Pairing | None
    unpaired: str | None
    level: float | None
    metrics: tuple[MetricChange, ...]
    unavailable: str | None = None


@dataclass(frozen=True, slots=True)
class CalibrationView:
    """A bin of the reliability diagram: mean prediction, click rate and its interval, all 0 to 1."""

    run: Letter
    prediction: float
    rate: float
    low: float
    high: float
    n_rows: int
