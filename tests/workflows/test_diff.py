"""`diff`: what differs between two runs is told, part by part, and nothing else."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from ctr_pipeline.workflows.diff import diff_runs
from ctr_pipeline.workflows.diff_markdown import diff_markdown
from ctr_pipeline.workflows.diff_page import diff_page
from ctr_pipeline.workflows.diff_parts import Change, FileChange
from ctr_pipeline.workflows.diff_view import RunDiff
from ctr_pipeline.workflows.diff_words import lead, part_lines
from ctr_pipeline.workflows.execution import Home
from ctr_pipeline.workflows.place import Place
from tests.plugins.diff_fixtures import ComparedRuns
from tests.plugins.run_fixtures import FinishedRun
from tracking.errors import InputError
from tracking.records import RunStatus


@pytest.fixture(scope="module")
def whole(compared: ComparedRuns) -> RunDiff:
    return compared.diff(compared.a, compared.b)


@pytest.fixture(scope="module")
def unequal(whole: RunDiff) -> RunDiff:
    return whole.differing()


def by_name(changes: tuple[Change, ...]) -> dict[str, tuple[str | None, str | None]]:
    return {change.name: (change.a, change.b) for change in changes}


def test_settings_are_told_by_dotted_key_and_only_where_they_differ(whole: RunDiff, unequal: RunDiff) -> None:
    assert by_name(unequal.settings) == {
        "features.clip.price": ("[0.0,50.0]", "[0.0,40.0]"),
        "features.crosses": ('[["ad","device"]]', "[]"),
        "features.statistics.smoothing": ("20.0", "5.0"),
        "train.max_depth": ("6", "3"),
        "train.rounds": ("5", "9"),
    }
    assert "seed" in by_name(whole.settings)


def test_equal_data_and_libraries_are_not_told(unequal: RunDiff) -> None:
    assert unequal.data.same_rows
    assert (unequal.data.facts, unequal.data.columns, unequal.data.files) == ((), (), ())
    assert (unequal.environment, unequal.packages) == ((), ())


def test_code_is_told_as_a_patch_and_binary_files_by_name(unequal: RunDiff) -> None:
    patches = {patch.path: patch for patch in unequal.code.patches}
    assert set(patches) == {"bids.py", "logo.py"}
    assert "-FLOOR = 20" in patches["bids.py"].lines
    assert "+FLOOR = 30" in patches["bids.py"].lines
    assert (patches["bids.py"].added, patches["bids.py"].removed) == (2, 1)
    assert (patches["logo.py"].lines, patches["logo.py"].change, patches["logo.py"].reason) == ((), "added", "binary")
    # Steps import neither: the config names no function of theirs.
    assert unequal.code.same_code
    assert "code digest" not in by_name(unequal.code.facts)


def test_what_was_fitted_is_told_with_its_values(unequal: RunDiff) -> None:
    fitted = unequal.preprocessing
    assert by_name(fitted.facts) == {"smoothing": ("20 impressions", "5 impressions")}
    features = by_name(fitted.features)
    assert features["price"] == ("numeric, clipped to 0 .. 50", "numeric, clipped to 0 .. 40")
    assert features["ad x device"] == ("statistic of ad x device", None)
    statistics = {item.name: item for item in fitted.statistics}
    assert (statistics["ad"].n_a, statistics["ad"].n_b, statistics["ad"].n_moved) == (12, 12, 12)
    cross = statistics["ad x device"]
    assert (cross.n_b, cross.only_a, cross.only_b) == (None, cross.n_a, 0)
    moves = [abs(move.rate_b - move.rate_a) for move in fitted.moved]
    assert moves == sorted(moves, reverse=True)
    assert fitted.moved[0].category.startswith("ad-")


def test_training_is_told_with_curves_of_both_runs(unequal: RunDiff) -> None:
    training = unequal.training
    assert by_name(training.facts)["rounds run"] == ("5", "9")
    assert by_name(training.facts)["booster max_depth"] == ("6", "3")
    lengths = {(curve.run, curve.dataset): len(curve.values) for curve in training.curves}
    assert lengths == {("a", "train"): 5, ("a", "validation"): 5, ("b", "train"): 9, ("b", "validation"): 9}
    assert sum(change.a or 0 for change in training.importance) == pytest.approx(1)


def test_outputs_are_told_in_the_order_in_which_a_run_makes_them(whole: RunDiff, unequal: RunDiff) -> None:
    names = [change.name for change in whole.outputs]
    assert names[:5] == ["split.train", "split.validation", "split.test", "encoder", "booster"]
    assert "split.test" not in by_name(unequal.outputs)
    assert {"booster", "margins", "metrics"} <= set(by_name(unequal.outputs))


def test_circumstances_are_told_apart(whole: RunDiff, unequal: RunDiff) -> None:
    assert "started" in by_name(unequal.circumstances)
    assert "host" in by_name(whole.circumstances)
    assert "host" not in by_name(unequal.circumstances)


def test_a_run_against_itself_differs_in_nothing(compared: ComparedRuns) -> None:
    diff = compared.diff(compared.a, compared.a)
    found = diff.differing()
    assert diff.is_same_run
    assert diff.same_recipe
    changes = (found.settings, found.environment, found.packages, found.outputs, found.circumstances)
    assert changes == ((), (), (), (), ())
    assert (found.training.facts, found.training.importance, found.training.curves) == ((), (), ())
    assert (found.preprocessing.facts, found.preprocessing.statistics, found.preprocessing.moved) == ((), (), ())
    assert (found.metrics.metrics, found.calibration, found.code.patches) == ((), (), ())
    assert lead(diff) == "A run compared with itself: nothing differs."
    assert {line.told for line in part_lines(diff)} == {"equal"}


def test_other_data_are_told_by_column_file_and_split(compared: ComparedRuns) -> None:
    data = compared.diff(compared.a, compared.other).differing().data
    changes = {change.column: change.change for change in data.columns}
    assert changes["price"] == "removed"
    assert changes["click"] == "values"
    assert "shown_at" not in changes
    assert {(file.path, file.change) for file in data.files} == {("other.csv", "added"), ("log.csv", "removed")}
    assert {"version", "train split"} <= set(by_name(data.facts))
    assert data.same_rows is False


def test_the_tracker_alone_tells_the_same(compared: ComparedRuns, tmp_path: Path, whole: RunDiff) -> None:
    place = Place(tmp_path, Home(tmp_path / "elsewhere"), compared.first.home.tracking_uri)
    diff = diff_runs(compared.a, compared.b, place)
    parts = ("settings", "data", "code", "environment", "packages", "preprocessing", "training", "outputs")
    for name in (*parts, "circumstances", "calibration"):
        assert getattr(diff, name) == getattr(whole, name), name
    assert diff.metrics.pairing is not None
    assert diff.metrics.pairing.unit == "row"
    assert "may be too narrow" in diff.metrics.pairing.note


def test_a_part_that_is_gone_is_said_and_the_rest_is_compared(compared: ComparedRuns, tmp_path: Path) -> None:
    first = compared.first.copy(tmp_path)
    runs = {folder.load_logged().run_id: folder for folder in first.home.executions()}
    gone = runs[compared.b]
    for path in ("provenance/source.tar.gz", "provenance/manifest.json", "evaluate/predictions.parquet"):
        (gone.path / path).unlink()
    shutil.rmtree(gone.path / "train")
    shutil.rmtree(gone.path / "preprocess" / "encoder")
    (gone.path / "train").mkdir()
    diff = diff_runs(compared.a, compared.b, first.place)
    assert diff.code.unavailable == "no source snapshot of B: the code cannot be laid side by side"
    assert diff.data.unavailable == "no manifest of B: columns and files are not known"
    assert diff.data.same_rows
    assert "no fitted preprocessing of B" in str(diff.preprocessing.unavailable)
    assert "no training of B" in str(diff.training.unavailable)
    assert diff.metrics.unpaired == "the predictions of B are gone, so that rows cannot be paired"
    assert diff.differing().settings
    told = {line.name: line.told for line in part_lines(diff)}
    assert (told["Code"], told["Preprocessing"], told["Data"]) == ("equal", "unknown", "equal")


def test_a_run_without_metrics_says_so(compared: ComparedRuns, tmp_path: Path) -> None:
    first = compared.first.copy(tmp_path)
    folder = next(folder for folder in first.home.executions() if folder.load_logged().run_id == compared.b)
    (folder.path / "evaluate" / "evaluation.json").unlink()
    diff = diff_runs(compared.a, compared.b, first.place)
    assert "no metrics of B" in str(diff.metrics.unavailable)
    assert lead(diff).endswith("Their metrics cannot be compared.")


def test_a_damaged_snapshot_is_said(compared: ComparedRuns, tmp_path: Path) -> None:
    first = compared.first.copy(tmp_path)
    folder = next(folder for folder in first.home.executions() if folder.load_logged().run_id == compared.b)
    (folder.path / "provenance" / "source.tar.gz").write_bytes(b"no archive")
    diff = diff_runs(compared.a, compared.b, first.place)
    assert str(diff.code.unavailable).startswith("a source snapshot is damaged: source.tar.gz cannot be read")


def test_curves_that_the_tracker_cannot_give_are_noted(run_copy: FinishedRun) -> None:
    (run_copy.folder.path / "train" / "items.jsonl").unlink()
    whole = diff_runs("latest", "latest", run_copy.place)
    assert {curve.dataset for curve in whole.training.curves} == {"train", "validation"}
    shutil.rmtree(run_copy.folder.path / "train")
    nowhere = "sqlite:////nowhere/to/be/mlflow.db"
    run_copy.folder.save(replace(run_copy.folder.load(), tracking_uri=nowhere))
    (run_copy.home.path / "cache").rename(run_copy.home.path / "away")
    run_copy.home.cache.write_text("no folder can be made here", encoding="utf-8")
    alone = diff_runs("latest", "latest", replace(run_copy.place, uri=nowhere))
    assert alone.training.curves == ()
    assert alone.notes[0].startswith("A: shown from this machine alone: ")


def test_the_lead_says_what_they_were_made_of_and_what_came_of_it(whole: RunDiff, compared: ComparedRuns) -> None:
    assert lead(whole).startswith("They differ in settings (5 keys) and code (2 files, none that steps import); data ")
    assert "On the same " in lead(whole)
    other = lead(compared.diff(compared.a, compared.other))
    assert "data (" in other
    assert other.endswith("Their test rows are not paired, so that their metrics stand side by side without a verdict.")


def test_the_json_object_has_every_part(unequal: RunDiff) -> None:
    record = json.loads(json.dumps(unequal.to_record()))
    assert record["format"] == 1
    assert (record["same_run"], record["same_recipe"]) == (False, False)
    assert record["settings"][0].keys() == {"name", "a", "b"}
    parts = {"a", "b", "settings", "data", "code", "environment", "packages", "preprocessing", "training", "outputs"}
    assert parts | {"metrics", "calibration", "circumstances", "notes"} < set(record)


def test_an_unknown_run_is_refused(compared: ComparedRuns) -> None:
    with pytest.raises(InputError, match="run 'nosuchrun' is known neither in"):
        compared.diff(compared.a, "nosuchrun")


def test_part_lines_tell_apart_what_kind_of_difference_it_is(whole: RunDiff) -> None:
    def note(diff: RunDiff, name: str) -> str:
        return next(line.note for line in part_lines(diff) if line.name == name)

    other_code = replace(whole, code=replace(whole.code, same_code=False))
    assert note(other_code, "Code") == "2 files"
    assert note(replace(other_code, code=replace(other_code.code, patches=())), "Code") == "digest differs"
    moved = replace(whole.data, same_rows=False, association_changed=True)
    assert note(replace(whole, data=moved), "Data") == "values moved between rows"
    assert note(replace(whole, data=replace(whole.data, same_rows=False)), "Data") == "other rows"
    rewritten = (FileChange("log.csv", "rewritten", 1, 1),)
    assert note(replace(whole, data=replace(whole.data, files=rewritten)), "Data") == "same rows, other files"
    libraries = replace(whole, environment=(Change("lock digest", "1", "2"),), packages=(Change("numpy", "1", "2"),))
    assert note(libraries, "Environment") == "lock, 1 package"
    unfitted = replace(whole.preprocessing, features=(), statistics=())
    assert note(replace(whole, preprocessing=unfitted), "Preprocessing") == "1 value"
    trained = replace(whole.training, facts=(Change("booster eta", ".1", ".2"),))
    assert note(replace(whole, training=trained), "Training") == "1 value"
    assert note(replace(whole, training=replace(trained, facts=())), "Training") == "importance"


def test_the_lead_of_runs_that_no_metric_tells_apart_says_so(whole: RunDiff) -> None:
    within = tuple(replace(change, finding="unclear") for change in whole.metrics.metrics)
    chance = replace(whole, metrics=replace(whole.metrics, metrics=within))
    assert lead(chance).endswith("no metric tells them apart from chance.")
    equal = tuple(replace(change, b=change.a, finding="equal") for change in whole.metrics.metrics)
    same = replace(whole, settings=(), code=replace(whole.code, patches=()))
    same = replace(same, metrics=replace(whole.metrics, metrics=equal))
    assert lead(same) == "They were made of the same. Every metric is equal."


def test_a_run_that_failed_at_once_is_compared_by_what_it_was_made_of(compared: ComparedRuns, tmp_path: Path) -> None:
    first = compared.first.copy(tmp_path)
    folder = next(folder for folder in first.home.executions() if folder.load_logged().run_id == compared.b)
    folder.save(replace(folder.load(), steps=(), status=RunStatus.FAILED))
    for step in ("preprocess", "train", "evaluate"):
        shutil.rmtree(folder.path / step)
    diff = diff_runs(compared.a, compared.b, first.place)
    assert diff.b.status == "FAILED"
    assert by_name(diff.differing().settings)["train.rounds"] == ("5", "9")
    assert {line.name for line in part_lines(diff) if line.told == "unknown"} == {"Metrics", "Preprocessing"}
    back = diff_runs(compared.b, compared.a, first.place)
    assert "no metrics of A" in str(back.metrics.unavailable)
    text = diff_markdown(back)
    assert "no fitted preprocessing of A" in text
    assert "no training of A" in text
    assert "no fitted preprocessing of A" in diff_page(back)


def test_a_run_without_steps_in_the_tracker_has_no_curves(compared: ComparedRuns, tmp_path: Path) -> None:
    first = compared.first.copy(tmp_path)
    tracker = first.place.tracker()
    for child in tracker.children(compared.b):
        tracker.delete_run(child.run_id)
    place = Place(tmp_path, Home(tmp_path / "elsewhere"), first.home.tracking_uri)
    diff = diff_runs(compared.b, compared.b, place)
    assert diff.training.curves == ()
    assert diff.metrics.pairing is not None
