"""A team's own function: what it gets, what it must give back, and what is said where it does not."""

import sys
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import pyarrow as pa
import pytest

from ctr_pipeline.features.custom import apply_custom, load_function
from tracking.errors import InputError

OWN = """
    import pyarrow as pa
    import pyarrow.compute as pc

    NUMBER = 3

    def double(batch):
        return batch.append_column("double", pc.multiply(batch["a"], 2))

    def fewer(batch):
        return batch.slice(1)

    def table(batch):
        return pa.Table.from_batches([batch])

    def failing(batch):
        raise KeyError("no\\nsuch column")

    def label(batch):
        return batch.append_column("click", batch["a"])

    def seen(batch):
        return batch.append_column("seen", pa.array([",".join(batch.schema.names)] * batch.num_rows))
"""


@pytest.fixture
def own_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """Writes a module beside the config, as a team would."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(source: str, name: str = "own_features_of_a_team") -> str:
        (tmp_path / f"{name}.py").write_text(dedent(source), encoding="utf-8")
        monkeypatch.delitem(sys.modules, name, raising=False)
        return name

    return write


ROWS = pa.table({"a": [1, 2, 3], "click": [0, 1, 0]})


@pytest.mark.parametrize("rows", [ROWS, ROWS.to_batches()[0], pa.concat_tables([ROWS.slice(0, 1), ROWS.slice(1)])])
def test_the_functions_batch_takes_the_place_of_the_rows(own_module: Callable[[str], str], rows: pa.Table) -> None:
    result = apply_custom(f"{own_module(OWN)}:double", rows, "click")
    assert result.to_pydict() == {"a": [1, 2, 3], "double": [2, 4, 6], "click": [0, 1, 0]}


def test_the_function_never_sees_the_label(own_module: Callable[[str], str]) -> None:
    result = apply_custom(f"{own_module(OWN)}:seen", ROWS, "click")
    assert result["seen"].to_pylist() == ["a"] * 3


def test_rows_without_a_label_stay_without_one(own_module: Callable[[str], str]) -> None:
    result = apply_custom(f"{own_module(OWN)}:double", ROWS.drop_columns(["click"]), "click")
    assert result.schema.names == ["a", "double"]


def test_no_rows_are_a_batch_too(own_module: Callable[[str], str]) -> None:
    assert apply_custom(f"{own_module(OWN)}:double", ROWS.slice(0, 0), "click").num_rows == 0


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("fewer", r":fewer returned 2 rows for 3, must return as many, in order$"),
        ("table", r":table returned a Table, must return a pyarrow\.RecordBatch$"),
        ("failing", r":failing failed on a batch of 3 rows: KeyError\('no\\nsuch column'\); mend the function$"),
        ("label", r":label returned the label column 'click', must not; drop it from the batch$"),
        (
            "missing",
            r"^features\.custom == 'own.*:missing', must name a function of own_features_of_a_team; define it there$",
        ),
        ("NUMBER", r"^features\.custom == 'own.*:NUMBER', must name a function of own_features_of_a_team"),
    ],
)
def test_a_function_that_breaks_the_contract_is_refused_in_one_line(
    own_module: Callable[[str], str], function: str, message: str
) -> None:
    with pytest.raises(InputError, match=message) as caught:
        apply_custom(f"{own_module(OWN)}:{function}", ROWS, "click")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            "import no_such_module",
            r"its module must be importable \(No module named 'no_such_module'\); run from the f",
        ),
        (
            "def broken(:",
            r"its module must be importable \(SyntaxError: invalid syntax .*\); run from the folder that ho",
        ),
        ("1 / 0", r"its module must be importable \(ZeroDivisionError: division by zero\)"),
    ],
)
def test_a_module_that_fails_to_load_is_refused(own_module: Callable[[str], str], source: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_function("features.custom", f"{own_module(source)}:f")


def test_a_name_needs_both_parts() -> None:
    with pytest.raises(InputError, match=r"^own metric m == 'hits', must be module:function; name both$"):
        load_function("own metric m", "hits")
