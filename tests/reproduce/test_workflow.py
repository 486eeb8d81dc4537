"""A real run is redone: the verdict, what both runs keep of it, and everything that may be missing or harmed."""

import hashlib
import json
import re
import signal
import tempfile
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import pytest

from ctr_pipeline.config_file import load_settings
from ctr_pipeline.engines.interrupt import Interrupt
from ctr_pipeline.reproduce import workflow
from ctr_pipeline.reproduce.request import Request
from ctr_pipeline.reproduce.rerun import rerun
from ctr_pipeline.reproduce.verdict import Judgement, Verdict
from ctr_pipeline.reproduce.workflow import Reproduction, reproduce
from ctr_pipeline.workflows.driver import DrivenRun
from ctr_pipeline.workflows.execution import ExecutionFolder
from tests.plugins.run_fixtures import FinishedRun, SilentWatcher
from tests.reproduce.conftest import REMEMBERED_ARTIFACTS
from tracking.errors import InputError, JobError
from tracking.rebuilt_environment import MissingPackagesError, MissingPythonError
from tracking.recipe import Recipe
from tracking.records import RunStatus
from tracking.tracker import Tracker
from tracking.uv import UvError

_KEPT: Final = ("recipe.json", "settings.json", "provenance/manifest.json", "provenance/source.tar.gz")


class _Watcher(SilentWatcher):
    """Notes what is being done."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.steps: list[tuple[str, RunStatus]] = []

    def doing(self, what: str) -> None:
        """See `ReproductionWatcher`."""
        self.done.append(what)

    def step_ended(self, name: str, status: RunStatus, wall_s: float) -> None:  # noqa: ARG002 - the protocol's signature
        """See `Watcher`."""
        self.steps.append((name, status))


@dataclass(frozen=True, slots=True)
class _Redone:
    """A run that was reproduced: read it, or copy it."""

    run: FinishedRun
    found: Reproduction
    driven: list[DrivenRun]
    watcher: _Watcher
    before: Mapping[str, str]
    scratch: Path

    @property
    def judgement(self) -> Judgement:
        assert self.found.judgement is not None
        return self.found.judgement

    @property
    def new_folder(self) -> ExecutionFolder:
        assert self.judgement.again is not None
        return self.run.home.execution(str(self.judgement.again.execution_id))

    @property
    def tracker(self) -> Tracker:
        return self.run.place.tracker()


def _listing(*folders: Path) -> dict[str, str]:
    """Return a digest by path of all that lies in folders."""
    return {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest()
        for folder in folders
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def _ask(
    run: FinishedRun,
    watcher: _Watcher | None = None,
    interrupt: Interrupt | None = None,
    **asked: Any,  # noqa: ANN401 - of any field of a request
) -> Reproduction:
    request = Request(**{"run_id": run.run_id, "start": run.project, **asked})
    return reproduce(request, run.place, watcher or _Watcher(), interrupt)


def _judge(run: FinishedRun, **asked: Any) -> Judgement:  # noqa: ANN401 - of any field of a request
    found = _ask(run, **asked)
    assert found.unlogged is None
    assert found.judgement is not None
    return found.judgement


def _executions(run: FinishedRun) -> list[str]:
    return sorted(folder.name for folder in (run.home.path / "runs").iterdir())


@pytest.fixture(scope="module")
def redone(finished_run: FinishedRun, tmp_path_factory: pytest.TempPathFactory) -> _Redone:
    """The run reproduced once, with all that it was told."""
    folder = tmp_path_factory.mktemp("redone")
    run = finished_run.copy(folder)
    scratch = folder / "tmp"
    scratch.mkdir()
    driven: list[DrivenRun] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(scratch))
        patch.setattr(REMEMBERED_ARTIFACTS, OrderedDict())

        def noted(*arguments: Any) -> DrivenRun:  # noqa: ANN401 - handed on
            driven.append(rerun(*arguments))
            return driven[0]

        patch.setattr(workflow, "rerun", noted)
        watcher, before = _Watcher(), _listing(run.project, run.log.parent / "log.csv")
        found = _ask(run, watcher)
    return _Redone(run, found, driven, watcher, before, scratch)


@pytest.fixture
def known(redone: _Redone, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FinishedRun:
    """A run to be harmed; its re-run is the one that was made already, so that only the comparing is new."""
    monkeypatch.setattr(workflow, "rerun", lambda *_: redone.driven[0])
    monkeypatch.setattr(workflow, "tell_both", lambda *_: None)
    return redone.run.copy(tmp_path)


def test_a_run_is_redone_as_identical(redone: _Redone) -> None:
    judgement = redone.judgement
    assert judgement.verdict is Verdict.IDENTICAL, judgement.reason
    assert (redone.found.exit_code, redone.found.unlogged) == (0, None)
    assert (judgement.first_divergence, judgement.cause, judgement.differences, judgement.notes) == (None, None, (), ())
    assert all(layer.is_equal for layer in judgement.layers)
    assert {layer.part for layer in judgement.layers} == {"identity", "output"}
    assert all(metric.delta == 0 for metric in judgement.metrics)
    assert {"test.logloss", "test.auc"} <= {metric.name for metric in judgement.metrics}


def test_the_phases_and_the_steps_are_told(redone: _Redone) -> None:
    phases = [phase for phase in redone.watcher.done if phase != "rebuilding the environment"]
    assert phases == ["looking everything up", "running the steps anew", "comparing"]
    finished = RunStatus.FINISHED
    assert redone.watcher.steps == [("preprocess", finished), ("train", finished), ("evaluate", finished)]


def test_the_new_run_is_tagged_with_its_original_and_the_verdict(redone: _Redone) -> None:
    assert redone.judgement.again is not None
    new = redone.tracker.run(str(redone.judgement.again.run_id))
    assert new.status is RunStatus.FINISHED
    assert new.tags["reproduces"] == redone.run.run_id
    assert new.tags["verdict"] == "IDENTICAL"
    assert redone.judgement.again.recipe_digest == redone.judgement.original.recipe_digest == new.tags["recipe_digest"]


def test_the_original_is_tagged_with_the_verdict_and_the_new_run(redone: _Redone) -> None:
    assert redone.judgement.again is not None
    tags = redone.tracker.run(redone.run.run_id).tags
    assert (tags["reproduced"], tags["reproduced_by"]) == ("IDENTICAL", redone.judgement.again.run_id)
    assert "verdict" not in tags
    assert "reproduces" not in tags


def test_both_runs_keep_the_verdict_as_json_and_as_a_page(redone: _Redone, tmp_path: Path) -> None:
    again = redone.judgement.again
    assert again is not None
    kept = {redone.run.run_id: f"reproductions/{again.execution_id}/", str(again.run_id): ""}
    for run_id, beside in kept.items():
        (tmp_path / run_id).mkdir()
        record = redone.tracker.download(run_id, f"{beside}reproduction.json", tmp_path / run_id)
        assert json.loads(record.read_bytes()) == json.loads(redone.judgement.to_json())
        page = redone.tracker.download(run_id, f"{beside}reproduction.html", tmp_path / run_id)
        assert "IDENTICAL" in page.read_text(encoding="utf-8")


def test_every_step_of_the_new_run_is_a_finished_run_of_its_own(redone: _Redone) -> None:
    assert redone.judgement.again is not None
    new, old = redone.tracker.children(str(redone.judgement.again.run_id)), redone.tracker.children(redone.run.run_id)
    assert sorted(child.tags["ctr.step"] for child in new) == ["evaluate", "preprocess", "train"]
    assert {child.status for child in new} == {RunStatus.FINISHED}
    assert {child.tags["ctr.execution_id"] for child in new} == {redone.judgement.again.execution_id}
    assert not {child.run_id for child in new} & {child.run_id for child in old}
    assert not [name for child in new for name in child.tags if "reused" in name]


def test_the_new_recipe_has_the_originals_identity_and_outputs(redone: _Redone) -> None:
    old, new = (Recipe.from_json(folder.recipe.read_bytes()) for folder in (redone.run.folder, redone.new_folder))
    assert old.identity == new.identity
    assert old.outputs == new.outputs
    assert old.circumstances.commit == new.circumstances.commit
    assert old.circumstances.snapshot_digest == new.circumstances.snapshot_digest
    assert old.grade == new.grade


def test_the_new_run_keeps_what_is_needed_to_redo_it(redone: _Redone) -> None:
    for name in (
        "settings.json",
        "provenance/manifest.json",
        "provenance/source.tar.gz",
        "provenance/uncommitted.patch",
    ):
        old, new = redone.run.folder.path / name, redone.new_folder.path / name
        assert old.read_bytes() == new.read_bytes() or name == "settings.json", name
    again = _ask(redone.run, run_id=redone.judgement.again.run_id if redone.judgement.again else "", check_only=True)
    assert all(item.ready for item in again.ingredients), again.ingredients


def test_nothing_is_left_behind_and_the_checkout_is_never_touched(redone: _Redone) -> None:
    assert list(redone.scratch.iterdir()) == []
    assert _listing(redone.run.project, redone.run.log.parent / "log.csv") == redone.before
    assert not list(redone.new_folder.path.glob("data/files/*"))
    assert not list(redone.new_folder.leftovers())


def test_the_plan_alone_computes_nothing(redone: _Redone) -> None:
    before, watcher = _executions(redone.run), _Watcher()
    found = _ask(redone.run, watcher, check_only=True)
    assert (found.judgement, found.exit_code) == (None, 0)
    assert _executions(redone.run) == before
    assert watcher.done == ["looking everything up"]
    record = json.loads(json.dumps(found.plan_record()))
    assert (record["format"], record["run_id"], record["ready"], record["exit_code"]) == (1, redone.run.run_id, True, 0)
    assert record["grade"] in {"A", "B", "C", "D"}
    assert record["grade_missing"]
    names = [item["name"] for item in record["ingredients"]]
    assert names == ["recipe", "source", "lock", "python", "packages", "data", "settings"]
    assert {item["remedy"] for item in record["ingredients"]} == {""}


def _artifact(run: FinishedRun, name: str) -> Path:
    (found,) = (path for path in (run.home.path / "artifacts").rglob(name) if run.run_id in path.parts)
    return found


def _lose(run: FinishedRun, name: str) -> None:
    """Remove both copies of a document, this machine's and the tracker's."""
    (run.folder.path / name).unlink()
    _artifact(run, Path(name).name).unlink()


def _own_data(run: FinishedRun) -> list[Path]:
    """Return the pinned files, after the recipe names this copy of the home and not the one that it was copied from."""
    recipe = Recipe.from_json(run.folder.recipe.read_bytes())
    key = str(recipe.circumstances.pinned_uri).rpartition("#")[2]
    moved = replace(recipe.circumstances, pinned_uri=f"{run.home.store}#{key}")
    run.folder.recipe.write_bytes(replace(recipe, circumstances=moved).to_json())
    files = [path for path in run.home.store.rglob("*") if path.is_file() and "manifests" not in path.parts]
    for path in files:
        path.chmod(0o644)
    return files


def _lose_data(run: FinishedRun) -> None:
    for path in _own_data(run):
        path.unlink()


_LOSSES: Final[Mapping[str, tuple[Callable[[FinishedRun], None], str, str]]] = {
    "recipe": (
        lambda run: _lose(run, "recipe.json"),
        r"recipe: it is kept nowhere",
        r"restore recipe\.json among the run's artifacts or in its folder",
    ),
    "settings": (
        lambda run: _lose(run, "settings.json"),
        r"settings: no copy of settings\.json says what the recipe says",
        r"restore the run's settings\.json",
    ),
    "manifest": (
        lambda run: _lose(run, "provenance/manifest.json"),
        r"data: provenance/manifest\.json is gone",
        r"restore the run's provenance/manifest\.json",
    ),
    "source": (
        lambda run: _lose(run, "provenance/source.tar.gz"),
        r"source: provenance/source\.tar\.gz is gone",
        r"restore provenance/source\.tar\.gz among the run's artifacts, or use the current code explicitly",
    ),
    "data": (_lose_data, r"data: 1 of 1 files cannot be had from .*store", r"pin the same data again, or name a store"),
}


@pytest.mark.parametrize("lost", _LOSSES)
def test_what_is_missing_is_named_with_its_remedy_before_anything_is_computed(run_copy: FinishedRun, lost: str) -> None:
    lose, told, remedy = _LOSSES[lost]
    lose(run_copy)
    watcher = _Watcher()
    found = _ask(run_copy, watcher)
    assert found.judgement is not None
    assert (found.judgement.verdict, found.exit_code) == (Verdict.CANNOT, 5)
    assert re.search(rf"{told}.*: .*{remedy}", found.judgement.reason), found.judgement.reason
    assert "\n" not in found.judgement.reason
    assert found.judgement.again is None
    assert watcher.done == ["looking everything up"]
    assert len(_executions(run_copy)) == 1
    assert not _ask(run_copy, check_only=True).plan_record()["ready"]


def test_all_that_is_missing_is_named_at_once(run_copy: FinishedRun) -> None:
    _lose(run_copy, "settings.json")
    _lose_data(run_copy)
    missing = [item.name for item in _ask(run_copy).ingredients if not item.ready]
    assert missing == ["data", "settings"]


def test_a_run_that_did_not_finish_cannot_be_redone(run_copy: FinishedRun) -> None:
    recipe = Recipe.from_json(run_copy.folder.recipe.read_bytes())
    unfinished = replace(recipe, outputs=type(recipe.outputs)({}), timings={})
    run_copy.folder.recipe.write_bytes(unfinished.to_json())
    judgement = _judge(run_copy)
    assert (judgement.verdict, judgement.verdict.exit_code) == (Verdict.CANNOT, 5)
    assert "recipe: no outputs to compare with: the run did not finish: start it anew" in judgement.reason


@pytest.mark.parametrize("kept", _KEPT)
def test_a_harmed_copy_on_this_machine_is_passed_over_for_the_trackers(known: FinishedRun, kept: str) -> None:
    path = known.folder.path / kept
    path.write_bytes(path.read_bytes()[:-7])
    assert _judge(known).verdict is Verdict.IDENTICAL


def _emptied(content: bytes) -> bytes:
    return content[:0]


def _flipped(content: bytes) -> bytes:
    return content[:-9] + bytes(byte ^ 1 for byte in content[-9:])


def _renumbered(content: bytes) -> bytes:
    return content.replace(b"0", b"9").replace(b": 1", b": NaN")


@pytest.mark.parametrize("harm", [_emptied, _flipped, _renumbered])
@pytest.mark.parametrize("step", ["preprocess", "train", "evaluate"])
def test_no_harm_to_a_kept_output_changes_the_verdict(
    known: FinishedRun, step: str, harm: Callable[[bytes], bytes]
) -> None:
    files = [path for path in known.folder.step(step).rglob("*") if path.is_file()]
    assert len(files) > 3
    for path in files:
        path.write_bytes(harm(path.read_bytes()))
    judgement = _judge(known)
    assert judgement.verdict is Verdict.IDENTICAL, judgement.reason
    assert all(metric.delta == 0 for metric in judgement.metrics)
    assert judgement.metrics


def test_another_file_than_the_pinned_one_is_not_taken_for_it(run_copy: FinishedRun) -> None:
    for path in _own_data(run_copy):
        path.write_bytes(path.read_bytes().replace(b"phone", b"phony"))
    judgement = _judge(run_copy)
    assert judgement.verdict is Verdict.CANNOT
    assert "data: 1 of 1 files cannot be had" in judgement.reason


@pytest.mark.parametrize(
    ("error", "ingredient", "told"),
    [
        (
            MissingPackagesError(["old==1.0 (hash mismatch)"], ""),
            "packages",
            r"old==1\.0 \(hash mismatch\): give an index",
        ),
        (MissingPythonError("3.12.1", UvError(["venv"], "no")), "python", r"Python 3\.12\.1 is not on this machine"),
    ],
    ids=["packages", "python"],
)
def test_an_environment_that_turns_out_not_to_be_had_is_an_ingredient_that_is_missing(
    redone: _Redone, monkeypatch: pytest.MonkeyPatch, error: Exception, ingredient: str, told: str
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr("ctr_pipeline.reproduce.environment.rebuild_environment", fail)
    before = _executions(redone.run)
    judgement = _judge(redone.run)
    assert judgement.verdict is Verdict.CANNOT
    assert [item.name for item in judgement.ingredients if not item.ready] == [ingredient]
    assert re.search(rf"^missing or not what was recorded: {ingredient}: .*{told}", judgement.reason)
    assert "--use-current-env" in judgement.reason
    assert _executions(redone.run) == before


def test_a_step_that_fails_in_the_re_run_ends_it_as_failed_and_leaves_the_original_alone(
    run_copy: FinishedRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ctr_pipeline.workflows.background._PATIENCE_S", 100)
    before = run_copy.place.tracker().run(run_copy.run_id).tags
    with pytest.raises(JobError, match=r"^step train failed with exit code 1: "):
        _ask(run_copy, _Harming(run_copy))
    (new,) = set(_executions(run_copy)) - {run_copy.report.execution_id}
    execution = run_copy.home.execution(new).load()
    assert execution.status is RunStatus.FAILED
    assert "step train failed" in str(execution.failure)
    tracker = run_copy.place.tracker()
    record = tracker.run(str(run_copy.home.execution(new).load_logged().run_id))
    assert (record.status, record.tags["reproduces"]) == (RunStatus.FAILED, run_copy.run_id)
    assert "verdict" not in record.tags
    assert tracker.run(run_copy.run_id).tags == before


class _Harming(_Watcher):
    """Takes away what the training reads, as soon as the step before it has ended."""

    def __init__(self, run: FinishedRun) -> None:
        super().__init__()
        self._run = run

    def step_ended(self, name: str, status: RunStatus, wall_s: float) -> None:
        super().step_ended(name, status, wall_s)
        if name == "preprocess":
            (new,) = set(_executions(self._run)) - {self._run.report.execution_id}
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

    class Interrupting(_Watcher):
        def step_began(self, name: str) -> None:
            if name == "train":
                signal.raise_signal(signal.SIGINT)

    interrupt = Interrupt()
    with interrupt.listening(), pytest.raises(KeyboardInterrupt):
        _ask(run_copy, Interrupting(), interrupt)
    (new,) = set(_executions(run_copy)) - {run_copy.report.execution_id}
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
        found = reproduce(Request(run_copy.report.execution_id, run_copy.project), moved, _Watcher())
    assert found.unlogged is not None
    assert found.judgement is not None
    assert found.judgement.verdict is Verdict.IDENTICAL
    (new,) = set(_executions(run_copy)) - {run_copy.report.execution_id}
    kept = json.loads((run_copy.home.execution(new).path / "reproduction.json").read_bytes())
    assert (kept["verdict"], kept["exit_code"]) == ("IDENTICAL", 0)
    assert (run_copy.home.execution(new).path / "reproduction.html").exists()


def test_a_deviation_that_was_asked_for_is_named_as_the_cause(run_copy: FinishedRun) -> None:
    judgement = _judge(run_copy, overrides=("train.max_depth=2",))
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
    judgement = _judge(run_copy, use_current_data=True, overrides=(f"data.uri={log}",))
    assert judgement.verdict is Verdict.DIVERGED
    assert "column click holds other values" in str(judgement.cause)
    assert [(found.column, found.change) for found in judgement.columns] == [("click", "values")]
    assert any("--use-current-data" in note for note in judgement.notes)


def test_todays_settings_and_the_same_input_come_out_as_identical(run_copy: FinishedRun) -> None:
    settings = load_settings(run_copy.project / "configs" / "default.yaml").settings
    judgement = _judge(run_copy, current_settings=settings, use_current_data=True, use_current_env=True)
    assert judgement.verdict is Verdict.IDENTICAL, judgement.reason
    assert {note.rpartition("(")[2] for note in judgement.notes} == {
        "--use-current-env)", "--use-current-data)", "--use-current-settings)",
    }  # fmt: skip


def test_a_run_that_nobody_knows_is_refused(redone: _Redone) -> None:
    with pytest.raises(InputError, match=r"^run 'ffffffffff' "):
        _ask(redone.run, run_id="ffffffffff")
