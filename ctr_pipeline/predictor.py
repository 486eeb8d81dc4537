"""Raw rows in, probability of a click out: the one path for evaluation, batch scoring, pyfunc and serving teams."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import xgboost as xgb
from pydantic import ValidationError

from ctr_pipeline.config import Settings
from ctr_pipeline.data.hashing import type_name
from ctr_pipeline.data.rows import Rows
from ctr_pipeline.features.carried_code import CODE_FOLDER, use_carried_code
from ctr_pipeline.features.custom import apply_custom
from ctr_pipeline.features.encoder import Encoder
from ctr_pipeline.features.encoder_file import encoder_digest, load_encoder
from ctr_pipeline.model import click_probabilities, load_booster, predict_margins
from tracking.canonical import canonical_json, sha256_file, sha256_hex
from tracking.errors import InputError

type ContextMode = Literal["pinned", "logged"]

FORMAT: Final = 1
BOOSTER_FILE: Final = "booster.ubj"
HEADER_FILE: Final = "model.json"
SETTINGS_FILE: Final = "settings.json"
ENCODER_FOLDER: Final = "encoder"
_ARROW_TYPES: Final = {
    "null": pa.null(),
    "boolean": pa.bool_(),
    "integer": pa.int64(),
    "real": pa.float64(),
    "time": pa.timestamp("us", tz="UTC"),
    "text": pa.string(),
    "bytes": pa.binary(),
}


@dataclass(frozen=True, slots=True)
class Scores:
    """Scores of n rows.

    Attributes:
        margins: raw log odds before any correction, shape (n,).
        probabilities: of a click, 0 to 1, shape (n,).
        cold: where a row has a category that training saw too rarely, shape (n,).
    """

    margins: npt.NDArray[np.float32]
    probabilities: npt.NDArray[np.float64]
    cold: npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Predictor:
    """A trained model with its preprocessing.

    Attributes:
        settings: the run's settings; the columns' roles, the custom function and the click weight act.
        encoder: the fitted preprocessing.
        booster: the trees.
        input_schema: the raw columns that a row needs, with their types; nullable ones may be missing.
    """

    settings: Settings
    encoder: Encoder
    booster: xgb.Booster
    input_schema: pa.Schema

    @classmethod
    def load(cls, folder: Path, threads: int | None = None) -> Self:
        """Read a model folder that the train step wrote.

        Raises:
            InputError: the folder holds no model, a broken one, or one of a newer format, or its custom function's
                code is loaded in another version.
        """
        header = read_header(folder)
        settings = _read_settings(folder / SETTINGS_FILE)
        if settings.features.custom is not None:
            use_carried_code(settings.features.custom, folder)
        predictor = cls(
            settings=settings,
            encoder=load_encoder(folder / ENCODER_FOLDER),
            booster=load_booster(folder / BOOSTER_FILE, threads),
            input_schema=pa.schema([_field(item) for item in header["inputs"]]),
        )
        if encoder_digest(predictor.encoder) != header["encoder_digest"]:
            raise InputError(f"{folder}: the encoder is not the one that was trained with; restore the model folder")
        return predictor

    def predict(self, rows: pa.Table | pa.RecordBatch, context: ContextMode = "pinned") -> npt.NDArray[np.float64]:
        """Return the probability of a click for each raw row, shape (n,).

        Args:
            rows: raw rows with the columns of `input_schema`; context columns may be missing where they are pinned.
            context: "pinned" scores as in service, "logged" with the context columns as they were logged.
        """
        return self.score(rows, context).probabilities

    def score(self, rows: pa.Table | pa.RecordBatch, context: ContextMode = "pinned") -> Scores:
        """Return margins, probabilities and cold marks of raw rows; arguments as in `predict`.

        Raises:
            InputError: a column is missing or a value unreadable.
        """
        columns = self.settings.data.columns
        if context == "pinned":
            # Before the custom function too, as it may make features of the context.
            rows = Rows(rows, columns).pinned_among(tuple(self.input_schema.names)).table
        prepared = Rows(prepare(rows, self.settings), columns)
        encoded = self.encoder.encode(prepared.pinned() if context == "pinned" else prepared)
        margins = predict_margins(self.booster, encoded.matrix)
        probabilities = click_probabilities(margins, self.settings.train.click_weight)
        return Scores(margins, probabilities, encoded.cold)


def describe_inputs(logged: pa.Schema, settings: Settings) -> list[dict[str, Any]]:
    """Return the raw columns that a model of these settings needs, as `model.json` holds them.

    Without a custom function, which may read any column, only those that features are made of: no user id is asked for
    in vain.

    Args:
        logged: the columns of the log, with their types.
        settings: the run's settings.
    """
    columns, features = settings.data.columns, settings.features
    timed = {columns.time} if features.time_parts else set()
    numbers = {*columns.numeric, *(name for name, context in columns.context.items() if context.kind == "numeric")}
    # A log without any value of a column does not tell its type; its role does.
    unknown = {name: "real" if name in numbers else "text" for name in logged.names}
    wanted = set(logged.names) - {columns.label} if features.custom is not None else {*columns.features, *timed}
    return [
        {
            "name": name,
            "type": unknown[name] if pa.types.is_null(kind) else type_name(kind),
            "nullable": name not in timed,
        }
        for name, kind in zip(logged.names, logged.types, strict=True)
        if name in wanted and not name.startswith("@")
    ]


def prepare(rows: pa.Table | pa.RecordBatch, settings: Settings) -> pa.Table | pa.RecordBatch:
    """Apply the settings' custom function, where there is one, to raw rows.

    It is given one type per kind of column (64-bit numbers, plain text, times in microseconds UTC), whatever the log's
    files or a serving team's frames hold: the same row gives the same feature everywhere.
    """
    custom = settings.features.custom
    if custom is None:
        return rows
    columns = [_canonical(column) for column in rows.columns]
    return apply_custom(custom, pa.table(columns, names=rows.schema.names), settings.data.columns.label)


def read_header(folder: Path) -> dict[str, Any]:
    """Return a model folder's `model.json`.

    Raises:
        InputError: the folder holds no model, or one of a newer format.
    """
    path = folder / HEADER_FILE
    try:
        header: dict[str, Any] = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise InputError(f"{folder} holds no {HEADER_FILE}, must be a model's folder") from error
    except ValueError as error:
        raise InputError(f"{path} is no JSON ({error}), must be a model's header; restore the model folder") from error
    if header.get("format") != FORMAT:
        raise InputError(f"{path}: format == {header.get('format')}, must be {FORMAT}; update ctr-pipeline to read it")
    return header


def _read_settings(path: Path) -> Settings:
    try:
        return Settings.from_json(path.read_bytes())
    except FileNotFoundError as error:
        raise InputError(f"{path} is missing, must be in a model's folder; restore the model folder") from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in first["loc"])
        raise InputError(f"{path}: {key}: {first['msg']}; score the model with the version that made it") from error


def _canonical(column: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    # Whole numbers beyond 63 bits have no other type to go to.
    return column if pa.types.is_uint64(column.type) else column.cast(_ARROW_TYPES[type_name(column.type)])


def _field(item: dict[str, Any]) -> pa.Field:
    return pa.field(item["name"], _ARROW_TYPES[item["type"]], nullable=item["nullable"])


def model_digest(folder: Path) -> str:
    """Return the digest of a complete model folder, 64 hex digits: of everything that decides its predictions.

    That is the trees, the encoder, the columns' roles with what is pinned, the weight of clicks that is taken back, and
    the custom function with the code that it carries.
    """
    header, settings = read_header(folder), _read_settings(folder / SETTINGS_FILE)
    code = folder / CODE_FOLDER
    files = sorted(path for path in code.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return sha256_hex(
        canonical_json(
            {
                "format": FORMAT,
                "booster": header["booster_digest"],
                "encoder": header["encoder_digest"],
                "columns": settings.resolved()["data"]["columns"],
                "click_weight": settings.train.click_weight,
                "custom": settings.features.custom,
                "code": [[path.relative_to(code).as_posix(), sha256_file(path)] for path in files],
            }
        )
    )
