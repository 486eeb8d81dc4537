from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import log_loss, roc_auc_score

from ctr_pipeline.evaluation.bootstrap import Units, replicates
from ctr_pipeline.evaluation.scored import Scored, SliceColumn
from ctr_pipeline.evaluation.segments import segments
from ctr_pipeline.evaluation.slices import SliceRules, by_coldness, by_day, by_hour, by_value
from tests.evaluation.logs import planted_log
from tracking.errors import InputError

HOUR_US = 3_600_000_000
EVERY = SliceRules(min_rows=0, min_clicks=0)


def _sliced(log: Scored, texts: list[str | None]) -> Scored:
    return replace(log, slices={"country": SliceColumn.from_texts(texts)})


def test_each_part_is_measured_like_a_log_of_its_own() -> None:
    log = planted_log()
    codes = np.arange(log.n_rows) % 3
    for code, part in enumerate(segments(log, codes, ["a", "b", "c"], Units.find(log))):
        rows = codes == code
        label, probability = log.label[rows], log.probability[rows]
        assert (part.n_rows, part.n_clicks) == (rows.sum(), label.sum())
        assert part.ctr.value == pytest.approx(label.mean())
        assert part.mean_prediction == pytest.approx(probability.mean())
        assert part.calibration.value == pytest.approx(probability.sum() / label.sum())
        assert part.logloss.value == pytest.approx(log_loss(label, probability))
        entropy = log_loss(label, np.full(len(label), label.mean()))
        assert part.normalized_entropy == pytest.approx(log_loss(label, probability) / entropy)
        assert part.auc == pytest.approx(roc_auc_score(label, probability))


@given(st.integers(1, 5), st.integers(0, 1000))
def test_parts_together_are_the_whole(n_parts: int, seed: int) -> None:
    log = planted_log(20)
    values, codes = np.unique(np.random.default_rng(seed).integers(0, n_parts, log.n_rows), return_inverse=True)
    parts = segments(log, codes, [str(value) for value in values], Units.find(log))
    assert sum(part.n_rows for part in parts) == log.n_rows
    assert sum(part.n_clicks for part in parts) == log.n_clicks
    total = sum(part.n_rows * (part.logloss.value or 0.0) for part in parts)
    assert total / log.n_rows == pytest.approx(log_loss(log.label, log.probability))


def test_intervals_in_closed_form_agree_with_the_bootstrap() -> None:
    log = planted_log(1500, 6, user_spread=1.5)
    (whole,) = segments(log, np.zeros(log.n_rows, dtype=np.int64), ["all"], Units.find(log))
    drawn = replicates(log, seed=1, n_replicates=600)
    for estimate, name in ((whole.calibration, "calibration"), (whole.logloss, "logloss"), (whole.ctr, "base_rate")):
        low, high = np.quantile(drawn.values[name], (0.025, 0.975))
        assert estimate.low is not None
        assert estimate.high is not None
        assert estimate.high - estimate.low == pytest.approx(high - low, rel=0.15), name
        assert (estimate.low + estimate.high) / 2 == pytest.approx((high + low) / 2, abs=(high - low) / 8), name


def test_clustering_widens_every_interval_of_a_part() -> None:
    log = planted_log(400, 10, user_spread=2.0)
    codes = np.zeros(log.n_rows, dtype=np.int64)
    (by_user,) = segments(log, codes, ["all"], Units.find(log))
    (by_row,) = segments(log, codes, ["all"], Units.find(replace(log, cluster=None, group=None)))
    for name in ("ctr", "calibration", "logloss"):
        wide, narrow = getattr(by_user, name), getattr(by_row, name)
        assert wide.high - wide.low > 1.3 * (narrow.high - narrow.low), name


def test_a_part_without_clicks_has_neither_calibration_nor_auc() -> None:
    log = Scored(np.zeros(20, dtype=np.uint8), np.full(20, 0.1))
    (part,) = segments(log, np.zeros(20, dtype=np.int64), ["all"], Units.find(log))
    assert (part.calibration.value, part.calibration.reason) == (None, "none of the 20 rows has a click")
    assert (part.auc, part.normalized_entropy) == (None, None)
    assert part.ctr.high == pytest.approx(0.161, abs=1e-3)
    assert part.logloss.low is not None


def test_a_part_of_few_users_has_values_but_no_intervals() -> None:
    log = planted_log(5, 40)
    (part,) = segments(log, np.zeros(200, dtype=np.int64), ["all"], Units.find(log))
    assert (part.calibration.low, part.calibration.reason) == (None, "5 users, an interval needs at least 10")
    assert (part.logloss.low, part.logloss.reason) == (None, "5 users, an interval needs at least 10")


def test_predictions_of_0_have_no_interval_on_the_logarithmic_scale() -> None:
    log = Scored(np.array([1] + [0] * 19, dtype=np.uint8), np.zeros(20))
    (part,) = segments(log, np.zeros(20, dtype=np.int64), ["all"], Units.find(log))
    assert (part.calibration.value, part.calibration.reason) == (0.0, "every prediction is 0")


def test_days_and_hours_are_those_of_utc() -> None:
    time_us = np.array([-1, 0, HOUR_US - 1, 25 * HOUR_US], dtype=np.int64)
    log = Scored(np.array([0, 1, 0, 1], dtype=np.uint8), np.full(4, 0.5), time_us=time_us)
    units = Units.find(log)
    days = by_day(log, units)
    assert [(part.value, part.n_rows) for part in days] == [("1969-12-31", 1), ("1970-01-01", 2), ("1970-01-02", 1)]
    assert [(part.value, part.n_rows) for part in by_hour(log, units)] == [("00", 2), ("01", 1), ("23", 1)]


def test_without_time_or_mask_there_is_nothing_to_tell_apart() -> None:
    log = planted_log(5)
    units = Units.find(log)
    assert by_day(log, units) == by_hour(log, units) == by_coldness(log, units) == ()


def test_cold_rows_stand_apart_from_warm_ones() -> None:
    log = replace(planted_log(30), cold=np.arange(240) % 4 == 0)
    parts = by_coldness(log, Units.find(log))
    assert [(part.value, part.n_rows) for part in parts] == [("warm", 180), ("cold", 60)]


def test_where_all_rows_are_warm_there_is_no_cold_part() -> None:
    log = replace(planted_log(30), cold=np.zeros(240, dtype=np.bool_))
    assert [part.value for part in by_coldness(log, Units.find(log))] == ["warm"]


def test_the_slice_that_costs_most_comes_first() -> None:
    log = planted_log(300, 8)
    texts = ["fine"] * 1200 + ["wrong"] * 800 + ["wrong but small"] * 400
    probability = log.probability.copy()
    probability[1200:] = np.minimum(0.95, probability[1200:] * 4)
    table = by_value(_sliced(replace(log, probability=probability), [*texts]), "country", Units.find(log), EVERY)
    assert [part.value for part in table.worst_first] == ["wrong", "wrong but small", "fine"]
    assert table.worst_first[0].excess > 0 > table.worst_first[-1].excess
    assert (table.column, table.too_few) == ("country", ())


def test_a_slice_where_ranking_fails_comes_before_one_where_it_works() -> None:
    log = planted_log(300, 8, spread=1.5)
    probability = log.probability.copy()
    probability[:1200] = log.label[:1200].mean()
    table = by_value(
        _sliced(replace(log, probability=probability), [*["unranked"] * 1200, *["ranked"] * 1200]),
        "country",
        Units.find(log),
        EVERY,
    )
    assert [part.value for part in table.worst_first] == ["unranked", "ranked"]


def test_small_slices_are_listed_apart_with_the_largest_first() -> None:
    log = planted_log(300, 8)
    texts = [*["large"] * 2300, *["small"] * 60, *["tiny"] * 40]
    table = by_value(_sliced(log, [*texts]), "country", Units.find(log))
    assert [part.value for part in table.worst_first] == ["large"]
    assert [part.value for part in table.too_few] == ["small", "tiny"]


def test_many_predicted_clicks_of_which_none_came_are_no_small_slice() -> None:
    label, probability = np.zeros(400, dtype=np.uint8), np.full(400, 0.001)
    label[:100:5] = 1
    probability[200:] = 0.2
    log = _sliced(Scored(label, probability), [*["clicked"] * 200, *["clickless"] * 200])
    table = by_value(log, "country", Units.find(log))
    assert {part.value for part in table.worst_first} == {"clicked", "clickless"}
    log = _sliced(Scored(label, np.full(400, 0.001)), [*["clicked"] * 200, *["clickless"] * 200])
    assert [part.value for part in by_value(log, "country", Units.find(log)).too_few] == ["clickless"]


def test_null_is_a_slice_of_its_own() -> None:
    log = planted_log(2, 4)
    table = by_value(_sliced(log, ["a", None, "a", None, "null", "a", "a", "a"]), "country", Units.find(log), EVERY)
    assert {part.value: part.n_rows for part in table.worst_first} == {"a": 5, None: 2, "null": 1}


@pytest.mark.parametrize("name", ["min_rows", "min_clicks"])
def test_a_negative_threshold_is_refused(name: str) -> None:
    with pytest.raises(InputError, match=rf"^evaluate.slice_{name} == -1, must be >= 0; 0 lists every value$"):
        SliceRules(**{name: -1})
