"""What the contract suites run on."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Final
from uuid import uuid4

import pytest

from tests.plugins.mlflow_fixtures import mlflow_server, mlflow_templates, sqlite_tracker
from tests.plugins.s3_fixtures import s3_bucket, s3_server, s3_variables, versioned_bucket
from tracking.memory import MemoryTracker
from tracking.mlflow_tracker import MlflowTracker
from tracking.tracker import Tracker

__all__ = [
    "mlflow_server",
    "mlflow_templates",
    "s3_bucket",
    "s3_server",
    "s3_variables",
    "sqlite_tracker",
    "versioned_bucket",
]

START: Final = 1_700_000_000_000


@pytest.fixture(scope="session")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sources") / "ctr_pipeline"
    folder.mkdir()
    (folder / "__init__.py").touch()
    return folder


@pytest.fixture(params=["memory", "sqlite", pytest.param("server", marks=pytest.mark.server)])
def tracker(request: pytest.FixtureRequest, tmp_path: Path, package: Path) -> Tracker:
    if request.param == "memory":
        return MemoryTracker()
    if request.param == "server":
        return MlflowTracker(request.getfixturevalue("mlflow_server"), sources=(package,))
    templates = request.getfixturevalue("mlflow_templates")
    return MlflowTracker(
        f"sqlite:///{tmp_path / 'mlflow.db'}", tmp_path / "mlflow artifacts #1", sources=(package,), templates=templates
    )


@pytest.fixture
def experiment() -> str:
    """A name of its own for each test, because the tests share a server."""
    return f"ads / ranking: é {uuid4().hex[:8]}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A step's output folder."""
    folder = tmp_path / "output"
    model = folder / "model"
    model.mkdir(parents=True)
    (folder / "report.txt").write_text("fine", encoding="utf-8")
    (folder / "plots" / "inner").mkdir(parents=True)
    (folder / "plots" / "a b.svg").write_text("<svg/>", encoding="utf-8")
    (folder / "plots" / "inner" / "ü.svg").write_text("<svg></svg>", encoding="utf-8")
    (model / "booster.ubj").write_bytes(b"\x00trees")
    signature = {
        "inputs": [{"name": "item", "type": "string", "required": True}],
        "outputs": [{"name": "probability", "type": "double"}],
    }
    (model / "signature.json").write_text(json.dumps(signature), encoding="utf-8")
    (model / "input_example.json").write_text('[{"item": "a"}]', encoding="utf-8")
    (model / "requirements.txt").write_text("mlflow\n", encoding="utf-8")
    return folder


@pytest.fixture
def new_run(tracker: Tracker, experiment: str) -> Callable[..., str]:
    def create(*, start_ms: int = START, parent: str | None = None, **tags: str) -> str:
        return tracker.create_run(
            experiment=experiment, name="a run", start_ms=start_ms, tags=tags, parent_run_id=parent
        )

    return create
