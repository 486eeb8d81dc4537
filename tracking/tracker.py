"""The contract of every experiment tracker; `tests/contract` holds each implementation to it.

Common to all methods:

* Ids travel explicitly; there is no active run, and nothing is read from the environment.
* Times are milliseconds since 1970 UTC and come from the caller.
* Writing is **idempotent**: sending the same again, with the same `timestamp_ms`, changes nothing, so that
  `ctr-pipeline sync` may send twice what was interrupted once.
* `TrackingError`: the tracker cannot be reached (found out within some ten seconds; the message names the remedy), or
  it refuses what it was given. `InputError`: a run id that does not exist or was deleted, or a value that breaks a
  rule.
* Credentials in a tracker's URI appear in no message, record or tag.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final, Protocol

from tracking.records import Item, LogResult, MetricPoint, ModelRecord, RunRecord, RunStatus

PARENT_TAG: Final = "mlflow.parentRunId"


class Tracker(Protocol):
    """Where runs are recorded and found again."""

    @property
    def uri(self) -> str:
        """Address of the tracker, without credentials."""
        ...

    def create_run(
        self, *, experiment: str, name: str, start_ms: int, tags: Mapping[str, str], parent_run_id: str | None = None
    ) -> str:
        """Begin a run; creates the experiment at its first use, also when several processes do so at once.

        Args:
            experiment: name of the group of runs.
            name: display name; need not be unique.
            start_ms: start time.
            tags: labels to begin with.
            parent_run_id: the run of the whole execution, when this is a step's run.

        Returns:
            The new run's id.

        Raises:
            InputError: the experiment was deleted.
        """
        ...

    def log(
        self, run_id: str, items: Iterable[Item], *, folder: Path, timestamp_ms: int, model_id: str | None = None
    ) -> LogResult:
        """Write items to one run, whatever their scope: the caller picks those that go to the parent too.

        A `ModelArtifact` becomes a logged model, once per run and name. With `model_id` given it is not created: that
        model becomes an *output* of this run too. `model_id` without a `ModelArtifact` makes the model an *input* of
        the run (an evaluation), unless it is its output already.

        Args:
            run_id: the run, running or finished.
            items: at most one `ModelArtifact` among them.
            folder: the step's output folder, under which artifacts lie.
            timestamp_ms: time of the metrics.
            model_id: a model that exists already.

        Returns:
            The id of the model that metrics `of_model` were linked to.

        Raises:
            TrackingError: a param is there with another value, a dataset with another digest; a param longer than
                6,000 or a tag longer than 8,000 characters (nothing is ever cut).
            InputError: a file is missing; a metric names a dataset or model that the run does not know, or comes twice
                with different values.
        """
        ...

    def set_tags(self, run_id: str, tags: Mapping[str, str]) -> None:
        """Set or overwrite labels.

        Args:
            run_id: the run, running or finished.
            tags: label and value, at most 8,000 characters each.

        Raises:
            TrackingError: a value is too long.
        """
        ...

    def finish(self, run_id: str, status: RunStatus, end_ms: int) -> None:
        """End a run, or correct how it ended.

        Args:
            run_id: the run.
            status: any but RUNNING.
            end_ms: end time.

        Raises:
            InputError: the status is RUNNING.
        """
        ...

    def run(self, run_id: str) -> RunRecord:
        """Read one run.

        Args:
            run_id: the run.

        Raises:
            InputError: there is no such run, or it was deleted.
        """
        ...

    def children(self, run_id: str) -> tuple[RunRecord, ...]:
        """Read the runs whose parent this is, oldest first.

        Args:
            run_id: the parent.
        """
        ...

    def runs(
        self, experiment: str | None = None, *, tags: Mapping[str, str] | None = None, limit: int = 100
    ) -> tuple[RunRecord, ...]:
        """Find runs, newest first; deleted ones are left out.

        Args:
            experiment: only in this experiment; one that does not exist has no runs.
            tags: only with all of these labels.
            limit: at most so many, >= 1.
        """
        ...

    def metric_history(self, run_id: str, key: str) -> tuple[MetricPoint, ...]:
        """Read a metric's curve, ordered by (step, time); empty where there is none.

        Args:
            run_id: the run.
            key: the metric.
        """
        ...

    def artifacts(self, run_id: str, path: str = "") -> tuple[str, ...]:
        """List the files of a run, sorted, as paths from the run's root; a logged model's files are not among them.

        Args:
            run_id: the run.
            path: a file or folder to look in; one that does not exist has no files.
        """
        ...

    def download(self, run_id: str, artifact_path: str, into: Path) -> Path:
        """Copy a file or folder of a run.

        Args:
            run_id: the run.
            artifact_path: path from the run's root, not empty.
            into: existing folder that receives it.

        Returns:
            The local copy, named as in the run.

        Raises:
            InputError: there is no such file or folder.
        """
        ...

    def models(self, run_id: str) -> tuple[ModelRecord, ...]:
        """Read the logged models that are outputs of a run, ordered by name.

        Args:
            run_id: the run.
        """
        ...

    def download_model(self, model_id: str, into: Path) -> Path:
        """Copy the model folder of a logged model, as the step wrote it.

        Args:
            model_id: the logged model.
            into: existing folder that receives it.

        Returns:
            The local model folder.

        Raises:
            InputError: there is no such model.
        """
        ...

    def delete_run(self, run_id: str) -> None:
        """Delete one run and the logged models it made; its children stay. Deleting twice is an `InputError`.

        Args:
            run_id: the run.
        """
        ...
