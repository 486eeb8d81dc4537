"""Data drift by column: zero for equal logs, large for moved ones, small where few rows alone explain it."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctr_pipeline.columns import Columns, ContextColumn
from ctr_pipeline.data.drift import ColumnDrift, drift_columns, measure_drift, sample_log
from tracking.errors import InputError

COLUMNS = Columns(
    label="click",
    numeric=("price",),
    categorical=("site",),
    native=("device",),
    context={"position": ContextColumn(kind="numeric"), "slot": ContextColumn(kind="native")},
)
NAMES = ("click", "price", "site", "device", "position", "slot")


def _log(n_rows: int, *, seed: int = 1, **changed: object) -> pa.Table:
    rng = np.random.default_rng(seed)
    values: dict[str, Any] = {
        "click": rng.integers(0, 2, n_rows),
        "price": rng.normal(10, 2, n_rows),
        "site": [f"s{number}" for number in rng.integers(0, 40, n_rows)],
        "device": rng.choice(["phone", "desk"], n_rows).tolist(),
        "position": rng.integers(1, 5, n_rows),
        "slot": ["top"] * n_rows,
    }
    return pa.table(values | changed)


def _drift(before: pa.Table, after: pa.Table, names: tuple[str, ...] = NAMES) -> dict[str, ColumnDrift]:
    logs = (sample_log(table.to_batches(max_chunksize=70), COLUMNS, names, every=1) for table in (before, after))
    return {found.column: found for found in measure_drift(*logs)}


@given(n_rows=st.integers(1, 300), seed=st.integers(0, 99))
def test_a_log_has_not_drifted_from_itself(n_rows: int, seed: int) -> None:
    log = _log(n_rows, seed=seed)
    for found in _drift(log, log).values():
        assert found.psi == 0
        assert found.level == "small"
        assert found.unseen in {None, 0.0}
        assert found.mean_original == found.mean_again


@given(seed=st.integers(0, 99), order=st.integers(0, 99))
def test_the_order_of_the_rows_does_not_matter(seed: int, order: int) -> None:
    before, after = _log(200, seed=seed), _log(150, seed=seed + 100)
    shuffled = after.take(pa.array(np.random.default_rng(order).permutation(after.num_rows)))
    there, back = _drift(before, after), _drift(before, shuffled)
    assert {name: (found.psi, found.unseen) for name, found in there.items()} == {
        name: (found.psi, found.unseen) for name, found in back.items()
    }


def test_psi_is_the_textbooks_sum_over_the_old_deciles() -> None:
    before = _log(100, price=np.arange(100.0))
    after = _log(100, price=np.concatenate([np.arange(50.0), np.arange(50.0)]))
    found = _drift(before, after)["price"]
    # Five bins of .1 become .2, five become empty, which counts as half a row of 100.
    assert found.psi == pytest.approx(5 * 0.1 * math.log(2) + 5 * (0.005 - 0.1) * math.log(0.005 / 0.1))
    assert found.level == "large"
    assert found.quantiles_original == pytest.approx((4.95, 24.75, 49.5, 74.25, 94.05))
    assert (found.mean_original, found.mean_again) == (49.5, 24.5)


def test_new_values_are_told_as_unseen_and_count_with_the_rare_ones() -> None:
    before = _log(400, site=["a"] * 200 + ["b"] * 200)
    after = _log(400, site=["a"] * 200 + ["b"] * 100 + ["c"] * 100)
    found = _drift(before, after)["site"]
    assert found.unseen == 0.25
    assert found.psi > 0.25
    assert found.mean_original is None
    assert found.quantiles_original == ()


def test_missing_values_are_a_bin_of_their_own() -> None:
    prices = np.full(400, 5.0)
    gaps = prices.copy()
    gaps[:100] = np.nan
    found = _drift(_log(400, price=prices), _log(400, price=pa.array(gaps, from_pandas=True)))["price"]
    assert (found.missing_original, found.missing_again) == (0.0, 0.25)
    assert found.level == "large"
    texts = _drift(_log(400), _log(400, site=[None] * 400))["site"]
    assert texts.missing_again == 1.0
    assert texts.unseen == 0.0


def test_the_labels_mean_is_the_click_rate() -> None:
    clicks = np.zeros(1_000, np.int64)
    clicks[:200] = 1
    more = clicks.copy()
    more[:500] = 1
    found = _drift(_log(1_000, click=clicks), _log(1_000, click=more))["click"]
    assert (found.role, found.mean_original, found.mean_again) == ("label", 0.2, 0.5)
    assert found.level == "large"


def test_what_few_rows_alone_explain_is_small() -> None:
    few = _drift(_log(40), _log(40, seed=2))["price"]
    assert few.psi > 0.25
    assert few.psi_by_chance > few.psi
    assert few.level == "small"
    assert _drift(_log(40), _log(40, seed=2))["site"].level == "small"
    many = _drift(_log(20_000), _log(20_000, seed=2))["site"]
    assert many.psi < many.psi_by_chance < 0.01


def test_chance_explains_about_nineteen_of_twenty_equal_columns() -> None:
    explained = [
        found.psi <= found.psi_by_chance
        for seed in range(150)
        for found in _drift(_log(900, seed=seed), _log(900, seed=seed + 1_000), ("price",)).values()
    ]
    assert 0.88 <= np.mean(explained) <= 0.99


def test_every_kth_row_is_kept_whatever_the_batches() -> None:
    log = _log(500)
    for sizes in (7, 100, 500):
        kept = sample_log(log.to_batches(max_chunksize=sizes), COLUMNS, ["price"], every=9)["price"]
        assert kept.values.tolist() == log.column("price").to_numpy()[::9].tolist()


def test_roles_and_order_are_those_of_the_settings() -> None:
    found = _drift(_log(50), _log(50))
    assert [(name, drift.role) for name, drift in found.items()] == [
        ("click", "label"),
        ("price", "numeric"),
        ("site", "categorical"),
        ("device", "native"),
        ("position", "context"),
        ("slot", "context"),
    ]
    assert drift_columns(COLUMNS, ["price", "slot", "other", "click"]) == ("click", "price", "slot")


def test_columns_that_one_log_lacks_and_logs_without_values_are_no_error() -> None:
    before = sample_log(_log(9).to_batches(), COLUMNS, ["price", "site"], every=1)
    after = sample_log(_log(9, price=pa.nulls(9)).to_batches(), COLUMNS, ["price"], every=1)
    (found,) = measure_drift(before, after)
    assert (found.column, found.missing_again, found.mean_again, found.quantiles_again) == ("price", 1.0, None, ())
    (turned,) = measure_drift(after, {"price": before["price"]})
    assert turned.missing_original == 1.0
    assert sample_log(_nothing(), COLUMNS, ["price"], every=1)["price"].values.tolist() == []


def test_an_unreadable_value_is_told_as_everywhere() -> None:
    with pytest.raises(InputError, match="column 'price' has 'cheap', must be a number"):
        sample_log(_log(1, price=["cheap"]).to_batches(), COLUMNS, ["price"], every=1)


def _nothing() -> Iterator[pa.RecordBatch]:
    yield from ()
