import numpy as np
import pytest

from ctr_pipeline.evaluation.bootstrap import replicates
from ctr_pipeline.evaluation.interval import calibration_error_interval, percentile_interval
from ctr_pipeline.evaluation.scored import Scored
from tests.evaluation.logs import planted_log


def test_the_ends_lie_at_the_order_statistics_of_the_level() -> None:
    found = percentile_interval(np.arange(1.0, 40.0), 0.95, n_units=10, unit="user")
    assert (found.low, found.high) == pytest.approx((1.0, 39.0))
    assert (found.n_undefined, found.reason) == (0, None)


def test_a_narrower_level_gives_a_narrower_interval() -> None:
    found = percentile_interval(np.arange(1.0, 40.0), 0.5, n_units=10, unit="user")
    assert (found.low, found.high) == pytest.approx((10.0, 30.0))


def test_few_undefined_replicates_are_left_out_and_counted() -> None:
    values = np.append(np.arange(1.0, 40.0), [np.nan, np.nan])
    found = percentile_interval(values, 0.95, n_units=10, unit="row")
    assert (found.low, found.high) == pytest.approx((1.0, 39.0))
    assert found.n_undefined == 2


def test_with_many_undefined_replicates_there_is_no_interval() -> None:
    values = np.append(np.arange(1.0, 40.0), [np.nan] * 3)
    found = percentile_interval(values, 0.95, n_units=10, unit="row")
    assert (found.low, found.high, found.n_undefined) == (None, None, 3)
    assert found.reason == "undefined in 3 of 42 replicates, an interval allows 5%"


@pytest.mark.parametrize(("n_units", "told"), [(9, "9 users"), (1, "1 user")])
def test_few_units_give_no_interval(n_units: int, told: str) -> None:
    found = percentile_interval(np.arange(40.0), 0.95, n_units=n_units, unit="user")
    assert (found.low, found.reason) == (None, f"{told}, an interval needs at least 10")


def test_the_calibration_error_of_a_right_forecast_is_not_told_from_0() -> None:
    drawn = replicates(planted_log(), seed=1, n_replicates=100)
    found = calibration_error_interval(drawn, 0.95)
    assert found.low == 0
    assert found.high is not None
    assert found.high > 0


def test_the_calibration_error_of_a_wrong_forecast_is_told_from_0() -> None:
    log = planted_log()
    wrong = Scored(log.label, log.probability * 0.5 + 0.4, cluster=log.cluster)
    drawn = replicates(wrong, seed=1, n_replicates=100)
    found = calibration_error_interval(drawn, 0.95)
    assert found.low is not None
    assert found.high is not None
    assert 0.3 < found.low < drawn.point["ece"] < found.high < 0.4


def test_the_calibration_error_of_few_units_has_no_interval() -> None:
    found = calibration_error_interval(replicates(planted_log(5), seed=1, n_replicates=20), 0.95)
    assert (found.low, found.high) == (None, None)
