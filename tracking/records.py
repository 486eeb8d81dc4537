"""What a run consists of, as frozen values.

A *step* computes first and then emits **items** (`Param`, `Tag`, `Metric`, `DatasetInput`, `Artifact`,
`ModelArtifact`); a `Tracker` writes them. What is read back are **records** (`RunRecord`, `ModelRecord`). Values are
checked here, where they are made, so that neither a tracker nor a server has to refuse them later.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import PurePosixPath
from typing import Final, Literal

from tracking.errors import InputError

type Scope = Literal["step", "run"]
type DataContext = Literal["training", "validation", "test", "raw"]

MAX_KEY_LENGTH: Final = 250
_KEY: Final = re.compile(r"[\w.\- ]+(/[\w.\- ]+)*")
_DIGEST: Final = re.compile(r"[0-9a-f]{1,32}")


@dataclass(frozen=True, slots=True)
class Param:
    """A setting of the run; written once, never changed.

    Attributes:
        key: letters, digits and ``_ - . /`` or spaces, at most 250 characters.
        value: text; trackers take at most 6,000 characters.
        scope: "step" for the step's own run, "run" for the parent run too.
    """

    key: str
    value: str
    scope: Scope = "step"

    def __post_init__(self) -> None:
        _check_key("param", self.key)


@dataclass(frozen=True, slots=True)
class Tag:
    """A label of the run; may be overwritten.

    Attributes:
        key: as for `Param`.
        value: text; trackers take at most 8,000 characters.
        scope: as for `Param`.
    """

    key: str
    value: str
    scope: Scope = "step"

    def __post_init__(self) -> None:
        _check_key("tag", self.key)


@dataclass(frozen=True, slots=True)
class Metric:
    """A figure of the run at one step of a curve.

    Attributes:
        key: as for `Param`.
        value: a finite number; leave out a figure that does not exist (an AUC without clicks).
        step: boosting round or other position on the curve.
        dataset: name of the `DatasetInput` it was measured on, known to the run or logged with it.
        of_model: whether it describes the logged model, to be shown beside it.
        scope: as for `Param`.
    """

    key: str
    value: float
    step: int = 0
    dataset: str | None = None
    of_model: bool = False
    scope: Scope = "step"

    def __post_init__(self) -> None:
        _check_key("metric", self.key)
        if not math.isfinite(self.value):
            raise InputError(f"metric {self.key!r} is {self.value}, must be finite: leave it out")


@dataclass(frozen=True, slots=True)
class DatasetInput:
    """A data version that the run read.

    Attributes:
        name: unique within the run, 1 to 500 characters.
        digest: our logical digest, 1 to 32 lower-case hex digits.
        source_uri: where it was read from.
        n_rows: number of rows.
        columns: (name, type) of each column, in order.
        context: what it was used for.
        scope: as for `Param`.
    """

    name: str
    digest: str
    source_uri: str
    n_rows: int
    columns: tuple[tuple[str, str], ...]
    context: DataContext
    scope: Scope = "step"

    def __post_init__(self) -> None:
        if not 1 <= len(self.name) <= 500:  # noqa: PLR2004 - MLflow's limit, stated in the docstring
            raise InputError(f"dataset name {self.name!r} has {len(self.name)} characters, must have 1 to 500")
        if not _DIGEST.fullmatch(self.digest):
            raise InputError(
                f"digest of dataset {self.name!r} is {self.digest!r}, must be 1 to 32 lower-case hex digits"
            )
        if self.n_rows < 0:
            raise InputError(f"n_rows of dataset {self.name!r} is {self.n_rows}, must be >= 0")


@dataclass(frozen=True, slots=True)
class Artifact:
    """A file or folder to be kept with the run, under its own name.

    Attributes:
        path: relative to the step's output folder.
        artifact_path: folder in the run that receives it; "" is the root.
        scope: as for `Param`.
    """

    path: str
    artifact_path: str = ""
    scope: Scope = "step"

    def __post_init__(self) -> None:
        _check_relative("artifact", self.path)
        if self.artifact_path:
            _check_relative("artifact_path", self.artifact_path)

    @property
    def target(self) -> str:
        """Path within the run's artifacts, with forward slashes."""
        return str(PurePosixPath(self.artifact_path) / PurePosixPath(self.path).name)


@dataclass(frozen=True, slots=True)
class ModelArtifact:
    """A model folder, to be kept as a logged model that scores raw rows.

    The folder holds, beside what the predictor loads, `signature.json`, `input_example.json`, `requirements.txt` and
    optionally `.python-version`; `tracking/mlflow_models.py` says what is in them.

    Attributes:
        path: model folder, relative to the step's output folder.
        name: name of the logged model.
        scope: as for `Param`.
    """

    path: str
    name: str
    scope: Scope = "step"

    def __post_init__(self) -> None:
        _check_relative("model", self.path)
        if not self.name or re.search(r"[/:.%\"']", self.name):
            raise InputError(f"model name {self.name!r} is not allowed: at least one character, none of / : . % \" '")


type Item = Param | Tag | Metric | DatasetInput | Artifact | ModelArtifact


class RunStatus(StrEnum):
    """State of a run, in MLflow's words."""

    RUNNING = "RUNNING"
    FINISHED = "FINISHED"
    FAILED = "FAILED"
    KILLED = "KILLED"


@dataclass(frozen=True, slots=True)
class MetricPoint:
    """One point of a metric's curve; time in milliseconds since 1970 UTC."""

    step: int
    value: float
    timestamp_ms: int


@dataclass(frozen=True, slots=True)
class LogResult:
    """What logging brought about.

    Attributes:
        model_id: the logged model that was created, found again or given; None without one.
    """

    model_id: str | None


@dataclass(frozen=True, slots=True)
class ModelMetric:
    """A figure of a logged model, with the data version it was measured on."""

    key: str
    value: float
    step: int
    run_id: str
    dataset: str | None
    dataset_digest: str | None


@dataclass(frozen=True, slots=True)
class ModelRecord:
    """A logged model, read back.

    Attributes:
        model_id: its id; `models:/ID` is its URI.
        name: as given in `ModelArtifact`.
        run_id: the run that made it.
        ready: whether its files are complete.
        metrics: ordered by (key, step, run id).
    """

    model_id: str
    name: str
    run_id: str
    ready: bool
    metrics: tuple[ModelMetric, ...]


@dataclass(frozen=True, slots=True)
class RunRecord:
    """A run, read back.

    Attributes:
        run_id: the tracker's id.
        name: display name.
        experiment: name of the group of runs.
        status: state.
        start_ms: start, milliseconds since 1970 UTC.
        end_ms: end, None while running.
        params: settings.
        metrics: each curve's last value: greatest step, then latest time.
        tags: labels, the tracker's own among them.
        datasets: data versions, ordered by name; always with scope "step".
        parent_run_id: the execution's run for a step's run, else None.
        artifact_uri: where the artifacts lie.
    """

    run_id: str
    name: str
    experiment: str
    status: RunStatus
    start_ms: int
    end_ms: int | None
    params: Mapping[str, str]
    metrics: Mapping[str, float]
    tags: Mapping[str, str]
    datasets: tuple[DatasetInput, ...]
    parent_run_id: str | None
    artifact_uri: str


def _check_key(kind: str, key: str) -> None:
    bad_part = any(part in {".", ".."} for part in key.split("/"))
    if bad_part or len(key) > MAX_KEY_LENGTH or not _KEY.fullmatch(key):
        raise InputError(
            f"{kind} key {key!r} is not allowed: letters, digits, '_', '-', '.', spaces and inner '/', "
            f"at most {MAX_KEY_LENGTH} characters"
        )


def _check_relative(kind: str, path: str) -> None:
    parts = path.split("/")
    if path.startswith("/") or "\\" in path or any(part in {"", ".", ".."} for part in parts):
        raise InputError(f"{kind} {path!r} must be a relative path with '/' and without '..'")
