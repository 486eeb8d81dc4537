"""XGBoost: train from batches, predict raw margins, save, load."""

import json
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import xgboost as xgb

from ctr_pipeline.config import TrainSettings
from ctr_pipeline.features.encoder import FeatureType, Matrix
from tracking.errors import InputError

type Batches = Callable[[], Iterable["LabelledBatch"]]

TRAIN: Final = "train"
VALIDATION: Final = "validation"
_METRIC: Final = "logloss"
_LOG2_E: Final = 1.4426950408889634
# The first 32 bits of ln(2), so that their product with a small whole number is exact, and the rest.
_LN2_HIGH: Final = float.fromhex("0x1.62e42feep-1")
_LN2_LOW: Final = float.fromhex("0x1.a39ef35793c76p-33")
_ROOT_OF_HALF: Final = 0.7071067811865476


@dataclass(frozen=True, slots=True)
class LabelledBatch:
    """Features of n rows, shape (n, number of features), and their labels 0 or 1, shape (n,)."""

    matrix: Matrix
    labels: npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class TrainingData:
    """What a model is trained on.

    Attributes:
        train: yields the training batches, each time it is called.
        validation: the same for validation; None or empty turns early stopping off.
        feature_names: of the matrix's columns.
        feature_types: "q" for numbers, "c" for category codes.
        n_rows: of the training batches.
        n_clicks: of the training batches.
    """

    train: Batches
    validation: Batches | None
    feature_names: tuple[str, ...]
    feature_types: tuple[FeatureType, ...]
    n_rows: int
    n_clicks: int


@dataclass(frozen=True, slots=True)
class TrainedModel:
    """A booster cut at its best round.

    Attributes:
        booster: the trees that predict.
        best_round: number of trees kept.
        curves: logloss by round, for train and, where there is one, validation; of the probabilities that
            `click_probabilities` gives, so with the training weight of clicks taken back.
        parameters: what XGBoost was told, resolved.
    """

    booster: xgb.Booster
    best_round: int
    curves: Mapping[str, tuple[float, ...]]
    parameters: Mapping[str, Any]


def train_model(
    data: TrainingData,
    settings: TrainSettings,
    *,
    seed: int,
    threads: int,
    on_round: Callable[[int], None] = lambda _: None,
) -> TrainedModel:
    """Train a booster by histogram; the same inputs give the same bytes for any number of threads.

    Args:
        data: batches of features; they are read once for the bins and once for the values, never held as a whole.
        settings: XGBoost's settings.
        seed: acts where `subsample` or `colsample_bytree` is below 1.
        threads: XGBoost's threads.
        on_round: called with the number of rounds done, for progress.

    Raises:
        InputError: there is no click or nothing but clicks to train on, a monotone feature is unknown, or there is no
            GPU for `cuda`.
    """
    if not 0 < data.n_clicks < data.n_rows:
        raise InputError(
            f"the training rows have {data.n_clicks} clicks in {data.n_rows} rows, must have clicks and non-clicks; "
            "lengthen the training window or mend the label"
        )
    # XGBoost itself would fall back to the CPU and only warn.
    if settings.device == "cuda" and not has_cuda():
        raise InputError("train.device == 'cuda', must be 'cpu' where XGBoost finds no GPU; set it, or bring a GPU")
    parameters = _parameters(data, settings, seed, threads)
    train = _quantile_matrix(data.train, data, settings.max_bin, threads, ref=None)
    watched: list[tuple[xgb.DMatrix, str]] = [(train, TRAIN)]
    if data.validation is not None:
        watched.append((_quantile_matrix(data.validation, data, settings.max_bin, threads, ref=train), VALIDATION))
    curves: dict[str, dict[str, list[float]]] = {}
    stops = settings.early_stopping_rounds is not None and data.validation is not None
    booster = xgb.train(
        parameters,
        train,
        num_boost_round=settings.rounds,
        evals=watched,
        evals_result=curves,
        verbose_eval=False,
        # Before XGBoost's early stopping, which reads what they found.
        callbacks=[*_own_metric(watched, settings.click_weight), _Rounds(on_round)],
        early_stopping_rounds=settings.early_stopping_rounds if stops else None,
    )
    best_round = booster.best_iteration + 1 if stops else booster.num_boosted_rounds()
    return TrainedModel(
        booster=booster[:best_round],
        best_round=best_round,
        curves={name: tuple(curve[_METRIC]) for name, curve in curves.items()},
        parameters={key: value for key, value in parameters.items() if key != "nthread"},
    )


def require_features(constraints: Iterable[str], feature_names: tuple[str, ...]) -> None:
    """Check that every name that `train.monotone` holds is a feature's.

    Raises:
        InputError: one is not.
    """
    for name in constraints:
        if name not in feature_names:
            raise InputError(f"train.monotone names {name!r}, must be a feature: {', '.join(feature_names)}")


def predict_margins(booster: xgb.Booster, matrix: Matrix) -> npt.NDArray[np.float32]:
    """Return raw margins (log odds), shape (n,)."""
    if not len(matrix):
        return np.empty(0, dtype=np.float32)
    # A DMatrix rather than inplace_predict: category codes need their feature types.
    types = booster.feature_types
    data = xgb.DMatrix(matrix, feature_names=booster.feature_names, feature_types=types, enable_categorical=True)
    margins: npt.NDArray[np.float32] = booster.predict(data, output_margin=True)
    return margins


def click_probabilities(margins: npt.NDArray[np.float32], click_weight: float) -> npt.NDArray[np.float64]:
    """Return probabilities of a click, shape (n,), with the training weight of clicks taken back exactly.

    With odds `o` learnt from clicks weighted by `w`, the odds in the log are `o / w` (Elkan 2001, theorem 2).
    """
    odds = _exponential(margins.astype(np.float64)) / click_weight
    return odds / (1.0 + odds)


def has_cuda() -> bool:
    """Return whether XGBoost can compute on a GPU here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tiny = xgb.DMatrix(np.zeros((2, 1), np.float32), label=[0, 1])
        booster = xgb.train({"device": "cuda", "nthread": 1}, tiny, num_boost_round=0)
    return str(json.loads(booster.save_config())["learner"]["generic_param"]["device"]).startswith("cuda")


def save_booster(booster: xgb.Booster, path: Path) -> None:
    """Write a booster as UBJSON."""
    # Written by Python, so that a full disk is an OSError that names the file.
    path.write_bytes(booster.save_raw("ubj"))


def load_booster(path: Path, threads: int | None = None) -> xgb.Booster:
    """Read a booster that `save_booster` wrote.

    Raises:
        InputError: the file is no XGBoost model.
    """
    try:
        booster = xgb.Booster(model_file=path)
    except xgb.core.XGBoostError as error:
        raise InputError(f"{path} is no XGBoost model file ({str(error).splitlines()[0]}); train again") from error
    if threads is not None:
        booster.set_param({"nthread": threads})
    return booster


def importances(booster: xgb.Booster) -> dict[str, dict[str, float]]:
    """Return by feature its mean `gain`, `total_gain`, `weight` (number of splits) and `cover`; 0 where unused."""
    scores = {kind: booster.get_score(importance_type=kind) for kind in ("gain", "total_gain", "weight", "cover")}
    names = booster.feature_names or []
    # get_score gives lists for linear boosters alone; ours are trees.
    return {name: {kind: float(np.sum(found.get(name, 0.0))) for kind, found in scores.items()} for name in names}


def _exponential(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return e to the power of each value, within 2 units in the last place.

    numpy's own differs in bits between CPUs, and predictions are digested: here are only + - x / and powers of two,
    which every CPU rounds alike. As in Cody and Waite: ``exp(x) = 2**k * exp(r)`` with ``|r| <= ln(2) / 2``, and the
    Taylor series of ``exp(r)`` up to ``r**13 / 13!``.
    """
    bounded = np.clip(values, -700.0, 700.0)
    power = np.rint(bounded * _LOG2_E)
    rest = (bounded - power * _LN2_HIGH) - power * _LN2_LOW
    series = np.ones_like(rest)
    for degree in range(13, 0, -1):
        series = 1.0 + rest / degree * series
    scaled: npt.NDArray[np.float64] = np.ldexp(series, power.astype(np.int32))
    return scaled


def _logarithm(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the natural logarithm of positive values, with the arithmetic of `_exponential` and for its reason.

    ``log(m * 2**k) = k * log(2) + 2 * atanh(s)`` with ``s = (m - 1) / (m + 1)`` and m between the roots of 1/2 and 2.
    """
    mantissa, power = np.frexp(values)
    small = mantissa < _ROOT_OF_HALF
    mantissa, power = np.where(small, 2.0 * mantissa, mantissa), power - small
    ratio = (mantissa - 1.0) / (mantissa + 1.0)
    square = ratio * ratio
    series = np.zeros_like(ratio)
    for degree in range(21, 0, -2):
        series = 1.0 / degree + square * series
    logs: npt.NDArray[np.float64] = power * _LN2_HIGH + (power * _LN2_LOW + 2.0 * ratio * series)
    return logs


def _logloss(margins: npt.NDArray[np.float32], clicked: npt.NDArray[np.bool_], click_weight: float) -> float:
    """Return the mean logloss of the corrected probabilities: ``log(1 + o)`` without a click, else ``log(1 + 1/o)``."""
    odds = _exponential(margins.astype(np.float64)) / click_weight
    return float(np.mean(_logarithm(1.0 + np.where(clicked, 1.0 / odds, odds))))


def _parameters(data: TrainingData, settings: TrainSettings, seed: int, threads: int) -> dict[str, Any]:
    weighted = data.n_clicks * settings.click_weight
    parameters: dict[str, Any] = {
        "objective": "binary:logistic",
        **({"eval_metric": _METRIC} if settings.click_weight == 1 else {"disable_default_eval_metric": True}),
        "tree_method": "hist",
        "device": settings.device,
        "learning_rate": settings.learning_rate,
        "max_depth": settings.max_depth,
        "min_child_weight": settings.min_child_weight,
        "gamma": settings.gamma,
        "reg_lambda": settings.reg_lambda,
        "reg_alpha": settings.reg_alpha,
        "subsample": settings.subsample,
        "colsample_bytree": settings.colsample_bytree,
        "max_bin": settings.max_bin,
        "scale_pos_weight": settings.click_weight,
        # Stated, not estimated: how XGBoost estimates it has changed between versions.
        "base_score": weighted / (weighted + data.n_rows - data.n_clicks),
        "seed": seed,
        "seed_per_iteration": True,
        "nthread": threads,
    }
    if settings.monotone:
        require_features(settings.monotone, data.feature_names)
        parameters["monotone_constraints"] = dict(settings.monotone)
    return parameters


def _quantile_matrix(
    batches: Batches, data: TrainingData, max_bin: int, threads: int, ref: xgb.QuantileDMatrix | None
) -> xgb.QuantileDMatrix:
    return xgb.QuantileDMatrix(
        _BatchIterator(batches, data), ref=ref, max_bin=max_bin, nthread=threads, enable_categorical=True
    )


class _BatchIterator(xgb.DataIter):
    """Hands our batches to XGBoost, as often as it asks for them."""

    def __init__(self, batches: Batches, data: TrainingData) -> None:
        super().__init__()
        self._batches = batches
        self._data = data
        self._running: Iterator[LabelledBatch] = iter(())

    def next(self, input_data: Callable[..., None]) -> bool:
        batch = next(self._running, None)
        if batch is None:
            return False
        input_data(
            data=batch.matrix,
            label=batch.labels,
            feature_names=list(self._data.feature_names),
            feature_types=list(self._data.feature_types),
        )
        return True

    def reset(self) -> None:
        self._running = iter(self._batches())


def _own_metric(watched: list[tuple[xgb.DMatrix, str]], click_weight: float) -> list["_CorrectedLogloss"]:
    return [] if click_weight == 1 else [_CorrectedLogloss(watched, click_weight)]


class _CorrectedLogloss(xgb.callback.TrainingCallback):
    """Measures each round with the weight of clicks taken back.

    XGBoost's own logloss would judge the inflated probabilities by rows without weights: it rewards predictions that
    stay low, not those that rank and calibrate. A custom metric would be cut to six decimals on its way.
    """

    def __init__(self, watched: list[tuple[xgb.DMatrix, str]], click_weight: float) -> None:
        self._watched = [(name, matrix, matrix.get_label() > 0) for matrix, name in watched]
        self._click_weight = click_weight

    def after_iteration(self, model: xgb.Booster, epoch: int, evals_log: dict[str, Any]) -> bool:  # noqa: ARG002 - XGBoost's signature
        for name, matrix, clicked in self._watched:
            loss = _logloss(model.predict(matrix, output_margin=True), clicked, self._click_weight)
            evals_log.setdefault(name, {}).setdefault(_METRIC, []).append(loss)
        return False


class _Rounds(xgb.callback.TrainingCallback):
    """Tells how many rounds are done."""

    def __init__(self, on_round: Callable[[int], None]) -> None:
        self._on_round = on_round

    def after_iteration(self, model: xgb.Booster, epoch: int, evals_log: Mapping[str, Any]) -> bool:  # noqa: ARG002 - XGBoost's signature
        self._on_round(epoch + 1)
        return False
