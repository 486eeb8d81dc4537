"""Executions and their runs: dead, half-written, not logged."""

from collections.abc import Iterator
from functools import partial

from ctr_pipeline.workflows.diagnosis import Finding
from ctr_pipeline.workflows.execution import RUNS_FOLDER, Execution, ExecutionFolder
from ctr_pipeline.workflows.find_run import parent_runs
from ctr_pipeline.workflows.left import half_written, is_over, mark_killed, remove, size_of
from ctr_pipeline.workflows.place import Place
from ctr_pipeline.workflows.recorder import EXECUTION_TAG
from tracking.aside import abandoned
from tracking.errors import ProblemError
from tracking.records import RunRecord, RunStatus
from tracking.tracker import Tracker

_EVERY = 10**9
_FIX = "`ctr-pipeline doctor --fix` "


def execution_findings(place: Place, *, now_s: float) -> Iterator[Finding]:
    """Yield what is wrong with the executions on this machine; no tracker is asked.

    Args:
        place: the home.
        now_s: the time, in seconds since 1970.
    """
    for folder in place.home.executions():
        try:
            execution = folder.load()
        except (ProblemError, ValueError, LookupError, TypeError) as error:
            yield Finding("execution-unreadable", folder.path.name, f"{type(error).__name__}: {error}", "remove it")
            continue
        yield from _of_execution(folder, execution)
    yield from _temporaries(place, now_s)


def run_findings(place: Place, tracker: Tracker) -> Iterator[Finding]:
    """Yield runs that the tracker says are running while nobody works on them.

    Raises:
        TrackingError: the tracker cannot be reached.
    """
    parents = {record.run_id: record for record in parent_runs(tracker, _EVERY)}
    for record in parents.values():
        folder = place.home.execution(record.tags[EXECUTION_TAG])
        if folder.is_there:
            yield from _stale_runs(folder, record, tracker)
        elif record.status is RunStatus.RUNNING and place.is_local:
            yield Finding(
                "run-without-execution",
                record.run_id,
                f"the tracker says that it runs, but {RUNS_FOLDER}/{folder.path.name} is gone",
                "delete the run in the UI, unless it was started with another CTR_HOME",
            )


def _of_execution(folder: ExecutionFolder, execution: Execution) -> Iterator[Finding]:
    name = execution.execution_id
    if execution.was_left:
        yield Finding(
            "execution-dead",
            name,
            f"it says RUNNING, but its driver (process {execution.process.pid}) is gone",
            _remedy_of_dead(execution),
            partial(mark_killed, folder),
        )
    if not is_over(execution):
        return
    for path in half_written(folder):
        yield Finding(
            "half-written",
            f"{name}/{path.relative_to(folder.path)}",
            f"{size_of(path):,} bytes that nobody finished",
            f"{_FIX}removes it",
            partial(remove, path),
        )
    if not folder.load_logged().complete:
        yield Finding(
            "not-logged",
            name,
            f"the tracker {execution.tracking_uri} does not have all of it",
            f"`ctr-pipeline sync {name}` sends it",
        )


def _remedy_of_dead(execution: Execution) -> str:
    if execution.is_computed:
        return f"{_FIX}marks it FINISHED, without a noise band"
    return f"{_FIX}marks it KILLED; start it again with `ctr-pipeline run`"


def _stale_runs(folder: ExecutionFolder, record: RunRecord, tracker: Tracker) -> Iterator[Finding]:
    execution = folder.load()
    if not is_over(execution):
        return
    running = [run for run in (*tracker.children(record.run_id), record) if run.status is RunStatus.RUNNING]
    for run in running:
        yield Finding(
            "run-dead",
            run.run_id,
            f"the tracker says that {run.name} runs, but execution {execution.execution_id} is over",
            f"{_FIX}ends it there",
            partial(_end_run, folder, run.run_id, tracker),
        )


def _end_run(folder: ExecutionFolder, run_id: str, tracker: Tracker) -> None:
    execution, logged = mark_killed(folder), folder.load_logged()
    states = {logged.step_run_ids.get(step.key): (step.status, step.ended_ms) for step in execution.steps}
    status, ended_ms = states.get(run_id, (execution.status, execution.ended_ms))
    tracker.finish(run_id, status, int(ended_ms or execution.started_ms))


def _temporaries(place: Place, now_s: float) -> Iterator[Finding]:
    home = place.home
    for folder in (home.store, home.cache, home.path / RUNS_FOLDER):
        for path in abandoned(folder, now_s=now_s):
            yield Finding(
                "temporary",
                str(path.relative_to(home.path)),
                f"{size_of(path):,} bytes that a killed process was writing",
                f"{_FIX}removes it",
                partial(remove, path),
            )
