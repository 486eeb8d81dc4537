"""Whether intervals hold the truth as often as they say, where rows of one user are much alike."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest

from ctr_pipeline.evaluation.bootstrap import Resampling
from ctr_pipeline.evaluation.panel import MetricChoice
from ctr_pipeline.evaluation.scorecard import score
from ctr_pipeline.evaluation.scored import Scored
from tests.evaluation.logs import planted_log

N_LOGS = {"user": 120, "row": 40}
METRICS = ("logloss", "auc", "normalized_entropy", "calibration", "base_rate", "ece", "pr_auc", "lift_at_10pct")
RESAMPLING = Resampling(replicates=119, least_replicates=119)
CHOICE = MetricChoice(lift_fractions=(0.1,))


def _log(n_users: int, seed: int) -> Scored:
    return planted_log(n_users, 20, user_spread=2.5, seed=seed)


@pytest.fixture(scope="module")
def coverage() -> dict[str, dict[str, float]]:
    """How often the interval held the truth, by unit drawn and metric."""
    # The truth: the metrics of a log so large that its own error does not matter here.
    estimates = score(_log(20_000, 10**6), CHOICE, replace(RESAMPLING, replicates=1, least_replicates=1)).estimates
    truth = {name: estimates[name].value for name in METRICS}
    return {
        "user": _shares_held(truth, [_log(100, seed) for seed in range(N_LOGS["user"])]),
        "row": _shares_held(
            truth, [replace(_log(100, seed), cluster=None, group=None) for seed in range(N_LOGS["row"])]
        ),
    }


def _shares_held(truth: Mapping[str, float | None], logs: Sequence[Scored]) -> dict[str, float]:
    held = dict.fromkeys(METRICS, 0)
    for log in logs:
        estimates = score(log, CHOICE, RESAMPLING).estimates
        for name in METRICS:
            low, high, true = estimates[name].low, estimates[name].high, truth[name]
            assert low is not None
            assert high is not None
            assert true is not None
            held[name] += low <= true <= high
    return {name: count / len(logs) for name, count in held.items()}


@pytest.mark.parametrize("name", METRICS)
def test_drawing_users_covers_as_often_as_it_says(coverage: dict[str, dict[str, float]], name: str) -> None:
    # 95 %, less what percentile intervals of 100 users lack and three standard errors of 120 logs.
    assert coverage["user"][name] >= 0.87


@pytest.mark.parametrize("name", ["logloss", "calibration", "base_rate"])
def test_drawing_rows_covers_far_too_rarely(coverage: dict[str, dict[str, float]], name: str) -> None:
    assert coverage["row"][name] <= 0.75


def test_the_truth_lies_outside_on_either_side(coverage: dict[str, dict[str, float]]) -> None:
    assert np.mean([coverage["user"][name] for name in METRICS]) < 1.0
