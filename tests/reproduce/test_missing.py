"""What is missing or harmed is named before anything is computed, or passed over for a copy that is right."""

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest

from ctr_pipeline.reproduce.verdict import Verdict
from tests.plugins.run_fixtures import FinishedRun
from tests.reproduce.redone import Noting, Redone, ask, executions, judge
from tracking.rebuilt_environment import MissingPackagesError, MissingPythonError
from tracking.recipe import Recipe
from tracking.uv import UvError

_KEPT: Final = ("recipe.json", "settings.json", "provenance/manifest.json", "provenance/source.tar.gz")


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
    watcher = Noting()
    found = ask(run_copy, watcher)
    assert found.judgement is not None
    assert (found.judgement.verdict, found.exit_code) == (Verdict.CANNOT, 5)
    assert re.search(rf"{told}.*: .*{remedy}", found.judgement.reason), found.judgement.reason
    assert "\n" not in found.judgement.reason
    assert found.judgement.again is None
    assert watcher.done == ["looking everything up"]
    assert len(executions(run_copy)) == 1
    assert not ask(run_copy, check_only=True).plan_record()["ready"]


def test_all_that_is_missing_is_named_at_once(run_copy: FinishedRun) -> None:
    _lose(run_copy, "settings.json")
    _lose_data(run_copy)
    missing = [item.name for item in ask(run_copy).ingredients if not item.ready]
    assert missing == ["data", "settings"]


def test_a_run_that_did_not_finish_cannot_be_redone(run_copy: FinishedRun) -> None:
    recipe = Recipe.from_json(run_copy.folder.recipe.read_bytes())
    unfinished = replace(recipe, outputs=type(recipe.outputs)({}), timings={})
    run_copy.folder.recipe.write_bytes(unfinished.to_json())
    judgement = judge(run_copy)
    assert (judgement.verdict, judgement.verdict.exit_code) == (Verdict.CANNOT, 5)
    assert "recipe: no outputs to compare with: the run did not finish: start it anew" in judgement.reason


@pytest.mark.parametrize("kept", _KEPT)
def test_a_harmed_copy_on_this_machine_is_passed_over_for_the_trackers(known: FinishedRun, kept: str) -> None:
    path = known.folder.path / kept
    path.write_bytes(path.read_bytes()[:-7])
    assert judge(known).verdict is Verdict.IDENTICAL


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
    judgement = judge(known)
    assert judgement.verdict is Verdict.IDENTICAL, judgement.reason
    assert all(metric.delta == 0 for metric in judgement.metrics)
    assert judgement.metrics


def test_another_file_than_the_pinned_one_is_not_taken_for_it(run_copy: FinishedRun) -> None:
    for path in _own_data(run_copy):
        path.write_bytes(path.read_bytes().replace(b"phone", b"phony"))
    judgement = judge(run_copy)
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
    redone: Redone, monkeypatch: pytest.MonkeyPatch, error: Exception, ingredient: str, told: str
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr("ctr_pipeline.reproduce.environment.rebuild_environment", fail)
    before = executions(redone.run)
    judgement = judge(redone.run)
    assert judgement.verdict is Verdict.CANNOT
    assert [item.name for item in judgement.ingredients if not item.ready] == [ingredient]
    assert re.search(rf"^missing or not what was recorded: {ingredient}: .*{told}", judgement.reason)
    assert "--use-current-env" in judgement.reason
    assert executions(redone.run) == before
