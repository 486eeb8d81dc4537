"""A verdict reaches both runs in the tracker, as far as it has them."""

import json
from pathlib import Path

import pytest

from ctr_pipeline.workflows.execution import Execution, ExecutionFolder, Logged, Process
from ctr_pipeline.workflows.verdict_log import (
    FOLDER,
    PAGE_FILE,
    RECORD_FILE,
    REPRODUCED_BY_TAG,
    REPRODUCED_TAG,
    VERDICT_TAG,
    log_verdict,
)
from tracking.memory import MemoryTracker


@pytest.fixture
def tracker() -> MemoryTracker:
    return MemoryTracker()


@pytest.fixture
def original(tracker: MemoryTracker) -> str:
    return tracker.create_run(experiment="ctr", name="original", start_ms=1, tags={})


@pytest.fixture
def folder(tmp_path: Path) -> ExecutionFolder:
    """A reproduction that is over."""
    folder = ExecutionFolder(tmp_path / "20261123-200451-7a8c9e")
    folder.path.mkdir()
    folder.save(Execution(folder.path.name, "again", "ctr", "memory", 2, Process("host", 1, 0.0)))
    return folder


def _judged(folder: ExecutionFolder, original: str | None) -> None:
    record = {"verdict": "DIVERGED", "original": {"run_id": original}}
    (folder.path / RECORD_FILE).write_text(json.dumps(record), encoding="utf-8")
    (folder.path / PAGE_FILE).write_text("<p>", encoding="utf-8")


def test_a_folder_without_a_verdict_is_passed_over(
    tracker: MemoryTracker, folder: ExecutionFolder, original: str
) -> None:
    before = tracker.run(original)
    log_verdict(tracker, folder)
    assert tracker.run(original) == before


@pytest.mark.parametrize("unknown", [None, "0" * 32])
def test_an_original_that_the_tracker_does_not_have_is_passed_over(
    tracker: MemoryTracker, folder: ExecutionFolder, unknown: str | None
) -> None:
    _judged(folder, unknown)
    again = tracker.create_run(experiment="ctr", name="again", start_ms=2, tags={})
    folder.save_logged(Logged(again))
    log_verdict(tracker, folder)
    assert tracker.run(again).tags[VERDICT_TAG] == "DIVERGED"
    assert set(tracker.artifacts(again)) == {RECORD_FILE, PAGE_FILE}


def test_the_original_is_told_of_a_run_that_the_tracker_lacks_and_telling_it_again_changes_nothing(
    tracker: MemoryTracker, folder: ExecutionFolder, original: str
) -> None:
    _judged(folder, original)
    log_verdict(tracker, folder)
    told = tracker.run(original)
    execution_id = folder.path.name
    assert told.tags == {REPRODUCED_TAG: "DIVERGED", REPRODUCED_BY_TAG: execution_id}
    names = {f"{FOLDER}/{execution_id}/{name}" for name in (RECORD_FILE, PAGE_FILE)}
    assert set(tracker.artifacts(original)) == names
    log_verdict(tracker, folder)
    assert tracker.run(original) == told
