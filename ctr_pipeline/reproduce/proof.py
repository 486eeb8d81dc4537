"""The digests of a re-run's outputs, computed from its files by today's code: no step's word is taken for them."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from ctr_pipeline.data.order import ROW_HASH
from ctr_pipeline.data.version import DigestState
from ctr_pipeline.evaluation.metrics import log_loss
from ctr_pipeline.features.encoder_file import encoder_digest, load_encoder
from ctr_pipeline.reproduce.original import PREDICTIONS
from ctr_pipeline.reproduce.predictions import MARGIN, PROBABILITY
from ctr_pipeline.reproduce.verdict import Layer
from ctr_pipeline.steps.job import STEP_FILE
from ctr_pipeline.workflows.execution import ExecutionFolder
from tracking.canonical import canonical_json, sha256_file, sha256_hex
from tracking.errors import ProblemError

# What the steps call their files: importing the steps for it would load xgboost.
_SPLITS: Final = ("train", "validation", "test")
_BOOSTER: Final = "model/booster.ubj"
_ENCODER: Final = "encoder"
_LABEL: Final = "label"
_LOGLOSS: Final = "test.logloss"
_SAME: Final = 1e-9


def proven(layers: Sequence[Layer], folder: ExecutionFolder, *, is_frozen: bool) -> tuple[Layer, ...]:
    """Return the layers with the re-run's digests as its files give them.

    Args:
        layers: with the digests that the steps told.
        folder: of the re-run.
        is_frozen: whether encoder and booster are the original's, and were verified before.
    """
    found = dict(_computed(folder, is_frozen=is_frozen))
    return tuple(_proven(layer, found) for layer in layers)


def _proven(layer: Layer, found: Mapping[str, str | None]) -> Layer:
    if layer.again is None or layer.name not in found or found[layer.name] == layer.again:
        return layer
    told = f"the step told {layer.again[:12]}, its files do not give it"
    return replace(layer, again=found[layer.name], note=f"{layer.note}; {told}" if layer.note else told)


def _computed(folder: ExecutionFolder, *, is_frozen: bool) -> Iterator[tuple[str, str | None]]:
    splits, model, evaluated = (folder.step(name) for name in ("preprocess", "train", "evaluate"))
    for name in _SPLITS:
        if (splits / f"{name}.parquet").is_file():  # one without rows may have no file
            yield f"split.{name}", _rows_digest(splits / f"{name}.parquet", ordered=True)
    if not is_frozen:
        yield "encoder", _encoder_digest(splits / _ENCODER)
        yield "booster", sha256_file(model / _BOOSTER) if (model / _BOOSTER).is_file() else None
    predictions = evaluated / PREDICTIONS
    yield "margins", _rows_digest(predictions, ordered=False, columns=[ROW_HASH, MARGIN])
    yield "predictions", _rows_digest(predictions, ordered=False, columns=[ROW_HASH, PROBABILITY])
    yield "metrics", _metrics_digest(evaluated / STEP_FILE, predictions)


def _rows_digest(path: Path, *, ordered: bool, columns: list[str] | None = None) -> str | None:
    """Return the digest of a table's rows, read in batches; None where it cannot be read."""
    try:
        with pq.ParquetFile(path) as file:
            schema = file.schema_arrow
            kept = schema if columns is None else pa.schema([schema.field(name) for name in columns])
            state = DigestState(kept, first_row=0 if ordered else None)
            for batch in file.iter_batches(columns=columns):
                state.update(batch)
        return state.finish().data_version
    except (OSError, pa.ArrowException, KeyError, ProblemError):
        return None


def _encoder_digest(folder: Path) -> str | None:
    try:
        return encoder_digest(load_encoder(folder))
    except (OSError, ProblemError):
        return None


def _metrics_digest(record: Path, predictions: Path) -> str | None:
    """Return the digest of the metrics that a step wrote; None where they are not of its predictions."""
    try:
        metrics = json.loads(record.read_bytes())["facts"]["metrics"]
        table = pq.read_table(predictions, columns=[_LABEL, PROBABILITY])
    except (OSError, ValueError, LookupError, TypeError, pa.ArrowException):
        return None
    loss = log_loss(table.column(_LABEL).to_numpy(), table.column(PROBABILITY).to_numpy())
    told = metrics.get(_LOGLOSS)
    if loss is not None and (told is None or not math.isclose(loss, told, rel_tol=_SAME)):
        return None
    return sha256_hex(canonical_json(metrics))
