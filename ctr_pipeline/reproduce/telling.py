"""Telling both runs of a verdict: as JSON and as a page, beside their other artifacts, and in their tags."""

from typing import Final

from ctr_pipeline.reproduce.original import Original
from ctr_pipeline.reproduce.verdict import Judgement
from ctr_pipeline.reproduce.verdict_page import verdict_page
from ctr_pipeline.workflows.driver import DrivenRun
from tracking.aside import replace_whole
from tracking.errors import ProblemError
from tracking.records import Artifact

RECORD_FILE: Final = "reproduction.json"
PAGE_FILE: Final = "reproduction.html"
FOLDER: Final = "reproductions"
# On the original: the last verdict, and the run that it rests on.
REPRODUCED_TAG: Final = "reproduced"
REPRODUCED_BY_TAG: Final = "reproduced_by"
# On the new run: its verdict.
VERDICT_TAG: Final = "verdict"


def tell_both(judgement: Judgement, original: Original, driven: DrivenRun) -> ProblemError | None:
    """Keep the verdict with the new run, then log it on both; return why the tracker does not have all of it.

    Raises:
        StoreError: the verdict cannot be written.
    """
    folder = driven.folder.path
    replace_whole(folder / RECORD_FILE, judgement.to_json().encode())
    replace_whole(folder / PAGE_FILE, verdict_page(judgement).encode())
    if driven.unlogged is not None:
        return driven.unlogged
    try:
        _log(judgement, original, driven)
    except ProblemError as error:
        return error
    return None


def _log(judgement: Judgement, original: Original, driven: DrivenRun) -> None:
    tracker = original.documents.tracker()
    told_ms = int(driven.execution.ended_ms or driven.execution.started_ms)
    folder, verdict = driven.folder.path, str(judgement.verdict)
    files = (RECORD_FILE, PAGE_FILE)
    if driven.run_id is not None:
        tracker.log(driven.run_id, [Artifact(name) for name in files], folder=folder, timestamp_ms=told_ms)
        tracker.set_tags(driven.run_id, {VERDICT_TAG: verdict})
    if original.found.run_id is not None:
        beside = f"{FOLDER}/{driven.execution.execution_id}"
        tracker.log(
            original.found.run_id, [Artifact(name, beside) for name in files], folder=folder, timestamp_ms=told_ms
        )
        again = driven.run_id or driven.execution.execution_id
        tracker.set_tags(original.found.run_id, {REPRODUCED_TAG: verdict, REPRODUCED_BY_TAG: again})
