"""A real run is redone: the verdict, what both runs keep of it, and everything that may be missing or harmed."""

import json
import signal
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest

from ctr_pipeline.config_file import load_settings
from ctr_pipeline.engines.interrupt import Interrupt
from ctr_pipeline.reproduce.request import Request
from ctr_pipeline.reproduce.verdict import Verdict
from ctr_pipeline.reproduce.workflow import reproduce
from tests.plugins.run_fixtures import FinishedRun
from tests.reproduce.redone import Noting, Redone, ask, executions, judge, listing
from tracking.errors import InputError, JobError
from tracking.recipe import Recipe
from tracking.records import RunStatus


def test_a_run_is_redone_as_identical(redone: Redone) -> None:
    judgement = redone.judgement
    assert judgement.verdict is Verdict.IDENTICAL, judgement.reason
    assert (redone.found.exit_code, redone.found.unlogged) == (0, None)
    assert (judgement.first_divergence, judgement.cause, judgement.differences, judgement.notes) == (None, None, (), ())
    assert all(layer.is_equal for layer in judgement.layers)
    assert {layer.part for layer in judgement.layers} == {"identity", "output"}
    assert all(metric.delta == 0 for metric in judgement.metrics)
    assert {"test.logloss", "test.auc"} <= {metric.name for metric in judgement.metrics}


def test_the_phases_and_the_steps_are_told(redone: Redone) -> None:
    phases = [phase for phase in redone.watcher.done if phase != "rebuilding the environment"]
    assert phases == ["looking everything up", "running the steps anew", "comparing"]
    finished = RunStatus.FINISHED
    assert redone.watcher.steps == [("preprocess", finished), ("train", finished), ("evaluate", finished)]


def test_the_new_run_is_tagged_with_its_original_and_the_verdict(redone: Redone) -> None:
    assert redone.judgement.again is not None
    new = redone.tracker.run(str(redone.judgement.again.run_id))
    assert new.status is RunStatus.FINISHED
    assert new.tags["reproduces"] == redone.run.run_id
    assert new.tags["verdict"] == "IDENTICAL"
    assert redone.judgement.again.recipe_digest == redone.judgement.original.recipe_digest == new.tags["recipe_digest"]


def test_the_original_is_tagged_with_the_verdict_and_the_new_run(redone: Redone) -> None:
    assert redone.judgement.again is not None
    tags = redone.tracker.run(redone.run.run_id).tags
    assert (tags["reproduced"], tags["reproduced_by"]) == ("IDENTICAL", redone.judgement.again.run_id)
    assert "verdict" not in tags
    assert "reproduces" not in tags


def test_both_runs_keep_the_verdict_as_json_and_as_a_page(redone: Redone, tmp_path: Path) -> None:
    again = redone.judgement.again
    assert again is not None
    kept = {redone.run.run_id: f"reproductions/{again.execution_id}/", str(again.run_id): ""}
    for run_id, beside in kept.items():
        (tmp_path / run_id).mkdir()
        record = redone.tracker.download(run_id, f"{beside}reproduction.json", tmp_path / run_id)
        assert json.loads(record.read_bytes()) == json.loads(redone.judgement.to_json())
        page = redone.tracker.download(run_id, f"{beside}reproduction.html", tmp_path / run_id)
        assert "IDENTICAL" in page.read_text(encoding="utf-8")


def test_every_step_of_the_new_run_is_a_finished_run_of_its_own(redone: Redone) -> None:
    assert redone.judgement.again is not None
    new, old = redone.tracker.children(str(redone.judgement.again.run_id)), redone.tracker.children(redone.run.run_id)
    assert sorted(child.tags["ctr.step"] for child in new) == ["evaluate", "preprocess", "train"]
    assert {child.status for child in new} == {RunStatus.FINISHED}
    assert {child.tags["ctr.execution_id"] for child in new} == {redone.judgement.again.execution_id}
    assert not {child.run_id for child in new} & {child.run_id for child in old}
    assert not [name for child in new for name in child.tags if "reused" in name]


def test_the_new_recipe_has_the_originals_identity_and_outputs(redone: Redone) -> None:
    old, new = (Recipe.from_json(folder.recipe.read_bytes()) for folder in (redone.run.folder, redone.new_folder))
    assert old.identity == new.identity
    assert old.outputs == new.outputs
    assert old.circumstances.commit == new.circumstances.commit
    assert old.circumstances.snapshot_digest == new.circumstances.snapshot_digest
    assert old.grade == new.grade


def test_the_new_run_keeps_what_is_needed_to_redo_it(redone: Redone) -> None:
    for name in (
        "settings.json",
        "provenance/manifest.json",
        "provenance/source.tar.gz",
        "provenance/uncommitted.patch",
    ):
        old, new = redone.run.folder.path / name, redone.new_folder.path / name
        assert old.read_bytes() == new.read_bytes() or name == "settings.json", name
    again = ask(redone.run, run_id=redone.judgement.again.run_id if redone.judgement.again else "", check_only=True)
    assert all(item.ready for item in again.ingredients), again.ingredients


def test_nothing_is_left_behind_and_the_checkout_is_never_touched(redone: Redone) -> None:
    assert list(redone.scratch.iterdir()) == []
    assert listing(redone.run.project, redone.run.log.parent / "log.csv") == redone.before
    assert not list(redone.new_folder.path.glob("data/files/*"))
    assert not list(redone.new_folder.leftovers())


def test_the_plan_alone_computes_nothing(redone: Redone) -> None:
    before, watcher = executions(redone.run), Noting()
    found = ask(redone.run, watcher, check_only=True)
    assert (found.judgement, found.exit_code) == (None, 0)
    assert executions(redone.run) == before
    assert watcher.done == ["looking everything up"]
    record = json.loads(json.dumps(found.plan_record()))
    assert (record["format"], record["run_id"], record["ready"], record["exit_code"]) == (1, redone.run.run_id, True, 0)
    assert record["grade"] in {"A", "B", "C", "D"}
    assert record["grade_missing"]
    names = [item["name"] for item in record["ingredients"]]
    assert names == ["recipe", "source", "lock", "python", "packages", "data", "settings"]
    assert {item["remedy"] for item in record["ingredients"]} == {""}


def test_a_step_that_fails_in_the_re_run_ends_it_as_failed_and_leaves_the_original_alone(
    run_copy: FinishedRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ctr_pipeline.workflows.background._PATIENCE_S", 100)
    before = run_copy.place.tracker().run(run_copy.run_id).tags
    with pytest.raises(JobError, match=r"^step train failed with exit code 1: "):
        ask(run_copy, _Harming(run_copy))
    (new,) = set(executions(run_copy)) - {run_copy.report.execution_id}
    execution = run_copy.home.execution(new).load()
    assert execution.status is RunStatus.FAILED
    assert "step train failed" in str(execution.failure)
    tracker = run_copy.place.tracker()
    record = tracker.run(str(run_copy.home.execution(new).load_logged().run_id))
    assert (record.status, record.tags["reproduces"]) == (RunStatus.FAILED, run_copy.run_id)
    assert "verdict" not in record.tags
    assert tracker.run(run_copy.run_id).tags == before


class _Harming(Noting):
    """Takes away what the training reads, as soon as the step before it has ended."""

    def __init__(self, run: FinishedRun) -> None:
        super().__init__()
        self._run = run

    def step_ended(self, name: str, status: RunStatus, wall_s: float) -> None:
        super().step_ended(name, status, wall_s)
        if name == "preprocess":
            (new,) = set(executions(self._run)) - {self._run.report.execution_id}
            for path in self._run.home.execution(new).step(name).rglob("*"):
                if path.is_file() and path.suffix not in {".json", ".jsonl"}:
                    path.write_bytes(b"broken")


def test_an_interrupt_ends_the_re_run_as_killed_and_leaves_no_scratch(
    run_copy: FinishedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ctr_pipeline.workflows.background._PATIENCE_S", 100)
    scratch = tmp_path / "tmp"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))

    class Interrupting(Noting):
        def step_began(self, name: str) -> None:
            if name == "train":
                signal.raise_signal(signal.SIGINT)

    interrupt = Interrupt()
    with interrupt.listening(), pytest.raises(KeyboardInterrupt):
        ask(run_copy, Interrupting(), interrupt)
    (new,) = set(executions(run_copy)) - {run_copy.report.execution_id}
    folder = run_copy.home.execution(new)
    assert folder.load().status is RunStatus.KILLED
    assert run_copy.place.tracker().run(str(folder.load_logged().run_id)).status is RunStatus.KILLED
    assert not list(folder.leftovers())
    assert list(scratch.iterdir()) == []


def test_with_the_tracker_away_the_verdict_is_kept_on_disk(run_copy: FinishedRun) -> None:
    away = "http://127.0.0.1:9"
    run_copy.folder.save(replace(run_copy.folder.load(), tracking_uri=away))
    moved = replace(run_copy.place, uri=away, named=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        found = reproduce(Request(run_copy.report.execution_id, run_copy.project), moved, Noting())
    assert found.unlogged is not None
    assert found.judgement is not None
    assert found.judgement.verdict is Verdict.IDENTICAL
    (new,) = set(executions(run_copy)) - {run_copy.report.execution_id}
    kept = json.loads((run_copy.home.execution(new).path / "reproduction.json").read_bytes())
    assert (kept["verdict"], kept["exit_code"]) == ("IDENTICAL", 0)
    assert (run_copy.home.execution(new).path / "reproduction.html").exists()


def test_a_deviation_that_was_asked_for_is_named_as_the_cause(run_copy: FinishedRun) -> None:
    judgement = judge(run_copy, overrides=("train.max_depth=2",))
    assert judgement.verdict is Verdict.DIVERGED
    assert judgement.first_divergence == "booster"
    (difference,) = judgement.differences
    assert difference.layer == "settings"
    assert difference.what.startswith("train.max_depth ")
    assert difference.what.endswith(" -> 2")
    assert difference.deliberate
    assert "a deliberate deviation: train.max_depth=2" in judgement.notes
    assert judgement.margins is not None
    assert judgement.margins.n_differing > 0
    assert judgement.cause is not None
    assert judgement.cause.startswith(f"{difference.what} (split.train, ")
    assert run_copy.place.tracker().run(run_copy.run_id).tags["reproduced"] == "DIVERGED"


def test_the_input_as_it_is_now_is_judged_against_the_pinned_one(run_copy: FinishedRun, tmp_path: Path) -> None:
    lines = run_copy.log.read_text(encoding="utf-8").splitlines()
    log = tmp_path / "log.csv"
    column = lines[0].split(",").index("click")
    row = lines[100].split(",")
    row[column] = str(1 - int(row[column]))
    log.write_text("\n".join([*lines[:100], ",".join(row), *lines[101:]]) + "\n", encoding="utf-8")
    judgement = judge(run_copy, use_current_data=True, overrides=(f"data.uri={log}",))
    assert judgement.verdict is Verdict.DIVERGED
    assert "column click holds other values" in str(judgement.cause)
    assert [(found.column, found.change) for found in judgement.columns] == [("click", "values")]
    assert any("--use-current-data" in note for note in judgement.notes)


def test_todays_settings_and_the_same_input_come_out_as_identical(run_copy: FinishedRun) -> None:
    settings = load_settings(run_copy.project / "configs" / "default.yaml").settings
    judgement = judge(run_copy, current_settings=settings, use_current_data=True, use_current_env=True)
    assert judgement.verdict is Verdict.IDENTICAL, judgement.reason
    assert {note.rpartition("(")[2] for note in judgement.notes} == {
        "--use-current-env)", "--use-current-data)", "--use-current-settings)",
    }  # fmt: skip


def test_a_run_that_nobody_knows_is_refused(redone: Redone) -> None:
    with pytest.raises(InputError, match=r"^run 'ffffffffff' "):
        ask(redone.run, run_id="ffffffffff")
