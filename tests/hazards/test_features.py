"""Hazards 45 and 46: what the features are made by is not what it was."""

from pathlib import Path

import pytest

from ctr_pipeline.reproduce.verdict import Verdict
from tests.hazards.laboratory import PARTS, Workbench, write_log

_QUERIED = """\
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

VIEW = Path(__file__).with_name("margin.sql").read_text()


def add_margin(batch: pa.RecordBatch) -> pa.RecordBatch:
    rate = float(re.search(r"price \\* ([.0-9]+)", VIEW)[1])
    return batch.append_column("margin", pc.multiply(pc.cast(batch.column("price"), "double"), rate))
"""


def test_a_file_of_rules_in_a_package_is_part_of_its_code(bench: Workbench) -> None:
    bench.write("team/rules.json", '{"fee": 30}\n')
    assert bench.reproduce().verdict is Verdict.IDENTICAL
    current = bench.reproduce(use_current_code=True)
    assert current.verdict is Verdict.DIVERGED
    assert "team/rules.json edited" in str(current.cause)


def test_a_query_beside_a_single_module_is_part_of_its_code(bench: Workbench) -> None:
    bench.write("views.py", _QUERIED)
    bench.write("margin.sql", "SELECT price * 0.5 AS margin FROM impressions\n")
    made = bench.of(bench.run("features.custom=views:add_margin", reuse=True))
    bench.write("margin.sql", "SELECT price * 0.75 AS margin FROM impressions\n")
    assert made.reproduce().verdict is Verdict.IDENTICAL
    current = made.reproduce(use_current_code=True)
    assert current.verdict is Verdict.DIVERGED
    assert "margin.sql edited" in str(current.cause)
    assert bench.run("features.custom=views:add_margin", reuse=True).reused == {}


@pytest.fixture
def other_log(tmp_path: Path) -> Path:
    """Impressions of other users under the same columns."""
    write_log(tmp_path / "other", seed=2)
    assert all((tmp_path / "other" / part).is_file() for part in PARTS)
    return tmp_path / "other"


@pytest.mark.parametrize(
    ("preprocess", "told"), [("refit", "fitted anew on the new data"), ("freeze", "are the original's, frozen")]
)
def test_on_other_data_it_is_said_what_becomes_of_the_preprocessing(
    bench: Workbench, other_log: Path, preprocess: str, told: str
) -> None:
    found = bench.reproduce(data=str(other_log), preprocess=preprocess)
    assert found.verdict is Verdict.NEW_DATA
    assert any(told in note for note in found.notes)
    encoder = next(layer for layer in found.layers if layer.name == "encoder")
    assert encoder.is_equal == (preprocess == "freeze")
