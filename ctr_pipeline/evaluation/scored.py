"""What an evaluation is made from: labels and predictions of the same rows, checked once at the door.

Inside the package nothing is checked again: every function may rely on what `Scored` promises.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Self

import numpy as np
import numpy.typing as npt

from tracking.errors import InputError

type Bits = npt.NDArray[np.uint8]
type Mask = npt.NDArray[np.bool_]
type Integers = npt.NDArray[np.int64]
type Floats = npt.NDArray[np.float64]
type Codes = npt.NDArray[np.int64] | npt.NDArray[np.uint64]
type Margins = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class SliceColumn:
    """A column whose values are evaluated apart, dictionary-encoded.

    Attributes:
        codes: position of each row's value in `values`, -1 for null, shape (n,).
        values: the column's values as text.
    """

    codes: Integers
    values: tuple[str, ...]

    def __post_init__(self) -> None:
        _require_vector("slice codes", self.codes, np.int64)
        if len(self.codes) and not -1 <= self.codes.min() <= self.codes.max() < len(self.values):
            raise InputError(
                f"slice codes == {self.codes.min()}..{self.codes.max()}, must be -1 (null) or below "
                f"{len(self.values)}, the number of values; encode the column again"
            )
        object.__setattr__(self, "codes", _locked(self.codes))

    @classmethod
    def from_texts(cls, texts: Iterable[str | None]) -> Self:
        """Encode texts, one per row; values are numbered in sorted order."""
        rows = list(texts)
        values = tuple(sorted({text for text in rows if text is not None}))
        places: dict[str | None, int] = {value: place for place, value in enumerate(values)}
        places[None] = -1
        return cls(np.array([places[text] for text in rows], dtype=np.int64), values)


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """Labels and predictions of n rows, with what the rows are grouped by.

    Attributes:
        label: 1 for a click, 0 for none, shape (n,), n > 0.
        probability: predicted click probability in [0, 1], shape (n,).
        margin: the booster's raw margin (log-odds), finite, shape (n,); without it the log-odds of `probability` serve.
        cluster: code of the user whom the row was shown to; rows of one user are resampled together, shape (n,).
        group: code of the request (else the user) within which grouped AUC ranks, shape (n,).
        time_us: when the impression was shown, microseconds since 1970 UTC, shape (n,).
        cold: where any category was unseen or rare in training, shape (n,).
        slices: columns whose values are evaluated apart, by name.
    """

    label: Bits
    probability: Floats
    margin: Margins | None = None
    cluster: Codes | None = None
    group: Codes | None = None
    time_us: Integers | None = None
    cold: Mask | None = None
    slices: Mapping[str, SliceColumn] = field(default_factory=dict[str, SliceColumn])

    def __post_init__(self) -> None:
        _require_vector("label", self.label, np.uint8)
        _require_vector("probability", self.probability, np.float64)
        if not len(self.label):
            raise InputError("evaluated rows == 0, must be > 0; widen the test window or check split.*")
        if self.label.max() > 1:
            raise InputError(f"label == {self.label.max()}, must be 0 or 1; map the label column to clicks")
        self._require_lengths()
        _require_finite("probability", self.probability)
        low, high = self.probability.min(), self.probability.max()
        if low < 0 or high > 1:
            outside = low if low < 0 else high
            raise InputError(f"probability == {outside:g}, must be in [0, 1]; pass margins as margin")
        if self.margin is not None:
            _require_finite("margin", self.margin)
        for name in ("label", "probability", "margin", "cluster", "group", "time_us", "cold"):
            values = getattr(self, name)
            object.__setattr__(self, name, None if values is None else _locked(values))
        object.__setattr__(self, "slices", MappingProxyType(dict(self.slices)))

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return len(self.label)

    @property
    def n_clicks(self) -> int:
        """Number of rows with label 1."""
        return int(np.count_nonzero(self.label))

    def _require_lengths(self) -> None:
        optional: tuple[tuple[str, npt.NDArray[np.generic] | None, tuple[type[np.generic], ...]], ...] = (
            ("probability", self.probability, (np.float64,)),
            ("margin", self.margin, (np.float32,)),
            ("cluster", self.cluster, (np.int64, np.uint64)),
            ("group", self.group, (np.int64, np.uint64)),
            ("time_us", self.time_us, (np.int64,)),
            ("cold", self.cold, (np.bool_,)),
            *((f"slice {name!r}", column.codes, (np.int64,)) for name, column in self.slices.items()),
        )
        for name, values, types in optional:
            if values is None:
                continue
            _require_vector(name, values, *types)
            if len(values) != len(self.label):
                raise InputError(f"rows of {name} == {len(values)}, must be {len(self.label)} as of label; align them")


def _require_vector(name: str, values: npt.NDArray[np.generic], *types: type[np.generic]) -> None:
    if values.ndim != 1:
        raise InputError(f"dimensions of {name} == {values.ndim}, must be 1; flatten it")
    if values.dtype not in types:
        allowed = " or ".join(np.dtype(kind).name for kind in types)
        raise InputError(f"type of {name} == {values.dtype}, must be {allowed}; cast it")


def _require_finite(name: str, values: Floats | Margins) -> None:
    bad = np.flatnonzero(~np.isfinite(values))
    if len(bad):
        raise InputError(f"{name} == {values[bad[0]]} in row {bad[0]}, must be finite; check the model's output")


def _locked[T: np.generic](values: npt.NDArray[T]) -> npt.NDArray[T]:
    """Return a contiguous view that cannot be written through; the caller's own array stays as it was."""
    view = np.ascontiguousarray(values).view()
    view.flags.writeable = False
    return view
