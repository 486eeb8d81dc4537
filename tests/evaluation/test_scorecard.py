import math
import re
from dataclasses import replace

import numpy as np
import pytest

from ctr_pipeline.evaluation.bootstrap import Resampling
from ctr_pipeline.evaluation.custom import CustomMetric
from ctr_pipeline.evaluation.metrics import log_loss
from ctr_pipeline.evaluation.panel import MetricChoice
from ctr_pipeline.evaluation.scorecard import score, to_metrics
from ctr_pipeline.evaluation.scored import Scored
from tests.evaluation.logs import planted_log

FEW = Resampling(replicates=40, least_replicates=40)
# What MLflow 3 takes as a metric's name.
LEGAL_NAME = re.compile(r"[\w\-. :/]+")


def test_every_metric_has_a_value_within_its_interval() -> None:
    card = score(planted_log(), MetricChoice(train_base_rate=0.1), FEW)
    for name in set(card.estimates) - {"n_rows", "n_clicks", "ece_by_chance"}:
        estimate = card.estimates[name]
        assert estimate.value is not None, name
        assert estimate.low is not None, name
        assert estimate.high is not None, name
        assert estimate.low <= estimate.value <= estimate.high, name
        assert estimate.reason is None, name


def test_the_scorecard_says_how_the_intervals_were_made() -> None:
    note = score(
        planted_log(50), resampling=Resampling(seed=9, replicates=60, least_replicates=20, work=400 * 30)
    ).bootstrap
    assert (note.unit, note.n_units, note.n_replicates, note.n_requested) == ("user", 50, 30, 60)
    assert (note.seed, note.level, dict(note.n_undefined)) == (9, 0.95, {})


def test_the_same_seed_gives_the_same_scorecard_and_another_another() -> None:
    log = planted_log()
    first = score(log, resampling=FEW)
    assert score(log, resampling=FEW).estimates == first.estimates
    assert score(log, resampling=replace(FEW, seed=1)).estimates["auc"].low != first.estimates["auc"].low


@pytest.mark.parametrize(("value", "reason"), [(0, "none of the 20 rows has a click"), (1, "all 20 rows have a click")])
def test_one_label_leaves_metrics_undefined_and_says_why(value: int, reason: str) -> None:
    card = score(Scored(np.full(20, value, dtype=np.uint8), np.linspace(0.1, 0.9, 20)), resampling=FEW)
    for name in ("auc", "normalized_entropy", "normalized_entropy_recalibrated"):
        assert (card.estimates[name].value, card.estimates[name].reason) == (None, reason)
    assert (card.estimates["pr_auc"].value is None) == (value == 0)
    assert (card.estimates["lift_at_5pct"].value is None) == (value == 0)
    assert card.estimates["logloss"].value is not None


def test_what_lacks_a_column_or_a_figure_says_so() -> None:
    card = score(Scored(np.array([0, 1] * 10, dtype=np.uint8), np.linspace(0.1, 0.9, 20)), resampling=FEW)
    assert card.estimates["grouped_auc"].reason == "no column for the request or the user to group by"
    assert card.estimates["logloss_train_base_rate"].reason == "no base rate of the training rows was given"
    assert card.bootstrap.unit == "row"


def test_groups_of_one_label_have_no_grouped_auc() -> None:
    label = np.array([0, 1] * 10, dtype=np.uint8)
    card = score(Scored(label, np.linspace(0.1, 0.9, 20), group=label.astype(np.int64)), resampling=FEW)
    assert card.estimates["grouped_auc"].reason == "no group has both clicks and non-clicks"
    assert card.estimates["grouped_auc_left_out_rate"].value == 1.0


def test_labels_that_a_threshold_parts_have_no_best_recalibration() -> None:
    label = np.repeat(np.array([0, 1], dtype=np.uint8), 10)
    card = score(Scored(label, np.linspace(0.1, 0.9, 20)), resampling=FEW)
    estimate = card.estimates["normalized_entropy_recalibrated"]
    assert (estimate.value, estimate.low) == (None, None)
    assert estimate.reason == "a threshold on the margin parts clicks from non-clicks, the best slope is infinite"


def test_a_metric_that_is_undefined_in_too_many_replicates_has_a_value_but_no_interval() -> None:
    label = np.zeros(40, dtype=np.uint8)
    label[3] = 1
    card = score(Scored(label, np.linspace(0.1, 0.2, 40)), resampling=Resampling(replicates=100))
    auc = card.estimates["auc"]
    assert auc.value is not None
    assert (auc.low, auc.high) == (None, None)
    assert auc.reason is not None
    assert re.fullmatch(r"undefined in \d+ of 100 replicates, an interval allows 5%", auc.reason)
    assert card.bootstrap.n_undefined["auc"] > 5
    assert "logloss" not in card.bootstrap.n_undefined


def test_metrics_are_flat_finite_and_leave_out_what_is_undefined() -> None:
    own = CustomMetric("own", log_loss)
    card = score(planted_log(), MetricChoice(lift_fractions=(0.005, 0.1), custom=(own,)), FEW)
    found = to_metrics(card, "test")
    assert {"test.logloss", "test.logloss.low", "test.logloss.high", "test.own", "test.n_rows"} <= set(found)
    assert "test.lift_at_0_5pct" in found
    assert "test.logloss_train_base_rate" not in found
    assert "test.n_rows.low" not in found
    assert all(math.isfinite(value) for value in found.values())
    assert all(LEGAL_NAME.fullmatch(name) for name in found)


def test_counts_are_among_the_metrics() -> None:
    log = planted_log()
    estimates = score(log, resampling=FEW).estimates
    assert (estimates["n_rows"].value, estimates["n_clicks"].value) == (log.n_rows, log.n_clicks)
    assert estimates["n_rows"].reason == "a count of the evaluated rows has no interval"


def test_the_calibration_error_stands_beside_what_chance_alone_gives() -> None:
    estimates = score(planted_log(), resampling=FEW).estimates
    value, by_chance = estimates["ece"].value, estimates["ece_by_chance"].value
    assert value is not None
    assert by_chance == pytest.approx(value, rel=0.5)
