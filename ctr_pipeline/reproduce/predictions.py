"""Two runs' predictions of the same rows, paired by the rows' hashes."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from ctr_pipeline.data.order import ROW_HASH
from ctr_pipeline.data.version import table_digest
from ctr_pipeline.evaluation.noise import MarginSpread
from ctr_pipeline.reproduce.layers import MARGINS
from ctr_pipeline.reproduce.original import PREDICTIONS, Original
from ctr_pipeline.reproduce.verdict import MarginDifference
from tracking.errors import ProblemError

MARGIN: Final = "margin"
PROBABILITY: Final = "probability"
_ULPS: Final = 4
_WANTED: Final = [ROW_HASH, MARGIN, PROBABILITY]
_LAYERS: Final = {MARGINS: MARGIN, "predictions": PROBABILITY}


@dataclass(frozen=True, slots=True)
class Predictions:
    """Scores of n rows, sorted by the rows' hashes; equal rows have equal scores.

    Attributes:
        rows: hashes, shape (n,).
        margins: raw log odds, shape (n,).
        probabilities: of a click, 0 to 1, shape (n,).
    """

    rows: npt.NDArray[np.uint64]
    margins: npt.NDArray[np.float32]
    probabilities: npt.NDArray[np.float64]


def read_predictions(path: Path, digests: Mapping[str, str] | None = None) -> Predictions | None:
    """Read a run's predictions; None where they are not what the digests say, or cannot be read.

    Args:
        path: `predictions.parquet`.
        digests: by layer; None takes the file as it is.
    """
    try:
        table = pq.read_table(path, columns=_WANTED)
        for layer, column in _LAYERS.items():
            found = None if digests is None else table_digest(table.select([ROW_HASH, column]), ordered=False)
            if digests is not None and found != digests.get(layer):
                return None
    except (OSError, pa.ArrowException, KeyError, ProblemError):
        return None
    rows, margins, probabilities = (_values(table, name) for name in _WANTED)
    order = np.lexsort((margins, rows))
    return Predictions(rows[order], margins[order], probabilities[order])


def original_predictions(original: Original) -> Predictions | None:
    """Return the original's predictions from a copy that the recipe proves; None where there is none."""
    if original.recipe is None:
        return None
    digests = original.recipe.outputs.layers
    copies = (read_predictions(path, digests) for path in original.documents.copies(PREDICTIONS))
    return next((found for found in copies if found is not None), None)


def compare_predictions(before: Predictions, after: Predictions) -> MarginDifference | None:
    """Return how far predictions moved; None where they are of different rows."""
    if not np.array_equal(before.rows, after.rows):
        return None
    spread = MarginSpread.between(before.margins, after.margins)
    moved = np.abs(before.probabilities - after.probabilities)
    return MarginDifference(
        n_rows=len(before.rows),
        n_differing=int(np.count_nonzero(before.margins != after.margins)),
        mean=spread.mean,
        median=spread.median,
        q99=spread.q99,
        largest=spread.largest,
        largest_probability=float(moved.max()) if len(moved) else 0.0,
    )


def differ_by_rounding(before: Predictions, after: Predictions) -> bool:
    """Return whether margins are the same bits and probabilities agree but for 4 units in the last place."""
    if not (np.array_equal(before.rows, after.rows) and np.array_equal(before.margins, after.margins)):
        return False
    slack = _ULPS * np.spacing(before.probabilities)
    return bool(np.all(np.abs(before.probabilities - after.probabilities) <= slack))


def _values(table: pa.Table, name: str) -> npt.NDArray[Any]:
    found: npt.NDArray[Any] = table.column(name).to_numpy()
    return found
