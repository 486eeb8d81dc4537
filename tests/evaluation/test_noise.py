"""The noise band: symmetric, wide enough for every pair it was measured on, and deaf to the bootstrap's draws."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctr_pipeline.evaluation.noise import MarginSpread, NoiseBand, measure_noise, point_metrics
from tracking.errors import InputError

_FIGURES = st.floats(-1e3, 1e3, width=32)
_RUNS = st.lists(
    st.tuples(
        st.fixed_dictionaries({"test.auc": _FIGURES, "test.ece": _FIGURES}), st.lists(_FIGURES, min_size=4, max_size=4)
    ),
    min_size=2,
    max_size=6,
)


def _band(runs: list[tuple[dict[str, float], list[float]]]) -> NoiseBand:
    return measure_noise("seed", [run[0] for run in runs], [np.array(run[1], np.float32) for run in runs])


@given(_RUNS)
def test_the_band_holds_the_differences_of_every_pair_either_way(
    runs: list[tuple[dict[str, float], list[float]]],
) -> None:
    band = _band(runs)
    for first, second in permutations(runs, 2):
        deltas = {name: second[0][name] - first[0][name] for name in first[0]}
        margins = MarginSpread.between(np.array(first[1], np.float32), np.array(second[1], np.float32))
        assert band.holds(deltas, margins)


@given(_RUNS)
def test_the_order_of_the_runs_does_not_matter(runs: list[tuple[dict[str, float], list[float]]]) -> None:
    assert _band(runs) == _band(runs[::-1])


@given(_RUNS)
def test_what_moves_more_than_any_pair_is_outside(runs: list[tuple[dict[str, float], list[float]]]) -> None:
    band = _band(runs)
    still = MarginSpread(0.0, 0.0, 0.0, 0.0)
    assert band.holds({}, still)
    assert not band.holds({"test.auc": np.nextafter(band.metrics["test.auc"], np.inf)}, still)
    assert not band.holds({}, MarginSpread(0.0, 0.0, 0.0, float(np.nextafter(band.margins.largest, np.inf))))


def test_a_metric_that_the_band_does_not_know_is_outside_unless_it_is_equal() -> None:
    band = _band([({"test.auc": 0.5}, [0.0] * 4), ({"test.auc": 0.6}, [0.1] * 4)])
    still = MarginSpread(0.0, 0.0, 0.0, 0.0)
    assert band.holds({"test.other": 0.0}, still)
    assert not band.holds({"test.other": 1e-9}, still)


def test_the_bootstraps_draws_are_no_part_of_it() -> None:
    drawn = ["test.auc", "test.auc.low", "test.auc.high", "test.ece", "test.ece_by_chance", "test.as_logged.logloss"]
    assert list(point_metrics(drawn)) == ["test.auc", "test.ece", "test.as_logged.logloss"]
    band = _band([({"test.auc": 0.5, "test.auc.low": 0.1}, [0.0]), ({"test.auc": 0.5, "test.auc.low": 0.4}, [0.0])])
    assert band.metrics == {"test.auc": 0.0}
    assert band.holds({"test.auc": 0.0, "test.auc.low": 9.0}, MarginSpread(0.0, 0.0, 0.0, 0.0))


def test_a_band_in_which_nothing_moved_has_zero_width() -> None:
    assert _band([({"test.auc": 0.5}, [0.25])] * 6).is_empty
    assert not _band([({"test.auc": 0.5}, [0.25]), ({"test.auc": 0.5}, [0.5])]).is_empty


def test_margins_of_no_rows_do_not_differ() -> None:
    nothing = np.empty(0, np.float32)
    assert MarginSpread.between(nothing, nothing) == MarginSpread(0.0, 0.0, 0.0, 0.0)


def test_a_band_is_read_as_it_was_written() -> None:
    band = _band([({"test.auc": 0.5}, [0.0, 1.0]), ({"test.auc": 0.75}, [0.5, 1.0])])
    assert NoiseBand.from_record(band.to_record(), "noise.json") == band


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"format": 2}, r"noise.json: format == 2, must be 1; update ctr-pipeline"),
        ({"format": 1, "runs": 5}, r"noise.json is no noise band \('chance'\); restore it"),
    ],
    ids=["newer", "broken"],
)
def test_a_newer_or_broken_band_is_refused_in_one_line(values: dict[str, object], told: str) -> None:
    with pytest.raises(InputError, match=told):
        NoiseBand.from_record(values, "noise.json")
