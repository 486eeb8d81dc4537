import math

import numpy as np
import pytest
from hypothesis import given
from sklearn.metrics import log_loss as sklearn_log_loss

from ctr_pipeline.evaluation import metrics
from tests.evaluation.logs import Rows, weighted_rows


@given(weighted_rows())
def test_logloss_is_that_of_scikit_learn(rows: Rows) -> None:
    expected = sklearn_log_loss(rows.label, rows.probability, sample_weight=rows.weight)
    assert metrics.log_loss(rows.label, rows.probability, rows.weight) == pytest.approx(expected, rel=1e-12)


def test_a_certain_and_wrong_prediction_costs_what_scikit_learn_says() -> None:
    label, probability = np.array([1, 0], dtype=np.uint8), np.array([0.0, 0.0])
    assert metrics.log_loss(label, probability) == pytest.approx(sklearn_log_loss(label, probability), rel=1e-12)


def test_normalized_entropy_of_the_base_rate_itself_is_1() -> None:
    label = np.array([1, 0, 0, 0], dtype=np.uint8)
    assert metrics.normalized_entropy(label, np.full(4, 0.25)) == pytest.approx(1.0)


def test_normalized_entropy_is_logloss_over_the_entropy_of_the_base_rate() -> None:
    label, probability = np.array([1, 0, 0, 0], dtype=np.uint8), np.array([0.5, 0.25, 0.25, 0.125])
    loss = -(math.log(0.5) + 2 * math.log(0.75) + math.log(0.875)) / 4
    entropy = -(0.25 * math.log(0.25) + 0.75 * math.log(0.75))
    assert metrics.normalized_entropy(label, probability) == pytest.approx(loss / entropy)


@pytest.mark.parametrize("value", [0, 1])
def test_normalized_entropy_of_one_label_is_undefined(value: int) -> None:
    assert metrics.normalized_entropy(np.full(3, value, dtype=np.uint8), np.full(3, 0.5)) is None


def test_calibration_is_predicted_over_actual_clicks() -> None:
    label, probability = np.array([1, 0, 1, 0], dtype=np.uint8), np.array([0.5, 0.5, 1.0, 1.0])
    assert metrics.calibration(label, probability) == pytest.approx(1.5)
    assert metrics.calibration(label, probability, np.array([1.0, 1.0, 2.0, 0.0])) == pytest.approx(1.0)


def test_calibration_without_clicks_is_undefined() -> None:
    assert metrics.calibration(np.zeros(3, dtype=np.uint8), np.full(3, 0.1)) is None


def test_rows_without_weight_have_no_mean() -> None:
    label, probability, nothing = np.array([1, 0], dtype=np.uint8), np.array([0.5, 0.5]), np.zeros(2)
    assert metrics.log_loss(label, probability, nothing) is None
    assert metrics.calibration(label, probability, nothing) is None
    assert metrics.normalized_entropy(label, probability, nothing) is None
    assert metrics.base_rate(label[:0]) is None


@pytest.mark.parametrize("rate", [0.0, 1.0])
def test_the_entropy_of_certainty_is_positive_zero(rate: float) -> None:
    assert math.copysign(1.0, metrics.entropy(rate)) == 1.0
    assert metrics.entropy(rate) == 0.0


def test_the_loss_of_a_constant_is_least_at_the_base_rate() -> None:
    losses = {constant: metrics.constant_loss(0.2, constant) for constant in (0.1, 0.2, 0.3)}
    assert min(losses, key=lambda constant: losses[constant]) == 0.2
    assert losses[0.2] == pytest.approx(metrics.entropy(0.2))


def test_the_loss_of_a_constant_0_is_finite() -> None:
    assert math.isfinite(metrics.constant_loss(0.2, 0.0))
