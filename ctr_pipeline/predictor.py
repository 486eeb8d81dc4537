"""Raw rows in, probability of a click out: the one path for evaluation, batch scoring, pyfunc and serving teams."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import xgboost as xgb

from ctr_pipeline.config import Settings
from ctr_pipeline.data.rows import Rows
from ctr_pipeline.features.custom import apply_custom
from ctr_pipeline.features.encoder import Encoder
from ctr_pipeline.features.encoder_file import encoder_digest, load_encoder
from ctr_pipeline.model import click_probabilities, load_booster, predict_margins
from tracking.canonical import canonical_json, sha256_hex
from tracking.errors import InputError

type ContextMode = Literal["pinned", "logged"]

FORMAT: Final = 1
BOOSTER_FILE: Final = "booster.ubj"
HEADER_FILE: Final = "model.json"
SETTINGS_FILE: Final = "settings.json"
ENCODER_FOLDER: Final = "encoder"


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
    """

    settings: Settings
    encoder: Encoder
    booster: xgb.Booster

    @classmethod
    def load(cls, folder: Path, threads: int | None = None) -> Self:
        """Read a model folder that the train step wrote.

        Raises:
            InputError: the folder holds no model, or one of a newer format.
        """
        header = read_header(folder)
        predictor = cls(
            settings=Settings.from_json((folder / SETTINGS_FILE).read_bytes()),
            encoder=load_encoder(folder / ENCODER_FOLDER),
            booster=load_booster(folder / BOOSTER_FILE, threads),
        )
        if encoder_digest(predictor.encoder) != header["encoder_digest"]:
            raise InputError(f"{folder}: the encoder is not the one that was trained with; restore the model folder")
        return predictor

    @property
    def input_columns(self) -> tuple[str, ...]:
        """The raw columns that a row needs, unless a custom function makes them."""
        columns = self.settings.data.columns
        time = (columns.time,) if columns.time is not None and self.settings.features.time_parts else ()
        return (*time, *columns.features)

    def predict(
        self, rows: pa.Table | pa.RecordBatch, context: ContextMode = "pinned"
    ) -> npt.NDArray[np.float64]:
        """Return the probability of a click for each raw row, shape (n,).

        Args:
            rows: raw rows with at least `input_columns`; context columns may be missing where they are pinned.
            context: "pinned" scores as in service, "logged" with the context columns as they were logged.
        """
        return self.score(rows, context).probabilities

    def score(self, rows: pa.Table | pa.RecordBatch, context: ContextMode = "pinned") -> Scores:
        """Return margins, probabilities and cold marks of raw rows; arguments as in `predict`.

        Raises:
            InputError: a column is missing or a value unreadable.
        """
        columns = self.settings.data.columns
        prepared = Rows(prepare(rows, self.settings), columns)
        encoded = self.encoder.encode(prepared.pinned() if context == "pinned" else prepared)
        margins = predict_margins(self.booster, encoded.matrix)
        probabilities = click_probabilities(margins, self.settings.train.click_weight)
        return Scores(margins, probabilities, encoded.cold)


def prepare(rows: pa.Table | pa.RecordBatch, settings: Settings) -> pa.Table | pa.RecordBatch:
    """Apply the settings' custom function, where there is one, to raw rows."""
    custom = settings.features.custom
    return rows if custom is None else apply_custom(custom, rows, settings.data.columns.label)


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
    if header["format"] != FORMAT:
        raise InputError(f"{path}: format == {header['format']}, must be {FORMAT}; update ctr-pipeline to read it")
    return header


def model_digest(booster_digest: str, encoder_digest_: str) -> str:
    """Return the digest of a model as a whole, 64 hex digits: its trees and its preprocessing."""
    return sha256_hex(canonical_json({"booster": booster_digest, "encoder": encoder_digest_, "format": FORMAT}))
