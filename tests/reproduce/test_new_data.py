"""A run on other data: refitted or frozen, beside its original, with intervals, drift and every warning."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from ctr_pipeline.cli.new_data_tables import new_data_tables
from ctr_pipeline.cli.output import console
from ctr_pipeline.config_file import load_settings
from ctr_pipeline.reproduce.new_data import dropped_ends, on_other_data
from ctr_pipeline.reproduce.request import Request
from ctr_pipeline.reproduce.verdict import Estimated, EstimatePair, Judgement, Layer, Verdict
from ctr_pipeline.reproduce.verdict_page import verdict_page
from ctr_pipeline.reproduce.workflow import reproduce
from ctr_pipeline.workflows.execution import Home
from ctr_pipeline.workflows.run import run_pipeline
from tests.plugins.run_fixtures import FinishedRun, SilentWatcher, write_log, write_project
from tracking.errors import InputError
from tracking.recipe import Recipe


class _Watcher(SilentWatcher):
    def doing(self, what: str) -> None:
        """See `ReproductionWatcher`."""


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory, mlflow_templates: Path) -> Iterator[FinishedRun]:
    """A finished run in a home of its own, on a log of five days whose windows end where the settings say."""
    folder = tmp_path_factory.mktemp("new-data")
    log = write_log(folder / "log.csv")
    project = write_project(folder / "project", log)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CTR_HOME", str(folder / ".ctr"))
        home = Home.find(project)
        home.cache.mkdir(parents=True)
        for template in mlflow_templates.glob("mlflow-*.db"):
            shutil.copy(template, home.cache)
        loaded = load_settings(project / "configs" / "default.yaml", ["split.end=2026-01-05"])
        report = run_pipeline(loaded, SilentWatcher(), start=project, argv=["ctr-pipeline", "run"])
        yield FinishedRun(home, report, project, log)


def _redo(original: FinishedRun, data: str, **more: object) -> Judgement:
    request = Request(original.run_id, original.project, use_current_env=True, data=data, **more)  # type: ignore[arg-type] # passed on
    judgement = reproduce(request, original.place, _Watcher()).judgement
    assert judgement is not None
    return judgement


@pytest.fixture(scope="module")
def drifted(original: FinishedRun) -> Path:
    """A log of the five days after: nearly all phones, dearer, one ad that nobody knew."""
    path = original.log.with_name("drifted.csv")
    text = write_log(path, seed=2).read_text(encoding="utf-8")
    text = text.replace("2026-01-0", "2026-02-0").replace(",desk,", ",phone,").replace(",ad-3,", ",ad-new,")
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def refitted(original: FinishedRun, drifted: Path) -> Judgement:
    return _redo(original, str(drifted), overrides=("train.max_depth=3",))


@pytest.fixture(scope="module")
def frozen(original: FinishedRun) -> Judgement:
    """The frozen model on a single day that it was trained on."""
    lines = original.log.read_text(encoding="utf-8").splitlines()
    day = original.log.with_name("day.csv")
    day.write_text("\n".join([lines[0], *(line for line in lines if line.startswith("2026-01-02"))]) + "\n", "utf-8")
    return _redo(original, str(day), preprocess="freeze")


def _layers(judgement: Judgement) -> dict[str, Layer]:
    return {layer.name: layer for layer in judgement.layers}


def test_new_data_are_compared_and_never_called_identical(refitted: Judgement) -> None:
    assert (refitted.verdict, refitted.verdict.exit_code) == (Verdict.NEW_DATA, 0)
    assert refitted.margins is None
    assert not any(_layers(refitted)[name].is_equal for name in ("data", "split.train", "encoder", "booster"))


def test_windows_move_with_the_datas_end_and_fixed_ends_are_dropped(refitted: Judgement) -> None:
    notes = "\n".join(refitted.notes)
    assert "the test window is 2026-02-05T00:00:00Z to 2026-02-06T00:00:00Z" in notes
    assert "split.end == '2026-01-05T00:00:00Z' of the original does not hold for other data" in notes or (
        "split.end == '2026-01-05' of the original does not hold for other data" in notes
    )
    assert any("split.end" in found.what and found.deliberate for found in refitted.differences)


def test_a_deviation_on_new_data_is_shown_as_deliberate(refitted: Judgement) -> None:
    assert "a deliberate deviation: train.max_depth=3" in refitted.notes
    assert any(found.what == "train.max_depth 6 -> 3" and found.deliberate for found in refitted.differences)


def test_both_runs_figures_come_with_intervals(original: FinishedRun, refitted: Judgement) -> None:
    pairs = {pair.name: pair for pair in refitted.estimates}
    auc, then = pairs["auc"], original.report.estimates["auc"]
    assert auc.original == Estimated(then["value"], then["low"], then["high"], then["n_rows"], then["n_clicks"])
    assert auc.again is not None
    assert auc.again.low is not None
    assert auc.again.n_rows == 400
    assert auc.are_apart in {True, False}


def test_drift_is_told_by_column(refitted: Judgement) -> None:
    drift = {found.column: found for found in refitted.drift}
    assert list(drift) == ["click", "price", "ad", "device", "position"]
    assert drift["device"].level == "large"
    assert drift["ad"].unseen == pytest.approx(1 / 12, abs=0.03)
    assert drift["position"].level == "small"
    assert (drift["price"].rows_original, drift["price"].rows_again) == (2_000, 2_000)


def test_json_page_and_terminal_carry_both(refitted: Judgement) -> None:
    record = json.loads(refitted.to_json())
    assert {"name", "original", "again"} == record["estimates"][0].keys()
    assert next(found for found in record["drift"] if found["column"] == "device")["level"] == "large"
    page = verdict_page(refitted)
    for told in ("Then and now", "Data drift", "Quantiles of numeric columns", "columns moved notably"):
        assert told in page
    screen = console()
    with screen.capture() as captured:
        for block in new_data_tables(refitted):
            screen.print(block)
    assert "large" in captured.get()
    assert "auc" in captured.get()


def test_a_frozen_model_is_the_originals(original: FinishedRun, frozen: Judgement) -> None:
    layers = _layers(frozen)
    assert frozen.verdict is Verdict.NEW_DATA
    for name in ("encoder", "booster", "model"):
        assert (layers[name].is_equal, layers[name].note) == (True, "frozen: the original's")
    for name in ("split.train", "split.validation"):
        assert (layers[name].again, layers[name].note) == (None, "not used: frozen")
    assert frozen.first_divergence != "split.train" or not layers["split.test"].is_equal
    assert frozen.again is not None
    folder = original.home.execution(str(frozen.again.execution_id))
    outputs = Recipe.from_json(folder.recipe.read_bytes()).outputs.layers
    assert outputs["encoder"] == layers["encoder"].original
    assert "split.train" not in outputs
    assert not (folder.step("preprocess") / "encoder").exists()


def test_a_single_day_is_tested_whole(frozen: Judgement) -> None:
    rows = {pair.name: pair for pair in frozen.estimates}["n_rows"].again
    assert rows is not None
    assert rows.n_rows == 400


def test_test_rows_of_the_frozen_models_training_time_are_warned_about(frozen: Judgement) -> None:
    (warning,) = [note for note in frozen.notes if note.startswith("warning")]
    assert warning.startswith("warning: 100% of the test rows' time")
    assert "the frozen model was trained on" in warning


def test_what_only_tested_a_frozen_model_cannot_be_redone_as_if_it_had_trained(
    original: FinishedRun, frozen: Judgement
) -> None:
    assert frozen.again is not None
    with pytest.raises(InputError, match=rf"frozen model of run {original.run_id}.*--preprocess freeze"):
        reproduce(Request(str(frozen.again.run_id), original.project), original.place, _Watcher())


def test_a_log_without_a_click_is_scored_by_a_frozen_model(original: FinishedRun) -> None:
    quiet = original.log.with_name("quiet.csv")
    lines = original.log.read_text(encoding="utf-8").replace("2026-01-0", "2026-03-0").splitlines()
    quiet.write_text("\n".join(line.replace("+00:00,1,", "+00:00,0,") for line in lines) + "\n", encoding="utf-8")
    judgement = _redo(original, str(quiet), preprocess="freeze", overrides=("evaluate.slices=[]",))
    pairs = {pair.name: pair for pair in judgement.estimates}
    assert pairs["auc"].again is not None
    assert pairs["auc"].again.value is None
    assert pairs["auc"].are_apart is None
    assert not any(note.startswith("warning") for note in judgement.notes)
    assert "NONE" not in verdict_page(judgement)


def test_the_runs_own_version_is_judged_by_the_ordinary_rules(original: FinishedRun) -> None:
    judgement = _redo(original, original.report.data_version, preprocess="freeze")
    assert judgement.verdict is Verdict.IDENTICAL
    assert any("the ordinary rules hold; nothing was frozen" in note for note in judgement.notes)
    assert (judgement.estimates, judgement.drift) == ((), ())


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("shown_at,click,user,ad,device,position\n", "has no rows, must have some"),
        (
            "shown_at,click,user,ad,device,position\n2026-01-01,0,u1,ad-1,desk,1\n",
            "has no column 'price', which the run makes features of",
        ),
        (
            "shown_at,user,price,ad,device,position\n2026-01-01,u1,1,ad-1,desk,1\n",
            "has no column 'click', which the run takes for its label",
        ),
        (
            "click,user,price,ad,device,position\n1,u1,1,ad-1,desk,1\n",
            r"has no column 'shown_at', which the run needs for its role",
        ),
        ("", "empty"),
    ],
    ids=["no rows", "no feature", "no label", "no time", "nothing"],
)
def test_data_that_do_not_fit_are_refused_before_anything_runs(
    content: str, told: str, original: FinishedRun, tmp_path: Path
) -> None:
    (tmp_path / "other.csv").write_text(content, encoding="utf-8")
    before = [folder.path for folder in original.home.executions()]
    with pytest.raises(InputError, match=told):
        _redo(original, str(tmp_path / "other.csv"))
    assert [folder.path for folder in original.home.executions()] == before


def test_an_unknown_version_is_refused(original: FinishedRun) -> None:
    with pytest.raises(InputError, match=r"--data abcdef123: data version == 'abcdef123', must be the start"):
        _redo(original, "abcdef123")


@pytest.mark.parametrize("override", ["train.max_depth=3", "features.crosses=[]", "data.columns.numeric=[]"])
def test_what_a_frozen_model_followed_from_cannot_be_changed(override: str) -> None:
    with pytest.raises(InputError, match=r"--set .* has no effect on a frozen model; leave it out"):
        Request("run", Path(), data="latest", preprocess="freeze", overrides=(override,))


def test_an_end_that_was_asked_for_stays() -> None:
    settings = {"as_of": "2026-01-03", "split": {"end": "2026-01-05"}, "data": {"uri": "old"}}
    moved = on_other_data(settings, "new", ("split.end=2026-01-05",))
    assert moved == {"as_of": None, "split": {"end": "2026-01-05"}, "data": {"uri": "new"}}
    assert dropped_ends(settings, ()) == ("as_of == '2026-01-03'", "split.end == '2026-01-05'")


def test_intervals_are_apart_where_they_share_no_value() -> None:
    def estimated(low: float, high: float) -> Estimated:
        return Estimated((low + high) / 2, low, high, 10, 1)

    assert EstimatePair("auc", estimated(0.1, 0.2), estimated(0.3, 0.4)).are_apart is True
    assert EstimatePair("auc", estimated(0.3, 0.4), estimated(0.1, 0.2)).are_apart is True
    assert EstimatePair("auc", estimated(0.1, 0.3), estimated(0.2, 0.4)).are_apart is False
    assert EstimatePair("auc", None, estimated(0.2, 0.4)).are_apart is None
