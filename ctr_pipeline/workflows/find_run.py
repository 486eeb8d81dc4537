"""Finding a run by what a person has at hand: an id of the run, of one of its steps, of the execution, or its start."""

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from ctr_pipeline.data.splits import utc_text
from ctr_pipeline.workflows.execution import ExecutionFolder
from ctr_pipeline.workflows.place import Place
from ctr_pipeline.workflows.recorder import EXECUTION_TAG, part_of
from tracking.errors import InputError, TrackingError
from tracking.records import RunRecord
from tracking.tracker import Tracker

LATEST: Final = "latest"
SHORTEST: Final = 6
_SEARCHED: Final = 5_000
_RECENT: Final = 3


@dataclass(frozen=True, slots=True)
class FoundRun:
    """A run of the pipeline.

    Attributes:
        run_id: the tracker's id of the parent run; None while it is not logged.
        execution_id: our own id; None where the tracker's run does not tell.
        folder: its outputs on this machine, None where they are not here.
        record: the tracker's record, None where the run was found on this machine.
        step: the step that was asked for, if one was.
    """

    run_id: str | None
    execution_id: str | None
    folder: ExecutionFolder | None
    record: RunRecord | None = None
    step: str | None = None


@dataclass(frozen=True, slots=True)
class _Name:
    """An id by which a run can be asked for."""

    text: str
    found: FoundRun
    started_ms: int
    label: str
    tags: Mapping[str, str] | None = None


def find_run(wanted: str, place: Place, *, passing_over: str | None = None) -> FoundRun:
    """Find a run: first on this machine, then in the tracker.

    Args:
        wanted: `latest`, an id, or at least six characters of the start of one.
        place: where to look.
        passing_over: runs with this tag are not the latest one.

    Raises:
        InputError: no run, or more than one, has such an id.
        TrackingError: it is not on this machine, and the tracker cannot be reached.
    """
    if wanted != LATEST and len(wanted) < SHORTEST:
        raise InputError(f"run == {wanted!r}, must have at least {SHORTEST} characters of an id, or be {LATEST!r}")
    here = tuple(_on_this_machine(place))
    found = _chosen(wanted, here, passing_over)
    if found is not None:
        return found
    there = _names_there(wanted, place, here)
    found = _chosen(wanted, there, passing_over)
    if found is None:
        raise _unknown(wanted, place, (*here, *there))
    return found


def find_folder(wanted: str, place: Place) -> ExecutionFolder:
    """Find a run's outputs on this machine.

    Raises:
        InputError: no run, or more than one, of this machine has such an id.
    """
    if wanted != LATEST and len(wanted) < SHORTEST:
        raise InputError(f"run == {wanted!r}, must have at least {SHORTEST} characters of an id, or be {LATEST!r}")
    here = tuple(_on_this_machine(place))
    found = _chosen(wanted, here)
    if found is None or found.folder is None:
        raise _unknown(wanted, place, here)
    return found.folder


def parent_runs(tracker: Tracker, limit: int = _SEARCHED) -> Iterator[RunRecord]:
    """Yield the tracker's runs that are whole executions, newest first."""
    for record in tracker.runs(limit=limit):
        if EXECUTION_TAG in record.tags and part_of(record.tags) is None:
            yield record


def _on_this_machine(place: Place) -> Iterator[_Name]:
    for folder in place.home.executions():
        execution, logged = folder.load(), folder.load_logged()
        found = FoundRun(logged.run_id, execution.execution_id, folder)
        yield _Name(execution.execution_id, found, execution.started_ms, execution.name, execution.tags)
        if logged.run_id is not None:
            yield _Name(logged.run_id, found, execution.started_ms, execution.name)
        for key, run_id in logged.step_run_ids.items():
            step = key.partition("@")[0]
            asked = FoundRun(logged.run_id, execution.execution_id, folder, step=step)
            yield _Name(run_id, asked, execution.started_ms, f"{execution.name}/{step}")


def _in_tracker(tracker: Tracker, wanted: str, place: Place) -> Iterator[_Name]:
    records = {record.run_id: record for record in tracker.runs(limit=_SEARCHED) if EXECUTION_TAG in record.tags}
    for run_id, record in records.items():
        parent = records.get(record.parent_run_id or "", None if record.parent_run_id else record)
        if parent is None and run_id.startswith(wanted):
            parent = tracker.run(str(record.parent_run_id))
        if parent is None:
            continue
        execution_id = record.tags[EXECUTION_TAG]
        folder = place.home.execution(execution_id)
        kept = folder if folder.is_there else None
        found = FoundRun(parent.run_id, execution_id, kept, parent, part_of(record.tags))
        yield _Name(run_id, found, parent.start_ms, record.name)
        if found.step is None:
            yield _Name(execution_id, found, parent.start_ms, record.name, parent.tags)


def _chosen(wanted: str, names: tuple[_Name, ...], passing_over: str | None = None) -> FoundRun | None:
    if wanted == LATEST:
        # Each run has a name with its tags: its execution's id.
        whole = [name for name in names if name.tags is not None and passing_over not in name.tags]
        return max(whole, key=lambda name: name.started_ms).found if whole else None
    exact = [name for name in names if name.text == wanted]
    meant = exact or [name for name in names if name.text.startswith(wanted)]
    runs = {name.found.execution_id for name in meant}
    if len(runs) > 1:
        shown = ", ".join(sorted({f"{name.text} ({name.label})" for name in meant})[:_RECENT])
        raise InputError(f"run == {wanted!r}, must be the start of one run only, not of {shown}; give more characters")
    return meant[0].found if meant else None


def _names_there(wanted: str, place: Place, here: tuple[_Name, ...]) -> tuple[_Name, ...]:
    try:
        return tuple(_in_tracker(place.tracker(), wanted, place))
    except InputError as error:
        if not here:
            raise
        raise _unknown(wanted, place, here) from error
    except TrackingError as error:
        raise TrackingError(f"run {wanted!r} is not on this machine, and {error}") from error


def _unknown(wanted: str, place: Place, names: tuple[_Name, ...]) -> InputError:
    whole = sorted((name for name in names if name.found.step is None), key=lambda name: -name.started_ms)
    by_run = {name.found.execution_id: name for name in reversed(whole)}
    recent = list(reversed(by_run.values()))[:_RECENT]
    texts = {name.text: name for name in names} | {name.label: name for name in names}
    close = [texts[text].text for text in difflib.get_close_matches(wanted, texts, n=1)]
    nearest = f"; the nearest is {close[0]}" if close else ""
    listed = ", ".join(f"{name.text} ({name.label}, {utc_text(name.started_ms * 1000)[:16]})" for name in recent)
    known = f"; the recent ones are {listed}" if listed else "; there is none yet, start one with `ctr-pipeline run`"
    return InputError(f"run {wanted!r} is known neither in {place.home.path} nor to {place.shown_uri}{nearest}{known}")
