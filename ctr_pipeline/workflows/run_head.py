"""Who ran a run, where and when, and how it ended: from its record on this machine or in the tracker."""

from collections.abc import Iterator

from ctr_pipeline.data.splits import utc_text
from ctr_pipeline.workflows.execution import Execution, ExecutionFolder
from ctr_pipeline.workflows.find_run import FoundRun
from ctr_pipeline.workflows.place import Place
from ctr_pipeline.workflows.recorder import FAILURE_TAG, part_of
from ctr_pipeline.workflows.run_documents import RunDocuments
from ctr_pipeline.workflows.run_view import RunHead, StepView
from tracking.recipe import Circumstances
from tracking.records import RunRecord, RunStatus

LEFT_BEHIND = "its driver is gone: it was killed, or the machine went down; `ctr-pipeline doctor --fix` marks it"


def head_of(found: FoundRun, place: Place, documents: RunDocuments, circumstances: Circumstances) -> RunHead:
    """Return the head of a run.

    Args:
        found: the run.
        place: its home and tracker.
        documents: its documents.
        circumstances: as its recipe tells them.
    """
    if found.folder is not None:
        return _from_execution(found, found.folder, circumstances)
    if found.record is None:
        raise LookupError(f"{found} was found neither on this machine nor in the tracker")
    return _from_record(found, found.record, place, documents, circumstances)


def _from_execution(found: FoundRun, folder: ExecutionFolder, circumstances: Circumstances) -> RunHead:
    execution, logged = folder.load(), folder.load_logged()
    return RunHead(
        run_id=logged.run_id,
        execution_id=execution.execution_id,
        name=execution.name,
        experiment=execution.experiment,
        status=str(execution.status),
        failure=LEFT_BEHIND if execution.was_left else execution.failure,
        started_utc=utc_text(execution.started_ms * 1000),
        ended_utc=_utc(execution.ended_ms),
        user=circumstances.user,
        host=circumstances.host,
        command=tuple(circumstances.argv),
        tracking_uri=execution.tracking_uri,
        outputs=str(folder.path),
        steps=tuple(_steps_of(execution, folder)),
        step=found.step,
    )


def _steps_of(execution: Execution, folder: ExecutionFolder) -> Iterator[StepView]:
    run_ids = folder.load_logged().step_run_ids
    for state in execution.steps:
        yield StepView(
            state.name, str(state.status), run_ids.get(state.key), _seconds(state.started_ms, state.ended_ms)
        )


def _from_record(
    found: FoundRun, record: RunRecord, place: Place, documents: RunDocuments, circumstances: Circumstances
) -> RunHead:
    return RunHead(
        run_id=record.run_id,
        execution_id=found.execution_id,
        name=record.name,
        experiment=record.experiment,
        status=str(record.status),
        failure=record.tags.get(FAILURE_TAG),
        started_utc=utc_text(record.start_ms * 1000),
        ended_utc=_utc(record.end_ms),
        user=circumstances.user,
        host=circumstances.host,
        command=tuple(circumstances.argv),
        tracking_uri=place.shown_uri,
        outputs=None,
        steps=tuple(
            StepView(
                part_of(child.tags) or child.name,
                str(child.status),
                child.run_id,
                _seconds(child.start_ms, child.end_ms if child.status is not RunStatus.RUNNING else None),
            )
            for child in documents.children()
        ),
        step=found.step,
    )


def _utc(time_ms: int | None) -> str | None:
    return None if time_ms is None else utc_text(time_ms * 1000)


def _seconds(start_ms: int, end_ms: int | None) -> float | None:
    return None if end_ms is None else round((end_ms - start_ms) / 1000, 3)
