"""Raw values become features by fixed rules: unseen, missing, clipped, before 1970, in any type."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctr_pipeline.columns import Columns
from ctr_pipeline.data.rows import Rows
from ctr_pipeline.features.encoder import Encoder, NativeFeature, NumericFeature, StatisticFeature, TimeFeature
from ctr_pipeline.features.statistics import CategoryTable, Counts

LARGEST = float(np.finfo(np.float32).max)


def _rows(columns: dict[str, Any], **roles: Any) -> Rows:  # noqa: ANN401 - columns of any type, roles as in YAML
    return Rows(pa.table(columns), Columns(**roles))


def _encoder(rows: Rows, labels: list[int], *columns: str, rare_impressions: int = 2) -> Encoder:
    """An encoder with one statistic, fitted on the rows by hand."""
    feature = StatisticFeature(" x ".join(columns), columns)
    return Encoder(
        plain=(),
        statistics=(feature,),
        tables={feature.name: CategoryTable.of_rows(feature.keys(rows), np.array(labels, np.uint8))},
        totals=Counts(np.array([sum(labels)]), np.array([len(labels)])),
        smoothing=2.0,
        prior_rate=0.1,
        prior_weight=10.0,
        rare_impressions=rare_impressions,
    )


def test_a_number_is_clipped_where_configured_and_missing_stays_missing() -> None:
    rows = _rows({"a": [-5.0, 0.5, 7.0, None]})
    values = NumericFeature("a", "a", -1.0, 2.0).values(rows)
    assert np.array_equal(values, [-1.0, 0.5, 2.0, np.nan], equal_nan=True)
    assert NumericFeature("a", "a", None, 2.0).values(rows)[0] == -5.0
    assert NumericFeature("a", "a", 0.0, None).values(rows)[2] == 7.0


def test_what_float32_cannot_hold_is_its_largest_number() -> None:
    rows = _rows({"a": [1e39, -1e300, float("inf"), float("-inf"), 1e38]})
    values = NumericFeature("a", "a", None, None).values(rows)
    assert values.tolist() == [LARGEST, -LARGEST, LARGEST, -LARGEST, 1e38]
    assert np.isfinite(values.astype(np.float32)).all()


@pytest.mark.parametrize("dictionary", [False, True])
def test_a_native_category_is_its_place_and_unseen_ones_are_missing(*, dictionary: bool) -> None:
    texts = pa.array(["b", "a", "new", None, ""])
    rows = _rows({"a": texts.dictionary_encode() if dictionary else texts})
    values = NativeFeature("a", "a", ("a", "b")).values(rows)
    assert np.array_equal(values, [1, 0, np.nan, np.nan, np.nan], equal_nan=True)


def test_a_native_category_that_training_never_saw_a_value_of_is_missing() -> None:
    assert np.isnan(NativeFeature("a", "a", ()).values(_rows({"a": pa.nulls(2)}))).all()


@pytest.mark.parametrize(
    ("moment", "hour", "weekday"),
    [
        ("1970-01-01T00:00:00", 0, 3),
        ("1969-12-31T23:59:59.999999", 23, 2),
        ("1969-12-28T12:00:00", 12, 6),
        ("2026-03-02T05:30:00", 5, 0),
        ("2026-03-08T22:00:00-02:00", 0, 0),
    ],
)
def test_hour_and_weekday_are_those_of_utc_also_before_1970(moment: str, hour: int, weekday: int) -> None:
    rows = _rows({"t": [moment]}, time="t")
    assert TimeFeature("time.hour", "hour").values(rows).tolist() == [hour]
    assert TimeFeature("time.weekday", "weekday").values(rows).tolist() == [weekday]


def test_without_a_time_its_parts_are_missing() -> None:
    assert np.isnan(TimeFeature("time.hour", "hour").values(_rows({"a": [1]}))).all()


def test_a_category_has_its_smoothed_rate_and_its_count() -> None:
    training = _rows({"a": ["x", "x", "x", "y", None]})
    encoder = _encoder(training, [1, 1, 0, 0, 1], "a")
    matrix = encoder.encode(_rows({"a": ["x", "y", None, "unseen"]})).matrix
    prior = (3 + 10 * 0.1) / (5 + 10)
    rates = [(2 + 2 * prior) / 5, 2 * prior / 3, (1 + 2 * prior) / 3, prior]
    assert matrix.dtype == np.float32
    assert matrix[:, 0].tolist() == np.array(rates).astype(np.float32).tolist()
    assert matrix[:, 1].tolist() == [3, 1, 1, 0]


def test_a_category_that_training_saw_too_rarely_is_cold() -> None:
    training = _rows({"a": ["x", "x", "y"]})
    rows = _rows({"a": ["x", "y", "unseen"]})
    assert _encoder(training, [0, 0, 0], "a").encode(rows).cold.tolist() == [False, True, True]
    assert _encoder(training, [0, 0, 0], "a", rare_impressions=1).encode(rows).cold.tolist() == [False, False, True]


def test_a_cross_is_known_by_all_its_parts() -> None:
    training = _rows({"a": ["x", "x"], "b": [1, 2]})
    encoder = _encoder(training, [1, 0], "a", "b")
    matrix = encoder.encode(_rows({"a": ["x", "x", "z"], "b": ["1", "2", "1"]})).matrix
    assert matrix[:, 1].tolist() == [1, 1, 0]
    assert matrix[0, 0] > matrix[1, 0]


def test_a_feature_has_its_name_and_type_in_the_order_of_the_matrix() -> None:
    encoder = Encoder(
        plain=(NumericFeature("n", "n", None, None), NativeFeature("c", "c", ("x",)), TimeFeature("time.hour", "hour")),
        statistics=(StatisticFeature("s", ("s",)), StatisticFeature("s x c", ("s", "c"))),
        tables={"s": CategoryTable.empty(), "s x c": CategoryTable.empty()},
        totals=Counts(np.array([0]), np.array([0])),
        smoothing=1.0,
        prior_rate=0.25,
        prior_weight=1.0,
        rare_impressions=1,
    )
    names = ("n", "c", "time.hour", "s.rate", "s.count", "s x c.rate", "s x c.count")
    assert (encoder.feature_names, encoder.feature_types) == (names, ("q", "c", "q", "q", "q", "q", "q"))
    matrix = encoder.encode(_rows({"n": [1.5], "c": ["x"], "s": ["k"], "t": ["1970-01-01"]}, time="t")).matrix
    assert matrix.tolist() == [[1.5, 0, 0, 0.25, 0, 0.25, 0]]


@given(st.lists(st.tuples(st.integers(-3, 3), st.booleans()), min_size=1, max_size=30))
def test_categories_are_equal_in_any_type(rows: list[tuple[int, bool]]) -> None:
    numbers, labels = [number for number, _ in rows], [int(label) for _, label in rows]
    types = [
        pa.array(numbers, pa.int8()),
        pa.array(numbers, pa.float64()),
        pa.array([str(number) for number in numbers]),
        pa.array([str(number) for number in numbers]).dictionary_encode(),
    ]
    matrices = {
        encoded.encode(_rows({"a": scored})).matrix.tobytes()
        for encoded in [_encoder(_rows({"a": trained}), labels, "a") for trained in types]
        for scored in types
    }
    assert len(matrices) == 1


def test_truth_values_are_the_categories_true_and_false() -> None:
    encoder = _encoder(_rows({"a": ["true", "true", "false"]}), [1, 0, 0], "a")
    assert encoder.encode(_rows({"a": [True, False]})).matrix[:, 1].tolist() == [2, 1]


def test_no_rows_make_no_features() -> None:
    encoder = _encoder(_rows({"a": ["x"]}), [1], "a")
    encoded = encoder.encode(_rows({"a": pa.array([], pa.string())}))
    assert (encoded.matrix.shape, encoded.cold.shape) == ((0, 2), (0,))
