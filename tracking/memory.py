"""A tracker that lives in memory: for tests of code that logs, and the simplest thing that keeps the contract."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from tracking.batch import Batch, check_final, check_tags
from tracking.errors import InputError
from tracking.records import (
    DatasetInput,
    Item,
    LogResult,
    Metric,
    MetricPoint,
    ModelMetric,
    ModelRecord,
    RunRecord,
    RunStatus,
)
from tracking.tracker import PARENT_TAG


@dataclass(slots=True)
class _Model:
    name: str
    run_id: str
    files: dict[str, bytes]
    metrics: set[ModelMetric] = field(default_factory=set)
    deleted: bool = False


@dataclass(slots=True)
class _Run:
    record: RunRecord
    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    points: dict[str, set[MetricPoint]] = field(default_factory=dict)
    datasets: dict[str, DatasetInput] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    outputs: set[str] = field(default_factory=set)
    inputs: set[str] = field(default_factory=set)
    deleted: bool = False


class MemoryTracker:
    """A `Tracker` whose runs vanish with it. Ids count up, so that tests can be exact."""

    def __init__(self) -> None:
        self._runs: dict[str, _Run] = {}
        self._models: dict[str, _Model] = {}

    @property
    def uri(self) -> str:
        """See `Tracker.uri`."""
        return "memory:"

    def create_run(
        self, *, experiment: str, name: str, start_ms: int, tags: Mapping[str, str], parent_run_id: str | None = None
    ) -> str:
        """See `Tracker.create_run`."""
        check_tags(tags)
        run_id = f"{len(self._runs) + 1:032x}"
        record = RunRecord(
            run_id=run_id,
            name=name,
            experiment=experiment,
            status=RunStatus.RUNNING,
            start_ms=start_ms,
            end_ms=None,
            params={},
            metrics={},
            tags={},
            datasets=(),
            parent_run_id=parent_run_id,
            artifact_uri=f"memory:{run_id}",
        )
        own = {PARENT_TAG: parent_run_id} if parent_run_id else {}
        self._runs[run_id] = _Run(record, tags={**tags, **own})
        return run_id

    def log(
        self, run_id: str, items: Iterable[Item], *, folder: Path, timestamp_ms: int, model_id: str | None = None
    ) -> LogResult:
        """See `Tracker.log`."""
        run = self._run(run_id)
        batch = Batch.of(items, folder)
        if model_id:
            self._model(model_id)
        digests = {name: dataset.digest for name, dataset in run.datasets.items()}
        batch.check_links(digests, model_id)
        new_datasets = batch.new_datasets(digests, run_id)
        run.params.update(batch.new_params(run.params, run_id))
        run.tags.update(batch.tags)
        run.datasets.update({dataset.name: replace(dataset, scope="step") for dataset in new_datasets})
        for artifact in batch.artifacts:
            run.files.update(_files(folder / artifact.path, artifact.target))
        logged = self._log_model(run, batch, folder, model_id)
        for metric in batch.metrics:
            run.points.setdefault(metric.key, set()).add(MetricPoint(metric.step, metric.value, timestamp_ms))
            if metric.of_model and logged:
                self._models[logged].metrics.add(_model_metric(metric, run))
        return LogResult(logged)

    def set_tags(self, run_id: str, tags: Mapping[str, str]) -> None:
        """See `Tracker.set_tags`."""
        check_tags(tags)
        self._run(run_id).tags.update(tags)

    def finish(self, run_id: str, status: RunStatus, end_ms: int) -> None:
        """See `Tracker.finish`."""
        check_final(status)
        run = self._run(run_id)
        run.record = replace(run.record, status=status, end_ms=end_ms)

    def run(self, run_id: str) -> RunRecord:
        """See `Tracker.run`."""
        return _record(self._run(run_id))

    def children(self, run_id: str) -> tuple[RunRecord, ...]:
        """See `Tracker.children`."""
        self._run(run_id)
        return tuple(sorted(self._where(None, {PARENT_TAG: run_id}), key=lambda run: (run.start_ms, run.run_id)))

    def runs(
        self, experiment: str | None = None, *, tags: Mapping[str, str] | None = None, limit: int = 100
    ) -> tuple[RunRecord, ...]:
        """See `Tracker.runs`."""
        found = sorted(self._where(experiment, tags or {}), key=lambda run: (-run.start_ms, run.run_id))
        return tuple(found[:limit])

    def metric_history(self, run_id: str, key: str) -> tuple[MetricPoint, ...]:
        """See `Tracker.metric_history`."""
        return tuple(sorted(self._run(run_id).points.get(key, ()), key=_position))

    def artifacts(self, run_id: str, path: str = "") -> tuple[str, ...]:
        """See `Tracker.artifacts`."""
        return tuple(sorted(_below(self._run(run_id).files, path)))

    def download(self, run_id: str, artifact_path: str, into: Path) -> Path:
        """See `Tracker.download`."""
        found = _below(self._run(run_id).files, artifact_path)
        if not artifact_path or not found:
            raise InputError(f"run {run_id} has no artifact {artifact_path!r}: list them with `ctr-pipeline show RUN`")
        target = into / PurePosixPath(artifact_path).name
        _write(found, artifact_path, target)
        return target

    def models(self, run_id: str) -> tuple[ModelRecord, ...]:
        """See `Tracker.models`."""
        ids = (model_id for model_id in self._run(run_id).outputs if not self._models[model_id].deleted)
        return tuple(sorted((self._model_record(model_id) for model_id in ids), key=lambda model: model.name))

    def download_model(self, model_id: str, into: Path) -> Path:
        """See `Tracker.download_model`."""
        _write(self._model(model_id).files, "model", into / "model")
        return into / "model"

    def delete_run(self, run_id: str) -> None:
        """See `Tracker.delete_run`."""
        self._run(run_id).deleted = True
        for model in self._models.values():
            model.deleted = model.deleted or model.run_id == run_id

    def _run(self, run_id: str) -> _Run:
        run = self._runs.get(run_id)
        if run is None or run.deleted:
            state = "was deleted from" if run else "does not exist in"
            raise InputError(f"run {run_id!r} {state} {self.uri}: check the id with `ctr-pipeline show`")
        return run

    def _model(self, model_id: str) -> _Model:
        model = self._models.get(model_id)
        if model is None or model.deleted:
            raise InputError(f"model {model_id!r} does not exist in {self.uri} or was deleted: check the id")
        return model

    def _where(self, experiment: str | None, tags: Mapping[str, str]) -> list[RunRecord]:
        kept = [_record(run) for run in self._runs.values() if not run.deleted and tags.items() <= run.tags.items()]
        return [run for run in kept if experiment in {None, run.experiment}]

    def _log_model(self, run: _Run, batch: Batch, folder: Path, model_id: str | None) -> str | None:
        if batch.model is None:
            if model_id and model_id not in run.outputs:
                run.inputs.add(model_id)
            return model_id
        if model_id is None:
            model_id = f"m-{run.record.run_id}-{batch.model.name}"
            files = _files(folder / batch.model.path, "model")
            self._models.setdefault(model_id, _Model(batch.model.name, run.record.run_id, files))
        run.outputs.add(model_id)
        return model_id

    def _model_record(self, model_id: str) -> ModelRecord:
        model = self._models[model_id]
        metrics = tuple(sorted(model.metrics, key=lambda metric: (metric.key, metric.step, metric.run_id)))
        return ModelRecord(model_id, model.name, model.run_id, ready=True, metrics=metrics)


def _record(run: _Run) -> RunRecord:
    return replace(
        run.record,
        params=dict(run.params),
        metrics={key: max(points, key=_position).value for key, points in run.points.items()},
        tags=dict(run.tags),
        datasets=tuple(run.datasets[name] for name in sorted(run.datasets)),
    )


def _position(point: MetricPoint) -> tuple[int, int, float]:
    return (point.step, point.timestamp_ms, point.value)


def _model_metric(metric: Metric, run: _Run) -> ModelMetric:
    digest = run.datasets[metric.dataset].digest if metric.dataset else None
    return ModelMetric(metric.key, metric.value, metric.step, run.record.run_id, metric.dataset, digest)


def _files(path: Path, target: str) -> dict[str, bytes]:
    if path.is_file():
        return {target: path.read_bytes()}
    return {
        f"{target}/{file.relative_to(path).as_posix()}": file.read_bytes() for file in path.rglob("*") if file.is_file()
    }


def _below(files: Mapping[str, bytes], path: str) -> dict[str, bytes]:
    return {name: content for name, content in files.items() if not path or name == path or name.startswith(f"{path}/")}


def _write(files: Mapping[str, bytes], root: str, target: Path) -> None:
    for name, content in files.items():
        file = target / name.removeprefix(root).removeprefix("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
