"""The `Tracker` on MLflow: a SQLite file, a server, or whatever its plugins reach.

Only `MlflowClient` is used: no active run, no fluent calls, every id passed on explicitly.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import LifecycleStage, LoggedModelInput, LoggedModelOutput, Run
from mlflow.exceptions import MlflowException

from tracking.batch import Batch, check_final, check_tags
from tracking.errors import InputError
from tracking.mlflow_artifacts import Artifacts
from tracking.mlflow_connection import Connection
from tracking.mlflow_datasets import to_mlflow
from tracking.mlflow_models import MODEL_FOLDER, log_model, models_of
from tracking.mlflow_records import model_record, run_record
from tracking.mlflow_search import experiment_ids, search_runs
from tracking.mlflow_sqlite import prepare_sqlite, sqlite_path
from tracking.mlflow_writing import send_datasets, send_metrics, send_params, send_tags
from tracking.records import Item, LogResult, MetricPoint, ModelRecord, RunRecord, RunStatus
from tracking.tracker import PARENT_TAG


class MlflowTracker:
    """A `Tracker` over any MLflow tracking URI.

    Args:
        uri: such as `sqlite:////path/mlflow.db` or `http://host:5000`; a SQLite file is made when it is missing.
        artifact_root: folder or URI under which new experiments keep artifacts; a server chooses itself if None, a
            SQLite file has `artifacts` beside it.
        sources: package folders that logged models carry.
        templates: folder for the template of fresh SQLite files; `cache` beside the database if None.
    """

    def __init__(
        self,
        uri: str,
        artifact_root: Path | str | None = None,
        *,
        sources: Sequence[Path] = (),
        templates: Path | None = None,
    ) -> None:
        self._connection = Connection(uri)
        self._sources = tuple(sources)
        self._experiments: dict[str, str] = {}
        database = sqlite_path(uri)
        if database:
            root = artifact_root or database.parent / "artifacts"
            prepare_sqlite(database, templates or database.parent / "cache", root if isinstance(root, Path) else None)
            artifact_root = root
        self._root = artifact_root.resolve().as_uri() if isinstance(artifact_root, Path) else artifact_root

    @property
    def uri(self) -> str:
        """See `Tracker.uri`."""
        return self._connection.shown_uri

    def create_run(
        self, *, experiment: str, name: str, start_ms: int, tags: Mapping[str, str], parent_run_id: str | None = None
    ) -> str:
        """See `Tracker.create_run`."""
        check_tags(tags)
        own = {PARENT_TAG: parent_run_id} if parent_run_id else {}
        with self._connection.client(f"create run {name!r}") as client:
            experiment_id = self._experiment_id(client, experiment)
            return str(client.create_run(experiment_id, start_ms, {**tags, **own}, name).info.run_id)

    def log(
        self, run_id: str, items: Iterable[Item], *, folder: Path, timestamp_ms: int, model_id: str | None = None
    ) -> LogResult:
        """See `Tracker.log`."""
        batch = Batch.of(items, folder)
        with self._connection.client(f"log to run {run_id}") as client:
            run = self._get(client, run_id)
            digests = _digests(run)
            batch.check_links(digests, model_id)
            datasets = batch.new_datasets(digests, run_id)
            params = batch.new_params(run.data.params, run_id)
            send_datasets(client, run_id, [to_mlflow(dataset) for dataset in datasets])
            send_params(client, run_id, params)
            send_tags(client, run_id, batch.tags)
            for artifact in batch.artifacts:
                client.log_artifact(run_id, str(folder / artifact.path), artifact.artifact_path or None)
            logged = self._log_model(client, self._get(client, run_id), batch, folder, model_id)
            digests.update({dataset.name: dataset.digest for dataset in datasets})
            send_metrics(client, run_id, batch.metrics, timestamp_ms=timestamp_ms, digests=digests, model_id=logged)
        return LogResult(logged)

    def set_tags(self, run_id: str, tags: Mapping[str, str]) -> None:
        """See `Tracker.set_tags`."""
        check_tags(tags)
        with self._connection.client(f"tag run {run_id}") as client:
            self._get(client, run_id)
            send_tags(client, run_id, tags)

    def finish(self, run_id: str, status: RunStatus, end_ms: int) -> None:
        """See `Tracker.finish`."""
        check_final(status)
        with self._connection.client(f"finish run {run_id}") as client:
            self._get(client, run_id)
            client.set_terminated(run_id, status.value, end_ms)

    def run(self, run_id: str) -> RunRecord:
        """See `Tracker.run`."""
        with self._connection.client(f"read run {run_id}") as client:
            return self._record(client, self._get(client, run_id))

    def children(self, run_id: str) -> tuple[RunRecord, ...]:
        """See `Tracker.children`."""
        with self._connection.client(f"read the steps of run {run_id}") as client:
            parent = self._get(client, run_id)
            runs = search_runs(client, [parent.info.experiment_id], {PARENT_TAG: run_id})
            found = [self._record(client, run) for run in runs]
        return tuple(sorted(found, key=lambda run: (run.start_ms, run.run_id)))

    def runs(
        self, experiment: str | None = None, *, tags: Mapping[str, str] | None = None, limit: int = 100
    ) -> tuple[RunRecord, ...]:
        """See `Tracker.runs`."""
        with self._connection.client("search runs") as client:
            runs = search_runs(client, experiment_ids(client, experiment), tags or {})
            return tuple(self._record(client, run) for run in islice(runs, limit))

    def metric_history(self, run_id: str, key: str) -> tuple[MetricPoint, ...]:
        """See `Tracker.metric_history`."""
        with self._connection.client(f"read metric {key!r} of run {run_id}") as client:
            self._get(client, run_id)
            points = client.get_metric_history(run_id, key)
        read = (MetricPoint(point.step, point.value, point.timestamp) for point in points)
        return tuple(sorted(read, key=lambda point: (point.step, point.timestamp_ms, point.value)))

    def artifacts(self, run_id: str, path: str = "") -> tuple[str, ...]:
        """See `Tracker.artifacts`."""
        with self._connection.client(f"list the files of run {run_id}") as client:
            return self._files(self._get(client, run_id)).files(path)

    def download(self, run_id: str, artifact_path: str, into: Path) -> Path:
        """See `Tracker.download`."""
        with self._connection.client(f"download {artifact_path!r} of run {run_id}") as client:
            files = self._files(self._get(client, run_id))
            if not artifact_path or not files.files(artifact_path):
                raise InputError(
                    f"run {run_id} has no artifact {artifact_path!r}: list them with `ctr-pipeline show RUN`"
                )
            return files.download(artifact_path, into)

    def models(self, run_id: str) -> tuple[ModelRecord, ...]:
        """See `Tracker.models`."""
        with self._connection.client(f"read the models of run {run_id}") as client:
            ids = sorted(_outputs(self._get(client, run_id)))
            found = [model_record(client.get_logged_model(model_id)) for model_id in ids]
        return tuple(sorted(found, key=lambda model: model.name))

    def download_model(self, model_id: str, into: Path) -> Path:
        """See `Tracker.download_model`."""
        with self._connection.client(f"download model {model_id}") as client:
            location = client.get_logged_model(model_id).artifact_location
            return Artifacts(location, self._connection.tracking_uri).download(MODEL_FOLDER, into)

    def delete_run(self, run_id: str) -> None:
        """See `Tracker.delete_run`."""
        with self._connection.client(f"delete run {run_id}") as client:
            for model in models_of(client, self._get(client, run_id)):
                client.delete_logged_model(model.model_id)
            client.delete_run(run_id)

    def _get(self, client: MlflowClient, run_id: str) -> Run:
        try:
            run = client.get_run(run_id)
        except MlflowException as error:
            if error.error_code not in {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}:
                raise
            raise InputError(
                f"run {run_id!r} does not exist in {self.uri}: check the id with `ctr-pipeline show`"
            ) from error
        if run.info.lifecycle_stage == LifecycleStage.DELETED:
            raise InputError(f"run {run_id!r} was deleted from {self.uri}: check the id with `ctr-pipeline show`")
        return run

    def _record(self, client: MlflowClient, run: Run) -> RunRecord:
        experiment_id = run.info.experiment_id
        if experiment_id not in self._experiments:
            self._experiments[experiment_id] = client.get_experiment(experiment_id).name
        return run_record(run, self._experiments[experiment_id])

    def _files(self, run: Run) -> Artifacts:
        return Artifacts(run.info.artifact_uri or "", self._connection.tracking_uri)

    def _experiment_id(self, client: MlflowClient, name: str) -> str:
        experiment = client.get_experiment_by_name(name)
        if experiment is None:
            try:
                return client.create_experiment(name, artifact_location=self._location(name))
            except MlflowException as error:
                # Between the two calls another process may have been faster.
                experiment = client.get_experiment_by_name(name)
                if error.error_code != "RESOURCE_ALREADY_EXISTS" or experiment is None:
                    raise
        if experiment.lifecycle_stage == LifecycleStage.DELETED:
            raise InputError(f"experiment {name!r} was deleted from {self.uri}: restore it or choose another name")
        return str(experiment.experiment_id)

    def _location(self, experiment: str) -> str | None:
        if self._root is None:
            return None
        readable = re.sub(r"[^\w.-]+", "-", experiment, flags=re.ASCII)[:60].strip(".-")
        return f"{self._root.rstrip('/')}/{readable}-{hashlib.sha256(experiment.encode()).hexdigest()[:8]}"

    def _log_model(
        self, client: MlflowClient, run: Run, batch: Batch, folder: Path, model_id: str | None
    ) -> str | None:
        if model_id:
            client.get_logged_model(model_id)
        run_id, outputs = run.info.run_id, _outputs(run)
        if batch.model is None:
            if model_id and model_id not in outputs:
                client.log_inputs(run_id, models=[LoggedModelInput(model_id)])
            return model_id
        logged = model_id or log_model(client, run, batch.model, folder / batch.model.path, self._sources)
        if logged not in outputs:
            client.log_outputs(run_id, [LoggedModelOutput(logged, step=0)])
        return logged


def _outputs(run: Run) -> set[str]:
    return {output.model_id for output in run.outputs.model_outputs} if run.outputs else set()


def _digests(run: Run) -> dict[str, str]:
    logged = run.inputs.dataset_inputs if run.inputs else []
    return {entry.dataset.name: entry.dataset.digest for entry in logged}
