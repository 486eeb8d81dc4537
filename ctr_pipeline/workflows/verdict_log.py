"""The verdict of a reproduction in the tracker: its record and page beside both runs' artifacts, and their tags."""

import json
from collections.abc import Sequence
from typing import Any, Final

from ctr_pipeline.workflows.execution import ExecutionFolder
from tracking.errors import InputError
from tracking.records import Artifact
from tracking.tracker import Tracker

RECORD_FILE: Final = "reproduction.json"
PAGE_FILE: Final = "reproduction.html"
# On the original's run, the folder of them.
FOLDER: Final = "reproductions"
# On the original: the last verdict, and the run that it rests on.
REPRODUCED_TAG: Final = "reproduced"
REPRODUCED_BY_TAG: Final = "reproduced_by"
# On the new run: its verdict.
VERDICT_TAG: Final = "verdict"


def log_verdict(tracker: Tracker, folder: ExecutionFolder) -> None:
    """Log the verdict that a reproduction left in its folder on both runs, as far as the tracker has them.

    Logging it again changes nothing. A folder without a verdict is passed over.

    Raises:
        TrackingError: the tracker cannot be reached, or refuses.
    """
    if not (folder.path / RECORD_FILE).exists():
        return
    record: dict[str, Any] = json.loads((folder.path / RECORD_FILE).read_bytes())
    execution, run_id = folder.load(), folder.load_logged().run_id
    told_ms = int(execution.ended_ms or execution.started_ms)
    verdict, original = str(record["verdict"]), record["original"]["run_id"]
    if run_id is not None:
        tracker.log(run_id, _files(), folder=folder.path, timestamp_ms=told_ms)
        tracker.set_tags(run_id, {VERDICT_TAG: verdict})
    if original is not None and _has(tracker, original):
        beside = f"{FOLDER}/{execution.execution_id}"
        tracker.log(original, _files(beside), folder=folder.path, timestamp_ms=told_ms)
        again = run_id or execution.execution_id
        tracker.set_tags(original, {REPRODUCED_TAG: verdict, REPRODUCED_BY_TAG: again})


def _files(artifact_path: str = "") -> Sequence[Artifact]:
    return [Artifact(name, artifact_path) for name in (RECORD_FILE, PAGE_FILE)]


def _has(tracker: Tracker, run_id: str) -> bool:
    try:
        tracker.run(run_id)
    except InputError:
        return False
    return True
