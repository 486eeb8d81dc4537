"""`sync`: send what an execution computed to the tracker that was away."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from ctr_pipeline.workflows.execution import Execution, ExecutionFolder
from ctr_pipeline.workflows.find_run import find_folder
from ctr_pipeline.workflows.left import mark_killed
from ctr_pipeline.workflows.place import Place
from ctr_pipeline.workflows.recorder import sync
from ctr_pipeline.workflows.verdict_log import log_verdict
from tracking.errors import InputError, ProblemError, TrackingError
from tracking.records import RunStatus


@dataclass(frozen=True, slots=True)
class Synced:
    """What became of one execution.

    Attributes:
        execution_id: our own id.
        run_id: the tracker's id; None where it was not sent.
        state: "sent", "running" (its own driver logs it) or "failed".
        status: of the execution.
        tracking_uri: where it belongs, without credentials.
        problem: in one line, why it failed.
    """

    execution_id: str
    run_id: str | None
    state: Literal["sent", "running", "failed"]
    status: str
    tracking_uri: str
    problem: str | None = None


def sync_run(wanted: str, place: Place) -> Synced:
    """Send one execution, whole; what the tracker has already stays as it is.

    Args:
        wanted: as `show` takes it.
        place: its home.

    Raises:
        InputError: it is not on this machine, or still running.
        TrackingError: the tracker cannot be reached, or refuses.
    """
    folder = find_folder(wanted, place)
    execution = mark_killed(folder)
    if execution.status is RunStatus.RUNNING:
        raise InputError(
            f"run {execution.execution_id} is still running (process {execution.process.pid} on "
            f"{execution.process.host}), must be over; its own driver logs it"
        )
    return _sent(folder, execution, place)


def sync_all(place: Place) -> Iterator[Synced]:
    """Send every execution that is not completely logged, oldest first, and tell of each; a failure stops no other."""
    for folder in place.home.executions():
        if folder.load_logged().complete:
            continue
        execution = mark_killed(folder)
        if execution.status is RunStatus.RUNNING:
            yield _outcome(execution, folder.load_logged().run_id, "running")
            continue
        try:
            yield _sent(folder, execution, place)
        except ProblemError as error:
            yield _outcome(execution, folder.load_logged().run_id, "failed", str(error))


def failed(outcomes: tuple[Synced, ...]) -> TrackingError | None:
    """Return the error of those that could not be sent, None where all were."""
    lost = [outcome for outcome in outcomes if outcome.state == "failed"]
    if not lost:
        return None
    return TrackingError(f"{len(lost)} of {len(outcomes)} executions could not be sent, first: {lost[0].problem}")


def _sent(folder: ExecutionFolder, execution: Execution, place: Place) -> Synced:
    try:
        tracker = place.tracker_of(execution)
        run_id = sync(tracker, folder)
        log_verdict(tracker, folder)
        return _outcome(execution, run_id, "sent")
    except TrackingError as error:
        if place.records(execution) or execution.tracking_uri.startswith("sqlite:"):
            raise
        raise TrackingError(
            f"{error}; no credentials are kept with a run: if the tracker wants some, name it with them, by "
            "--tracking-uri or in the config"
        ) from error


def _outcome(
    execution: Execution, run_id: str | None, state: Literal["sent", "running", "failed"], problem: str | None = None
) -> Synced:
    return Synced(execution.execution_id, run_id, state, str(execution.status), execution.tracking_uri, problem)
