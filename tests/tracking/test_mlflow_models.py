"""A logged model scores raw rows in another process that knows nothing of this repository."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent
from typing import Final

import pytest
from mlflow import MlflowClient
from mlflow.models import Model

from tracking.errors import InputError, TrackingError
from tracking.mlflow_tracker import MlflowTracker
from tracking.records import Item, ModelArtifact, Param

# Stands for the real predictor: probability = bids / (bids + weight of the user's text), 0.5 where the bid is missing.
PREDICTOR: Final = """
import json
import numpy as np
import pyarrow as pa
from ctr_pipeline.weights import FACTOR

class Predictor:
    def __init__(self, weight):
        self.weight = weight

    @classmethod
    def load(cls, folder):
        return cls(json.loads((folder / "model.json").read_text())["weight"])

    input_schema = pa.schema([
        pa.field("user", pa.string(), nullable=False),
        pa.field("time", pa.timestamp("us", tz="UTC"), nullable=False),
        pa.field("bid", pa.float64()),
        pa.field("slot", pa.dictionary(pa.int32(), pa.string())),
    ])

    def predict(self, rows):
        assert rows.schema == self.input_schema, rows.schema
        bid = np.array([value.as_py() or 0.0 for value in rows["bid"]])
        hour = np.array([value.as_py().hour for value in rows["time"]])
        slot = np.array([value.as_py() is None for value in rows["slot"]])
        return bid / (bid + self.weight) * FACTOR + hour + 100.0 * slot
"""
SCORE: Final = """
import json, sys, warnings
import pandas as pd
import mlflow
model = mlflow.pyfunc.load_model(sys.argv[1])
rows = pd.DataFrame({
    "bid": [1.0, None], "user": ["a", "b"], "unknown": [1, 2],
    "time": pd.to_datetime(["2026-03-01 04:00:00", "2026-03-01 05:00:00"]),
}, index=[7, 3])
scores = model.predict(rows)
import ctr_pipeline
print(json.dumps({"scores": scores.tolist(), "dtype": str(scores.dtype), "from": ctr_pipeline.__file__,
                  "example": model.predict(model.input_example).tolist()}))
"""


@pytest.fixture
def package(tmp_path: Path) -> Path:
    return write_package(tmp_path / "source", factor=0.5)


def write_package(root: Path, factor: float) -> Path:
    package = root / "ctr_pipeline"
    (package / "__pycache__").mkdir(parents=True)
    (package / "__pycache__" / "predictor.cpython-312.pyc").write_bytes(b"stale")
    (package / "samples").mkdir()
    (package / "samples" / "big.parquet").write_bytes(b"0" * 1000)
    (package / "__init__.py").touch()
    (package / "weights.py").write_text(f"FACTOR = {factor}\n", encoding="utf-8")
    (package / "predictor.py").write_text(PREDICTOR, encoding="utf-8")
    return package


@pytest.fixture
def step(tmp_path: Path) -> Path:
    """A train step's output folder with a complete model folder."""
    folder = tmp_path / "step"
    model = folder / "model"
    model.mkdir(parents=True)
    inputs = [("user", "string", True), ("time", "datetime", True), ("bid", "double", False), ("slot", "string", False)]
    signature = {
        "inputs": [{"name": name, "type": kind, "required": required} for name, kind, required in inputs],
        "outputs": [{"name": "probability", "type": "double"}],
    }
    example = [
        {"user": "6d0f", "time": "2026-03-01T06:00:00", "bid": 3.0},
        {"user": "6d", "time": "2026-03-01T07:00:00"},
    ]
    (model / "model.json").write_text('{"weight": 3.0}', encoding="utf-8")
    (model / "signature.json").write_text(json.dumps(signature), encoding="utf-8")
    (model / "input_example.json").write_text(json.dumps(example), encoding="utf-8")
    (model / "requirements.txt").write_text("# pinned\nmlflow==3.17.2\nnumpy==2.3.5\n", encoding="utf-8")
    return folder


@pytest.fixture
def logged(tmp_path: Path, mlflow_templates: Path, package: Path, step: Path) -> Callable[[], Path]:
    """Logs the model and returns where its files are."""

    def log() -> Path:
        uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
        tracker = MlflowTracker(uri, tmp_path / "artifacts", sources=(package,), templates=mlflow_templates)
        run_id = tracker.create_run(experiment="e", name="train", start_ms=1, tags={})
        items: list[Item] = [Param("depth", "6"), ModelArtifact("model", "clicker")]
        model_id = tracker.log(run_id, items, folder=step, timestamp_ms=1).model_id
        assert model_id
        location = MlflowClient(uri).get_logged_model(model_id).artifact_location
        return Path(location.removeprefix("file://"))

    return log


def run_elsewhere(script: str, *arguments: str, cwd: Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-W", "error::UserWarning:__main__", "-I", "-c", dedent(script), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd, timeout=120)


def test_a_logged_model_scores_raw_rows_without_the_repository(logged: Callable[[], Path], tmp_path: Path) -> None:
    model = logged()
    away = tmp_path / "away"
    away.mkdir()
    result = run_elsewhere(SCORE, str(model), cwd=away)
    assert result.returncode == 0, result.stderr
    answer = json.loads(result.stdout)
    assert answer["scores"] == [0.25 * 0.5 + 4 + 100, 5 + 100]
    assert answer["example"] == [0.5 * 0.5 + 6 + 100, 7 + 100]
    assert answer["dtype"] == "float64"
    assert not [line for line in result.stderr.splitlines() if "arning" in line]
    assert Path(answer["from"]).is_relative_to(model)


def test_a_second_version_in_one_process_is_refused_and_equal_code_is_not(
    logged: Callable[[], Path], tmp_path: Path
) -> None:
    first = logged()
    again = first.with_name("equal")
    other = first.with_name("other")
    for copy in (again, other):
        subprocess.run(["cp", "-r", str(first), str(copy)], check=True)
    (other / "code" / "ctr_pipeline" / "weights.py").write_text("FACTOR = 0.9\n", encoding="utf-8")
    script = "import sys, mlflow\nfor path in sys.argv[1:]: mlflow.pyfunc.load_model(path)\n"
    assert run_elsewhere(script, str(first), str(again), cwd=tmp_path).returncode == 0
    refused = run_elsewhere(script, str(first), str(other), cwd=tmp_path)
    assert refused.returncode == 1
    assert "this process has loaded another ctr_pipeline" in refused.stderr
    assert "load the model in a process of its own" in refused.stderr


def test_a_model_carries_python_only_and_names_no_path_of_this_machine(
    logged: Callable[[], Path], tmp_path: Path
) -> None:
    model = logged()
    files = sorted(file.relative_to(model).as_posix() for file in model.rglob("*") if file.is_file())
    assert files == [
        "MLmodel",
        "artifacts/model/input_example.json",
        "artifacts/model/model.json",
        "artifacts/model/requirements.txt",
        "artifacts/model/signature.json",
        "code/ctr_pipeline/__init__.py",
        "code/ctr_pipeline/predictor.py",
        "code/ctr_pipeline/weights.py",
        "conda.yaml",
        "input_example.json",
        "mlflow_model.py",
        "python_env.yaml",
        "requirements.txt",
        "serving_input_example.json",
    ]
    assert not [name for name in files if str(tmp_path) in (model / name).read_text(encoding="utf-8")]
    assert json.loads((model / "conda.yaml").read_text())["dependencies"][2] == {
        "pip": ["mlflow==3.17.2", "numpy==2.3.5"]
    }


def test_a_models_python_is_the_one_that_trained_it(logged: Callable[[], Path], step: Path) -> None:
    (step / "model" / ".python-version").write_text("3.12.99\n", encoding="utf-8")
    model = logged()
    assert Model.load(str(model)).flavors["python_function"]["python_version"] == "3.12.99"
    assert json.loads((model / "python_env.yaml").read_text())["python"] == "3.12.99"


def test_the_signature_tells_required_columns_from_optional_ones(logged: Callable[[], Path]) -> None:
    signature = Model.load(str(logged())).signature
    assert signature.inputs.required_input_names() == ["user", "time"]
    assert signature.inputs.optional_input_names() == ["bid", "slot"]
    assert signature.outputs.input_names() == ["probability"]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (("signature.json", None), r"signature\.json: is missing from the model folder; run the train step again"),
        (("requirements.txt", None), r"requirements\.txt: is missing from the model folder"),
        (("input_example.json", "["), r"input_example\.json: is not JSON"),
        (
            ("signature.json", '{"inputs": [{"name": "a", "type": "spell"}], "outputs": []}'),
            r"signature\.json: .*spell",
        ),
        (("signature.json", '{"inputs": [{"name": "a", "type": "long"}]}'), r"signature\.json: 'outputs'"),
    ],
)
def test_an_incomplete_model_folder_is_named_before_anything_is_created(
    logged: Callable[[], Path], step: Path, tmp_path: Path, damage: tuple[str, str | None], message: str
) -> None:
    name, content = damage
    (step / "model" / name).unlink()
    if content:
        (step / "model" / name).write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=message):
        logged()
    assert not MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}").search_logged_models(["1"])


def test_sources_that_are_no_package_are_named(
    logged: Callable[[], Path], package: Path, sqlite_tracker: MlflowTracker, step: Path
) -> None:
    (package / "__init__.py").unlink()
    with pytest.raises(InputError, match=r"ctr_pipeline: is no package folder \(no __init__\.py\)"):
        logged()
    run_id = sqlite_tracker.create_run(experiment="e", name="r", start_ms=1, tags={})
    with pytest.raises(InputError, match="no source packages given for the logged model to carry"):
        sqlite_tracker.log(run_id, [ModelArtifact("model", "m")], folder=step, timestamp_ms=1)


def test_an_upload_that_broke_off_is_completed_by_the_next_call(
    tmp_path: Path, mlflow_templates: Path, package: Path, step: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    tracker = MlflowTracker(uri, tmp_path / "artifacts", sources=(package,), templates=mlflow_templates)
    run_id = tracker.create_run(experiment="e", name="train", start_ms=1, tags={})

    def broken(*_: object) -> None:
        raise TrackingError("the line went dead")

    monkeypatch.setattr("tracking.mlflow_artifacts.Artifacts.upload", broken)
    with pytest.raises(TrackingError, match="the line went dead"):
        tracker.log(run_id, [ModelArtifact("model", "m")], folder=step, timestamp_ms=1)
    monkeypatch.undo()
    model_id = tracker.log(run_id, [ModelArtifact("model", "m")], folder=step, timestamp_ms=1).model_id
    (model,) = tracker.models(run_id)
    assert (model.model_id, model.ready) == (model_id, True)
    assert len(MlflowClient(uri).search_logged_models(["1"])) == 1
