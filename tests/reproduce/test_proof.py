"""No step's word is taken for its outputs: today's code computes the digests from the files."""

import json
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from ctr_pipeline.reproduce.layers import output_layers
from ctr_pipeline.reproduce.proof import proven
from ctr_pipeline.reproduce.verdict import Layer
from ctr_pipeline.workflows.execution import ExecutionFolder
from tests.plugins.run_fixtures import FinishedRun
from tracking.recipe import Recipe


@pytest.fixture
def made(finished_run: FinishedRun, tmp_path: Path) -> ExecutionFolder:
    """A finished run's outputs, to be changed."""
    shutil.copytree(finished_run.folder.path, tmp_path / "run")
    return ExecutionFolder(tmp_path / "run")


def test_honest_outputs_give_the_digests_that_the_steps_told(made: ExecutionFolder) -> None:
    layers = _layers(made)
    assert {"split.train", "split.test", "encoder", "booster", "margins", "predictions", "metrics"} <= {
        layer.name for layer in layers
    }
    assert proven(layers, made, is_frozen=False) == layers


@pytest.mark.parametrize(
    ("file", "layers"),
    [
        ("preprocess/train.parquet", {"split.train"}),
        ("preprocess/test.parquet", {"split.test"}),
        ("preprocess/encoder/encoder.json", {"encoder"}),
        ("train/model/booster.ubj", {"booster"}),
        ("evaluate/predictions.parquet", {"margins", "predictions", "metrics"}),
        ("evaluate/step.json", {"metrics"}),
    ],
    ids=["train", "test", "encoder", "booster", "predictions", "metrics"],
)
def test_a_file_that_is_not_what_its_step_told_is_found(made: ExecutionFolder, file: str, layers: set[str]) -> None:
    told = _layers(made)
    (made.path / file).write_bytes(b"something else")
    found = proven(told, made, is_frozen=False)
    assert {layer.name for layer in found if not layer.is_equal} == layers
    assert all("its files do not give it" in layer.note for layer in found if not layer.is_equal)


def test_other_predictions_under_the_old_digests_are_found(made: ExecutionFolder) -> None:
    told, path = _layers(made), made.step("evaluate") / "predictions.parquet"
    table = pq.read_table(path)
    place = table.schema.get_field_index("probability")
    halved = pc.divide(table.column(place), pa.scalar(2.0))
    pq.write_table(table.set_column(place, "probability", halved), path)
    found = proven(told, made, is_frozen=False)
    # The loss that was told is not of these probabilities either.
    assert {layer.name for layer in found if not layer.is_equal} == {"predictions", "metrics"}


def test_metrics_that_were_changed_after_they_were_digested_are_found(made: ExecutionFolder) -> None:
    told, path = _layers(made), made.step("evaluate") / "step.json"
    values = json.loads(path.read_bytes())
    values["facts"]["metrics"]["test.auc"] = 0.99
    path.write_text(json.dumps(values), encoding="utf-8")
    assert [layer.name for layer in proven(told, made, is_frozen=False) if not layer.is_equal] == ["metrics"]


def test_a_frozen_model_is_not_looked_for_among_the_outputs(made: ExecutionFolder) -> None:
    layers = _layers(made)
    shutil.rmtree(made.step("train"))
    shutil.rmtree(made.step("preprocess") / "encoder")
    assert proven(layers, made, is_frozen=True) == layers


def _layers(folder: ExecutionFolder) -> tuple[Layer, ...]:
    outputs = Recipe.from_json(folder.recipe.read_bytes()).outputs.layers
    return output_layers(outputs, outputs)
