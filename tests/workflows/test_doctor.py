"""`doctor`: names what was left, mends what is safe, and leaves finished outputs alone."""

import importlib.metadata
import os
import platform
import shutil
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest

from ctr_pipeline.workflows import doctor_machine
from ctr_pipeline.workflows.doctor import Diagnosis, Finding, diagnose, mend
from ctr_pipeline.workflows.execution import Home, Logged, StepState
from ctr_pipeline.workflows.place import Place
from tests.plugins.run_fixtures import FinishedRun
from tracking.records import RunStatus

NOW_S = 4_000_000_000.0  # far behind every file of the tests


class Disk(NamedTuple):
    free: int


@pytest.fixture(autouse=True)
def _steady_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Disk(1 << 40))


def kinds(diagnosis: Diagnosis) -> list[str]:
    return sorted(finding.kind for finding in diagnosis.findings)


def only(diagnosis: Diagnosis) -> Finding:
    (finding,) = diagnosis.findings
    return finding


def leave(run: FinishedRun, step: str = "train") -> None:
    """Make of a finished run one that was killed with -9 while a step ran."""
    execution = run.folder.load()
    before = [state for state in execution.steps if state.name != step]
    states = (*before[:1], replace(before[0], name=step, status=RunStatus.RUNNING, ended_ms=None))
    process = replace(execution.process, began=0.0, ticks=None)
    run.folder.save(replace(execution, status=RunStatus.RUNNING, ended_ms=None, steps=states, process=process))
    run.folder.save_logged(replace(run.folder.load_logged(), complete=False))
    half = run.folder.path / f"{step}.partial"
    half.mkdir()
    (half / "booster.ubj").write_bytes(b"half")


def running_again(run: FinishedRun) -> str:
    """Say of a finished run, in the tracker, that it still runs; return the id of a new run that does."""
    tracker = run.place.tracker()
    execution = run.folder.load()
    child = tracker.create_run(
        experiment="ctr-pipeline",
        name="train",
        start_ms=execution.started_ms,
        tags={"ctr.execution_id": execution.execution_id, "ctr.step": "train"},
        parent_run_id=run.run_id,
    )
    logged = run.folder.load_logged()
    ids = {key: run_id for key, run_id in logged.step_run_ids.items() if not key.startswith("train@")}
    key = next(state.key for state in execution.steps if state.name == "train")
    run.folder.save_logged(replace(logged, step_run_ids={**ids, key: child}))
    return child


def test_a_finished_run_is_healthy(finished_run: FinishedRun) -> None:
    diagnosis = diagnose(finished_run.place, now_s=NOW_S, deep=True)
    assert diagnosis.findings == ()
    assert diagnosis.is_healthy


def test_an_empty_home_is_healthy(tmp_path: Path) -> None:
    home = Home(tmp_path / ".ctr")
    assert diagnose(Place(tmp_path, home, home.tracking_uri), now_s=NOW_S).is_healthy
    assert not home.path.exists()


def test_a_killed_run_is_named_and_marked(run_copy: FinishedRun) -> None:
    finished = sorted(path for path in run_copy.folder.step("preprocess").rglob("*"))
    leave(run_copy)
    found = diagnose(run_copy.place, now_s=NOW_S)
    assert kinds(found) == ["execution-dead", "half-written", "not-logged"]
    mended = mend(found)
    assert [finding.kind for finding in mended.findings if not finding.mended] == ["not-logged"]
    execution = run_copy.folder.load()
    assert (execution.status, execution.failure) == (
        RunStatus.KILLED, "its driver was killed, or the machine went down"
    )  # fmt: skip
    assert int(execution.ended_ms or 0) >= execution.started_ms
    assert [state.status for state in execution.steps] == [RunStatus.FINISHED, RunStatus.KILLED]
    assert list(run_copy.folder.leftovers()) == []
    assert sorted(path for path in run_copy.folder.step("preprocess").rglob("*")) == finished
    assert kinds(diagnose(run_copy.place, now_s=NOW_S)) == ["not-logged"]


def test_its_remedy_for_an_unlogged_run_is_to_send_it(run_copy: FinishedRun) -> None:
    run_copy.folder.save_logged(Logged())
    finding = next(f for f in diagnose(run_copy.place, now_s=NOW_S).findings if f.kind == "not-logged")
    assert finding.remedy == f"`ctr-pipeline sync {run_copy.report.execution_id}` sends it"
    assert not finding.can_be_mended


def test_a_run_that_only_the_tracker_thinks_running_is_ended(run_copy: FinishedRun) -> None:
    child = running_again(run_copy)
    found = diagnose(run_copy.place, now_s=NOW_S)
    assert (only(found).kind, only(found).subject) == ("run-dead", child)
    assert mend(found).is_healthy
    train = next(state for state in run_copy.folder.load().steps if state.name == "train")
    record = run_copy.place.tracker().run(child)
    assert (record.status, record.end_ms) == (RunStatus.FINISHED, train.ended_ms)
    assert diagnose(run_copy.place, now_s=NOW_S).is_healthy


def test_a_run_without_its_execution_is_named(run_copy: FinishedRun) -> None:
    tracker = run_copy.place.tracker()
    tags = {"ctr.execution_id": "20260101-000000-aaaaaa", "data_version": "0" * 32}
    lost = tracker.create_run(experiment="ctr-pipeline", name="lost", start_ms=1, tags=tags)
    finding = only(diagnose(run_copy.place, now_s=NOW_S))
    assert (finding.kind, finding.subject) == ("run-without-execution", lost)


def test_a_live_run_is_left_alone(run_copy: FinishedRun) -> None:
    leave(run_copy)
    execution = run_copy.folder.load()
    run_copy.folder.save(replace(execution, process=execution.process.current()))
    running_again(run_copy)
    assert diagnose(run_copy.place, now_s=NOW_S).is_healthy


def test_a_record_that_cannot_be_read_is_named(run_copy: FinishedRun) -> None:
    broken = run_copy.home.execution("20260101-000000-broken")
    broken.path.mkdir()
    (broken.path / "execution.json").write_text("{", encoding="utf-8")
    finding = only(diagnose(run_copy.place, now_s=NOW_S))
    assert (finding.kind, finding.subject) == ("execution-unreadable", "20260101-000000-broken")


def test_abandoned_temporary_files_are_removed(run_copy: FinishedRun) -> None:
    left = [folder / f".{platform.node()}.999999999.aa.tmp" for folder in (run_copy.home.store, run_copy.folder.path)]
    for path in left:
        path.write_bytes(b"123")
    found = diagnose(run_copy.place, now_s=NOW_S)
    assert kinds(found) == ["temporary", "temporary"]
    assert mend(found).is_healthy
    assert not any(path.exists() for path in left)


def stored(run: FinishedRun) -> Path:
    (sha256,) = run.place.store.files.digests()
    return run.home.store / "sha256" / sha256[:2] / sha256[2:]


def test_a_damaged_object_is_found_when_looked_at_closely(run_copy: FinishedRun) -> None:
    content = stored(run_copy).read_bytes()
    stored(run_copy).chmod(0o644)
    stored(run_copy).write_bytes(content[:-2] + b"9\n")
    assert diagnose(run_copy.place, now_s=NOW_S).is_healthy
    finding = only(diagnose(run_copy.place, now_s=NOW_S, deep=True))
    assert finding.kind == "object-damaged"
    assert "pin the same data again" in finding.remedy


@pytest.fixture
def run_in_place(run_copy: FinishedRun) -> FinishedRun:
    """A run whose recipe says that its data are pinned in its own home, as if it had been made there."""
    recipe = run_copy.folder.recipe
    original = run_copy.report.folder.parent.parent
    recipe.write_text(recipe.read_text().replace(str(original), str(run_copy.home.path)))
    return run_copy


def test_a_missing_file_is_named_by_version_and_run(run_in_place: FinishedRun) -> None:
    stored(run_in_place).unlink()
    found = {finding.kind: finding for finding in diagnose(run_in_place.place, now_s=NOW_S).findings}
    assert sorted(found) == ["manifest-incomplete", "run-without-data"]
    assert found["manifest-incomplete"].subject == run_in_place.report.data_version
    assert "log.csv" in found["manifest-incomplete"].problem
    assert found["run-without-data"].subject == run_in_place.run_id


def test_the_trackers_recipe_is_asked_where_the_outputs_are_gone(finished_run: FinishedRun, tmp_path: Path) -> None:
    home = Home(tmp_path / ".ctr")
    there = Place(tmp_path, home, finished_run.home.tracking_uri)
    assert "run-without-data" not in kinds(diagnose(there, now_s=NOW_S))


def test_a_broken_manifest_is_named(run_copy: FinishedRun) -> None:
    (run_copy.home.store / "manifests" / "broken.json").write_bytes(b"{")
    assert only(diagnose(run_copy.place, now_s=NOW_S)).kind == "manifest-unreadable"


def test_a_tracker_that_is_away_is_a_finding_not_an_error(run_copy: FinishedRun) -> None:
    finding = only(diagnose(replace(run_copy.place, uri="http://127.0.0.1:9"), now_s=NOW_S))
    assert finding.kind == "tracker"
    assert "cannot be reached" in finding.problem


def test_a_database_of_another_mlflow_is_a_finding(run_copy: FinishedRun) -> None:
    with closing(sqlite3.connect(run_copy.home.path / "mlflow.db")) as database, database:
        database.execute("UPDATE alembic_version SET version_num = 'ffffffffffff'")
    finding = only(diagnose(run_copy.place, now_s=NOW_S))
    assert "belongs to another MLflow version" in finding.problem


@pytest.mark.server
def test_a_server_of_this_version_is_no_finding(mlflow_server: str, tmp_path: Path) -> None:
    place = Place(tmp_path, Home(tmp_path / ".ctr"), mlflow_server)
    assert diagnose(place, now_s=NOW_S).is_healthy


@pytest.mark.server
def test_a_server_of_another_version_is_named(
    mlflow_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.metadata, "version", lambda _: "1.2.3")
    found = list(doctor_machine.server_findings(Place(tmp_path, Home(tmp_path / ".ctr"), mlflow_server)))
    assert [finding.kind for finding in found] == ["mlflow-version"]
    assert "this environment 1.2.3" in found[0].problem


def test_a_server_that_keeps_its_version_to_itself_is_no_finding(tmp_path: Path) -> None:
    place = Place(tmp_path, Home(tmp_path / ".ctr"), "http://127.0.0.1:9")
    assert list(doctor_machine.server_findings(place)) == []


def test_a_clock_that_was_turned_back_is_named(finished_run: FinishedRun) -> None:
    finding = only(diagnose(finished_run.place, now_s=0.0))
    assert finding.kind == "clock"


def machine(place: Place) -> list[str]:
    return [finding.kind for finding in doctor_machine.machine_findings(place, now_s=NOW_S)]


def test_a_full_disk_is_named(finished_run: FinishedRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Disk(1_000))
    assert machine(finished_run.place) == ["disk"]


def test_missing_git_is_named(finished_run: FinishedRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    assert machine(finished_run.place) == ["git"]


def test_another_python_than_the_projects_is_named(tmp_path: Path) -> None:
    home = Home(tmp_path / ".ctr")
    place = Place(tmp_path, home, home.tracking_uri)
    wanted = tmp_path / ".python-version"
    wanted.write_text(".".join(platform.python_version_tuple()[:2]), encoding="utf-8")
    assert machine(place) == []
    wanted.write_text("3.1\n", encoding="utf-8")
    assert machine(place) == ["python"]


def test_libraries_other_than_the_locked_ones_are_named(tmp_path: Path) -> None:
    home = Home(tmp_path / ".ctr")
    lock = '[[package]]\nname = "{}"\nversion = "0.0.1"\n'
    names: Sequence[str] = ("numpy", "pyarrow", "xgboost")
    (tmp_path / "uv.lock").write_text("".join(lock.format(name) for name in names), encoding="utf-8")
    (finding,) = doctor_machine.machine_findings(Place(tmp_path, home, home.tracking_uri), now_s=NOW_S)
    assert finding.kind == "lock"
    assert finding.problem.endswith("and 2 more")
    assert finding.remedy == "run `uv sync --frozen`"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_tree_that_git_distrusts_is_named(run_copy: FinishedRun, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    shutil.copytree(run_copy.project, tree)
    for path in (tree, *tree.rglob("*")):
        os.chown(path, 12345, 12345)
    assert machine(replace(run_copy.place, root=tree)) == ["git"]


def test_a_mending_that_fails_leaves_its_finding() -> None:
    def fail() -> None:
        raise OSError(13, "Permission denied")

    mended = mend(Diagnosis((Finding("temporary", "a", "left", "remove it", fail),)))
    assert not mended.is_healthy
    assert "mending failed: [Errno 13]" in only(mended).remedy


def test_a_step_that_never_began_is_no_trouble(run_copy: FinishedRun) -> None:
    execution = run_copy.folder.load()
    run_copy.folder.save(
        replace(
            execution,
            status=RunStatus.RUNNING,
            ended_ms=None,
            steps=(StepState("preprocess", RunStatus.RUNNING, execution.started_ms + 10**12),),
            process=replace(execution.process, began=0.0, ticks=None),
        )
    )
    mend(diagnose(run_copy.place, now_s=NOW_S))
    (step,) = run_copy.folder.load().steps
    assert step.ended_ms == step.started_ms
