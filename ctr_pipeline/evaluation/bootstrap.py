"""The bootstrap, clustered by user (Field & Welsh 2007).

Impressions of one user are alike, so users are drawn with replacement, each with all its rows; without a user column
groups (requests), and without those rows are drawn. A replicate is a weight by unit: how often it was drawn, a
multinomial vector. Replicate r of seed s draws from `PCG64(SeedSequence(s, spawn_key=(r,)))`, so it is the same
whatever the number of replicates, the metric and the model: replicates of two models on the same rows pair.

At most one replicate is in memory, beside the prepared rows (some 20 numbers of 8 bytes each).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import numpy as np

from ctr_pipeline.evaluation.panel import MetricChoice, Panel
from ctr_pipeline.evaluation.ranking import Places
from ctr_pipeline.evaluation.scored import Floats, Scored
from tracking.errors import InputError

type UnitName = Literal["user", "group", "row"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Resampling:
    """How the bootstrap draws.

    Attributes:
        seed: of the draws, >= 0.
        replicates: how many at most.
        least_replicates: how many at least, however many rows there are.
        work: rows x replicates that are spent at most, unless `least_replicates` asks for more. The default leaves 500
            replicates up to 200,000 rows (some two seconds) and 200 from 500,000 rows on.
        level: confidence of the intervals, 0 to 1.
    """

    seed: int = 0
    replicates: int = 500
    least_replicates: int = 200
    work: int = 100_000_000
    level: float = 0.95

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise InputError(f"seed == {self.seed}, must be >= 0; choose another")
        if self.replicates < 1 or self.least_replicates < 1:
            raise InputError(
                f"evaluate.replicates == {min(self.replicates, self.least_replicates)}, must be >= 1; 500 is usual"
            )
        if not 0 < self.level < 1:
            raise InputError(f"evaluate.confidence == {self.level}, must be > 0 and < 1; 0.95 is usual")

    def affordable(self, n_rows: int) -> int:
        """Return how many replicates are drawn for so many rows."""
        return min(self.replicates, max(self.least_replicates, self.work // max(n_rows, 1)))


@dataclass(frozen=True, slots=True, eq=False)
class Units:
    """What is drawn: users, groups or rows.

    Attributes:
        name: which.
        of_row: unit of each row, 0 to count - 1, in order of the codes (or of the rows), shape (n,).
        count: how many there are.
    """

    name: UnitName
    of_row: Places
    count: int

    @classmethod
    def find(cls, scored: Scored) -> "Units":
        """Take users where there are any, else groups, else rows."""
        codes = scored.group if scored.cluster is None else scored.cluster
        if codes is None:
            return cls("row", np.arange(scored.n_rows), scored.n_rows)
        values, of_row = np.unique(codes, return_inverse=True)
        return cls("group" if scored.cluster is None else "user", of_row, len(values))


@dataclass(frozen=True, slots=True, eq=False)
class Replicates:
    """Values of every metric over the replicates.

    Attributes:
        unit: what was drawn.
        n_units: how many there are; as many are drawn in each replicate.
        seed: of the draws.
        n_rows: rows evaluated.
        point: each metric of the rows as they are; nan where undefined.
        values: each metric by replicate, nan where undefined, shape (n_replicates,).
    """

    unit: UnitName
    n_units: int
    seed: int
    n_rows: int
    point: Mapping[str, float]
    values: Mapping[str, Floats]

    @property
    def n_replicates(self) -> int:
        """How many replicates were drawn."""
        return len(next(iter(self.values.values())))


def draws(seed: int, n_units: int, n_replicates: int) -> Iterator[Floats]:
    """Yield, for each replicate, how often each unit was drawn, shape (n_units,): whole numbers that add up to n_units.

    Args:
        seed: >= 0.
        n_units: how many there are, > 0.
        n_replicates: how many to yield.
    """
    for replicate in range(n_replicates):
        source = np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=(replicate,))))
        # Counting uniform draws is the multinomial distribution, and six times as fast as Generator.multinomial.
        yield np.bincount(source.integers(0, n_units, n_units), minlength=n_units).astype(np.float64)


def replicates(scored: Scored, seed: int, n_replicates: int, choice: MetricChoice | None = None) -> Replicates:
    """Return every metric of the rows and of each replicate.

    Two calls with the same seed and rows that agree in number, users and groups use the same draws, whatever was
    predicted: differences by replicate are a paired bootstrap.

    Args:
        scored: the evaluated rows.
        seed: of the draws, >= 0.
        n_replicates: how many, > 0.
        choice: what is measured.

    Raises:
        InputError: an own metric failed.
    """
    choice = choice or MetricChoice()
    units = Units.find(scored)
    panel = Panel.build(scored, choice, units.of_row, units.count)
    point = (*panel.values(np.ones(units.count)), *panel.custom_values(None))
    table = np.empty((n_replicates, len(point)))
    for row, weight in zip(table, draws(seed, units.count, n_replicates), strict=True):
        row[:] = (*panel.values(weight), *panel.custom_values(weight))
    table[~np.isfinite(table)] = np.nan
    return Replicates(
        unit=units.name,
        n_units=units.count,
        seed=seed,
        n_rows=scored.n_rows,
        point=MappingProxyType(dict(zip(choice.names, point, strict=True))),
        values=MappingProxyType({name: table[:, column].copy() for column, name in enumerate(choice.names)}),
    )
