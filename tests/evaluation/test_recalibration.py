import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from ctr_pipeline.evaluation.metrics import entropy, log_loss
from ctr_pipeline.evaluation.recalibration import Likelihood, is_separated, log_odds, newton_step, recalibrate
from ctr_pipeline.evaluation.scored import Scored
from tests.evaluation.logs import Rows, planted_log, weighted_rows


@pytest.mark.parametrize(("shift", "stretch"), [(0.0, 1.0), (3.0, 0.5), (-40.0, 8.0), (0.0, -1.0), (1e6, 1e-3)])
def test_the_optimum_is_that_of_scikit_learn_however_the_margin_is_scaled(shift: float, stretch: float) -> None:
    log = planted_log()
    assert log.margin is not None
    margin = log.margin.astype(np.float64)
    oracle = LogisticRegression(C=np.inf, tol=1e-12, max_iter=10_000).fit(margin[:, None], log.label)
    found = recalibrate(log.label, shift + stretch * margin)
    assert found is not None
    assert found.slope * stretch == pytest.approx(oracle.coef_[0, 0], rel=1e-5)
    assert found.intercept + found.slope * shift == pytest.approx(oracle.intercept_[0], rel=1e-5)
    expected = log_loss(log.label, oracle.predict_proba(margin[:, None])[:, 1])
    assert found.logloss == pytest.approx(expected, rel=1e-8)


def test_recalibration_never_loses() -> None:
    log = planted_log()
    found = recalibrate(log.label, log_odds(log))
    loss = log_loss(log.label, log.probability)
    assert found is not None
    assert loss is not None
    assert found.logloss <= loss


@given(weighted_rows())
def test_a_row_of_weight_2_counts_as_two_rows(rows: Rows) -> None:
    copies = rows.weight.astype(np.int64)
    whole = recalibrate(np.repeat(rows.label, copies), np.repeat(rows.probability, copies))
    found = recalibrate(rows.label, rows.probability, rows.weight)
    assert (found is None) == (whole is None)
    if found is not None and whole is not None:
        assert found.logloss == pytest.approx(whole.logloss, rel=1e-9)


def test_a_constant_margin_recalibrates_to_the_base_rate() -> None:
    found = recalibrate(np.array([1, 0, 0, 0], dtype=np.uint8), np.full(4, 7.0))
    assert found is not None
    assert found.slope == 0
    assert found.logloss == pytest.approx(entropy(0.25))


@pytest.mark.parametrize(
    ("label", "margin"),
    [([0, 0, 1], [1.0, 2.0, 3.0]), ([1, 0, 0], [1.0, 2.0, 3.0]), ([0, 1, 1], [1.0, 1.0, 2.0]), ([1, 1], [1.0, 2.0])],
)
def test_where_a_threshold_parts_the_labels_there_is_no_optimum(label: list[int], margin: list[float]) -> None:
    assert recalibrate(np.array(label, dtype=np.uint8), np.array(margin)) is None


def test_without_margins_the_log_odds_of_the_probabilities_serve() -> None:
    label = np.array([1, 0, 0], dtype=np.uint8)
    odds = log_odds(Scored(label, np.array([0.5, 0.0, 1.0])))
    assert odds[0] == 0
    assert np.all(np.isfinite(odds))


def test_far_outlying_margins_do_not_stop_the_fit() -> None:
    log = planted_log()
    margin = log_odds(log)
    margin[:5] = 500.0
    found = recalibrate(log.label, margin)
    assert found is not None
    assert found.logloss <= entropy(log.n_clicks / log.n_rows)


@given(st.integers(0, 10_000))
@example(452)
@example(511)
def test_where_a_full_newton_step_overshoots_the_optimum_is_found_all_the_same(seed: int) -> None:
    source = np.random.default_rng(seed)
    n_rows = int(source.integers(4, 60))
    margin = source.standard_t(1, n_rows) * 10 ** source.uniform(-1, 3)
    label = (source.random(n_rows) < source.random()).astype(np.uint8)
    assume(label.min() != label.max() and not is_separated(label, margin))
    likelihood = Likelihood.of(label, margin)
    intercept, slope, loss = likelihood.fit()
    assert newton_step(likelihood.sums(intercept, slope))[2] <= 1e-9 * loss


def test_a_fit_that_is_cut_short_is_better_than_its_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ctr_pipeline.evaluation.recalibration._MAX_STEPS", 1)
    log = planted_log()
    found = recalibrate(log.label, log_odds(log))
    assert found is not None
    assert found.logloss < entropy(log.n_clicks / log.n_rows)


def test_without_curvature_there_is_no_newton_step() -> None:
    assert all(np.isnan(newton_step(np.zeros(6))))


@given(st.integers(0, 1000))
def test_one_step_from_the_optimum_foretells_the_refitted_loss_of_a_replicate(seed: int) -> None:
    log = planted_log(seed=1)
    likelihood = Likelihood.of(log.label, log_odds(log))
    intercept, slope, _ = likelihood.fit()
    weight = np.random.default_rng(seed).multinomial(log.n_rows, np.full(log.n_rows, 1 / log.n_rows)).astype(float)
    sums = np.add.reduce(likelihood.terms(intercept, slope) * weight, axis=1)
    foretold = (sums[0] - newton_step(sums)[2]) / log.n_rows
    drawn = weight > 0
    refitted = recalibrate(log.label[drawn], log_odds(log)[drawn], weight[drawn])
    assert refitted is not None
    # The interval of these rows is some .03 wide.
    assert foretold == pytest.approx(refitted.logloss, abs=2e-4)
