"""Two models on the same test rows: their predictions side by side, and bootstrap draws that both share."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from ctr_pipeline.columns import Columns
from ctr_pipeline.data.hashing import U64, validity
from ctr_pipeline.data.order import ROW_HASH
from ctr_pipeline.data.rows import Rows
from ctr_pipeline.evaluation.bootstrap import Replicates, Resampling, replicates
from ctr_pipeline.evaluation.panel import MetricChoice
from ctr_pipeline.evaluation.scored import Scored
from ctr_pipeline.workflows.diff_side import Side
from tracking.errors import InputError

# What the evaluate step calls its columns: importing it would load xgboost.
_LABEL: Final = "label"
_PROBABILITY: Final = "probability"
_MARGIN: Final = "margin"


class UnpairedError(Exception):
    """Two runs' predictions are not of the same rows, or are gone; the text says which."""


@dataclass(frozen=True, slots=True, eq=False)
class DrawnPair:
    """Replicates of both models over the same draws; `note` says what the drawn unit means for the intervals."""

    a: Replicates
    b: Replicates
    note: str


@dataclass(frozen=True, slots=True, eq=False)
class _Predictions:
    """Scored rows, sorted by their hashes."""

    rows: U64
    label: npt.NDArray[np.uint8]
    probability: npt.NDArray[np.float64]
    margin: npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class _Groups:
    """Codes of users and groups, in the order of the sorted row hashes."""

    user: U64 | None
    group: U64 | None
    note: str


def drawn_pair(a: Side, b: Side) -> DrawnPair:
    """Draw replicates for both runs, by the first one's evaluation settings.

    Equal hashes mean equal rows, the label included, so that rows are paired by them.

    Raises:
        UnpairedError: the test rows are not the same, or predictions are gone.
    """
    first, second = _predictions(a, "A"), _predictions(b, "B")
    if not np.array_equal(first.rows, second.rows):
        shared = _n_shared(first.rows, second.rows)
        raise UnpairedError(
            f"the test rows differ: {shared:,} rows are in both, of {len(first.rows):,} in A and "
            f"{len(second.rows):,} in B"
        )
    groups = _groups(a, b, first.rows)
    options, seed = a.settings["evaluate"], int(a.settings["seed"])
    resampling = Resampling(seed=seed, replicates=options["replicates"], level=options["confidence"])
    n_replicates = resampling.affordable(len(first.rows))
    lifts = tuple(fraction for fraction in options["lift_at"] if fraction in b.settings["evaluate"]["lift_at"])

    def drawn(side: Side, found: _Predictions) -> Replicates:
        choice = MetricChoice(
            lift_fractions=lifts, calibration_bins=options["calibration_bins"], train_base_rate=side.train_rate
        )
        scored = Scored(
            label=found.label,
            probability=found.probability,
            margin=found.margin,
            cluster=groups.user,
            group=groups.user if groups.group is None else groups.group,
        )
        return replicates(scored, seed, n_replicates, choice)

    return DrawnPair(drawn(a, first), drawn(b, second), groups.note)


def _predictions(side: Side, name: str) -> _Predictions:
    if side.predictions is None:
        raise UnpairedError(f"the predictions of {name} are gone, so that rows cannot be paired")
    try:
        table = pq.read_table(side.predictions, columns=[ROW_HASH, _LABEL, _PROBABILITY, _MARGIN])
    except (OSError, pa.ArrowException) as error:
        raise UnpairedError(f"the predictions of {name} cannot be read ({_line(error)})") from error
    rows: U64 = table.column(ROW_HASH).to_numpy()
    order = np.argsort(rows, kind="stable")
    return _Predictions(
        rows=rows[order],
        label=table.column(_LABEL).to_numpy()[order],
        probability=table.column(_PROBABILITY).to_numpy()[order],
        margin=table.column(_MARGIN).to_numpy()[order],
    )


def _n_shared(a: U64, b: U64) -> int:
    """Return how many rows are in both, copies counted."""
    keys, counts_a = np.unique(a, return_counts=True)
    others, counts_b = np.unique(b, return_counts=True)
    _, at_a, at_b = np.intersect1d(keys, others, assume_unique=True, return_indices=True)
    return int(np.minimum(counts_a[at_a], counts_b[at_b]).sum())


def _groups(a: Side, b: Side, rows: U64) -> _Groups:
    """Return what the rows are grouped by: predictions do not keep it, the raw test rows on this machine do."""
    columns = Columns.model_validate(_plain(a.settings["data"]["columns"]))
    if columns.user is None and columns.group is None:
        return _Groups(None, None, "no column tells users: rows were drawn")
    wanted = "users" if columns.user is not None else "groups"
    for path in (a.test_rows, b.test_rows):
        if path is not None:
            try:
                return _grouped(path, columns, rows)
            except (OSError, pa.ArrowException, InputError) as error:
                return _Groups(None, None, f"the raw test rows cannot be read ({_line(error)}): rows were drawn")
    return _Groups(
        None,
        None,
        f"the raw test rows are not on this machine, so that {wanted} are not known: rows were drawn, and as rows of "
        "one user are alike, these intervals may be too narrow",
    )


def _grouped(path: Path, columns: Columns, rows: U64) -> _Groups:
    names = [name for name in dict.fromkeys((columns.user, columns.group)) if name is not None]
    table = pq.read_table(path, columns=[*names, ROW_HASH])
    hashes: U64 = table.column(ROW_HASH).to_numpy()
    order = np.argsort(hashes, kind="stable")
    if not np.array_equal(hashes[order], rows):
        return _Groups(None, None, "the raw test rows on this machine are others: rows were drawn")
    raw = Rows(table, columns)

    def codes(name: str | None) -> U64 | None:
        if name is None:
            return None
        # Rows of nobody known are no common user's: each is one of its own.
        found: U64 = np.where(validity(raw.texts(name)), raw.keys(name), hashes)
        return found[order]

    return _Groups(codes(columns.user), codes(columns.group), "")


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a recipe's frozen settings as dicts and lists again."""
    return {key: _plain(value) if isinstance(value, Mapping) else value for key, value in values.items()}


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
