"""Fitting: what is learnt does not depend on blocks, and no row's features know its own or a later label."""

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from ctr_pipeline.config import Settings
from ctr_pipeline.data.order import distinct_words
from ctr_pipeline.data.rows import Rows
from ctr_pipeline.features.encoder import NativeFeature
from ctr_pipeline.features.encoder_file import encoder_digest
from ctr_pipeline.features.stream import (
    MAX_NATIVE_CATEGORIES,
    EncoderFit,
    FittedEncoder,
    TrainingBlock,
    period_us,
    safe_name,
    statistics_scheme,
)
from tests.small_log import START_US, impressions, small_settings
from tracking.errors import InputError
from tracking.times import HOUR_US

type Labels = np.ndarray[Any, np.dtype[np.uint8]]


def _blocks(table: pa.Table, labels: Labels, settings: Settings, cuts: Sequence[int] = ()) -> list[TrainingBlock]:
    """Blocks with a fixed plan: order, periods and words do not depend on the labels."""
    columns = settings.data.columns
    times = Rows(table, columns).times_us()
    periods = np.zeros(table.num_rows, np.int64) if times is None else times // period_us(settings)
    words = distinct_words(np.arange(table.num_rows, dtype=np.uint64))
    bounds = sorted({0, *cuts, table.num_rows})
    return [
        TrainingBlock(
            Rows(table.slice(start, end - start), columns), labels[start:end], periods[start:end], words[start:end]
        )
        for start, end in itertools.pairwise(bounds)
    ]


def _fit(
    table: pa.Table, labels: Labels, settings: Settings, cuts: Sequence[int] = ()
) -> tuple[np.ndarray, FittedEncoder]:
    matrices: list[np.ndarray] = []

    def blocks() -> Iterator[TrainingBlock]:
        return iter(_blocks(table, labels, settings, cuts))

    fitted = EncoderFit.start(blocks, settings).run(lambda matrix, _: matrices.append(matrix))
    return np.concatenate(matrices), fitted


def _log(n_rows: int, n_hours: int, seed: int) -> tuple[pa.Table, Labels]:
    """A log within few hours, so that rows share periods and times."""
    rng = np.random.default_rng(seed)
    table = impressions(n_rows, seed=seed).drop_columns(["click", "time"])
    times = START_US + np.sort(rng.integers(0, n_hours * 4, n_rows)) * HOUR_US // 4
    table = table.append_column("time", pa.array(times).cast(pa.timestamp("us", tz="UTC")))
    return table, (rng.random(n_rows) < 0.4).astype(np.uint8)


@given(
    n_rows=st.integers(1, 60),
    seed=st.integers(0, 10),
    cuts=st.lists(st.integers(1, 59), max_size=4),
    scheme=st.sampled_from(["time", "kfold"]),
)
@hypothesis_settings(max_examples=40)
def test_blocks_change_neither_the_features_nor_the_encoder(
    n_rows: int, seed: int, cuts: list[int], scheme: str
) -> None:
    settings = small_settings(features={"statistics": {"scheme": scheme}})
    table, labels = _log(n_rows, 8, seed)
    whole, encoder = _fit(table, labels, settings)
    parts, again = _fit(table, labels, settings, [cut for cut in cuts if cut < n_rows])
    assert whole.tobytes() == parts.tobytes()
    assert encoder_digest(encoder.encoder) == encoder_digest(again.encoder)


@given(
    seed=st.integers(0, 20),
    changed=st.integers(0, 49),
    period=st.sampled_from(["1us", "1h", "1d"]),
    delay=st.sampled_from(["0s", "20m", "3h"]),
    cut=st.integers(1, 49),
)
@hypothesis_settings(max_examples=80)
def test_no_label_changes_the_features_of_a_row_that_came_before_it_was_known(
    seed: int, changed: int, period: str, delay: str, cut: int
) -> None:
    settings = small_settings(
        features={"statistics": {"period": period, "label_delay": delay, "scheme": "time"}}, split={"gap": delay}
    )
    table, labels = _log(50, 30, seed)
    other = labels.copy()
    other[changed] = 1 - other[changed]
    before, _ = _fit(table, labels, settings, [cut])
    after, _ = _fit(table, other, settings, [cut])
    times = Rows(table, settings.data.columns).times_us()
    assert times is not None
    delays_us = {"0s": 0, "20m": HOUR_US // 3, "3h": 3 * HOUR_US}
    unknown = times <= times[changed] + delays_us[delay]
    assert unknown[changed]
    assert before[unknown].tobytes() == after[unknown].tobytes()


@given(seed=st.integers(0, 20), changed=st.integers(0, 49), folds=st.integers(2, 6))
@hypothesis_settings(max_examples=40)
def test_with_folds_no_label_changes_its_own_rows_features(seed: int, changed: int, folds: int) -> None:
    settings = small_settings(features={"statistics": {"scheme": "kfold", "folds": folds}})
    table, labels = _log(50, 30, seed)
    other = labels.copy()
    other[changed] = 1 - other[changed]
    before, _ = _fit(table, labels, settings)
    after, _ = _fit(table, other, settings)
    assert before[changed].tobytes() == after[changed].tobytes()
    assert before.tobytes() != after.tobytes()


def test_the_prior_too_knows_nothing_of_the_rows_own_period() -> None:
    settings = small_settings(features={"statistics": {"prior_rate": 0.25}})
    table, labels = _log(40, 1, 3)
    matrix, fitted = _fit(table, labels, settings)
    rate = fitted.encoder.feature_names.index("ad.rate")
    assert set(matrix[:, rate].tolist()) == {0.25}
    assert fitted.encoder.totals.clicks.tolist() == [int(labels.sum())]


def test_a_later_row_knows_exactly_the_periods_before() -> None:
    settings = small_settings(
        features={"statistics": {"period": "1h", "label_delay": "90m", "smoothing": 1.0}},
        data={"columns": {"categorical": ["ad"], "native": ["site", "device"]}},
        split={"gap": "90m"},
    )
    table = impressions(5).drop_columns(["time", "ad"])
    times = START_US + np.array([0, 1, 2, 3, 4]) * HOUR_US
    table = table.append_column("time", pa.array(times).cast(pa.timestamp("us", tz="UTC")))
    table = table.append_column("ad", pa.array(["a"] * 5))
    matrix, fitted = _fit(table, np.array([1, 0, 1, 1, 1], np.uint8), settings)
    # 90 minutes are two periods: a row sees what lies three hours back.
    assert matrix[:, fitted.encoder.feature_names.index("ad.count")].tolist() == [0, 0, 0, 1, 2]


def test_the_encoder_scores_with_all_training_rows() -> None:
    settings = small_settings()
    table, labels = _log(60, 30, 2)
    _, fitted = _fit(table, labels, settings, [20])
    encoder = fitted.encoder
    column = encoder.feature_names.index("site.count")
    counts = encoder.encode(Rows(table, settings.data.columns)).matrix[:, column]
    sites = table["site"].to_pylist()
    assert counts.tolist() == [sites.count(site) for site in sites]


def test_the_tables_keys_have_their_texts_but_for_crosses_and_nulls() -> None:
    table, labels = _log(60, 30, 2)
    _, fitted = _fit(table, labels, small_settings(), [7, 30])
    assert set(fitted.texts) == {"site", "ad"}
    sites = set(table["site"].to_pylist())
    assert None in sites
    assert set(fitted.texts["site"].to_pylist()) == sites
    assert len(fitted.texts["site"]) == len(fitted.encoder.tables["site"].keys)


def test_native_categories_are_sorted_and_hold_no_null() -> None:
    settings = small_settings()
    table, labels = _log(3, 30, 2)
    devices = pa.DictionaryArray.from_arrays(pa.array([0, 1, 2], pa.int32()), pa.array(["b", None, "a"]))
    table = table.drop_columns(["device"]).append_column("device", devices)
    _, fitted = _fit(table, labels, settings, [1])
    assert next(feature.categories for feature in fitted.encoder.plain if isinstance(feature, NativeFeature)) == (
        "a",
        "b",
    )


def test_too_many_native_categories_are_refused() -> None:
    n_rows = MAX_NATIVE_CATEGORIES + 1
    table = impressions(n_rows).drop_columns(["device"]).append_column("device", pa.array(range(n_rows)))
    message = r"^native column 'device' has more than 1000 categories; list it under categorical$"
    with pytest.raises(InputError, match=message):
        _fit(table, np.zeros(n_rows, np.uint8), small_settings())


def _start(pinned: int | str | None) -> EncoderFit:
    settings = small_settings(data={"columns": {"context": {"position": {"kind": "native", "pinned": pinned}}}})
    table, labels = _log(50, 5, 1)
    block = TrainingBlock(
        Rows(table, settings.data.columns), labels, np.zeros(50, np.int64), np.arange(50, dtype=np.uint64)
    )
    return EncoderFit.start(lambda: iter([block]), settings)


def test_a_native_column_pinned_at_a_value_that_training_lacks_is_refused() -> None:
    message = (
        r"^data\.columns\.context\.position\.pinned == 9, must be a value of the training rows \(1, 2, 3\) or null"
    )
    with pytest.raises(InputError, match=message):
        _start(9).require_pinned_values()


@pytest.mark.parametrize("pinned", [2, "2", None])
def test_a_native_column_is_pinned_by_its_canonical_text(pinned: int | str | None) -> None:
    _start(pinned).require_pinned_values()


def test_two_features_of_one_name_are_refused() -> None:
    table = impressions(5).append_column("site.rate", pa.array([1.0] * 5))
    settings = small_settings(data={"columns": {"numeric": ["price", "site.rate"]}})
    with pytest.raises(
        InputError, match=r"^two features are called 'site\.rate', must have names of their own; rename a"
    ):
        _fit(table, np.zeros(5, np.uint8), settings)


def test_a_fit_knows_its_features_before_it_runs() -> None:
    table, labels = _log(30, 30, 2)
    settings = small_settings()
    fit = EncoderFit.start(lambda: iter(_blocks(table, labels, settings)), settings)
    assert fit.feature_names == fit.run(lambda *_: None).encoder.feature_names
    assert (fit.n_rows, fit.n_clicks) == (30, int(labels.sum()))
    assert dict(zip(fit.feature_names, fit.feature_types, strict=True))["device"] == "c"


@pytest.mark.parametrize(
    ("scheme", "time", "expected"),
    [("auto", "time", "time"), ("auto", None, "kfold"), ("kfold", "time", "kfold"), ("time", "time", "time")],
)
def test_automatic_statistics_go_by_time_where_there_is_one(scheme: str, time: str | None, expected: str) -> None:
    features: dict[str, Any] = {"statistics": {"scheme": scheme}, "time_parts": []}
    settings = small_settings(data={"columns": {"time": time}}, split={"by": "row"}, features=features)
    assert statistics_scheme(settings) == expected


def test_a_name_is_made_fit_for_xgboost() -> None:
    assert safe_name("price[usd]<10") == "price(usd)_10"
