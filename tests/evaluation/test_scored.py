from typing import Any

import numpy as np
import pytest

from ctr_pipeline.evaluation.scored import Scored, SliceColumn
from tracking.errors import InputError

LABEL = np.array([1, 0, 1], dtype=np.uint8)
PROBABILITY = np.array([0.5, 0.25, 0.75])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"label": np.array([1, 0, 2], dtype=np.uint8)}, r"^label == 2, must be 0 or 1; map the label"),
        ({"label": np.array([1, 0, 1])}, r"^type of label == int64, must be uint8; cast it$"),
        ({"label": LABEL[:, None]}, r"^dimensions of label == 2, must be 1; flatten it$"),
        ({"probability": PROBABILITY[:2]}, r"^rows of probability == 2, must be 3 as of label; align them$"),
        ({"probability": np.array([0.5, np.nan, 0.1])}, r"^probability == nan in row 1, must be finite; check"),
        ({"probability": np.array([0.5, 1.5, 0.1])}, r"^probability == 1\.5, must be in \[0, 1\]; pass margins"),
        ({"probability": np.array([0.5, -1.5, 0.1])}, r"^probability == -1\.5, must be in \[0, 1\]; pass margins"),
        ({"probability": PROBABILITY.astype(np.float32)}, r"^type of probability == float32, must be float64; cast"),
        ({"margin": np.array([0, 1, np.inf], dtype=np.float32)}, r"^margin == inf in row 2, must be finite; check"),
        ({"margin": PROBABILITY}, r"^type of margin == float64, must be float32; cast it$"),
        ({"cluster": np.array([1.0, 2.0, 3.0])}, r"^type of cluster == float64, must be int64 or uint64; cast it$"),
        ({"group": np.array([1, 2])}, r"^rows of group == 2, must be 3 as of label; align them$"),
        ({"time_us": np.array([1, 2, 3], dtype=np.uint64)}, r"^type of time_us == uint64, must be int64; cast it$"),
        ({"cold": np.array([True])}, r"^rows of cold == 1, must be 3 as of label; align them$"),
        ({"slices": {"country": SliceColumn.from_texts(["a"])}}, r"^rows of slice 'country' == 1, must be 3 as of"),
    ],
)
def test_bad_input_is_refused_in_one_line(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Scored(**{"label": LABEL, "probability": PROBABILITY, **changes})


def test_no_rows_are_refused() -> None:
    with pytest.raises(InputError, match=r"^evaluated rows == 0, must be > 0; widen the test window"):
        Scored(LABEL[:0], PROBABILITY[:0])


def test_the_rows_cannot_be_changed_afterwards_and_the_callers_array_can() -> None:
    probability = PROBABILITY.copy()
    scored = Scored(LABEL, probability)
    with pytest.raises(ValueError, match="read-only"):
        scored.probability[0] = 0.0
    assert probability.flags.writeable


def test_rows_and_clicks_are_counted() -> None:
    scored = Scored(LABEL, PROBABILITY)
    assert (scored.n_rows, scored.n_clicks) == (3, 2)


def test_texts_are_encoded_in_sorted_order_and_null_apart() -> None:
    column = SliceColumn.from_texts(["b", None, "a", "b"])
    assert column.values == ("a", "b")
    assert column.codes.tolist() == [1, -1, 0, 1]


@pytest.mark.parametrize("code", [-2, 2])
def test_a_slice_code_without_a_value_is_refused(code: int) -> None:
    with pytest.raises(InputError, match=r"^slice codes == .*, must be -1 \(null\) or below 2, the number of values"):
        SliceColumn(np.array([0, code]), ("a", "b"))


def test_an_empty_slice_column_is_no_error_of_its_own() -> None:
    assert SliceColumn.from_texts([]).values == ()
