import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctr_pipeline.evaluation.estimate import wilson


def test_wilson_gives_the_published_interval() -> None:
    # Newcombe 1998, table I: 81 of 263 and 15 of 148 by the score method without continuity correction.
    assert (wilson(81, 263).low, wilson(81, 263).high) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert (wilson(15, 148).low, wilson(15, 148).high) == pytest.approx((0.0624, 0.1605), abs=5e-5)


@given(st.integers(1, 10**9).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_interval_holds_the_rate_and_stays_within_0_and_1(counts: tuple[int, int]) -> None:
    found = wilson(*counts)
    assert found.value is not None
    assert found.low is not None
    assert found.high is not None
    assert 0 <= found.low <= found.value <= found.high <= 1


def test_a_design_effect_of_2_gives_the_interval_of_half_the_rows() -> None:
    clustered, independent = wilson(40, 200, design_effect=2.0), wilson(20, 100)
    assert (clustered.low, clustered.high) == pytest.approx((independent.low, independent.high))
    assert clustered.n_rows == 200


def test_a_design_effect_below_1_narrows_nothing() -> None:
    assert wilson(40, 200, design_effect=0.5) == wilson(40, 200)
