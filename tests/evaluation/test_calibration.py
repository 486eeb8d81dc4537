from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctr_pipeline.evaluation.calibration import bin_edges, expected_calibration_error, reliability
from ctr_pipeline.evaluation.scored import Scored
from tests.evaluation.logs import Rows, planted_log, weighted_rows


def test_bins_hold_equal_numbers_of_rows_where_nothing_is_tied() -> None:
    assert bin_edges(np.arange(12.0), 4).tolist() == [0, 3, 6, 9, 12]


@given(st.lists(st.integers(0, 5), min_size=1, max_size=40), st.integers(1, 8))
def test_bins_never_part_equal_predictions_and_cover_all_rows(values: list[int], n_bins: int) -> None:
    ordered = np.sort(np.array(values, dtype=np.float64))
    edges = bin_edges(ordered, n_bins)
    assert (edges[0], edges[-1]) == (0, len(values))
    assert 1 <= len(edges) - 1 <= n_bins
    assert all(ordered[edge - 1] != ordered[edge] for edge in edges[1:-1])


def test_one_bin_measures_the_difference_of_the_means() -> None:
    label, probability = np.array([1, 0, 0, 0], dtype=np.uint8), np.array([0.9, 0.5, 0.5, 0.1])
    assert expected_calibration_error(label, probability, n_bins=1) == pytest.approx(0.25)


def test_two_bins_do_not_cancel_each_other() -> None:
    label, probability = np.array([1, 1, 0, 0], dtype=np.uint8), np.array([0.9, 0.7, 0.3, 0.1])
    assert expected_calibration_error(label, probability, n_bins=2) == pytest.approx(0.2)
    assert expected_calibration_error(label, probability, n_bins=1) == pytest.approx(0.0)


@given(weighted_rows(), st.integers(1, 6))
def test_a_row_of_weight_2_counts_as_two_rows(rows: Rows, n_bins: int) -> None:
    copies = rows.weight.astype(np.int64)
    whole = expected_calibration_error(
        np.repeat(rows.label, copies), np.repeat(rows.probability, copies), n_bins=n_bins
    )
    found = expected_calibration_error(rows.label, rows.probability, rows.weight, n_bins=n_bins)
    assert found == pytest.approx(whole, abs=1e-12)


@given(weighted_rows(), st.integers(0, 1000))
def test_the_order_of_the_rows_does_not_count(rows: Rows, seed: int) -> None:
    order = np.random.default_rng(seed).permutation(len(rows.label))
    expected = expected_calibration_error(rows.label, rows.probability, rows.weight, n_bins=5)
    found = expected_calibration_error(rows.label[order], rows.probability[order], rows.weight[order], n_bins=5)
    assert found == pytest.approx(expected, abs=1e-12)


def test_rows_without_weight_have_no_calibration_error() -> None:
    assert expected_calibration_error(np.array([1], dtype=np.uint8), np.array([0.5]), np.zeros(1)) is None


def test_reliability_bins_hold_every_row_and_click_once() -> None:
    log = planted_log()
    bins = reliability(log, 10)
    assert len(bins) == 10
    assert sum(part.n_rows for part in bins) == log.n_rows
    assert sum(part.ctr.n_clicks for part in bins) == log.n_clicks
    assert all(part.low <= part.mean_prediction <= part.high for part in bins)
    assert all(left.high < right.low for left, right in pairwise(bins))


def test_the_calibration_error_is_what_the_reliability_diagram_shows() -> None:
    log = planted_log()
    shown = sum(part.n_rows * abs(part.mean_prediction - (part.ctr.value or 0.0)) for part in reliability(log, 20))
    assert expected_calibration_error(log.label, log.probability, n_bins=20) == pytest.approx(shown / log.n_rows)


def test_equal_predictions_make_one_reliability_bin() -> None:
    (only,) = reliability(Scored(np.array([1, 0], dtype=np.uint8), np.array([0.5, 0.5])))
    assert (only.low, only.high, only.mean_prediction, only.ctr.value) == (0.5, 0.5, 0.5, 0.5)
