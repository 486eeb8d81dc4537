"""What lies beside a model: a signature, an example, pinned packages, rows to check it with."""

import json
from importlib import metadata
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ctr_pipeline.columns import Columns
from ctr_pipeline.data.hashing import hash_text
from ctr_pipeline.model_folder import (
    CHECK_FILE,
    EXAMPLE_FILE,
    REQUIREMENTS_FILE,
    SIGNATURE_FILE,
    _without_ids,
    check_model,
)
from ctr_pipeline.predictor import Predictor
from tests.small_log import data_folder, impressions, run_step, small_settings
from tracking.errors import InputError


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder whose user is a feature too."""
    folder = tmp_path_factory.mktemp("model")
    settings = small_settings(data={"columns": {"categorical": ["site", "ad", "user"]}})
    data = data_folder({"a.parquet": impressions(1_500)}, folder)
    run_step("preprocess", settings, folder / "splits", data=data)
    run_step("train", settings, folder / "train", splits=folder / "splits")
    return folder / "train" / "model"


def test_the_signature_names_each_input_and_lets_whole_numbers_with_gaps_through(model: Path) -> None:
    signature = json.loads((model / SIGNATURE_FILE).read_bytes())
    inputs = {item["name"]: (item["type"], item["required"]) for item in signature["inputs"]}
    assert inputs == {
        "time": ("any", True),
        "user": ("any", False),
        "price": ("double", False),
        "site": ("any", False),
        "ad": ("any", False),
        "device": ("any", False),
        "position": ("any", False),
    }
    assert signature["outputs"] == [{"name": "probability", "type": "double"}]


def test_the_example_is_raw_rows_with_hashed_user_ids(model: Path) -> None:
    example = json.loads((model / EXAMPLE_FILE).read_bytes())
    users = {f"{hash_text(f'u{number}'):016x}" for number in range(200)}
    assert len(example) == 5
    assert all(row["user"] in users and row["time"].startswith("2026-03") for row in example)


def test_the_check_rows_have_hashed_user_ids_too(model: Path) -> None:
    users = {f"{hash_text(f'u{number}'):016x}" for number in range(200)}
    assert set(pq.read_table(model / CHECK_FILE)["user"].to_pylist()) <= users


@pytest.mark.parametrize("kind", [pa.int64(), pa.int32(), pa.float64()])
def test_ids_of_any_type_are_hashed_or_left_out(kind: pa.DataType) -> None:
    rows = pa.table({"user": pa.array([1, None, 10_007], kind), "group": pa.array(["a", None, "a"]), "n": [1, 2, 3]})
    hashed = _without_ids(rows, Columns(user="user", group="group"))
    known = {None, *(hash_text(str(number)) >> 1 for number in (1, 10_007))} if pa.types.is_integer(kind) else {None}
    assert set(hashed["user"].to_pylist()) == known
    assert hashed["group"].to_pylist() == [f"{hash_text('a'):016x}", None, f"{hash_text('a'):016x}"]
    assert hashed["n"].equals(rows["n"])


def test_the_requirements_pin_what_scoring_imports(model: Path) -> None:
    lines = (model / REQUIREMENTS_FILE).read_text(encoding="utf-8").splitlines()
    assert [line.partition("==")[0] for line in lines] == [
        "mlflow",
        "numpy",
        "pandas",
        "pyarrow",
        "pydantic",
        "xgboost",
    ]
    assert f"xgboost=={metadata.version('xgboost')}" in lines


def test_the_kept_rows_score_as_they_did(model: Path) -> None:
    check = pq.read_table(model / CHECK_FILE)
    assert check.num_rows == 100
    check_model(Predictor.load(model), model)


def test_a_model_that_scores_differently_is_found_out(model: Path) -> None:
    predictor = Predictor.load(model)
    check = pq.read_table(model / CHECK_FILE)
    margins = check["@margin"].to_numpy().copy()
    margins[0] += 1e-6
    changed = check.set_column(check.schema.get_field_index("@margin"), "@margin", pa.array(margins))
    kept = (model / CHECK_FILE).read_bytes()
    try:
        pq.write_table(changed, model / CHECK_FILE)
        with pytest.raises(
            InputError, match=r"1 of 100 check rows score differently from when the model was made; score i"
        ):
            check_model(predictor, model)
    finally:
        (model / CHECK_FILE).write_bytes(kept)
