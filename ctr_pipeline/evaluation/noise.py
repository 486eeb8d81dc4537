"""The noise band: how far metrics and margins move when only chance is changed.

Measured on k + 1 models of the same rows: over all pairs the largest difference of each metric, and of the raw margins'
absolute differences the mean, the .5 and .99 quantiles and the largest one.

What the bootstrap draws is no part of it: the ends of intervals and means over replicates tell of the draws, not of
the model.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Final, Literal, Self

import numpy as np
import numpy.typing as npt

from tracking.errors import InputError
from tracking.plain import plain

FORMAT: Final = 1
_ENDS: Final = (".low", ".high")
# Means over the bootstrap's replicates.
_DRAWN: Final = "ece_by_chance"

type Margins = npt.NDArray[np.float32]
type Chance = Literal["seed", "row order"]


@dataclass(frozen=True, slots=True)
class MarginSpread:
    """Absolute differences of the raw margins (log odds) of the same n rows by two models."""

    mean: float
    median: float
    q99: float
    largest: float

    @classmethod
    def between(cls, first: Margins, second: Margins) -> Self:
        """Compare two models' margins of the same rows, shape (n,) each."""
        moved = np.abs(first.astype(np.float64) - second.astype(np.float64))
        if not len(moved):
            return cls(0.0, 0.0, 0.0, 0.0)
        median, q99 = np.quantile(moved, [0.5, 0.99])
        return cls(float(moved.mean()), float(median), float(q99), float(moved.max()))

    def joined(self, other: "MarginSpread") -> "MarginSpread":
        """Return the larger of each figure."""
        return MarginSpread(
            max(self.mean, other.mean),
            max(self.median, other.median),
            max(self.q99, other.q99),
            max(self.largest, other.largest),
        )

    def holds(self, other: "MarginSpread") -> bool:
        """Return whether another spread is nowhere larger."""
        return self.joined(other) == self


@dataclass(frozen=True, slots=True)
class NoiseBand:
    """What chance alone does to a run.

    Attributes:
        runs: extra runs that were made, at least 5.
        chance: what was changed: the seed where the training draws by it, else the order of the training rows.
        metrics: by name, the largest difference between any two of the runs.
        margins: over any two of the runs, the largest of each figure.
    """

    runs: int
    chance: Chance
    metrics: Mapping[str, float]
    margins: MarginSpread

    @property
    def is_empty(self) -> bool:
        """Whether nothing moved: the band has zero width, and whatever moves at all is outside."""
        return self.margins.largest == 0 and not any(self.metrics.values())

    def holds(self, metrics: Mapping[str, float], margins: MarginSpread) -> bool:
        """Return whether differences are inside the band, every single one.

        Args:
            metrics: by name, the difference; one that the band does not know is outside unless it is 0. What the
                bootstrap draws is left out.
            margins: the differences of the margins.
        """
        inside = all(abs(metrics[name]) <= self.metrics.get(name, 0.0) for name in point_metrics(metrics))
        return inside and self.margins.holds(margins)

    def to_record(self) -> dict[str, Any]:
        """Return the band as JSON values."""
        return {"format": FORMAT, **plain(self)}

    @classmethod
    def from_record(cls, values: Mapping[str, Any], origin: str) -> Self:
        """Read what `to_record` wrote.

        Args:
            values: the record.
            origin: where it comes from, for errors.

        Raises:
            InputError: it is no noise band, or of a newer format.
        """
        if values.get("format") != FORMAT:
            raise InputError(f"{origin}: format == {values.get('format')}, must be {FORMAT}; update ctr-pipeline")
        try:
            return cls(values["runs"], values["chance"], dict(values["metrics"]), MarginSpread(**values["margins"]))
        except (LookupError, TypeError) as error:
            raise InputError(f"{origin} is no noise band ({error}); restore it from the run's artifacts") from error


def point_metrics(names: Iterable[str]) -> Iterator[str]:
    """Yield the metrics that tell of the model alone, not of the bootstrap's draws."""
    return (name for name in names if not name.endswith(_ENDS) and name.rpartition(".")[2] != _DRAWN)


def measure_noise(chance: Chance, metrics: Sequence[Mapping[str, float]], margins: Sequence[Margins]) -> NoiseBand:
    """Measure the band over all pairs of runs that differ by chance alone.

    Args:
        chance: what was changed between them.
        metrics: of each run, the original first.
        margins: of each run, of the same rows in the same order.
    """
    names = sorted(set.intersection(*(set(point_metrics(of_run)) for of_run in metrics)))
    values = {name: [of_run[name] for of_run in metrics] for name in names}
    spread = MarginSpread(0.0, 0.0, 0.0, 0.0)
    for first, second in combinations(margins, 2):
        spread = spread.joined(MarginSpread.between(first, second))
    widest = {name: max(found) - min(found) for name, found in values.items()}
    return NoiseBand(len(metrics) - 1, chance, widest, spread)
