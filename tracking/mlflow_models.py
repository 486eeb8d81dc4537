"""A model folder as an MLflow logged model that scores raw rows anywhere, without our repository.

It is a pyfunc "model from code": nothing is pickled. The folder that a train step writes holds, beside what its
predictor loads,

* `signature.json`: `{"inputs": [{"name", "type", "required"}], "outputs": [{"name", "type"}]}` with the types string,
  boolean, long, double and datetime (a whole-number column that may be missing is a double: so pandas holds it);
* `input_example.json`: a list of at most five rows as objects, user ids hashed;
* `requirements.txt`: the pinned packages that scoring needs;
* `.python-version`, optional: the Python that trained it; this one's if it is not there.

The layout that MLflow expects is written by hand: its own `save_model` spends over a second on looking through every
installed package, and copies the lock file of whatever folder the process happens to stand in.
"""

import json
import platform
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from mlflow import MlflowClient
from mlflow.entities import LoggedModel, LoggedModelStatus, Run
from mlflow.models import Model, ModelSignature
from mlflow.types import Schema

from tracking.errors import InputError
from tracking.mlflow_artifacts import Artifacts
from tracking.records import ModelArtifact

MODEL_FOLDER: Final = "artifacts/model"
_SCRIPT: Final = Path(__file__).with_name("mlflow_model.py")
_SPLIT: Final = "split"


def log_model(client: MlflowClient, run: Run, artifact: ModelArtifact, folder: Path, sources: Sequence[Path]) -> str:
    """Log a model once per run and name; a call that broke off is completed by the next.

    Args:
        client: lent by the connection.
        run: the run that made it, with the params to show beside the model.
        artifact: its name.
        folder: the model folder.
        sources: package folders that the model carries.

    Returns:
        The model's id.

    Raises:
        InputError: the model folder or a source is incomplete.
    """
    content = _Content.read(folder, sources)
    begun = (model for model in models_of(client, run) if model.name == artifact.name)
    model = next(begun, None) or client.create_logged_model(
        run.info.experiment_id, artifact.name, source_run_id=run.info.run_id, params=run.data.params
    )
    if model.status != LoggedModelStatus.READY:
        files = Artifacts(model.artifact_location, client.tracking_uri)
        with content.layout(model.model_id, run.info.run_id) as frame:
            files.upload(folder, MODEL_FOLDER)
            files.upload(frame)
        client.finalize_logged_model(model.model_id, LoggedModelStatus.READY)
    return str(model.model_id)


def models_of(client: MlflowClient, run: Run) -> tuple[LoggedModel, ...]:
    """Read the logged models that a run made, also those that it did not get to list as its outputs.

    Args:
        client: lent by the connection.
        run: the run.
    """
    made_here = f"source_run_id = '{run.info.run_id}'"
    return tuple(client.search_logged_models([run.info.experiment_id], made_here))


@dataclass(frozen=True, slots=True)
class _Content:
    """What the frame around a model folder is made from."""

    signature: ModelSignature
    columns: list[str]
    example: list[dict[str, Any]]
    requirements: str
    python: str
    size: int
    sources: tuple[Path, ...]

    @classmethod
    def read(cls, folder: Path, sources: Sequence[Path]) -> "_Content":
        signature = _json(folder, "signature.json")
        requirements = _text(folder, "requirements.txt")
        version = folder / ".python-version"
        for source in sources:
            if not (source / "__init__.py").is_file():
                raise InputError(f"{source}: is no package folder (no __init__.py), the logged model cannot carry it")
        if not sources:
            raise InputError(f"{folder}: no source packages given for the logged model to carry: pass sources")
        return cls(
            signature=_signature(signature, folder),
            columns=[column["name"] for column in signature["inputs"]],
            example=_json(folder, "input_example.json"),
            requirements=requirements,
            python=version.read_text(encoding="utf-8").strip() if version.is_file() else platform.python_version(),
            size=sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()),
            sources=tuple(sources),
        )

    @contextmanager
    def layout(self, model_id: str, run_id: str) -> Iterator[Path]:
        """Lend a folder with everything but the model folder itself."""
        with TemporaryDirectory(prefix="ctr-model-") as aside:
            frame = Path(aside)
            shutil.copyfile(_SCRIPT, frame / _SCRIPT.name)
            for source in self.sources:
                _copy_python(source, frame / "code" / source.name)
            self._write_example(frame)
            self._write_environment(frame)
            self._mlmodel(model_id, run_id).save(str(frame / "MLmodel"))
            yield frame

    def _write_example(self, frame: Path) -> None:
        present = [name for name in self.columns if any(name in row for row in self.example)]
        table = {"columns": present, "data": [[row.get(name) for name in present] for row in self.example]}
        _write_json(frame / "input_example.json", table)
        _write_json(frame / "serving_input_example.json", {f"dataframe_{_SPLIT}": table})

    def _write_environment(self, frame: Path) -> None:
        (frame / "requirements.txt").write_text(self.requirements, encoding="utf-8")
        packages = [line for line in self.requirements.splitlines() if line and not line.startswith("#")]
        conda = {
            "name": "mlflow-env",
            "channels": ["conda-forge"],
            "dependencies": [f"python={self.python}", "pip", {"pip": packages}],
        }
        virtualenv = {
            "python": self.python,
            "build_dependencies": ["pip", "setuptools", "wheel"],
            "dependencies": ["-r requirements.txt"],
        }
        _write_json(frame / "conda.yaml", conda)  # JSON is YAML
        _write_json(frame / "python_env.yaml", virtualenv)

    def _mlmodel(self, model_id: str, run_id: str) -> Model:
        model = Model(
            run_id=run_id,
            model_id=model_id,
            signature=self.signature,
            saved_input_example_info={
                "artifact_path": "input_example.json",
                "serving_input_path": "serving_input_example.json",
                "type": "dataframe",
                "pandas_orient": _SPLIT,
            },
            model_size_bytes=self.size,
        )
        model.add_flavor(
            "python_function",
            loader_module="mlflow.pyfunc.loaders.code_model",
            code="code",
            env={"conda": "conda.yaml", "virtualenv": "python_env.yaml"},
            python_version=self.python,
            model_code_path=_SCRIPT.name,
            artifacts={"model": {"path": MODEL_FOLDER, "uri": "model"}},
            streamable=False,
        )
        return model


def _signature(content: dict[str, Any], folder: Path) -> ModelSignature:
    try:
        sides = (Schema.from_json(json.dumps(content[side])) for side in ("inputs", "outputs"))
        return ModelSignature(*sides)
    except Exception as error:
        raise InputError(f"{folder / 'signature.json'}: {error}; run the train step again") from error


def _copy_python(source: Path, target: Path) -> None:
    # Only Python: bundled samples and byte code would make every model some megabytes heavier.
    for file in sorted(source.rglob("*.py")):
        copy = target / file.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, copy)


def _json(folder: Path, name: str) -> Any:  # noqa: ANN401 - JSON
    try:
        return json.loads(_text(folder, name))
    except ValueError as error:
        raise InputError(f"{folder / name}: is not JSON ({error}); run the train step again") from error


def _text(folder: Path, name: str) -> str:
    try:
        return (folder / name).read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise InputError(f"{folder / name}: is missing from the model folder; run the train step again") from error


def _write_json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, ensure_ascii=False, indent=1), encoding="utf-8")
