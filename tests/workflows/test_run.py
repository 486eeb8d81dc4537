"""A run ends as it should however it ends: the steps here are copied from a real run, the tracker is a stand-in."""

import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ctr_pipeline.config_file import load_settings
from ctr_pipeline.engines.attempt import StepJob
from ctr_pipeline.engines.interrupt import Interrupt
from ctr_pipeline.steps.job import StepRecord, read_step
from ctr_pipeline.workflows import driver, run
from ctr_pipeline.workflows.execution import Execution, Home
from ctr_pipeline.workflows.run import UnloggedRunError, run_pipeline
from tests.plugins.run_fixtures import FinishedRun, SilentWatcher
from tracking.aside import StoreError
from tracking.errors import JobError, TrackingError
from tracking.records import RunStatus


class Stage:
    """A run of which the test decides what goes wrong."""

    def __init__(self, template: FinishedRun, home: Home) -> None:
        self.home = home
        self.jobs: list[StepJob] = []
        self.tracker: Callable[[], object] = lambda: None
        self.before: Callable[[str], None] = lambda _: None
        self._template = template

    def run_step(self, attempt: StepJob, _: object) -> StepRecord:
        """Copy what the real step left."""
        self.jobs.append(attempt)
        self.before(attempt.spec.name)
        shutil.copytree(self._template.folder.step(attempt.spec.name), attempt.output)
        return read_step(attempt.output)

    def open_tracker(self, *_: object) -> object:
        """Open a tracker that is no good for anything but what the test made of it."""
        self.tracker()
        raise TrackingError("the tracker is away.")

    def start(self, interrupt: Interrupt | None = None, start: Path | None = None) -> None:
        """Run to the end, which is never a logged one."""
        loaded = load_settings(self._template.project / "configs" / "default.yaml")
        run_pipeline(
            loaded, SilentWatcher(), start=start or self._template.project, argv=["ctr-pipeline"], interrupt=interrupt
        )

    @property
    def execution(self) -> Execution:
        """What is kept of the only run."""
        (folder,) = self.home.executions()
        return folder.load()


@pytest.fixture
def stage(finished_run: FinishedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    """A run in a home of its own."""
    stage = Stage(finished_run, Home(tmp_path / ".ctr"))
    monkeypatch.setenv("CTR_HOME", str(stage.home.path))
    monkeypatch.setattr(run, "LocalEngine", lambda _: stage)
    monkeypatch.setattr(run, "open_tracker", stage.open_tracker)
    return stage


@pytest.fixture
def silence() -> Iterator[threading.Event]:
    """What a tracker waits for that answers nothing until the test is over."""
    event = threading.Event()
    yield event
    event.set()


def test_an_unexpected_error_of_the_tracker_does_not_hide_the_finished_run(stage: Stage) -> None:
    def fail() -> None:
        raise ZeroDivisionError("odd")

    stage.tracker = fail
    with pytest.raises(UnloggedRunError, match=r"told \(ZeroDivisionError: odd\)\. Its outputs are in .* sends them$"):
        stage.start()
    assert stage.execution.status is RunStatus.FINISHED


def test_an_interrupt_while_the_finished_run_is_logged_tells_the_report_and_how_to_send_it(
    stage: Stage, silence: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.tracker = silence.wait
    keep = driver._Run._end

    def ended(*arguments: object) -> None:
        keep(*arguments)  # type: ignore[arg-type] # the same ones
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(driver._Run, "_end", ended)
    interrupt = Interrupt()
    with interrupt.listening(), pytest.raises(UnloggedRunError, match=r"not logged: logging was interrupted\.") as told:
        stage.start(interrupt)
    assert told.value.report.metrics
    assert told.value.report.run_id is None
    assert stage.execution.status is RunStatus.FINISHED


def test_an_interrupt_in_a_step_marks_the_run_killed_and_says_that_the_tracker_does_not_know(
    stage: Stage, silence: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ctr_pipeline.workflows.background._PATIENCE_S", 0.05)
    stage.tracker = silence.wait
    stage.before = lambda _: signal.raise_signal(signal.SIGTERM)
    interrupt = Interrupt()
    with interrupt.listening(), pytest.raises(KeyboardInterrupt, match=r"`ctr-pipeline sync \S+` sends the rest"):
        stage.start(interrupt)
    assert [job.spec.name for job in stage.jobs] == ["preprocess"]
    assert stage.execution.status is RunStatus.KILLED


def test_without_our_handling_an_interrupt_ends_the_run_where_it_comes(stage: Stage) -> None:
    def interrupt(_: str) -> None:
        raise KeyboardInterrupt

    stage.before = interrupt
    with pytest.raises(KeyboardInterrupt):
        stage.start()
    assert stage.execution.status is RunStatus.KILLED
    assert [step.status for step in stage.execution.steps] == [RunStatus.KILLED]


def test_a_recipe_that_cannot_be_written_fails_the_run(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise StoreError("cannot write to recipe.json: no space left; free some space there.")

    monkeypatch.setattr(driver, "replace_whole", full)
    with pytest.raises(StoreError, match=r"^cannot write to recipe\.json: no space left"):
        stage.start()
    assert stage.execution.status is RunStatus.FAILED
    assert stage.execution.failure == "cannot write to recipe.json: no space left; free some space there."


def test_a_failure_of_the_disk_is_one_line(stage: Stage) -> None:
    def fail(_: str) -> None:
        raise PermissionError(13, "Permission denied", "output")

    stage.before = fail
    with pytest.raises(StoreError, match=r"^the run's files output cannot be .*: Permission denied; free .* run again"):
        stage.start()
    assert stage.execution.status is RunStatus.FAILED


def test_a_disk_that_takes_no_more_does_not_hide_why_the_run_failed(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise StoreError("no space left")

    def fail(_: str) -> None:
        raise JobError("step train failed")

    stage.before = fail
    monkeypatch.setattr(driver._Run, "_end", full)
    with pytest.raises(JobError, match=r"^step train failed\nno space left\n"):
        stage.start()


def test_own_modules_lie_in_the_start_folder_or_at_the_trees_root(stage: Stage, finished_run: FinishedRun) -> None:
    with pytest.raises(UnloggedRunError, match=r"the tracker is away\."):
        stage.start(start=finished_run.project / "configs")
    folders = (finished_run.project / "configs", finished_run.project)
    assert {job.code_folders for job in stage.jobs} == {tuple(folder.resolve() for folder in folders)}
