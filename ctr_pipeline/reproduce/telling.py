"""Telling both runs of a verdict: as JSON and as a page, beside their other artifacts, and in their tags."""

from ctr_pipeline.reproduce.original import Original
from ctr_pipeline.reproduce.verdict import Judgement
from ctr_pipeline.reproduce.verdict_page import verdict_page
from ctr_pipeline.workflows.driver import DrivenRun
from ctr_pipeline.workflows.verdict_log import PAGE_FILE, RECORD_FILE, log_verdict
from tracking.aside import replace_whole
from tracking.errors import ProblemError


def tell_both(judgement: Judgement, original: Original, driven: DrivenRun) -> ProblemError | None:
    """Keep the verdict with the new run, then log it on both; return why the tracker does not have all of it.

    What it does not have `ctr-pipeline sync` sends later.

    Raises:
        StoreError: the verdict cannot be written.
    """
    folder = driven.folder.path
    replace_whole(folder / RECORD_FILE, judgement.to_json().encode())
    replace_whole(folder / PAGE_FILE, verdict_page(judgement).encode())
    if driven.unlogged is not None:
        return driven.unlogged
    try:
        log_verdict(original.documents.tracker(), driven.folder)
    except ProblemError as error:
        return error
    return None
