"""Target statistics see what they may see and nothing else: checked row by row against a plain reference."""

import itertools
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctr_pipeline.features.statistics import (
    CategoryTable,
    Counts,
    FoldCounts,
    ProgressiveCounts,
    cross_keys,
    exact_sums,
    smoothed_rates,
)
from tests.data.reference_digest import mix

# (key, period, label), to be sorted by period
_ROWS = st.lists(st.tuples(st.integers(0, 4), st.integers(-3, 12), st.booleans()), max_size=60)


def _arrays(rows: Sequence[tuple[int, int, bool]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    keys, periods, labels = zip(*rows, strict=True) if rows else ((), (), ())
    return np.array(keys, np.uint64), np.array(periods, np.int64), np.array(labels, np.uint8)


def _progressive(rows: Sequence[tuple[int, int, bool]], lag: int, cuts: Sequence[int]) -> tuple[list[int], list[int]]:
    counts = ProgressiveCounts(lag)
    clicks: list[int] = []
    impressions: list[int] = []
    bounds = [0, *sorted(min(cut, len(rows)) for cut in cuts), len(rows)]
    for start, end in itertools.pairwise(bounds):
        found = counts.observe(*_arrays(rows[start:end]))
        clicks += found.clicks.tolist()
        impressions += found.impressions.tolist()
    return clicks, impressions


@given(rows=_ROWS, lag=st.integers(1, 5), cuts=st.lists(st.integers(0, 60), max_size=5))
def test_progressive_counts_equal_a_look_at_every_earlier_row(
    rows: list[tuple[int, int, bool]], lag: int, cuts: list[int]
) -> None:
    rows = sorted(rows, key=lambda row: row[1])
    clicks, impressions = _progressive(rows, lag, cuts)
    for place, (key, period, _) in enumerate(rows):
        known = [label for other, when, label in rows if other == key and when <= period - lag]
        assert (clicks[place], impressions[place]) == (sum(known), len(known))


@given(rows=_ROWS, lag=st.integers(1, 5), cuts=st.lists(st.integers(0, 60), max_size=3), data=st.data())
def test_no_label_changes_what_an_earlier_or_simultaneous_row_knows(
    rows: list[tuple[int, int, bool]], lag: int, cuts: list[int], data: st.DataObject
) -> None:
    rows = sorted(rows, key=lambda row: row[1])
    if not rows:
        return
    changed = data.draw(st.integers(0, len(rows) - 1))
    key, period, label = rows[changed]
    others = [*rows[:changed], (key, period, not label), *rows[changed + 1 :]]
    before, after = _progressive(rows, lag, cuts), _progressive(others, lag, cuts)
    unseen = [place for place, row in enumerate(rows) if row[1] < period + lag]
    assert changed in unseen
    assert [before[0][place] for place in unseen] == [after[0][place] for place in unseen]
    assert before[1] == after[1]


@given(rows=_ROWS, cuts=st.lists(st.integers(0, 60), max_size=3))
def test_the_total_counts_every_row(rows: list[tuple[int, int, bool]], cuts: list[int]) -> None:
    rows = sorted(rows, key=lambda row: row[1])
    counts = ProgressiveCounts(2)
    bounds = [0, *sorted(min(cut, len(rows)) for cut in cuts), len(rows)]
    for start, end in itertools.pairwise(bounds):
        counts.observe(*_arrays(rows[start:end]))
    table = counts.total()
    expected = {key: [label for other, _, label in rows if other == key] for key, _, _ in rows}
    assert table.keys.tolist() == sorted(expected)
    assert table.clicks.tolist() == [sum(expected[key]) for key in sorted(expected)]
    assert table.impressions.tolist() == [len(expected[key]) for key in sorted(expected)]


@given(
    rows=st.lists(st.tuples(st.integers(0, 4), st.integers(0, 2), st.booleans()), max_size=60),
    cuts=st.lists(st.integers(0, 60), max_size=3),
)
def test_fold_counts_are_those_of_the_other_folds(rows: list[tuple[int, int, bool]], cuts: list[int]) -> None:
    counts = FoldCounts(3)
    bounds = [0, *sorted(min(cut, len(rows)) for cut in cuts), len(rows)]
    for start, end in itertools.pairwise(bounds):
        counts.learn(*_arrays(rows[start:end]))
    keys, folds, _ = _arrays(rows)
    found = counts.others(keys, folds)
    for place, (key, fold, _) in enumerate(rows):
        known = [label for other, elsewhere, label in rows if other == key and elsewhere != fold]
        assert (found.clicks[place], found.impressions[place]) == (sum(known), len(known))


@given(
    rows=st.lists(st.tuples(st.integers(0, 4), st.integers(0, 2), st.booleans()), min_size=1, max_size=40),
    data=st.data(),
)
def test_with_fixed_folds_no_label_changes_its_own_rows_counts(
    rows: list[tuple[int, int, bool]], data: st.DataObject
) -> None:
    changed = data.draw(st.integers(0, len(rows) - 1))
    key, fold, label = rows[changed]
    others = [*rows[:changed], (key, fold, not label), *rows[changed + 1 :]]

    def known(of: list[tuple[int, int, bool]]) -> list[int]:
        counts = FoldCounts(3)
        counts.learn(*_arrays(of))
        clicks: list[int] = counts.others(*_arrays(of)[:2]).clicks.tolist()
        return clicks

    same_fold = [place for place, row in enumerate(rows) if row[1] == fold]
    assert [known(rows)[place] for place in same_fold] == [known(others)[place] for place in same_fold]


def test_rows_learnt_after_a_look_count_in_the_next_one() -> None:
    counts = FoldCounts(2)
    keys, folds = np.array([7], np.uint64), np.array([0])
    for n_rows in (1, 2):
        counts.learn(keys, np.array([1]), np.array([1], np.uint8))
        assert counts.others(keys, folds).impressions.tolist() == [n_rows]
    assert counts.total() is counts.total()


def test_an_unknown_key_has_been_shown_0_times() -> None:
    table = CategoryTable.of_rows(np.array([5, 5, 9], np.uint64), np.array([1, 0, 1], np.uint8))
    found = table.look_up(np.array([9, 5, 7, 2**64 - 1], np.uint64))
    assert (found.clicks.tolist(), found.impressions.tolist()) == ([1, 1, 0, 0], [1, 2, 0, 0])
    nothing = CategoryTable.empty().look_up(np.array([5], np.uint64))
    assert (nothing.clicks.tolist(), nothing.impressions.tolist()) == ([0], [0])


def test_an_empty_table_adds_nothing() -> None:
    table = CategoryTable.of_rows(np.array([5], np.uint64), np.array([1], np.uint8))
    assert table.plus(CategoryTable.empty()) is table
    assert CategoryTable.empty().plus(table) is table


@given(
    clicks=st.integers(0, 2**40),
    extra=st.integers(0, 2**40),
    prior=st.floats(0.0001, 0.9999),
    smoothing=st.floats(0.01, 1e6),
)
def test_a_smoothed_rate_is_the_formula_rounded_step_by_step(
    clicks: int, extra: int, prior: float, smoothing: float
) -> None:
    counts = Counts(np.array([clicks]), np.array([clicks + extra]))
    rate = smoothed_rates(counts, np.array([prior]), smoothing)[0]
    assert rate == (clicks + smoothing * prior) / (clicks + extra + smoothing)
    exact = (clicks + Fraction(smoothing) * Fraction(prior)) / (clicks + extra + Fraction(smoothing))
    assert rate == pytest.approx(float(exact), rel=1e-14)


def test_sums_are_exact_where_reals_would_still_be() -> None:
    codes = np.array([0, 0, 2])
    assert exact_sums(codes, np.array([2**52, 1, 7]), 4).tolist() == [2**52 + 1, 0, 7, 0]


@given(st.lists(st.tuples(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1)), min_size=1))
def test_a_cross_is_keyed_by_its_parts_in_their_order(pairs: list[tuple[int, int]]) -> None:
    first, second = (np.array(part, np.uint64) for part in zip(*pairs, strict=True))
    mask = 2**64 - 1
    for found, pair in zip(cross_keys([first, second]).tolist(), pairs, strict=True):
        word = 0x2545F4914F6CDD1D
        for key in pair:
            word = (mix(word ^ key) + key) & mask
        assert found == word
    assert (cross_keys([first, second]) == cross_keys([second, first])).tolist() == [a == b for a, b in pairs]
