"""`show`: what it finds, from this machine and from the tracker alone."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from ctr_pipeline.workflows.execution import Home
from ctr_pipeline.workflows.find_run import find_folder, find_run
from ctr_pipeline.workflows.place import Place
from ctr_pipeline.workflows.run_view import PreprocessingView
from ctr_pipeline.workflows.show import show_run
from tests.plugins.run_fixtures import N_ROWS, FinishedRun
from tracking.errors import InputError, TrackingError
from tracking.records import RunStatus


def fitted(preprocessing: PreprocessingView | None) -> PreprocessingView:
    assert preprocessing is not None
    return preprocessing


def test_a_run_tells_its_data(finished_run: FinishedRun) -> None:
    data = show_run("latest", finished_run.place).data
    assert (data.version, data.n_rows) == (finished_run.report.data_version, N_ROWS)
    assert [(file.path, file.n_rows) for file in data.files] == [("log.csv", N_ROWS)]
    assert data.pinned_here
    assert [split.name for split in data.splits] == ["train", "validation", "test"]
    assert sum(split.n_rows for split in data.splits) == N_ROWS
    roles = {column.name: column.role for column in data.columns}
    assert roles == {
        "ad": "categorical",
        "click": "label",
        "device": "native",
        "position": "context, numeric, pinned at 1",
        "price": "numeric",
        "shown_at": "time",
        "user": "user",
    }


def test_a_run_tells_the_fitted_values_of_its_preprocessing(finished_run: FinishedRun) -> None:
    preprocessing = fitted(show_run("latest", finished_run.place).preprocessing)
    features = {feature.name: feature for feature in preprocessing.features}
    assert (features["price"].low, features["price"].high) == (0, 50)
    assert features["device"].categories == ("desk", "phone")
    ad = next(statistic for statistic in preprocessing.statistics if statistic.columns == ("ad",))
    assert ad.n_categories == 12
    assert {ad.highest_rate[0].category, ad.highest_rate[1].category} == {"ad-1", "ad-2"}
    assert ad.most_frequent[0].impressions >= ad.most_frequent[1].impressions
    for found in ad.lowest_rate:
        expected = (found.clicks + preprocessing.smoothing * preprocessing.prior) / (
            found.impressions + preprocessing.smoothing
        )
        assert found.rate == pytest.approx(expected)


def test_a_cross_is_told_by_its_keys(finished_run: FinishedRun) -> None:
    statistics = fitted(show_run("latest", finished_run.place).preprocessing).statistics
    cross = next(statistic for statistic in statistics if statistic.columns == ("ad", "device"))
    assert cross.most_frequent[0].category.startswith("key ")


def test_a_run_tells_parameters_code_environment_and_recipe(finished_run: FinishedRun) -> None:
    view = show_run("latest", finished_run.place)
    assert view.parameters.settings["train.rounds"] == "5"
    assert {"train.rounds", "name"} <= set(view.parameters.changed)
    assert "seed" not in view.parameters.changed
    assert view.parameters.booster["tree_method"] == "hist"
    assert set(view.parameters.importance) >= {"price"}
    assert view.code.dirty
    assert "+FLOOR = 20" in str(view.code.patch)
    assert view.code.version == finished_run.report.code_version
    assert view.code.n_files
    assert "xgboost" in view.environment.key_packages
    assert view.recipe.digest == finished_run.report.recipe_digest
    assert any("bids.py" in text for text in view.recipe.missing)


def test_a_run_tells_metrics_and_the_worst_slices_first(finished_run: FinishedRun) -> None:
    view = show_run("latest", finished_run.place)
    assert view.metrics is not None
    estimates = {estimate.name: estimate for estimate in view.metrics.estimates}
    assert estimates["logloss"].value == finished_run.report.metrics["test.logloss"]
    assert view.metrics.unit == "user"
    excesses = [part.excess for part in view.slices]
    assert excesses == sorted(excesses, reverse=True)
    assert {part.column for part in view.slices} == {"device"}


def test_a_run_tells_who_ran_it_where_and_when(finished_run: FinishedRun) -> None:
    head = show_run(finished_run.run_id, finished_run.place).run
    assert (head.status, head.failure) == ("FINISHED", None)
    assert head.command == ("ctr-pipeline", "run")
    assert head.user
    assert [step.name for step in head.steps] == ["preprocess", "train", "evaluate"]
    assert all(step.wall_s is not None for step in head.steps)


def test_the_tracker_alone_tells_the_same(finished_run: FinishedRun, tmp_path: Path) -> None:
    here = show_run(finished_run.run_id, finished_run.place)
    elsewhere = Place(tmp_path, Home(tmp_path / ".ctr"), finished_run.home.tracking_uri)
    there = show_run(finished_run.run_id, elsewhere)
    assert there.run.outputs is None
    assert there.data == replace(here.data, pinned_here=None)
    assert there.preprocessing == here.preprocessing
    assert there.metrics == here.metrics
    assert replace(there, run=here.run, data=here.data) == here
    assert [step.name for step in there.run.steps] == ["preprocess", "train", "evaluate"]


def test_outputs_that_were_removed_are_read_from_the_tracker(run_copy: FinishedRun) -> None:
    whole = show_run("latest", run_copy.place)
    for step in ("preprocess", "train", "evaluate"):
        shutil.rmtree(run_copy.folder.step(step))
    assert show_run("latest", run_copy.place) == whole


def test_without_a_tracker_what_is_here_is_shown_with_a_note(run_copy: FinishedRun) -> None:
    shutil.rmtree(run_copy.folder.step("evaluate"))
    run_copy.folder.save(replace(run_copy.folder.load(), tracking_uri="sqlite:////nowhere/to/be/mlflow.db"))
    place = replace(run_copy.place, uri="sqlite:////nowhere/to/be/mlflow.db")
    (run_copy.home.path / "cache").rename(run_copy.home.path / "away")
    run_copy.home.cache.write_text("no folder can be made here", encoding="utf-8")
    view = show_run("latest", place)
    assert view.metrics is None
    assert view.preprocessing is not None
    assert view.notes[0].startswith("shown from this machine alone: ")


@pytest.mark.parametrize("n_characters", [6, 12, 32])
def test_a_run_is_found_by_the_start_of_its_id(finished_run: FinishedRun, n_characters: int) -> None:
    found = find_run(finished_run.run_id[:n_characters], finished_run.place)
    assert found.execution_id == finished_run.report.execution_id


def test_a_step_is_found_and_its_run_shown(finished_run: FinishedRun, tmp_path: Path) -> None:
    step_id = next(
        run_id for key, run_id in finished_run.folder.load_logged().step_run_ids.items() if key.startswith("train@")
    )
    elsewhere = Place(tmp_path, Home(tmp_path / ".ctr"), finished_run.home.tracking_uri)
    for place in (finished_run.place, elsewhere):
        head = show_run(step_id[:16], place).run
        assert (head.run_id, head.step) == (finished_run.run_id, "train")


@pytest.mark.parametrize("where", ["here", "there"])
def test_an_execution_is_found_by_its_id(finished_run: FinishedRun, tmp_path: Path, where: str) -> None:
    elsewhere = Place(tmp_path, Home(tmp_path / ".ctr"), finished_run.home.tracking_uri)
    place = finished_run.place if where == "here" else elsewhere
    assert find_run(finished_run.report.execution_id, place).run_id == finished_run.run_id
    assert find_run("latest", place).run_id == finished_run.run_id


def test_an_unknown_run_names_the_nearest_and_the_recent(finished_run: FinishedRun) -> None:
    mistyped = finished_run.run_id[:-2] + "zz"
    with pytest.raises(InputError, match=rf"the nearest is {finished_run.run_id}; the recent ones are .*tiny-"):
        find_run(mistyped, finished_run.place)


def test_too_short_a_start_is_refused(finished_run: FinishedRun) -> None:
    with pytest.raises(InputError, match=r"run == 'abc', must have at least 6 characters of an id, or be 'latest'"):
        find_run("abc", finished_run.place)
    with pytest.raises(InputError, match="must have at least 6 characters"):
        find_folder("abc", finished_run.place)


def test_a_start_of_two_runs_is_refused(run_copy: FinishedRun) -> None:
    execution = run_copy.folder.load()
    other = run_copy.home.execution(execution.execution_id[:-2] + "zz")
    other.path.mkdir()
    other.save(replace(execution, execution_id=other.path.name))
    with pytest.raises(InputError, match=r"must be the start of one run only, not of .*; give more characters"):
        find_run(execution.execution_id[:8], run_copy.place)


def test_an_empty_home_says_how_to_start(tmp_path: Path) -> None:
    home = Home(tmp_path / ".ctr")
    with pytest.raises(InputError, match=r"no run is recorded in .*: start one with `ctr-pipeline run`"):
        find_run("latest", Place(tmp_path, home, home.tracking_uri))
    with pytest.raises(InputError, match="there is none yet, start one"):
        find_folder("latest", Place(tmp_path, home, home.tracking_uri))


def test_a_run_that_is_nowhere_here_needs_the_tracker(tmp_path: Path) -> None:
    place = Place(tmp_path, Home(tmp_path / ".ctr"), "http://127.0.0.1:9")
    with pytest.raises(TrackingError, match=r"run 'abcdef' is not on this machine, and tracking server .* cannot"):
        find_run("abcdef", place)


def test_a_dead_run_says_so(run_copy: FinishedRun) -> None:
    execution = run_copy.folder.load()
    dead = replace(
        execution, status=RunStatus.RUNNING, process=replace(execution.process, began=0.0, ticks=None), ended_ms=None
    )
    run_copy.folder.save(dead)
    head = show_run("latest", run_copy.place).run
    assert head.status == "RUNNING"
    assert "`ctr-pipeline doctor --fix` marks it" in str(head.failure)


def test_a_run_without_a_recipe_is_refused(run_copy: FinishedRun) -> None:
    run_copy.folder.recipe.unlink()
    with pytest.raises(InputError, match=r"has no recipe\.json"):
        show_run("latest", run_copy.place)


def test_a_step_is_found_in_a_tracker_whose_parent_runs_are_too_many_to_list(
    finished_run: FinishedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ctr_pipeline.workflows.find_run._SEARCHED", 1)
    (newest,) = finished_run.place.tracker().runs(limit=1)
    elsewhere = Place(tmp_path, Home(tmp_path / ".ctr"), finished_run.home.tracking_uri)
    found = find_run(newest.run_id, elsewhere)
    assert (found.run_id, found.step) == (finished_run.run_id, "evaluate")
    with pytest.raises(InputError, match="is known neither in"):
        find_run("ffffffff", elsewhere)


def test_the_importance_and_patch_of_a_copy_elsewhere_are_read_from_the_tracker(
    run_copy: FinishedRun,
) -> None:
    shutil.rmtree(run_copy.folder.step("train"))
    assert show_run("latest", run_copy.place).parameters.importance
