"""`gc`: what may go, and above all what may not."""

import os
import shutil
import time
from dataclasses import replace
from pathlib import Path

import pytest

from ctr_pipeline.workflows.data import find_source, list_versions, pin_source
from ctr_pipeline.workflows.execution import Logged
from ctr_pipeline.workflows.gc import Collection, age_us, collect, plan_collection
from ctr_pipeline.workflows.kept import Protected, protected_digests
from ctr_pipeline.workflows.place import Place
from ctr_pipeline.workflows.show import show_run
from tests.plugins.run_fixtures import FinishedRun, write_log
from tracking.errors import InputError, TrackingError
from tracking.records import RunStatus

DAY_S = 86_400.0


def plan(run: FinishedRun, *, days: float = 365.0, place: Place | None = None, **others: Protected) -> Collection:
    """Plan as if it were a year later, with everything older than thirty days to go."""
    return plan_collection(
        place or run.place,
        older_than_us=age_us("30d"),
        now_s=time.time() + days * DAY_S,
        others=tuple(others.values()),
    )


def lost(run: FinishedRun) -> list[str]:
    return [path for view in list_versions(run.place) for path in view.missing]


def kinds(collection: Collection) -> dict[str, int]:
    found: dict[str, int] = {}
    for item in collection.items:
        found[item.kind] = found.get(item.kind, 0) + 1
    return found


def test_old_outputs_go_and_the_run_is_still_told(run_copy: FinishedRun) -> None:
    whole = show_run("latest", run_copy.place)
    found = plan(run_copy)
    assert [item.path.name for item in found.items if item.kind == "step output"] == ["preprocess", "train", "evaluate"]
    assert found.n_bytes == sum(item.n_bytes for item in found.items) > 0
    assert collect(found).removed
    assert not run_copy.folder.step("train").exists()
    assert show_run("latest", run_copy.place) == whole


def test_planning_touches_nothing(run_copy: FinishedRun) -> None:
    before = {path: path.stat().st_size for path in run_copy.home.path.rglob("*") if "mlflow.db" not in path.name}
    plan(run_copy)
    assert {path: path.stat().st_size for path in before} == before


def test_what_is_young_stays(run_copy: FinishedRun) -> None:
    assert plan(run_copy, days=29.0).items == ()


def test_pinned_data_of_a_kept_run_stay(run_copy: FinishedRun) -> None:
    found = plan(run_copy)
    assert set(kinds(found)) <= {"step output", "cache"}
    collect(found)
    assert lost(run_copy) == []


def test_pinned_data_that_no_run_names_go(run_copy: FinishedRun, tmp_path: Path) -> None:
    other = str(write_log(tmp_path / "other.csv", 50, seed=9))
    pin_source(find_source(tmp_path, other, None, run_copy.place), run_copy.place)
    found = plan(run_copy, days=400.0)
    assert kinds(found)["manifest"] == kinds(found)["object"] == 1
    collect(found)
    assert kinds(plan(run_copy, days=400.0)) == {}
    assert lost(run_copy) == []


def test_the_tracker_alone_keeps_the_data_of_its_runs(run_copy: FinishedRun) -> None:
    shutil.rmtree(run_copy.folder.path)
    assert "object" not in kinds(plan(run_copy))
    for manifest in (run_copy.home.store / "manifests").iterdir():
        manifest.unlink()
    assert "object" not in kinds(plan(run_copy))


def test_a_deleted_run_goes_whole_with_its_data(run_copy: FinishedRun) -> None:
    run_copy.place.tracker().delete_run(run_copy.run_id)
    found = plan(run_copy)
    assert {"execution": 1, "manifest": 1, "object": 1}.items() <= kinds(found).items()
    collect(found)
    assert not run_copy.folder.path.exists()
    assert not list((run_copy.home.store / "sha256").rglob("*/*"))


def test_a_run_that_another_database_holds_is_not_taken_for_deleted(run_copy: FinishedRun) -> None:
    (run_copy.home.path / "mlflow.db").unlink()
    run_copy.place.tracker_of(run_copy.folder.load()).runs(limit=1)
    assert "execution" not in kinds(plan(run_copy))


def test_an_execution_that_is_not_completely_logged_stays(run_copy: FinishedRun) -> None:
    run_copy.folder.save_logged(replace(run_copy.folder.load_logged(), complete=False))
    assert set(kinds(plan(run_copy))) <= {"cache"}


def test_an_execution_that_is_not_logged_at_all_keeps_its_data(run_copy: FinishedRun) -> None:
    run_copy.folder.save_logged(Logged())
    (run_copy.home.path / "mlflow.db").unlink()
    assert set(kinds(plan(run_copy))) <= {"cache"}


def test_what_a_ledger_names_stays(run_copy: FinishedRun) -> None:
    tracker = run_copy.place.tracker()
    tracker.delete_run(run_copy.run_id)
    version = run_copy.report.data_version
    found = plan(run_copy, ledger=Protected(frozenset({version}), frozenset(), frozenset({run_copy.run_id})))
    assert set(kinds(found)) <= {"cache"}
    protected = protected_digests(run_copy.place, (), (), Protected(versions=frozenset({version})))
    assert protected.objects == set(run_copy.place.store.files.digests())


def test_a_running_execution_is_left_alone(run_copy: FinishedRun) -> None:
    execution = run_copy.folder.load()
    run_copy.folder.save(replace(execution, status=RunStatus.RUNNING, process=execution.process.current()))
    (run_copy.folder.path / "train.partial").mkdir()
    assert set(kinds(plan(run_copy))) <= {"cache"}


def test_half_written_folders_of_a_dead_run_go(run_copy: FinishedRun) -> None:
    partial = run_copy.folder.path / "train.partial"
    partial.mkdir()
    (partial / "booster.ubj").write_bytes(b"12345")
    half = [item for item in plan(run_copy, days=0.0).items if item.kind == "half-written"]
    assert [(item.path, item.n_bytes) for item in half] == [(partial, 5)]


def test_old_caches_go(run_copy: FinishedRun) -> None:
    cached = run_copy.home.cache / "digests" / "old.json"
    cached.write_bytes(b"{}")
    os.utime(cached, (0, 0))
    found = plan(run_copy, days=1.0)
    assert [item.path for item in found.items] == [cached]
    collect(found)
    assert not cached.exists()


def test_a_manifest_that_cannot_be_read_stops_everything(run_copy: FinishedRun) -> None:
    (run_copy.home.store / "manifests" / "broken.json").write_bytes(b"{")
    with pytest.raises(InputError, match=r"manifest 'manifests/broken\.json' cannot be read"):
        plan(run_copy)


def test_without_the_tracker_nobody_knows_what_is_kept(run_copy: FinishedRun) -> None:
    with pytest.raises(TrackingError, match="cannot be reached"):
        plan(run_copy, place=replace(run_copy.place, uri="http://127.0.0.1:9"))


def test_an_age_that_is_none_is_refused() -> None:
    with pytest.raises(InputError, match=r"--older-than == 'soon', must be a whole number and a unit"):
        age_us("soon")
