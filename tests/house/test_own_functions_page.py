"""The functions that docs/own-functions.md shows do what the page says."""

import re
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tests.house.project import ROOT


@pytest.fixture(scope="module")
def shown() -> dict[str, Any]:
    """What the page's Python blocks define."""
    page = (ROOT / "docs/own-functions.md").read_text(encoding="utf-8")
    names: dict[str, Any] = {}
    for block in re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL):
        exec(block, names)  # noqa: S102 - our own page
    return names


def test_the_shown_preprocessing_adds_its_column(shown: dict[str, Any]) -> None:
    batch = pa.RecordBatch.from_pydict({"price": [3.0, None], "bid": [1.0, 2.0]})
    assert shown["add_price_gap"](batch).column("price_gap").to_pylist() == [2.0, None]


def test_the_shown_metric_takes_weights_and_none(shown: dict[str, Any]) -> None:
    label, probability = np.array([1, 0], np.uint8), np.array([0.5, 0.1])
    assert shown["brier"](label, probability, None) == pytest.approx((0.25 + 0.01) / 2)
    assert shown["brier"](label, probability, np.array([0.0, 2.0])) == pytest.approx(0.01)
