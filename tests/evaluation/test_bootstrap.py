import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from ctr_pipeline.evaluation import calibration, metrics, ranking, recalibration
from ctr_pipeline.evaluation.bootstrap import Resampling, Units, draws, replicates
from ctr_pipeline.evaluation.custom import CustomMetric
from ctr_pipeline.evaluation.panel import MetricChoice, Panel, lift_name
from ctr_pipeline.evaluation.scored import Scored
from tests.evaluation.logs import planted_log
from tracking.errors import InputError

# The digest of all metrics of all replicates, printed by a process of its own.
_DIGEST = """
import hashlib
from ctr_pipeline.evaluation.bootstrap import replicates
from tests.evaluation.logs import planted_log
drawn = replicates(planted_log(), seed=3, n_replicates=20)
print(hashlib.sha256(b"".join(values.tobytes() for values in drawn.values.values())).hexdigest())
"""


@given(st.integers(0, 2**40), st.integers(1, 50), st.integers(1, 5))
def test_each_replicate_draws_as_many_units_as_there_are(seed: int, n_units: int, n_replicates: int) -> None:
    drawn = list(draws(seed, n_units, n_replicates))
    assert len(drawn) == n_replicates
    for weight in drawn:
        assert weight.shape == (n_units,)
        assert weight.sum() == n_units
        assert np.all(weight == np.floor(weight))


def test_a_replicate_is_the_same_whatever_the_number_of_replicates() -> None:
    few, many = list(draws(7, 20, 3)), list(draws(7, 20, 9))
    assert all(np.array_equal(left, right) for left, right in zip(few, many, strict=False))
    assert not np.array_equal(many[0], many[1])
    assert not np.array_equal(next(draws(8, 20, 1)), many[0])


def test_the_draws_have_the_moments_of_a_multinomial() -> None:
    table = np.array(list(draws(1, 10, 4000)))
    assert table.mean(axis=0) == pytest.approx(np.ones(10), abs=0.08)
    assert table.var(axis=0) == pytest.approx(np.full(10, 0.9), abs=0.12)
    assert np.cov(table[:, 0], table[:, 1])[0, 1] == pytest.approx(-0.1, abs=0.06)


def test_units_are_users_else_groups_else_rows() -> None:
    log = planted_log(5, 8)
    users, groups = Units.find(log), Units.find(replace(log, cluster=None))
    rows = Units.find(replace(log, cluster=None, group=None))
    assert [(unit.name, unit.count) for unit in (users, groups, rows)] == [("user", 5), ("group", 10), ("row", 40)]


def _rows_of(log: Scored, weight: np.ndarray[tuple[int], np.dtype[np.float64]]) -> Scored:
    """Return the rows of a replicate written out: users drawn twice twice, under names of their own."""
    assert log.cluster is not None
    assert log.group is not None
    copies = [np.flatnonzero(weight[Units.find(log).of_row] > at) for at in range(int(weight.max()))]
    take = np.concatenate(copies)
    copy = np.repeat(np.arange(len(copies)), [len(rows) for rows in copies])
    assert log.margin is not None
    return Scored(
        log.label[take],
        log.probability[take],
        log.margin[take],
        cluster=(log.cluster[take] + 10_000 * copy).astype(np.int64),
        group=(log.group[take] + 10_000 * copy).astype(np.int64),
    )


def test_a_replicate_measures_the_rows_that_it_drew() -> None:
    log = planted_log(60, 8, seed=5)
    choice = MetricChoice(train_base_rate=0.1)
    drawn = replicates(log, seed=2, n_replicates=10, choice=choice)
    for at, weight in enumerate(draws(2, 60, 10)):
        written_out = replicates(_rows_of(log, weight), seed=0, n_replicates=1, choice=choice).point
        for name in set(choice.names) - {"ece", "ece_by_chance", "normalized_entropy_recalibrated"}:
            assert drawn.values[name][at] == pytest.approx(written_out[name], rel=1e-10), name
        # One Newton step instead of a fit; calibration bins are those of the evaluated rows.
        assert drawn.values["normalized_entropy_recalibrated"][at] == pytest.approx(
            written_out["normalized_entropy_recalibrated"], abs=2e-3
        )


def test_the_point_values_are_those_of_the_single_metrics() -> None:
    log = planted_log()
    label, probability = log.label, log.probability
    assert log.group is not None
    grouped = ranking.grouped_auc(label, probability, log.group)
    rate = metrics.base_rate(label)
    refitted = recalibration.recalibrate(label, recalibration.log_odds(log))
    assert rate is not None
    assert refitted is not None
    point = replicates(log, seed=0, n_replicates=1, choice=MetricChoice(train_base_rate=0.1)).point
    expected = {
        "logloss": metrics.log_loss(label, probability),
        "auc": ranking.roc_auc(label, probability),
        "grouped_auc": grouped.weighted,
        "grouped_auc_unweighted": grouped.unweighted,
        "grouped_auc_left_out_rate": grouped.left_out_rate,
        "pr_auc": ranking.average_precision(label, probability),
        "normalized_entropy": metrics.normalized_entropy(label, probability),
        "normalized_entropy_recalibrated": refitted.logloss / metrics.entropy(rate),
        "calibration": metrics.calibration(label, probability),
        "ece": calibration.expected_calibration_error(label, probability),
        "base_rate": rate,
        "mean_prediction": probability.mean(),
        "logloss_train_base_rate": metrics.constant_loss(rate, 0.1),
        "logloss_test_base_rate": metrics.entropy(rate),
        "lift_at_1pct": ranking.lift_at(label, probability, 0.01),
        "lift_at_5pct": ranking.lift_at(label, probability, 0.05),
        "lift_at_10pct": ranking.lift_at(label, probability, 0.1),
        "lift_at_20pct": ranking.lift_at(label, probability, 0.2),
        "ece_by_chance": 0.0,
    }
    assert dict(point) == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_two_models_on_the_same_rows_get_the_same_draws() -> None:
    log = planted_log()
    other = replace(log, probability=np.ascontiguousarray(log.probability[::-1]), margin=None)
    first, second = (replicates(each, seed=4, n_replicates=30) for each in (log, other))
    assert np.array_equal(first.values["base_rate"], second.values["base_rate"])
    assert not np.array_equal(first.values["auc"], second.values["auc"])


def test_the_order_of_the_rows_changes_no_clustered_replicate() -> None:
    log = planted_log()
    order = np.random.default_rng(0).permutation(log.n_rows)
    assert log.margin is not None
    assert log.cluster is not None
    assert log.group is not None
    shuffled = Scored(
        log.label[order],
        log.probability[order],
        log.margin[order],
        cluster=log.cluster[order],
        group=log.group[order],
    )
    first, second = (replicates(each, seed=4, n_replicates=10) for each in (log, shuffled))
    for name, values in first.values.items():
        assert second.values[name] == pytest.approx(values, rel=1e-9, nan_ok=True), name


def test_the_number_of_threads_changes_no_bit() -> None:
    digests = set()
    for threads in ("1", "2", "7"):
        environment = {**os.environ, "OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads}
        done = subprocess.run(
            [sys.executable, "-c", _DIGEST], env=environment, check=True, capture_output=True, text=True
        )
        digests.add(done.stdout)
    assert len(digests) == 1


def test_an_own_metric_is_resampled_with_the_others() -> None:
    log = planted_log(50)
    own = CustomMetric(
        "own_auc", lambda label, probability, weight: roc_auc_score(label, probability, sample_weight=weight)
    )
    drawn = replicates(log, seed=1, n_replicates=20, choice=MetricChoice(custom=(own,)))
    assert drawn.point["own_auc"] == pytest.approx(drawn.point["auc"])
    assert drawn.values["own_auc"] == pytest.approx(drawn.values["auc"])


def test_what_is_undefined_in_a_replicate_is_nan_there() -> None:
    label = np.zeros(12, dtype=np.uint8)
    label[0] = 1
    drawn = replicates(Scored(label, np.linspace(0.1, 0.2, 12)), seed=0, n_replicates=50)
    without_click = drawn.values["base_rate"] == 0
    assert without_click.any()
    for name in ("auc", "pr_auc", "calibration", "normalized_entropy", "lift_at_10pct"):
        assert np.array_equal(np.isnan(drawn.values[name]), without_click), name
    assert np.isfinite(drawn.values["logloss"]).all()


def test_a_draw_of_nothing_has_no_metric() -> None:
    log = planted_log(3)
    units = Units.find(log)
    panel = Panel.build(log, MetricChoice(), units.of_row, units.count)
    assert np.isnan(panel.values(np.zeros(3))).all()


@pytest.mark.parametrize(
    ("n_rows", "expected"), [(1, 500), (200_000, 500), (250_000, 400), (1_000_000, 200), (10**9, 200)]
)
def test_many_rows_get_fewer_replicates_within_the_work_allowed(n_rows: int, expected: int) -> None:
    assert Resampling().affordable(n_rows) == expected


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": -1}, r"^seed == -1, must be >= 0; choose another$"),
        ({"replicates": 0}, r"^evaluate.replicates == 0, must be >= 1; 500 is usual$"),
        ({"level": 1.0}, r"^evaluate.confidence == 1.0, must be > 0 and < 1; 0.95 is usual$"),
    ],
)
def test_a_resampling_that_cannot_be_is_refused(changes: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Resampling(**changes)  # type: ignore[arg-type] # the names and the values' types go together in the table


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"lift_fractions": (0.0,)}, r"^evaluate.lift_at has 0.0, must be > 0 and <= 1; give shares such as 0.05$"),
        ({"lift_fractions": (0.1, 0.1)}, r"^metric 'lift_at_10pct' is listed twice, names must differ; rename or drop"),
        ({"calibration_bins": 0}, r"^evaluate.calibration_bins == 0, must be >= 1; 20 is usual$"),
        ({"train_base_rate": 1.5}, r"^train base rate == 1.5, must be in \[0, 1\]; pass clicks / rows$"),
        ({"custom": (CustomMetric("auc", metrics.log_loss),)}, r"^metric 'auc' is listed twice, names must differ"),
    ],
)
def test_a_choice_that_cannot_be_is_refused(choice: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        MetricChoice(**choice)  # type: ignore[arg-type] # the names and the values' types go together in the table


@pytest.mark.parametrize(
    ("fraction", "name"),
    [(0.05, "lift_at_5pct"), (1.0, "lift_at_100pct"), (0.005, "lift_at_0_5pct"), (0.07, "lift_at_7pct")],
)
def test_lift_is_named_by_its_percentage(fraction: float, name: str) -> None:
    assert lift_name(fraction) == name
