"""The noise band of a run: measured, logged, told apart from steps, and never worth a finished run."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ctr_pipeline.config import Settings
from ctr_pipeline.config_file import load_settings
from ctr_pipeline.engines.attempt import StepProgress
from ctr_pipeline.evaluation.noise import NoiseBand
from ctr_pipeline.reproduce.request import Request
from ctr_pipeline.reproduce.verdict import Judgement, Verdict
from ctr_pipeline.reproduce.workflow import reproduce
from ctr_pipeline.workflows import driver
from ctr_pipeline.workflows.doctor_executions import execution_findings
from ctr_pipeline.workflows.execution import Home, Logged
from ctr_pipeline.workflows.find_run import find_run, parent_runs
from ctr_pipeline.workflows.left import mark_killed
from ctr_pipeline.workflows.noise_runs import NoisePlan
from ctr_pipeline.workflows.recorder import NOISE_FAILURE_TAG, NOISE_TAG, STEP_TAG
from ctr_pipeline.workflows.run import RunReport, run_pipeline
from ctr_pipeline.workflows.show import show_run
from ctr_pipeline.workflows.sync import sync_run
from tests.plugins.run_fixtures import FinishedRun, SilentWatcher, write_log, write_project
from tracking.errors import InputError, JobError
from tracking.records import RunStatus


class _Watcher(SilentWatcher):
    """Remembers what it is told; watches a reproduction too."""

    def __init__(self) -> None:
        self.moved: list[StepProgress] = []
        self.ended: dict[str, RunStatus] = {}

    def step_moved(self, progress: StepProgress) -> None:
        self.moved.append(progress)

    def step_ended(self, name: str, status: RunStatus, wall_s: float) -> None:
        super().step_ended(name, status, wall_s)
        self.ended[name] = status

    def doing(self, what: str) -> None:
        """See `ReproductionWatcher`."""


def _run(project: Path, *overrides: str, watcher: SilentWatcher | None = None) -> RunReport:
    loaded = load_settings(project / "configs" / "default.yaml", ["reproduce.noise_runs=5", *overrides])
    return run_pipeline(loaded, watcher or _Watcher(), start=project, argv=["ctr-pipeline", "run"])


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory, mlflow_templates: Path) -> Iterator[FinishedRun]:
    """A run whose training draws rows by the seed, with its noise band, in a home of its own."""
    folder = tmp_path_factory.mktemp("noise")
    log = write_log(folder / "log.csv", n_rows=1_200)
    project = write_project(folder / "project", log)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CTR_HOME", str(folder / ".ctr"))
        home = Home.find(project)
        home.cache.mkdir(parents=True)
        for template in mlflow_templates.glob("mlflow-*.db"):
            shutil.copy(template, home.cache)
        yield FinishedRun(home, _run(project, "train.subsample=0.8"), project, log)


def _again(run: FinishedRun, report: RunReport, *overrides: str) -> Judgement:
    request = Request(str(report.run_id), run.project, use_current_env=True, overrides=overrides)
    judgement = reproduce(request, run.place, _Watcher()).judgement
    assert judgement is not None
    return judgement


def test_the_band_is_kept_with_what_each_run_was(workplace: FinishedRun) -> None:
    band = workplace.report.noise
    assert band is not None
    assert (band.runs, band.chance, band.is_empty) == (5, "seed", False)
    assert band.metrics["test.logloss"] > 0
    assert not any(name.endswith((".low", ".high")) for name in band.metrics)
    kept = json.loads(workplace.folder.noise_band.read_bytes())
    assert NoiseBand.from_record(kept, "noise.json") == band
    seeds = [run["seed"] for run in kept["each"]]
    assert len({*seeds, 7}) == 6
    assert len({run["outputs"]["booster"] for run in kept["each"]}) == 5


def test_of_an_extra_run_only_small_files_stay(workplace: FinishedRun) -> None:
    folder = workplace.folder.path
    kept = sorted(path.relative_to(folder).as_posix() for path in (folder / "noise" / "1").rglob("*") if path.is_file())
    assert kept == ["noise/1/evaluate/step.json", "noise/1/items.jsonl", "noise/1/train/step.json"]
    assert list(workplace.folder.leftovers()) == []


def test_extra_runs_are_children_and_taken_for_no_steps(workplace: FinishedRun) -> None:
    tracker = workplace.place.tracker()
    children = {child.name.rpartition("/")[2]: child for child in tracker.children(workplace.run_id)}
    assert list(children) == ["preprocess", "train", "evaluate", *(f"noise-{number}" for number in range(1, 6))]
    extra = children["noise-3"]
    assert (extra.status, extra.tags[NOISE_TAG]) == (RunStatus.FINISHED, "3")
    assert STEP_TAG not in extra.tags
    assert extra.tags["data_version"] == workplace.report.data_version
    assert extra.params["code_version"] == workplace.report.code_version
    assert {"test.auc", "test.logloss"} <= extra.metrics.keys()
    assert "test.auc.low" not in extra.metrics
    assert extra.run_id not in {record.run_id for record in parent_runs(tracker)}
    assert find_run(extra.run_id, workplace.place).step == "noise-3"
    assert "noise.json" in tracker.artifacts(workplace.run_id)


def test_the_tracker_alone_tells_extra_runs_from_steps(workplace: FinishedRun, tmp_path: Path) -> None:
    copy = workplace.copy(tmp_path)
    children = copy.place.tracker().children(copy.run_id)
    shutil.rmtree(copy.folder.path)
    assert find_run(children[-1].run_id, copy.place).step == "noise-5"
    shown = show_run(copy.run_id, copy.place)
    assert [step.name for step in shown.run.steps][2:4] == ["evaluate", "noise-1"]


def test_what_chance_does_is_equivalent(workplace: FinishedRun) -> None:
    seed = json.loads(workplace.folder.noise_band.read_bytes())["each"][0]["seed"]
    judgement = _again(workplace, workplace.report, f"seed={seed}")
    assert judgement.verdict is Verdict.EQUIVALENT
    assert "every difference is inside the noise band" in judgement.reason
    assert f"seed 7 -> {seed}" in str(judgement.cause)
    assert judgement.noise is not None
    assert judgement.again is not None
    again = workplace.home.execution(str(judgement.again.execution_id))
    assert not again.noise_band.exists(), "a reproduction measures no band"
    assert not again.load().is_computed


def test_what_chance_does_not_do_has_diverged(workplace: FinishedRun) -> None:
    judgement = _again(workplace, workplace.report, "train.learning_rate=0.5")
    assert judgement.verdict is Verdict.DIVERGED
    assert judgement.first_divergence == "booster"


def test_a_band_of_zero_width_is_called_so(workplace: FinishedRun, monkeypatch: pytest.MonkeyPatch) -> None:
    watcher = _Watcher()
    report = _run(workplace.project, watcher=watcher)
    band = report.noise
    assert band is not None
    assert (band.chance, band.is_empty) == ("row order", True)
    moved = [(moved.doing, moved.done, moved.total) for moved in watcher.moved if moved.step == "noise"]
    assert moved == [(step, done, 5) for done in range(5) for step in ("train", "evaluate")]
    assert watcher.ended["noise"] is RunStatus.FINISHED
    judgement = _again(workplace, report, "seed=8")
    assert judgement.verdict is Verdict.EQUIVALENT
    assert (
        "the noise band of 5 runs has zero width (another row order changes nothing): only what is equal is inside"
        in (judgement.notes)
    )
    assert _again(workplace, report, "train.reg_lambda=4.9").verdict is Verdict.DIVERGED


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (JobError("step train failed"), "the noise band was not measured: step train failed"),
        (RuntimeError(), r"the noise band was not measured: RuntimeError()"),
        (KeyboardInterrupt(), "the noise band was not measured: interrupted"),
    ],
    ids=["a step failed", "something unforeseen", "interrupted"],
)
def test_whatever_ends_the_extra_runs_the_run_is_finished(
    error: BaseException, told: str, workplace: FinishedRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(driver, "measure_band", fail)
    report = _run(workplace.project)
    assert (report.status, report.noise, report.warnings) == (RunStatus.FINISHED, None, (told,))
    record = workplace.place.tracker().run(str(report.run_id))
    assert (record.status, record.tags[NOISE_FAILURE_TAG]) == (RunStatus.FINISHED, told)
    assert "noise.json" not in workplace.place.tracker().artifacts(str(report.run_id))


def test_a_failed_step_of_an_extra_run_is_told_and_leaves_its_log(
    workplace: FinishedRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ctr_pipeline.workflows.noise_runs._TRAIN_FILE", "gone.parquet")
    monkeypatch.setattr("ctr_pipeline.workflows.noise_runs.permute_rows", lambda *_, **__: None)
    monkeypatch.setattr("ctr_pipeline.workflows.noise_runs._link", lambda *_: None)
    report = _run(workplace.project)
    kept = report.folder / "noise" / "1"
    assert report.status is RunStatus.FINISHED
    assert report.warnings[0].startswith("the noise band was not measured: ")
    assert (kept / "train.log").exists()
    states = {step.name: step.status for step in workplace.home.execution(report.execution_id).load().steps}
    assert states["noise-1"] is RunStatus.FAILED
    assert not list(report.folder.glob("*.partial"))


@pytest.fixture
def killed(workplace: FinishedRun, tmp_path: Path) -> FinishedRun:
    """The run as if its driver had been killed in the second extra run, and the tracker had been away all the time."""
    copy = workplace.copy(tmp_path)
    execution = copy.folder.load()
    second = replace(execution.steps[4], status=RunStatus.RUNNING, ended_ms=None)
    gone = replace(execution.process, began=0.0, ticks=None)
    left = replace(
        execution, status=RunStatus.RUNNING, ended_ms=None, process=gone, steps=(*execution.steps[:4], second)
    )
    copy.folder.save(left)
    copy.folder.save_logged(Logged())
    copy.folder.noise_band.unlink()
    (copy.folder.path / "noise-2.partial").mkdir()
    (copy.home.path / "mlflow.db").unlink()
    return copy


def test_a_run_killed_in_its_extra_runs_is_finished_without_a_band(killed: FinishedRun) -> None:
    dead = next(iter(execution_findings(killed.place, now_s=0.0)))
    assert "marks it FINISHED, without a noise band" in dead.remedy
    marked = mark_killed(killed.folder)
    assert (marked.status, marked.failure) == (RunStatus.FINISHED, None)
    assert marked.steps[-1].status is RunStatus.KILLED
    assert "the noise band was not measured: its driver was killed" in str(marked.noise_failure)
    found = {finding.subject for finding in execution_findings(killed.place, now_s=0.0)}
    assert f"{killed.report.execution_id}/noise-2.partial" in found


def test_a_killed_extra_run_is_sent_when_the_tracker_is_back(killed: FinishedRun) -> None:
    sent = sync_run(killed.report.execution_id, killed.place)
    assert sent.state == "sent"
    tracker = killed.place.tracker()
    children = {child.name.rpartition("/")[2]: child for child in tracker.children(str(sent.run_id))}
    assert (children["noise-1"].status, children["noise-2"].status) == (RunStatus.FINISHED, RunStatus.KILLED)
    assert children["noise-1"].metrics
    record = tracker.run(str(sent.run_id))
    assert record.status is RunStatus.FINISHED
    assert NOISE_FAILURE_TAG in record.tags


def test_the_setting_is_no_part_of_the_identity_and_old_settings_lack_it() -> None:
    asked = Settings.from_json(json.dumps({"reproduce": {"noise_runs": 5}, "split": {"by": "row"}}))
    plain = Settings.from_json(json.dumps({"split": {"by": "row"}}))
    assert plain.reproduce.noise_runs is None
    assert asked.identity() == plain.identity()
    assert NoisePlan.of(plain) is None


def test_the_same_settings_plan_the_same_runs() -> None:
    settings = Settings.from_json(json.dumps({"reproduce": {"noise_runs": 7}, "split": {"by": "row"}}))
    plan = NoisePlan.of(settings)
    assert plan is not None
    assert plan == NoisePlan.of(settings)
    assert (plan.chance, len(set(plan.seeds))) == ("row order", 7)
    other = NoisePlan.of(settings.model_copy(update={"seed": 8}))
    assert other is not None
    assert set(plan.seeds).isdisjoint(other.seeds)


def test_fewer_than_five_runs_are_refused(tmp_path: Path) -> None:
    (tmp_path / "few.yaml").write_text("split: {by: row}\nreproduce: {noise_runs: 4}\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"reproduce.noise_runs == 4, must be .*5"):
        load_settings(tmp_path / "few.yaml")
