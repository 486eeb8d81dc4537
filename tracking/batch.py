"""What one call of `Tracker.log` is asked to write: sorted by kind and checked, the same for every tracker."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tracking.errors import InputError, TrackingError
from tracking.records import Artifact, DatasetInput, Item, Metric, ModelArtifact, Param, RunStatus, Tag

MAX_PARAM_LENGTH: Final = 6_000
MAX_TAG_LENGTH: Final = 8_000


@dataclass(frozen=True, slots=True)
class Batch:
    """Items by kind; equal ones once.

    Attributes:
        params: value by key.
        tags: value by key; of several the last.
        metrics: in their order.
        datasets: by name.
        artifacts: in their order; each file or folder exists.
        model: the model folder, if any; it exists.
    """

    params: Mapping[str, str]
    tags: Mapping[str, str]
    metrics: tuple[Metric, ...]
    datasets: Mapping[str, DatasetInput]
    artifacts: tuple[Artifact, ...]
    model: ModelArtifact | None

    @classmethod
    def of(cls, items: Iterable[Item], folder: Path) -> "Batch":
        """Sort and check items.

        Args:
            items: what a step emitted.
            folder: its output folder.

        Raises:
            TrackingError: a value is too long, or one key has two values.
            InputError: a file is missing, or there are two models.
        """
        kept = tuple(dict.fromkeys(items))
        artifacts = tuple(item for item in kept if isinstance(item, Artifact))
        models = tuple(item for item in kept if isinstance(item, ModelArtifact))
        if len(models) > 1:
            raise InputError(
                f"{len(models)} models in one call ({models[0].name!r}, {models[1].name!r}): log them apart"
            )
        for path in (item.path for item in kept if isinstance(item, Artifact | ModelArtifact)):
            if not (folder / path).exists():
                raise InputError(f"{folder / path}: no such file or folder; run the step again")
        params = _unique_params([item for item in kept if isinstance(item, Param)])
        tags = {item.key: item.value for item in kept if isinstance(item, Tag)}
        check_tags(tags)
        return cls(
            params=params,
            tags=tags,
            metrics=_unique_metrics([item for item in kept if isinstance(item, Metric)]),
            datasets=_unique_datasets([item for item in kept if isinstance(item, DatasetInput)]),
            artifacts=artifacts,
            model=models[0] if models else None,
        )

    def new_params(self, present: Mapping[str, str], run_id: str) -> dict[str, str]:
        """Params that the run does not have yet.

        Args:
            present: the run's params.
            run_id: for the message.

        Raises:
            TrackingError: one is there with another value.
        """
        for key, value in self.params.items():
            if present.get(key, value) != value:
                raise TrackingError(
                    f"param {key!r} of run {run_id} is {_short(present[key])}, cannot become {_short(value)}: "
                    "params are written once; log to a new run"
                )
        return {key: value for key, value in self.params.items() if key not in present}

    def new_datasets(self, present: Mapping[str, str], run_id: str) -> tuple[DatasetInput, ...]:
        """Datasets that the run does not have yet.

        Args:
            present: digest by name of the run's datasets.
            run_id: for the message.

        Raises:
            TrackingError: one is there with another digest.
        """
        for name, dataset in self.datasets.items():
            if present.get(name, dataset.digest) != dataset.digest:
                raise TrackingError(
                    f"dataset {name!r} of run {run_id} has digest {present[name]}, cannot become {dataset.digest}: "
                    "log to a new run"
                )
        return tuple(dataset for name, dataset in self.datasets.items() if name not in present)

    def check_links(self, present: Mapping[str, str], model_id: str | None) -> None:
        """See that every dataset and model that a metric names is known.

        Args:
            present: digest by name of the run's datasets.
            model_id: a model that exists already.

        Raises:
            InputError: one is not.
        """
        for metric in self.metrics:
            if metric.dataset and metric.dataset not in self.datasets and metric.dataset not in present:
                raise InputError(
                    f"metric {metric.key!r} names dataset {metric.dataset!r}, which is no input of the run: log its "
                    "DatasetInput with it"
                )
            if metric.of_model and not (self.model or model_id):
                raise InputError(f"metric {metric.key!r} is of a model, but there is none: pass model_id")


def check_tags(tags: Mapping[str, str]) -> None:
    """Refuse tags that trackers would cut.

    Args:
        tags: value by key.

    Raises:
        TrackingError: a value is longer than 8,000 characters.
    """
    for key, value in tags.items():
        _check_length("tag", key, value, MAX_TAG_LENGTH)


def check_final(status: RunStatus) -> None:
    """Refuse to end a run as running.

    Args:
        status: how the run is to end.

    Raises:
        InputError: it is RUNNING.
    """
    if status is RunStatus.RUNNING:
        raise InputError("status is RUNNING, must be FINISHED, FAILED or KILLED to end a run")


def _unique_params(params: list[Param]) -> dict[str, str]:
    unique: dict[str, str] = {}
    for param in params:
        _check_length("param", param.key, param.value, MAX_PARAM_LENGTH)
        if unique.setdefault(param.key, param.value) != param.value:
            raise TrackingError(
                f"param {param.key!r} has two values, {_short(unique[param.key])} and {_short(param.value)}: emit one"
            )
    return unique


def _unique_metrics(metrics: list[Metric]) -> tuple[Metric, ...]:
    values: dict[tuple[str, int], float] = {}
    for metric in metrics:
        if values.setdefault((metric.key, metric.step), metric.value) != metric.value:
            raise InputError(
                f"metric {metric.key!r} has two values at step {metric.step}, {values[metric.key, metric.step]} and "
                f"{metric.value}: emit one"
            )
    return tuple({(metric.key, metric.step): metric for metric in metrics}.values())


def _unique_datasets(datasets: list[DatasetInput]) -> dict[str, DatasetInput]:
    unique: dict[str, DatasetInput] = {}
    for dataset in datasets:
        if unique.setdefault(dataset.name, dataset).digest != dataset.digest:
            raise TrackingError(
                f"dataset {dataset.name!r} has two digests, {unique[dataset.name].digest} and {dataset.digest}: "
                "emit one"
            )
    return unique


def _check_length(kind: str, key: str, value: str, limit: int) -> None:
    if len(value) > limit:
        raise TrackingError(
            f"{kind} {key!r} has {len(value):,} characters, trackers take {limit:,}: keep it as an artifact instead"
        )


def _short(value: str) -> str:
    return repr(value if len(value) <= 40 else f"{value[:37]}...")  # noqa: PLR2004 - what fits in a one-line message
