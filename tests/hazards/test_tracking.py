"""Hazards 35 to 39: the tracker cuts, refuses, mixes up or is away."""

import json
import shutil
from dataclasses import replace
from typing import Final

import pytest

from ctr_pipeline.reproduce.request import Request
from ctr_pipeline.reproduce.verdict import Verdict
from ctr_pipeline.reproduce.workflow import reproduce
from ctr_pipeline.workflows.execution import StepState
from ctr_pipeline.workflows.recorder import REUSED_FROM_TAG, REUSED_RUN_TAG, STEP_TAG, Recorder
from ctr_pipeline.workflows.sync import sync_run
from ctr_pipeline.workflows.verdict_log import RECORD_FILE, REPRODUCED_TAG
from tests.hazards.laboratory import Silence, Workbench
from tests.plugins.mlflow_fixtures import free_port
from tracking.records import Param, RunStatus
from tracking.tracker import Tracker

# More characters than a tracker takes of a parameter.
_SHARES: Final = [round(0.001 + share / 4_000, 6) for share in range(1_200)]


def _child(tracker: Tracker, run_id: str, step: str) -> str:
    """The run of a step, its last attempt."""
    return [child.run_id for child in tracker.children(run_id) if child.tags[STEP_TAG] == step][-1]


def test_a_setting_too_long_for_the_tracker_is_redone_in_full(own_bench: Workbench) -> None:
    made = own_bench.of(own_bench.run(f"evaluate.lift_at={json.dumps(_SHARES)}", reuse=False))
    shown = made.place.tracker().run(made.run_id).params["evaluate.lift_at"]
    assert shown.startswith("sha256:")
    recorded = made.recipe
    shutil.rmtree(made.folder.path)  # the tracker alone has it now
    found = made.reproduce()
    assert found.verdict is Verdict.IDENTICAL
    assert list(recorded.identity.settings["evaluate"]["lift_at"]) == _SHARES


def test_a_second_attempt_of_a_step_is_a_run_of_its_own(own_bench: Workbench) -> None:
    tracker, folder = own_bench.place.tracker(), own_bench.folder
    execution = folder.load()
    first = _child(tracker, own_bench.run_id, "train")
    tracker.log(first, [Param("attempt", "1")], folder=folder.path, timestamp_ms=0)
    again = StepState("train", RunStatus.FINISHED, int(execution.ended_ms or 0), int(execution.ended_ms or 0) + 1)
    recorder = Recorder(tracker, folder)
    recorder.begin_step(execution, again)
    recorder.end_step(execution, again)
    second = _child(tracker, own_bench.run_id, "train")
    tracker.log(second, [Param("attempt", "2")], folder=folder.path, timestamp_ms=0)
    assert (tracker.run(first).params["attempt"], tracker.run(second).params["attempt"]) == ("1", "2")
    assert own_bench.reproduce().verdict is Verdict.IDENTICAL


def test_no_run_writes_into_the_one_that_the_environment_names(
    own_bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracker = own_bench.place.tracker()
    before = tracker.run(own_bench.run_id)
    children = tracker.children(own_bench.run_id)
    monkeypatch.setenv("MLFLOW_RUN_ID", own_bench.run_id)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "another")
    found = own_bench.reproduce()
    made = own_bench.run(reuse=False)
    assert found.verdict is Verdict.IDENTICAL
    assert found.again is not None
    assert len({own_bench.run_id, found.again.run_id, made.run_id}) == len(["original", "redone", "another"])
    after = tracker.run(own_bench.run_id)
    assert (after.params, after.metrics, after.end_ms) == (before.params, before.metrics, before.end_ms)
    assert tracker.children(own_bench.run_id) == children
    assert after.tags[REPRODUCED_TAG] == "IDENTICAL"


def test_a_tracker_that_is_away_costs_no_verdict_and_is_an_error(own_bench: Workbench) -> None:
    place = replace(own_bench.place, uri=f"http://127.0.0.1:{free_port()}", named=True)
    before = set(own_bench.home.executions())
    found = reproduce(Request(own_bench.run_id, own_bench.project), place, Silence())
    assert found.judgement is not None
    assert found.judgement.verdict is Verdict.IDENTICAL
    assert found.unlogged is not None
    assert "cannot be reached" in str(found.unlogged)
    (new,) = set(own_bench.home.executions()) - before
    assert json.loads((new.path / RECORD_FILE).read_bytes())["verdict"] == "IDENTICAL"
    assert not new.load_logged().complete

    back = replace(own_bench.place, named=True)
    sent = sync_run(new.path.name, back)
    tracker = back.tracker()
    assert sent.state == "sent"
    assert tracker.run(str(sent.run_id)).metrics == tracker.run(own_bench.run_id).metrics
    assert RECORD_FILE in tracker.artifacts(str(sent.run_id))
    assert tracker.run(own_bench.run_id).tags[REPRODUCED_TAG] == "IDENTICAL"


def test_a_reused_step_has_an_id_of_its_own_and_is_run_when_it_is_redone(own_bench: Workbench) -> None:
    own_bench.write("team/costs.py", "COST_RATE = 0.21\n")
    first = own_bench.run(reuse=True)
    second = own_bench.run("train.rounds=7", reuse=True)
    assert second.reused == {"preprocess": first.execution_id}
    tracker = own_bench.place.tracker()
    old, new = (_child(tracker, str(report.run_id), "preprocess") for report in (first, second))
    assert old != new
    tags = tracker.run(new).tags
    assert (tags[REUSED_FROM_TAG], tags[REUSED_RUN_TAG]) == (first.execution_id, old)
    assert tracker.run(new).parent_run_id == second.run_id
    found = own_bench.of(second).reproduce()
    assert found.verdict is Verdict.IDENTICAL
    assert found.again is not None
    redone = tracker.run(_child(tracker, str(found.again.run_id), "preprocess")).tags
    assert REUSED_FROM_TAG not in redone
