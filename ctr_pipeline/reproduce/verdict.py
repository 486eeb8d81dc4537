"""What a reproduction came to: a verdict, each layer with both digests, the first that differs and why.

Values only; `docs/reproduce.md` states the rules, `reproduce.judge` applies them.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, Literal

from ctr_pipeline.data.drift import ColumnDrift
from tracking.plain import plain

FORMAT: Final = 1


class Verdict(StrEnum):
    """The answer to "is it the same?"."""

    IDENTICAL = "IDENTICAL"
    EQUIVALENT = "EQUIVALENT"
    DIVERGED = "DIVERGED"
    CANNOT = "CANNOT"
    NEW_DATA = "NEW_DATA"

    @property
    def exit_code(self) -> int:
        """The command's exit code."""
        return _EXIT_CODES[self]

    @property
    def meaning(self) -> str:
        """The verdict in one sentence."""
        return _MEANINGS[self]


_EXIT_CODES: Final[Mapping[Verdict, int]] = {
    Verdict.IDENTICAL: 0,
    Verdict.EQUIVALENT: 3,
    Verdict.DIVERGED: 4,
    Verdict.CANNOT: 5,
    Verdict.NEW_DATA: 0,
}
_MEANINGS: Final[Mapping[Verdict, str]] = {
    Verdict.IDENTICAL: "What the run was made of and all that it made are the same, byte for byte.",
    Verdict.EQUIVALENT: "The results are equal, or inside the noise band, although not everything is the same.",
    Verdict.DIVERGED: "The results differ.",
    Verdict.CANNOT: "An ingredient is missing; nothing was computed.",
    Verdict.NEW_DATA: "Run on other data: compared, never called identical.",
}

type Part = Literal["identity", "output"]


@dataclass(frozen=True, slots=True)
class Ingredient:
    """One thing that a reproduction needs.

    Attributes:
        name: "recipe", "source", "lock", "python", "packages", "data", "settings", "device", "image".
        ready: whether it is there and is what was recorded.
        wanted: what was recorded: a digest, a version.
        found: where or as what it was found; why not.
        remedy: what to do where it is not ready; empty where it is.
    """

    name: str
    ready: bool
    wanted: str
    found: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer of a run with the digests of both runs.

    Attributes:
        name: such as "code", "data", "split.train", "booster", "margins".
        part: whether it goes in or comes out.
        original: the digest recorded then; None where it was not.
        again: the digest now; None where it was not computed.
        note: what else is to be said.
    """

    name: str
    part: Part
    original: str | None
    again: str | None
    note: str = ""

    @property
    def is_equal(self) -> bool:
        """Whether both are known and the same."""
        return self.original is not None and self.original == self.again


@dataclass(frozen=True, slots=True)
class Difference:
    """Something that went in and is not the same, in words.

    Attributes:
        layer: of the identity: "code", "environment", "data", "settings" or "clock".
        what: such as "xgboost 3.4.1 -> 3.5.0" or "train.max_depth 6 -> 8".
        deliberate: whether the caller asked for it.
        detail: more lines, such as a patch.
    """

    layer: str
    what: str
    deliberate: bool = False
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Circumstance:
    """Something around the run that differs and decides about nothing, such as the host."""

    name: str
    original: str
    again: str


@dataclass(frozen=True, slots=True)
class ColumnDifference:
    """A column of the data that is not the same.

    Attributes:
        column: its name.
        change: "added", "removed", "type", "values", or "association" (the same values, between other rows).
        original: type or digest then; None where there was none.
        again: type or digest now.
    """

    column: str
    change: str
    original: str | None
    again: str | None


@dataclass(frozen=True, slots=True)
class MetricDifference:
    """A metric of both runs; `band` is the largest difference that chance made, where it was measured."""

    name: str
    original: float | None
    again: float | None
    band: float | None = None

    @property
    def delta(self) -> float | None:
        """The change, None where one is unknown."""
        return None if self.original is None or self.again is None else self.again - self.original


@dataclass(frozen=True, slots=True)
class Estimated:
    """A metric of one run's test rows: its value, its confidence interval, and how many rows and clicks there are."""

    value: float | None
    low: float | None
    high: float | None
    n_rows: int
    n_clicks: int


@dataclass(frozen=True, slots=True)
class EstimatePair:
    """A metric of two runs on different data, each with its interval; None where a run has none."""

    name: str
    original: Estimated | None
    again: Estimated | None

    @property
    def are_apart(self) -> bool | None:
        """Whether the intervals have no value in common, which chance alone hardly does; None without both."""
        old, new = self.original, self.again
        if old is None or new is None or None in (old.low, old.high, new.low, new.high):
            return None
        return bool(new.low > old.high or old.low > new.high)  # type: ignore[operator] # none of them is None here


@dataclass(frozen=True, slots=True)
class MarginDifference:
    """Differences of the raw margins (log odds) of the same test rows, in absolute value.

    Attributes:
        n_rows: rows compared.
        n_differing: rows whose margin differs at all.
        mean: of all rows.
        median: .5 quantile.
        q99: .99 quantile.
        largest: of all rows.
        largest_probability: largest difference of the probability of a click, 0 to 1.
    """

    n_rows: int
    n_differing: int
    mean: float
    median: float
    q99: float
    largest: float
    largest_probability: float


@dataclass(frozen=True, slots=True)
class RunSide:
    """One of the two runs; ids are None where the tracker does not have it."""

    run_id: str | None
    execution_id: str | None
    name: str = ""
    started_utc: str | None = None
    recipe_digest: str | None = None
    wall_s: float | None = None


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a reproduction came to.

    Attributes:
        verdict: the answer.
        reason: it in one line: what differs first and the likely cause, or what is missing.
        original: the run that was to be redone.
        again: the new run; None where nothing ran.
        grade: of the original's recipe, A to D.
        grade_missing: in words, what keeps it from an A.
        ingredients: all that was looked up.
        layers: in the order in which a run makes them.
        first_divergence: the first output layer that differs; None where none does.
        cause: the likely cause in one line; None where none is needed or known.
        differences: everything that went in and is not the same.
        columns: what differs in the data.
        circumstances: those that differ.
        margins: how far predictions moved; None where the rows cannot be paired.
        metrics: of both runs.
        noise: what chance alone does, as kept with the original; None where it was not measured.
        notes: what else a reader must know, such as "a deliberate deviation".
        estimates: on other data, the metrics of both runs with their intervals.
        drift: on other data, how each column's values differ between the two.
    """

    verdict: Verdict
    reason: str
    original: RunSide
    again: RunSide | None = None
    grade: str | None = None
    grade_missing: tuple[str, ...] = ()
    ingredients: tuple[Ingredient, ...] = ()
    layers: tuple[Layer, ...] = ()
    first_divergence: str | None = None
    cause: str | None = None
    differences: tuple[Difference, ...] = ()
    columns: tuple[ColumnDifference, ...] = ()
    circumstances: tuple[Circumstance, ...] = ()
    margins: MarginDifference | None = None
    metrics: tuple[MetricDifference, ...] = ()
    noise: Mapping[str, Any] | None = None
    notes: tuple[str, ...] = field(default=())
    estimates: tuple[EstimatePair, ...] = ()
    drift: tuple[ColumnDrift, ...] = ()

    def to_record(self) -> dict[str, Any]:
        """Return the JSON object that `--json` prints and both runs keep."""
        layers = [{**plain(layer), "equal": layer.is_equal} for layer in self.layers]
        metrics = [{**plain(metric), "delta": metric.delta} for metric in self.metrics]
        fields: dict[str, Any] = {**plain(self), "layers": layers, "metrics": metrics}
        return {"format": FORMAT, "exit_code": self.verdict.exit_code, **fields}

    def to_json(self) -> str:
        """Return the record as text."""
        return json.dumps(self.to_record(), indent=1, ensure_ascii=False)
