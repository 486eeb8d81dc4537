"""A run's documents are taken from this machine, else from the tracker, and only where the recipe proves them."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from ctr_pipeline.reproduce.original import PREDICTIONS, Original, find_original
from tests.plugins.run_fixtures import FinishedRun
from tracking.errors import InputError
from tracking.records import RunStatus


@pytest.fixture
def elsewhere(run_copy: FinishedRun, tmp_path: Path) -> Original:
    """The run as another machine sees it, which has the tracker only."""
    shutil.rmtree(run_copy.folder.path)
    return find_original(run_copy.run_id, run_copy.place, tmp_path / "fetched")


def _here(run: FinishedRun, tmp_path: Path) -> Original:
    return find_original(run.run_id, run.place, tmp_path / "fetched")


def test_a_run_is_known_alike_on_this_machine_and_from_the_tracker(
    finished_run: FinishedRun, elsewhere: Original, tmp_path: Path
) -> None:
    here = _here(finished_run, tmp_path)
    assert here.found.folder is not None
    assert elsewhere.found.folder is None
    assert here.recipe == elsewhere.recipe
    assert here.name == elsewhere.name == finished_run.run_id
    assert here.experiment == elsewhere.experiment
    assert here.metrics() == elsewhere.metrics()
    assert here.metrics()["test.logloss"] > 0
    assert {key: elsewhere.tags[key] for key in here.tags} == dict(here.tags)
    for field in ("run_id", "name", "started_utc", "recipe_digest"):
        assert getattr(here.side, field) == getattr(elsewhere.side, field)
    assert here.side.wall_s == pytest.approx(elsewhere.side.wall_s, abs=0.01)


def test_copies_of_this_machine_come_before_the_trackers(finished_run: FinishedRun, tmp_path: Path) -> None:
    here = _here(finished_run, tmp_path)
    first, second = here.documents.copies(PREDICTIONS)
    assert first == finished_run.folder.step("evaluate") / PREDICTIONS
    assert second.is_relative_to(tmp_path / "fetched")
    assert first.read_bytes() == second.read_bytes()
    assert here.documents.verified(PREDICTIONS, lambda path: path == second) == second
    assert here.documents.verified(PREDICTIONS, lambda _: False) is None
    assert list(here.documents.copies("no-such-document")) == []


def test_a_harmed_recipe_is_passed_over_and_without_any_the_first_problem_is_told(
    run_copy: FinishedRun, tmp_path: Path
) -> None:
    text = run_copy.folder.recipe.read_text(encoding="utf-8")
    harmed = text.replace('"seed":', '"seed": 1', 1)
    run_copy.folder.recipe.write_text(harmed, encoding="utf-8")
    assert _here(run_copy, tmp_path / "one").recipe is not None
    for path in (run_copy.home.path / "artifacts").rglob("recipe.json"):
        path.write_text("{}", encoding="utf-8")
    lost = _here(run_copy, tmp_path / "two")
    assert lost.recipe is None
    assert "recipe" in lost.problem
    assert (lost.metrics(), lost.side.recipe_digest, lost.side.started_utc) == ({}, None, None)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{}",
        b'{"facts": {"metrics": {"a": NaN}}}',
        b'{"facts": {"metrics": 3}}',
        b'{"facts": {"metrics": {"a": 1}}}',
    ],
)
def test_metrics_that_the_recipe_does_not_prove_are_not_taken(
    run_copy: FinishedRun, tmp_path: Path, content: bytes
) -> None:
    expected = _here(run_copy, tmp_path / "one").metrics()
    (run_copy.folder.step("evaluate") / "step.json").write_bytes(content)
    assert _here(run_copy, tmp_path / "two").metrics() == expected
    for path in (run_copy.home.path / "artifacts").rglob("step.json"):
        path.write_bytes(content)
    assert _here(run_copy, tmp_path / "three").metrics() == {}


def test_a_tracker_that_is_away_is_remembered_and_no_error(run_copy: FinishedRun, tmp_path: Path) -> None:
    away = "http://127.0.0.1:9"
    run_copy.folder.save(replace(run_copy.folder.load(), tracking_uri=away))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        original = find_original(run_copy.report.execution_id, replace(run_copy.place, uri=away), tmp_path / "fetched")
        assert original.recipe is not None
        assert list(original.documents.copies("gone.txt")) == []
        assert len(list(original.documents.step_copies("evaluate", "step.json"))) == 1
    assert "127.0.0.1:9" in original.documents.unreachable


def test_a_run_that_goes_on_has_no_wall_time(run_copy: FinishedRun, tmp_path: Path) -> None:
    execution = run_copy.folder.load()
    run_copy.folder.save(replace(execution, status=RunStatus.RUNNING, ended_ms=None))
    assert _here(run_copy, tmp_path).side.wall_s is None


def test_a_run_that_nobody_knows_is_refused(finished_run: FinishedRun, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^run 'abcdef12"):
        find_original("abcdef1234", finished_run.place, tmp_path)


def test_a_step_file_that_no_json_reads_is_no_metric(run_copy: FinishedRun, tmp_path: Path) -> None:
    original = _here(run_copy, tmp_path)
    kept = json.loads((run_copy.folder.step("evaluate") / "step.json").read_bytes())
    assert original.metrics() == kept["facts"]["metrics"]
