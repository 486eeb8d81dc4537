"""What a newcomer's first command leaves behind, read back with nothing but MLflow's own client."""

import hashlib
import json
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import pytest
from mlflow import MlflowClient
from mlflow.entities import LoggedModel, Run

from tests.e2e.conftest import Checkout

_KEYS: Final = {
    "run_id",
    "status",
    "data_version",
    "code_version",
    "model_digest",
    "metrics",
    "report",
    "tracking_uri",
    "wall_s",
}
_METRICS: Final = ("test.logloss", "test.auc", "test.normalized_entropy")
_STEPS: Final = ("preprocess", "train", "evaluate")
# Of each step, a few of its hyperparameters with the values of the bundled config, and a few of its metrics.
_PARAMS: Final = MappingProxyType(
    {
        "preprocess": {
            "split.by": "time",
            "split.test": "1d",
            "features.statistics.period": "1d",
            "features.statistics.smoothing": "20.0",
            "data.columns.label": "click",
        },
        "train": {"train.max_depth": "4", "train.learning_rate": "0.05", "train.min_child_weight": "5.0", "seed": "7"},
        "evaluate": {"evaluate.replicates": "500", "evaluate.slices": '["campaign","policy","position"]'},
    }
)
_STEP_METRICS: Final = MappingProxyType(
    {
        "preprocess": ("train.rows", "validation.rows", "test.rows", "test.clicks", "features"),
        "train": ("train.logloss", "validation.logloss", "best_round"),
        "evaluate": (*_METRICS, "test.calibration", "test.ece", "test.pr_auc", "test.lift_at_10pct"),
    }
)


@dataclass(frozen=True, slots=True)
class FirstRun:
    """A finished run, what the command printed about it, and a client of the store that it was logged to."""

    stdout: str
    commit: str
    client: MlflowClient

    @property
    def report(self) -> dict[str, Any]:
        values: dict[str, Any] = json.loads(self.stdout)
        return values

    @property
    def parent(self) -> Run:
        return self.client.get_run(self.report["run_id"])

    def steps(self) -> Mapping[str, Run]:
        parent = self.parent
        condition = f"tags.`mlflow.parentRunId` = '{parent.info.run_id}'"
        runs = self.client.search_runs([parent.info.experiment_id], condition)
        # A search leaves out which models a run read.
        return {run.data.tags["ctr.step"]: self.client.get_run(run.info.run_id) for run in runs}

    def model(self) -> LoggedModel:
        condition = f"source_run_id = '{self.report['run_id']}'"
        models = self.client.search_logged_models([self.parent.info.experiment_id], condition)
        assert len(models) == 1
        return models[0]


@pytest.fixture(scope="module", params=["sqlite", pytest.param("server", marks=pytest.mark.server)])
def first(request: pytest.FixtureRequest, checkout: Checkout) -> FirstRun:
    place = checkout.place
    if request.param == "sqlite":
        outcome = place.run("run", "--json")
        uri = place.tracking_uri
    else:
        uri = request.getfixturevalue("mlflow_server")
        outcome = place.run("run", "--json", "--set", f"tracking.uri={uri}", "--set", "tracking.experiment=first-run")
    assert outcome.exit_code == 0, outcome.stderr
    return FirstRun(outcome.stdout, checkout.commit, MlflowClient(uri))


def test_the_command_prints_one_json_object_with_the_promised_keys(first: FirstRun) -> None:
    report = first.report
    assert report.keys() >= _KEYS
    assert set(_METRICS) <= report["metrics"].keys()
    assert report["status"] == "FINISHED"
    assert report["report"] is None
    assert report["wall_s"] > 0
    assert report["code_version"] == first.commit
    assert all(value is None or isinstance(value, float) for value in report["metrics"].values())


def test_a_fresh_clone_is_pinned_committed_and_locked(first: FirstRun) -> None:
    report = first.report
    assert report["recipe_grade"] == "A", _downloaded_json(first, "recipe.json")["grade"]


@pytest.mark.parametrize("step", _STEPS)
def test_each_steps_run_has_the_data_version_and_the_commit(first: FirstRun, step: str) -> None:
    run, report = first.steps()[step], first.report
    assert run.info.status == "FINISHED"
    assert run.data.tags["data_version"] == report["data_version"]
    assert run.data.tags["mlflow.source.git.commit"] == first.commit
    assert report["data_version"] in _dataset_digests(run).values()


@pytest.mark.parametrize("step", _STEPS)
def test_each_steps_run_has_its_hyperparameters_and_metrics(first: FirstRun, step: str) -> None:
    run = first.steps()[step]
    assert _PARAMS[step].items() <= run.data.params.items()
    assert set(_STEP_METRICS[step]) <= run.data.metrics.keys()


def test_the_train_steps_run_has_a_point_of_the_curves_per_round(first: FirstRun) -> None:
    run = first.steps()["train"]
    for split in ("train", "validation"):
        curve = first.client.get_metric_history(run.info.run_id, f"{split}.logloss_by_round")
        assert [point.step for point in curve] == list(range(1, len(curve) + 1))
        assert curve[int(run.data.metrics["best_round"]) - 1].value == run.data.metrics[f"{split}.logloss"]


def test_the_parent_has_all_steps_params_and_metrics_and_the_data_version_and_the_commit(first: FirstRun) -> None:
    parent, report = first.parent, first.report
    assert parent.info.status == "FINISHED"
    for step, run in first.steps().items():
        assert run.data.params.items() <= parent.data.params.items(), step
        finals = {key: value for key, value in run.data.metrics.items() if not key.endswith("_by_round")}
        assert finals.items() <= parent.data.metrics.items(), step
    measured = {name: value for name, value in report["metrics"].items() if value is not None}
    assert measured.items() <= parent.data.metrics.items()
    for shown in (parent.data.tags, parent.data.params):
        assert shown["data_version"] == report["data_version"]
        assert shown["code_version"] == first.commit
    assert parent.data.tags["model_digest"] == report["model_digest"]
    assert parent.data.tags["mlflow.source.git.commit"] == first.commit
    digests = _dataset_digests(parent)
    assert set(digests) == {"open-bandit", "train", "validation", "test"}
    assert digests["open-bandit"] == report["data_version"]


def test_the_parent_keeps_recipe_source_snapshot_and_lock(first: FirstRun, checkout: Checkout, tmp_path: Path) -> None:
    recipe = _downloaded_json(first, "recipe.json")
    assert recipe["format"] == 1
    assert recipe["identity"]["data_digest"].startswith(first.report["data_version"])
    assert recipe["outputs"]["layers"]["model"] == first.report["model_digest"]
    root = checkout.place.folder
    lock = _download(first, "provenance/uv.lock")
    assert lock.read_bytes() == (root / "uv.lock").read_bytes()
    with tarfile.open(_download(first, "provenance/source.tar.gz")) as archive:
        archive.extractall(tmp_path, filter="data")
    kept = next(tmp_path.rglob("ctr_pipeline/steps/train.py"))
    assert kept.read_bytes() == (root / "ctr_pipeline/steps/train.py").read_bytes()


def test_metrics_are_linked_to_the_model_and_to_the_data(first: FirstRun) -> None:
    model, digests = first.model(), _dataset_digests(first.parent)
    linked = {metric.key: metric for metric in model.metrics or []}
    assert set(_METRICS) <= linked.keys()
    for key, split in (("test.logloss", "test"), ("validation.logloss", "validation"), ("train.logloss", "train")):
        assert (linked[key].dataset_name, linked[key].dataset_digest) == (split, digests[split])
        assert linked[key].model_id == model.model_id
    assert linked["test.logloss"].value == first.report["metrics"]["test.logloss"]


def test_the_model_is_ready_carries_its_parameters_and_belongs_to_parent_and_steps(first: FirstRun) -> None:
    model, parent, steps = first.model(), first.parent, first.steps()
    assert str(model.status) == "READY"
    assert _PARAMS["train"].items() <= (model.params or {}).items()
    for run in (parent, steps["train"]):
        assert run.outputs is not None
        assert [output.model_id for output in run.outputs.model_outputs] == [model.model_id]
    assert steps["evaluate"].inputs is not None
    assert [found.model_id for found in steps["evaluate"].inputs.model_inputs] == [model.model_id]


def test_the_predictions_are_kept_with_the_run(first: FirstRun) -> None:
    kept = _download(first, "predictions.parquet")
    on_disk = Path(first.report["outputs"]) / "evaluate" / "predictions.parquet"
    assert _sha256(kept) == _sha256(on_disk)


def _dataset_digests(run: Run) -> dict[str, str]:
    entries = run.inputs.dataset_inputs if run.inputs else []
    return {entry.dataset.name: entry.dataset.digest for entry in entries}


def _download(first: FirstRun, path: str) -> Path:
    return Path(first.client.download_artifacts(first.report["run_id"], path))


def _downloaded_json(first: FirstRun, path: str) -> dict[str, Any]:
    values: dict[str, Any] = json.loads(_download(first, path).read_bytes())
    return values


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
