"""Every row goes to exactly one split or is left out, and which one does not depend on anything but the plan."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctr_pipeline.config import SplitSettings
from ctr_pipeline.data.splits import (
    Split,
    Windows,
    assign_by_hash,
    plan_windows,
    require_matches,
    split_of_file,
    utc_text,
)
from tracking.errors import InputError
from tracking.times import DAY_US, HOUR_US


def _at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1_000_000


FIRST, LAST = _at("2026-03-01T05:00"), _at("2026-03-10T17:00")


def _plan(first: int = FIRST, last: int = LAST, **settings: Any) -> Windows:  # noqa: ANN401 - settings as in YAML
    return plan_windows(SplitSettings.model_validate(settings), first, last)


def test_windows_of_whole_days_end_at_midnight_after_the_last_row() -> None:
    windows = _plan(validation="1d", test="2d")
    assert windows == Windows(
        train_end=_at("2026-03-08"),
        validation_start=_at("2026-03-08"),
        validation_end=_at("2026-03-09"),
        test_start=_at("2026-03-09"),
        test_end=_at("2026-03-11"),
    )


def test_a_row_at_midnight_begins_a_day_of_its_own() -> None:
    assert _plan(last=_at("2026-03-10")).test_end == _at("2026-03-11")
    assert _plan(last=_at("2026-03-10") - 1).test_end == _at("2026-03-10")


def test_other_windows_end_right_behind_the_last_row() -> None:
    windows = _plan(validation="6h", test="12h")
    assert windows.test_end == LAST + 1
    assert windows.test_start == LAST + 1 - 12 * HOUR_US
    assert windows.validation_start == LAST + 1 - 18 * HOUR_US


def test_a_gap_lies_before_each_window() -> None:
    windows = _plan(gap="2h")
    assert windows.test_start - windows.validation_end == 2 * HOUR_US
    assert windows.validation_start - windows.train_end == 2 * HOUR_US


def test_an_explicit_end_is_the_end_and_later_rows_are_left_out() -> None:
    windows = _plan(end="2026-03-08T06:00:00")
    assert windows.test_end == _at("2026-03-08T06:00")
    assert windows.assign(np.array([windows.test_end - 1, windows.test_end])).tolist() == [Split.TEST, Split.LEFT_OUT]


def test_a_log_shorter_than_three_days_is_divided_by_shares_of_its_range() -> None:
    windows = _plan(first=0, last=99, short_log_rate=0.2)
    assert (windows.train_end, windows.test_start, windows.test_end) == (60, 80, 100)
    assert _plan(first=0, last=3 * DAY_US - 1).test_end - _plan(first=0, last=3 * DAY_US - 1).test_start == DAY_US


def test_a_log_of_two_instants_can_still_be_divided() -> None:
    windows = _plan(first=0, last=2)
    assert windows.assign(np.array([0, 1, 2])).tolist() == [Split.TRAIN, Split.VALIDATION, Split.TEST]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"end": "2026-04-01"},
            r"^the test window 2026-03-31T00:00:00Z to 2026-04-01T00:00:00Z lies outside the data \(2026-03-01T05:00",
        ),
        (
            {"end": "2026-02-01"},
            r"^the test window .* lies outside the data .*, must overlap them; change split\.end or",
        ),
        (
            {"test": "9d"},
            r"^nothing is left to train on before 2026-03-01T00:00:00Z, as the data start at 2026-03-01T05:00:00Z",
        ),
        ({"gap": "4d"}, r"^nothing is left to train on before"),
    ],
)
def test_windows_that_do_not_fit_the_data_are_refused(settings: Mapping[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        _plan(**settings)


def test_a_single_instant_leaves_nothing_to_train_on() -> None:
    with pytest.raises(InputError, match=r"^nothing is left to train on before"):
        _plan(first=5, last=5)


_DURATIONS = st.integers(1, 40).map(lambda hours: f"{hours}h")


@given(
    first=st.integers(-(10**15), 10**15),
    span=st.integers(7 * DAY_US, 30 * DAY_US),
    settings=st.fixed_dictionaries({"validation": _DURATIONS, "test": _DURATIONS, "gap": _DURATIONS}),
    offsets=st.lists(st.floats(-0.1, 1.1)),
)
def test_every_row_is_in_one_split_in_the_order_of_time(
    first: int, span: int, settings: dict[str, str], offsets: list[float]
) -> None:
    windows = plan_windows(SplitSettings.model_validate(settings), first, first + span)
    times = np.sort(np.array([first + int(offset * span) for offset in offsets], dtype=np.int64))
    codes = windows.assign(times)
    assert set(codes.tolist()) <= {int(split) for split in Split}
    placed = codes[codes != Split.LEFT_OUT]
    assert (np.diff(placed) >= 0).all()
    assert windows.train_end <= windows.validation_start <= windows.validation_end <= windows.test_start
    assert (codes[times < windows.train_end] == Split.TRAIN).all()
    assert (codes[times >= windows.test_end] == Split.LEFT_OUT).all()


@given(
    keys=st.lists(st.integers(0, 2**64 - 1), min_size=1),
    validation=st.floats(0, 0.5),
    test=st.floats(0, 0.49),
    others=st.lists(st.integers(0, 2**64 - 1)),
)
def test_a_hash_says_the_split_whoever_stands_beside_it(
    keys: list[int], validation: float, test: float, others: list[int]
) -> None:
    settings = SplitSettings(by="user", validation_rate=validation, test_rate=test)
    alone = assign_by_hash(np.array(keys, np.uint64), settings)
    beside = assign_by_hash(np.array(others + keys, np.uint64), settings)[len(others) :]
    assert alone.tolist() == beside.tolist()
    assert set(alone.tolist()) <= {Split.TRAIN, Split.VALIDATION, Split.TEST}


def test_hashes_are_divided_as_the_rates_say_and_stay_so() -> None:
    keys = np.arange(100_000, dtype=np.uint64)
    codes = assign_by_hash(keys, SplitSettings(by="user", validation_rate=0.1, test_rate=0.2))
    assert np.mean(codes == Split.TEST) == pytest.approx(0.2, abs=0.005)
    assert np.mean(codes == Split.VALIDATION) == pytest.approx(0.1, abs=0.005)
    # Published: a change here would move users between the splits of models that are compared.
    assert codes[:20].tolist() == [0, 2, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0]


def test_more_test_users_keep_the_ones_there_were() -> None:
    keys = np.arange(1_000, dtype=np.uint64)
    few = assign_by_hash(keys, SplitSettings(by="user", validation_rate=0, test_rate=0.1)) == Split.TEST
    more = assign_by_hash(keys, SplitSettings(by="user", validation_rate=0, test_rate=0.3)) == Split.TEST
    assert (more | ~few).all()


def test_files_are_divided_by_patterns_of_their_paths() -> None:
    settings = SplitSettings(by="files", validation_files=("day=6/*",), test_files=("day=7/*", "extra.csv"))
    found = [split_of_file(path, settings) for path in ("day=1/a.csv", "day=6/a.csv", "day=7/b.csv", "extra.csv")]
    assert found == [Split.TRAIN, Split.VALIDATION, Split.TEST, Split.TEST]


def test_a_file_that_both_patterns_fit_tests() -> None:
    assert split_of_file("a.csv", SplitSettings(by="files", validation_files=("*",), test_files=("a*",))) == Split.TEST


def test_a_pattern_that_fits_no_file_is_refused() -> None:
    settings = SplitSettings(by="files", validation_files=("b*",), test_files=("a*",))
    require_matches(["a.csv", "b.csv"], settings)
    with pytest.raises(
        InputError, match=r"^split\.validation_files has 'b\*', must fit a file of the data: a\.csv, c\.csv$"
    ):
        require_matches(["a.csv", "c.csv"], settings)


@pytest.mark.parametrize(("time_us", "text"), [(0, "1970-01-01T00:00:00Z"), (-1, "1969-12-31T23:59:59.999999Z")])
def test_a_time_is_shown_in_utc(time_us: int, text: str) -> None:
    assert utc_text(time_us) == text
