"""XGBoost told so that equal data give equal bytes, and that no wrong data train silently."""

import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctr_pipeline import model as model_module
from ctr_pipeline.config import TrainSettings
from ctr_pipeline.features.encoder import FeatureType, Matrix
from ctr_pipeline.model import (
    LabelledBatch,
    TrainedModel,
    TrainingData,
    click_probabilities,
    has_cuda,
    importances,
    load_booster,
    predict_margins,
    save_booster,
    train_model,
)
from tracking.errors import InputError

NAMES = ("price", "age", "device")
TYPES: tuple[FeatureType, ...] = ("q", "q", "c")


def _sample(n_rows: int, seed: int) -> tuple[Matrix, npt.NDArray[np.uint8]]:
    rng = np.random.default_rng(seed)
    matrix = rng.uniform(0, 1, (n_rows, 3)).astype(np.float32)
    matrix[:, 2] = rng.integers(0, 4, n_rows)
    matrix[rng.random(n_rows) < 0.1, 0] = np.nan
    odds = -1 + np.nan_to_num(matrix[:, 0]) - matrix[:, 1] + (matrix[:, 2] == 2)
    return matrix, (rng.random(n_rows) < 1 / (1 + np.exp(-odds))).astype(np.uint8)


def _batches(matrix: Matrix, labels: npt.NDArray[np.uint8], size: int) -> Callable[[], Iterator[LabelledBatch]]:
    starts = range(0, len(labels), size)
    return lambda: (LabelledBatch(matrix[start : start + size], labels[start : start + size]) for start in starts)


def _data(n_rows: int = 3_000, size: int = 10_000, *, validated: bool = True) -> TrainingData:
    matrix, labels = _sample(n_rows, 1)
    return TrainingData(
        train=_batches(matrix, labels, size),
        validation=_batches(*_sample(1_000, 2), size) if validated else None,
        feature_names=NAMES,
        feature_types=TYPES,
        n_rows=n_rows,
        n_clicks=int(labels.sum()),
    )


def _train(data: TrainingData, *, threads: int = 1, seed: int = 7, **settings: Any) -> TrainedModel:  # noqa: ANN401 - settings as in YAML
    told = {"rounds": 15, "max_depth": 3, "learning_rate": 0.3} | settings
    return train_model(data, TrainSettings.model_validate(told), seed=seed, threads=threads)


def _bytes(model: TrainedModel) -> bytes:
    return bytes(model.booster.save_raw("ubj"))


@pytest.fixture(scope="module")
def trained() -> TrainedModel:
    return _train(_data())


def test_one_and_two_threads_give_the_same_bytes(trained: TrainedModel) -> None:
    assert _bytes(_train(_data(), threads=2)) == _bytes(trained)


@pytest.mark.parametrize("size", [50, 700, 2_999])
def test_batches_of_any_size_give_the_same_bytes(size: int) -> None:
    assert _bytes(_train(_data(3_000, size), rounds=3)) == _bytes(_train(_data(), rounds=3))


def test_the_seed_acts_where_something_is_drawn_and_nowhere_else() -> None:
    assert _bytes(_train(_data(), seed=1)) == _bytes(_train(_data(), seed=1))
    assert _margins(_train(_data(), seed=1)).tolist() == _margins(_train(_data(), seed=2)).tolist()
    drawn = [_margins(_train(_data(), seed=seed, subsample=0.5)).tolist() for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]


def _margins(model: TrainedModel) -> npt.NDArray[np.float32]:
    return predict_margins(model.booster, _sample(200, 5)[0])


def test_training_stops_early_and_keeps_the_best_round() -> None:
    model = _train(_data(), rounds=200, early_stopping_rounds=3, learning_rate=1.0)
    losses = model.curves["validation"]
    assert model.best_round == int(np.argmin(losses)) + 1
    assert len(losses) == model.best_round + 3
    assert model.booster.num_boosted_rounds() == model.best_round
    assert len(model.curves["train"]) == len(losses)


def test_without_validation_nothing_stops_early() -> None:
    model = _train(_data(validated=False), early_stopping_rounds=1)
    assert (model.best_round, set(model.curves)) == (15, {"train"})


def test_early_stopping_can_be_turned_off() -> None:
    model = _train(_data(), early_stopping_rounds=None, learning_rate=1.0)
    assert model.best_round == model.booster.num_boosted_rounds() == 15


def test_progress_is_told_after_each_round() -> None:
    told: list[int] = []
    train_model(_data(), TrainSettings(rounds=3), seed=1, threads=1, on_round=told.append)
    assert told == [1, 2, 3]


@pytest.mark.parametrize("direction", [-1, 1])
def test_a_monotone_feature_moves_predictions_one_way_only(direction: int) -> None:
    model = _train(_data(), monotone={"price": direction}, early_stopping_rounds=None)
    rows = np.repeat(_sample(50, 9)[0], 20, axis=0)
    rows[:, 0] = np.tile(np.linspace(0, 1, 20), 50)
    steps = np.diff(predict_margins(model.booster, rows).reshape(50, 20), axis=1)
    assert (direction * steps >= 0).all()


def test_an_unknown_monotone_feature_is_refused() -> None:
    with pytest.raises(InputError, match=r"^train\.monotone names 'prize', must be a feature: price, age, device$"):
        _train(_data(), monotone={"prize": 1})


@pytest.mark.parametrize("label", [0, 1])
def test_training_rows_of_one_label_are_refused(label: int) -> None:
    matrix = _sample(20, 1)[0]
    labels = np.full(20, label, np.uint8)
    data = TrainingData(_batches(matrix, labels, 20), None, NAMES, TYPES, 20, 20 * label)
    message = (
        rf"^the training rows have {20 * label} clicks in 20 rows, must have clicks and non-clicks; lengthen the tr"
    )
    with pytest.raises(InputError, match=message):
        _train(data)


@given(
    margins=st.lists(st.floats(-80, 80, width=32), min_size=1),
    weight=st.floats(0.01, 100),
)
def test_a_weight_of_clicks_is_taken_back_exactly_in_odds(margins: list[float], weight: float) -> None:
    learnt = np.array(margins, np.float32)
    plain, corrected = click_probabilities(learnt, 1.0), click_probabilities(learnt, weight)
    for margin, one, other in zip(learnt.astype(np.float64), plain, corrected, strict=True):
        odds = math.exp(margin)
        assert one == pytest.approx(odds / (1 + odds), rel=1e-14)
        assert other == pytest.approx(odds / weight / (1 + odds / weight), rel=1e-14)


def test_weighted_clicks_give_calibrated_probabilities() -> None:
    labels = _sample(3_000, 1)[1]
    model = _train(_data(), click_weight=10.0)
    raw = click_probabilities(predict_margins(model.booster, _sample(3_000, 1)[0]), 1.0)
    taken_back = click_probabilities(predict_margins(model.booster, _sample(3_000, 1)[0]), 10.0)
    assert raw.mean() > 2 * labels.mean()
    assert taken_back.mean() == pytest.approx(labels.mean(), rel=0.1)


@pytest.mark.parametrize("weight", [0.2, 100.0])
def test_weighted_clicks_are_stopped_and_measured_by_the_corrected_logloss(weight: float) -> None:
    model = _train(_data(), click_weight=weight, rounds=200, early_stopping_rounds=3, learning_rate=0.5)
    losses = model.curves["validation"]
    assert model.best_round == int(np.argmin(losses)) + 1
    assert len(model.curves["train"]) == len(losses) == model.best_round + 3
    matrix, labels = _sample(1_000, 2)
    probabilities = click_probabilities(predict_margins(model.booster, matrix), weight)
    expected = -np.log(np.where(labels == 1, probabilities, 1 - probabilities)).mean()
    assert losses[model.best_round - 1] == pytest.approx(expected, rel=1e-12)
    plain = _train(_data(), rounds=200, early_stopping_rounds=3, learning_rate=0.5)
    assert losses[model.best_round - 1] == pytest.approx(min(plain.curves["validation"]), rel=0.05)


@given(st.lists(st.floats(1e-300, 1e300), min_size=1))
def test_the_logarithm_is_right_to_the_last_places(values: list[float]) -> None:
    assert np.allclose(model_module._logarithm(np.array(values)), np.log(values), rtol=1e-15, atol=1e-16)


@given(st.lists(st.floats(-690, 690), min_size=1))
def test_the_exponential_is_right_to_the_last_two_places(values: list[float]) -> None:
    margins = np.array(values, np.float32)
    odds = np.exp(margins.astype(np.float64))
    probabilities = click_probabilities(margins, 1.0)
    assert np.allclose(probabilities, odds / (1 + odds), rtol=1e-15, atol=0)


def test_extreme_margins_stay_probabilities() -> None:
    margins = np.array([-3e38, -800, 0, 800, 3e38], np.float32)
    found = click_probabilities(margins, 1.0)
    assert ((found >= 0) & (found <= 1)).all()
    assert found[2] == 0.5


def test_no_rows_have_no_margins(trained: TrainedModel) -> None:
    assert predict_margins(trained.booster, np.empty((0, 3), np.float32)).shape == (0,)


def test_a_booster_comes_back_from_its_file(trained: TrainedModel, tmp_path: Path) -> None:
    save_booster(trained.booster, tmp_path / "booster.ubj")
    booster = load_booster(tmp_path / "booster.ubj", threads=1)
    rows = _sample(100, 3)[0]
    assert predict_margins(booster, rows).tolist() == predict_margins(trained.booster, rows).tolist()
    assert load_booster(tmp_path / "booster.ubj").feature_names == list(NAMES)


def test_a_file_that_is_no_booster_is_refused(tmp_path: Path) -> None:
    (tmp_path / "booster.ubj").write_bytes(b"not a model")
    with pytest.raises(InputError, match=r"booster\.ubj is no XGBoost model file \(.*\); train again$"):
        load_booster(tmp_path / "booster.ubj")


def test_a_full_disk_is_the_operating_systems_error(trained: TrainedModel) -> None:
    with pytest.raises(OSError, match="No space left on device"):
        save_booster(trained.booster, Path("/dev/full"))


def test_every_feature_has_its_importance(trained: TrainedModel) -> None:
    found = importances(trained.booster)
    assert list(found) == list(NAMES)
    assert all(set(scores) == {"gain", "total_gain", "weight", "cover"} for scores in found.values())
    unused = _train(_data(), rounds=1, max_depth=1)
    assert sorted(scores["weight"] for scores in importances(unused.booster).values()) == [0.0, 0.0, 1.0]


def test_the_parameters_are_resolved_and_know_no_thread(trained: TrainedModel) -> None:
    assert "nthread" not in trained.parameters
    data = _data()
    assert trained.parameters["base_score"] == pytest.approx(data.n_clicks / data.n_rows)
    assert json.loads(json.dumps(dict(trained.parameters)))["tree_method"] == "hist"


@pytest.mark.skipif(has_cuda(), reason="XGBoost finds a GPU here, so that training on it is not refused")
def test_a_gpu_that_is_not_there_is_refused() -> None:
    with pytest.raises(
        InputError, match=r"^train\.device == 'cuda', must be 'cpu' where XGBoost finds no GPU; set it, or"
    ):
        _train(_data(), device="cuda")


@pytest.mark.skipif(not has_cuda(), reason="XGBoost finds no GPU here")
def test_a_gpu_trains_nearly_the_same_model(trained: TrainedModel) -> None:
    rows = _sample(100, 3)[0]
    model = _train(_data(), device="cuda")
    assert predict_margins(model.booster, rows) == pytest.approx(predict_margins(trained.booster, rows), abs=0.05)
