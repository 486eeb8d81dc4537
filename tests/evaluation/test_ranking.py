import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from ctr_pipeline.evaluation.ranking import Groups, average_precision, grouped_auc, lift_at, roc_auc
from ctr_pipeline.evaluation.scored import Bits, Floats, Integers
from tests.evaluation.logs import Rows, planted_log, weighted_rows


def _lift(label: Bits, score: Floats, weight: Floats | None) -> float | None:
    return lift_at(label, score, 0.3, weight)


METRICS = (roc_auc, average_precision, _lift)


@given(weighted_rows())
def test_auc_is_that_of_scikit_learn_with_ties_and_weights(rows: Rows) -> None:
    expected = roc_auc_score(rows.label, rows.probability, sample_weight=rows.weight)
    assert roc_auc(rows.label, rows.probability, rows.weight) == pytest.approx(expected, abs=1e-12)


@given(weighted_rows())
def test_average_precision_is_that_of_scikit_learn_with_ties_and_weights(rows: Rows) -> None:
    expected = average_precision_score(rows.label, rows.probability, sample_weight=rows.weight)
    assert average_precision(rows.label, rows.probability, rows.weight) == pytest.approx(expected, abs=1e-12)


@given(weighted_rows())
def test_a_rising_map_of_the_scores_changes_no_ranking_metric(rows: Rows) -> None:
    mapped = np.exp(3 * rows.probability) - 2
    for metric in METRICS:
        assert metric(rows.label, mapped, rows.weight) == metric(rows.label, rows.probability, rows.weight)


@given(weighted_rows())
def test_turning_the_scores_round_turns_the_auc_round(rows: Rows) -> None:
    there = roc_auc(rows.label, rows.probability, rows.weight)
    back = roc_auc(rows.label, -rows.probability, rows.weight)
    assert there is not None
    assert back == pytest.approx(1 - there, abs=1e-12)


@given(weighted_rows(), st.integers(0, 1000))
def test_the_order_of_the_rows_does_not_count(rows: Rows, seed: int) -> None:
    shuffled = np.random.default_rng(seed).permutation(len(rows.label))
    for metric in METRICS:
        expected = metric(rows.label, rows.probability, rows.weight)
        found = metric(rows.label[shuffled], rows.probability[shuffled], rows.weight[shuffled])
        assert found == pytest.approx(expected, abs=1e-12)


@given(weighted_rows())
def test_a_row_of_weight_2_counts_as_two_rows(rows: Rows) -> None:
    copies = rows.weight.astype(np.int64)
    for metric in METRICS:
        expected = metric(np.repeat(rows.label, copies), np.repeat(rows.probability, copies), None)
        assert metric(rows.label, rows.probability, rows.weight) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("value", [0, 1])
def test_auc_of_one_label_is_undefined(value: int) -> None:
    assert roc_auc(np.full(3, value, dtype=np.uint8), np.array([0.1, 0.2, 0.3])) is None


def test_without_clicks_neither_average_precision_nor_lift_is_defined() -> None:
    label, score = np.zeros(3, dtype=np.uint8), np.array([0.1, 0.2, 0.3])
    assert average_precision(label, score) is None
    assert lift_at(label, score, 0.5) is None


def test_lift_compares_the_best_rows_with_all() -> None:
    label = np.array([1, 1, 0, 0, 0, 0, 0, 0, 1, 0], dtype=np.uint8)
    score = np.linspace(1, 0, 10)
    assert lift_at(label, score, 0.2) == pytest.approx(1.0 / 0.3)
    assert lift_at(label, score, 0.4) == pytest.approx(0.5 / 0.3)
    assert lift_at(label, score, 1.0) == pytest.approx(1.0)


def test_lift_counts_a_tie_that_the_cut_divides_at_its_expected_value() -> None:
    label, score = np.array([1, 0, 0, 1], dtype=np.uint8), np.array([0.9, 0.5, 0.5, 0.5])
    # Half of four rows: the first row and one of three tied rows, a third of which are clicks.
    assert lift_at(label, score, 0.5) == pytest.approx((1 + 1 / 3) / 2 / 0.5)


def _auc_by_group(label: Bits, score: Floats, group: Integers) -> dict[int, float]:
    rows = {int(key): group == key for key in np.unique(group)}
    return {
        key: float(roc_auc_score(label[mask], score[mask]))
        for key, mask in rows.items()
        if 0 < label[mask].sum() < mask.sum()
    }


@given(weighted_rows(), st.integers(1, 6), st.integers(0, 100))
def test_grouped_auc_averages_the_auc_of_each_group_that_holds_both_labels(rows: Rows, n: int, seed: int) -> None:
    group = np.random.default_rng(seed).integers(0, n, len(rows.label))
    aucs = _auc_by_group(rows.label, rows.probability, group)
    found = grouped_auc(rows.label, rows.probability, group)
    assert found.left_out_rate == pytest.approx(1 - len(aucs) / len(np.unique(group)))
    if not aucs:
        assert (found.weighted, found.unweighted) == (None, None)
        return
    sizes = [int((group == key).sum()) for key in aucs]
    assert found.weighted == pytest.approx(np.average(list(aucs.values()), weights=sizes))
    assert found.unweighted == pytest.approx(np.mean(list(aucs.values())))


def test_the_grouped_auc_of_one_group_is_the_auc() -> None:
    log = planted_log()
    found = grouped_auc(log.label, log.probability, np.zeros(log.n_rows, dtype=np.uint64))
    assert found.weighted == pytest.approx(roc_auc(log.label, log.probability))
    assert found.left_out_rate == 0


def test_a_group_drawn_twice_counts_twice() -> None:
    label = np.array([1, 0, 0, 1, 0], dtype=np.uint8)
    score = np.array([0.9, 0.1, 0.2, 0.1, 0.8])
    group = np.array([0, 0, 0, 1, 1])
    groups = Groups.find(label, score, group)
    weight = np.array([1.0, 1.0, 1.0, 2.0, 2.0])[groups.rows]
    weighted, unweighted, mixed = groups.averages(weight)
    assert (weighted, unweighted, mixed) == pytest.approx((3 / 7, 1 / 3, 3.0))


def test_a_group_whose_clicks_were_not_drawn_is_left_out() -> None:
    label = np.array([1, 0, 1, 0], dtype=np.uint8)
    score = np.array([0.9, 0.1, 0.1, 0.8])
    groups = Groups.find(label, score, np.array([0, 0, 1, 1]))
    drawn = np.array([1.0, 1.0, 0.0, 1.0])[groups.rows]
    assert groups.averages(drawn) == pytest.approx((1.0, 1.0, 1.0))
    nothing, _, mixed = groups.averages(np.array([0.0, 1.0, 0.0, 1.0])[groups.rows])
    assert np.isnan(nothing)
    assert mixed == 0
