"""A run reuses what earlier ones kept, and only that; the steps here are copied from a real run, the code is staged."""

import json
import shutil
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from ctr_pipeline.cli.main import _exit_code
from ctr_pipeline.config_file import load_settings
from ctr_pipeline.engines.attempt import StepJob
from ctr_pipeline.pipeline import PIPELINE
from ctr_pipeline.reuse.imports import Sources
from ctr_pipeline.steps.job import StepRecord, read_step
from ctr_pipeline.workflows import reuse, reuse_explained, reuse_record, reuse_surroundings, run
from ctr_pipeline.workflows.execution import Execution, ExecutionFolder, Home
from ctr_pipeline.workflows.place import Place
from ctr_pipeline.workflows.reuse_explained import StepOutlook, explain_next, explain_run
from ctr_pipeline.workflows.reuse_record import read_reuse
from ctr_pipeline.workflows.run import RunReport, UnloggedRunError, run_pipeline
from tests.plugins.run_fixtures import FinishedRun, SilentWatcher, write_log
from tracking.environment import capture_environment
from tracking.errors import InputError, TrackingError

STEPS = tuple(spec.name for spec in PIPELINE)
HELPER = "ctr_pipeline/features/statistics.py"


class Stage:
    """Runs in one home; the test edits the code, the data and the outputs between them."""

    def __init__(self, template: FinishedRun, folder: Path) -> None:
        self.home = Home(folder / ".ctr")
        self.project = folder / "project"
        self.log = folder / "log.csv"
        self.sources = Sources.read(("ctr_pipeline", "tracking"), ("ctr_pipeline/data/samples",))
        self.ran: list[str] = []
        self.meanwhile: Callable[[], object] = lambda: None
        self._template = template
        shutil.copytree(template.project, self.project)
        shutil.copy(template.log, self.log)
        config = self.project / "configs" / "default.yaml"
        config.write_text(config.read_text().replace(str(template.log), str(self.log)), encoding="utf-8")
        self._clock = iter(range(1_772_000_000_000, 1_773_000_000_000, 250))

    def run_step(self, attempt: StepJob, _: object) -> StepRecord:
        """Copy what the real step left."""
        self.ran.append(attempt.spec.name)
        self.meanwhile()
        shutil.copytree(self._template.folder.step(attempt.spec.name), attempt.output)
        return read_step(attempt.output)

    def clock_ms(self) -> int:
        return next(self._clock)

    def edit(self, path: str) -> None:
        files: Mapping[str, bytes] = self.sources.files
        self.sources = Sources({**files, path: files.get(path, b"") + b"\n# edited\n"})

    def run(self, *overrides: str, reuse: bool = True) -> RunReport:
        """Run to the end; no tracker is there."""
        self.ran = []
        loaded = load_settings(self.project / "configs" / "default.yaml", overrides)
        with pytest.raises(UnloggedRunError) as told:
            run_pipeline(loaded, SilentWatcher(), start=self.project, argv=["ctr"], reuse=reuse, clock_ms=self.clock_ms)
        return told.value.report

    def explain(self, *overrides: str) -> tuple[StepOutlook, ...]:
        return explain_next(load_settings(self.project / "configs" / "default.yaml", overrides), self.project)

    def folder(self, report: RunReport) -> ExecutionFolder:
        return self.home.execution(report.execution_id)


def _away(*_: object) -> object:
    raise TrackingError("the tracker is away.")


@pytest.fixture
def stage(finished_run: FinishedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    stage = Stage(finished_run, tmp_path)
    monkeypatch.setenv("CTR_HOME", str(stage.home.path))
    monkeypatch.setattr(run, "LocalEngine", lambda _: stage)
    monkeypatch.setattr(run, "open_tracker", _away)
    monkeypatch.setattr(run, "loaded_sources", lambda: stage.sources)
    monkeypatch.setattr(reuse_surroundings, "read_sources", lambda: stage.sources)
    monkeypatch.setattr(reuse_explained, "read_sources", lambda: stage.sources)
    return stage


def _verdicts(outlooks: tuple[StepOutlook, ...]) -> dict[str, str]:
    return {outlook.step: outlook.verdict for outlook in outlooks}


def test_a_run_with_nothing_changed_runs_no_step_and_has_ids_of_its_own(stage: Stage) -> None:
    first = stage.run()
    assert stage.ran == list(STEPS)
    assert not first.reused
    second = stage.run()
    assert stage.ran == []
    assert second.reused == dict.fromkeys(STEPS, first.execution_id)
    assert second.execution_id != first.execution_id
    assert (second.metrics, second.model_digest) == (first.metrics, first.model_digest)
    for state in stage.folder(second).load().steps:
        assert state.reused_from == first.execution_id
        assert state.status == "FINISHED"
    assert first.execution_id not in (second.folder / "recipe.json").read_text(encoding="utf-8")


def test_a_reuse_of_a_reused_output_names_the_run_that_made_it(stage: Stage) -> None:
    first, second = stage.run(), stage.run()
    shutil.rmtree(first.folder)
    third = stage.run()
    assert stage.ran == []
    assert third.reused == second.reused == dict.fromkeys(STEPS, first.execution_id)


def test_an_edited_helper_module_runs_the_steps_that_import_it_and_is_named(stage: Stage) -> None:
    first = stage.run()
    stage.edit(HELPER)
    outlooks = stage.explain()
    assert _verdicts(outlooks) == dict.fromkeys(STEPS, "miss")
    assert outlooks[0].why == (f"code {HELPER} changed",)
    assert outlooks[0].compared_with == first.execution_id
    second = stage.run()
    assert stage.ran == list(STEPS)
    told = explain_run(second.execution_id, Place(stage.project, stage.home, "memory"))
    assert [outlook.why for outlook in told] == [(f"code {HELPER} changed",)] * 3


def test_an_edited_module_of_evaluation_leaves_the_steps_before_it(stage: Stage) -> None:
    stage.run()
    stage.edit("ctr_pipeline/evaluation/panel.py")
    assert _verdicts(stage.explain()) == {"preprocess": "hit", "train": "hit", "evaluate": "miss"}
    stage.run()
    assert stage.ran == ["evaluate"]


def test_an_edited_module_that_no_step_imports_changes_nothing(stage: Stage) -> None:
    stage.run()
    for path in ("ctr_pipeline/cli/show.py", "ctr_pipeline/workflows/new.py", "tracking/mlflow_tracker.py"):
        stage.edit(path)
    assert _verdicts(stage.explain()) == dict.fromkeys(STEPS, "hit")
    stage.run()
    assert stage.ran == []


def test_data_that_changed_under_the_same_path_are_a_miss_that_names_them(stage: Stage) -> None:
    first = stage.run()
    write_log(stage.log, seed=2)
    outlook = stage.explain()[0]
    assert outlook.verdict == "miss"
    assert f"data version {first.data_version[:12]} -> not read yet" in outlook.why
    second = stage.run()
    assert stage.ran[0] == "preprocess"
    decided = read_reuse(stage.folder(second))["preprocess"]
    assert {change.name for change in decided.changes} == {"data.version", "data.files"}
    told = explain_run(second.execution_id, Place(stage.project, stage.home, "memory"))[0]
    assert told.why == (f"data version {first.data_version[:12]} -> {second.data_version[:12]}",)


def test_settings_of_a_later_step_leave_the_earlier_ones(stage: Stage) -> None:
    stage.run()
    assert _verdicts(stage.explain("train.rounds=6")) == {"preprocess": "hit", "train": "miss", "evaluate": "open"}
    stage.run("evaluate.replicates=101")
    assert stage.ran == ["evaluate"]
    stage.run("train.rounds=6")
    # The stage's training comes to the same trees whatever it is told.
    assert stage.ran == ["train"]
    stage.run("seed=8")
    assert stage.ran == ["train", "evaluate"]


def test_a_step_behind_one_that_runs_is_told_to_depend_on_it(stage: Stage) -> None:
    stage.run()
    _, train, evaluate = stage.explain("features.rare_impressions=11", "train.rounds=6")
    assert train.why[0] == "runs because preprocess runs"
    assert "setting train.rounds: 5 -> 6" in train.why
    assert evaluate.verdict == "open"
    assert evaluate.why == ("runs because preprocess runs, unless that comes to the same output as before",)


def test_circumstances_are_no_part_of_a_key(stage: Stage) -> None:
    stage.run()
    stage.run("runtime.threads=2", "runtime.batch_rows=1000", "tracking.experiment=other")
    assert stage.ran == []


def test_without_reuse_every_step_runs_and_is_offered_to_later_runs(stage: Stage) -> None:
    stage.run()
    second = stage.run(reuse=False)
    assert stage.ran == list(STEPS)
    place = Place(stage.project, stage.home, "memory")
    told = explain_run(second.execution_id, place)
    assert [(outlook.verdict, outlook.why) for outlook in told] == [("off", ("reuse was switched off",))] * 3
    assert stage.run().reused == dict.fromkeys(STEPS, second.execution_id)


def test_a_corrupted_output_is_passed_over_with_a_warning_and_computed_again(stage: Stage) -> None:
    first = stage.run()
    stage.run()
    damaged = stage.folder(first).step("train") / "model" / "booster.ubj"
    content = bytearray(damaged.read_bytes())
    content[50] ^= 1
    damaged.write_bytes(content)
    third = stage.run()
    assert stage.ran == ["train"]
    assert third.model_digest == first.model_digest
    (warning,) = third.warnings
    assert warning.endswith("model/booster.ubj was changed after the step had written it: passed over, the step runs")
    told = explain_run(third.execution_id, Place(stage.project, stage.home, "memory"))[1]
    assert told.why == ("the output with this key was removed, damaged, or never finished",)
    assert told.warnings == third.warnings
    assert stage.run().reused["train"] == third.execution_id


def test_an_output_that_gc_removed_is_a_miss_that_says_so(stage: Stage) -> None:
    first = stage.run()
    shutil.rmtree(stage.folder(first).step("evaluate"))
    outlook = stage.explain()[-1]
    assert (outlook.verdict, outlook.why) == ("miss", ("the output with this key was removed or damaged",))
    assert not stage.run().warnings
    assert stage.ran == ["evaluate"]


def test_an_output_that_cannot_be_read_is_passed_over(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    stage.run()

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(reuse, "take_over", refuse)
    report = stage.run()
    assert stage.ran == list(STEPS)
    assert len(report.warnings) == 3
    assert "cannot be used ([Errno 13] Permission denied): passed over" in report.warnings[0]


def test_other_libraries_are_a_miss_that_names_the_packages(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    first = stage.run()

    def upgraded(*arguments: object, **options: object) -> object:
        found = capture_environment(*arguments, **options)  # type: ignore[arg-type] # the same ones
        packages = tuple(
            replace(package, version="9.9") if package.name == "rich" else package for package in found.packages
        )
        return replace(found, packages=packages, lock=None)

    monkeypatch.setattr(reuse_explained, "capture_environment", upgraded)
    why = stage.explain()[0].why
    assert "libraries: the lock file, or what is installed against it, changed" in why
    assert any(line.startswith("library rich: ") and line.endswith(" -> 9.9") for line in why)
    stage.folder(first).recipe.write_bytes(b"{}")
    assert stage.explain()[0].why == ("libraries: the lock file, or what is installed against it, changed",)


def test_what_was_made_while_its_code_changed_is_used_by_nobody(stage: Stage) -> None:
    stage.meanwhile = lambda: stage.edit(HELPER)
    first = stage.run("evaluate.metrics={floor: bids:floor}")
    stage.meanwhile = lambda: None
    decided = read_reuse(stage.folder(first))
    assert {decided[name].changed_meanwhile for name in STEPS} == {(HELPER,)}
    told = explain_run(first.execution_id, Place(stage.project, stage.home, "memory"))[0]
    assert told.why[-1] == f"its output is used by no later run: {HELPER} changed while {first.execution_id} ran"
    stage.run("evaluate.metrics={floor: bids:floor}")
    assert stage.ran == list(STEPS)


def test_a_teams_own_code_counts_where_a_function_of_it_is_used(stage: Stage) -> None:
    metric = "evaluate.metrics={floor: bids:floor}"
    stage.run(metric)
    (stage.project / "bids.py").write_text("from ctr_pipeline.evaluation import panel\nFLOOR = 3\n", encoding="utf-8")
    outlooks = stage.explain(metric)
    assert _verdicts(outlooks) == {"preprocess": "hit", "train": "hit", "evaluate": "miss"}
    assert "own code bids.py changed" in outlooks[-1].why
    (stage.project / "broken.py").write_text("def", encoding="utf-8")
    stage.run(metric)
    assert stage.ran == ["evaluate"]


def test_what_is_broken_newer_or_older_is_passed_over(stage: Stage) -> None:
    reports = [stage.run(reuse=False) for _ in range(4)]
    (reports[0].folder / "reuse.json").unlink()
    (reports[1].folder / "reuse.json").write_text("{", encoding="utf-8")
    newer = json.loads((reports[2].folder / "reuse.json").read_bytes())
    (reports[2].folder / "reuse.json").write_text(json.dumps({**newer, "format": 2}), encoding="utf-8")
    folder = stage.folder(reports[3])
    execution = folder.load()
    unfinished: Execution = replace(execution, steps=tuple(replace(s, status="FAILED") for s in execution.steps))  # type: ignore[arg-type] # as it is read
    folder.save(unfinished)
    stage.run()
    assert stage.ran == list(STEPS)
    with pytest.raises(InputError, match=r"reuse\.json: format == 2, must be 1; update ctr-pipeline$"):
        read_reuse(stage.folder(reports[2]))
    with pytest.raises(InputError, match=r"reuse\.json cannot be read \(JSONDecodeError: .*\); delete it$"):
        read_reuse(stage.folder(reports[1]))
    with pytest.raises(InputError, match=r"^run \S+ keeps no record of reuse, must have one; it ended before"):
        explain_run(reports[0].execution_id, Place(stage.project, stage.home, "memory"))


def test_so_many_executions_back_are_looked_at(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    stage.run()
    stage.run("train.rounds=6")
    monkeypatch.setattr(reuse_record, "_SEARCHED", 1)
    assert _verdicts(stage.explain())["train"] == "miss"


def test_where_nothing_was_run_nothing_is_known(stage: Stage) -> None:
    assert stage.explain()[0].why == ("no earlier run kept such a step",)
    assert not stage.home.path.exists()


def test_two_runs_at_once_both_finish_and_a_third_reuses_one_of_them(stage: Stage) -> None:
    started = threading.Barrier(2, timeout=60)
    stage.meanwhile = started.wait
    reports: list[RunReport] = []
    threads = [threading.Thread(target=lambda: reports.append(stage.run())) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(reports) == 2
    assert not any(report.reused for report in reports)
    stage.meanwhile = lambda: None
    third = stage.run()
    assert set(third.reused.values()) <= {report.execution_id for report in reports}
    assert len(third.reused) == 3


def test_the_command_tells_of_the_next_run_and_of_a_past_one(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(stage.project)
    first = stage.run()
    assert _exit_code(["explain-reuse", "--set", "train.rounds=6"]) == 0
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert lines[0].startswith(f"preprocess hit   the output of {first.execution_id}, made 2026-02-25T")
    assert lines[1:3] == [
        f"train      miss   compared with {first.execution_id}",
        "           - setting train.rounds: 5 -> 6",
    ]
    assert _exit_code(["explain-reuse", "latest", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["steps"]["train"]["verdict"] == "miss"
    assert told["steps"]["train"]["why"] == ["no earlier run kept such a step"]
    assert _exit_code(["explain-reuse", "latest", "--set", "seed=8"]) == 2
    assert "--set goes with the next run, must not stand beside a past RUN" in capsys.readouterr().err
