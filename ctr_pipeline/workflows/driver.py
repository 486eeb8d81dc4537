"""Driving a prepared run: its steps one after the other, each told to the tracker, each way of ending kept on disk."""

import shutil
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from ctr_pipeline.engines.interrupt import Interrupt
from ctr_pipeline.engines.local import StepJob, StepProgress
from ctr_pipeline.pipeline import DATA_INPUT, PIPELINE, StepSpec
from ctr_pipeline.steps.job import FILES_FOLDER, StepRecord
from ctr_pipeline.workflows.background import BackgroundRecorder
from ctr_pipeline.workflows.execution import Execution, ExecutionFolder, StepState
from ctr_pipeline.workflows.preparation import DATA_FOLDER, PreparedRun
from ctr_pipeline.workflows.recorder import Recorder
from tracking.aside import StoreError, replace_whole
from tracking.errors import ProblemError, TrackingError
from tracking.recipe import Outputs, Recipe
from tracking.records import RunStatus
from tracking.tracker import Tracker


class Watcher(Protocol):
    """Who is told how far a run is."""

    def step_began(self, name: str) -> None:
        """A step starts."""

    def step_moved(self, progress: StepProgress) -> None:
        """A step says how far it is."""

    def step_ended(self, name: str, status: RunStatus, wall_s: float) -> None:
        """A step is over."""


class Engine(Protocol):
    """What runs a step."""

    def run_step(self, attempt: StepJob, on_progress: Callable[[StepProgress], None]) -> StepRecord:
        """Run a step to its end and move its output into place; see `LocalEngine`."""


@dataclass(frozen=True, slots=True)
class Driver:
    """What a run is driven with.

    Attributes:
        engine: runs the steps.
        watcher: is told how far it is.
        open_tracker: opens the tracker, on a thread of its own.
        interrupt: asked at safe points whether to end.
        clock_ms: milliseconds since 1970 UTC.
    """

    engine: Engine
    watcher: Watcher
    open_tracker: Callable[[], Tracker]
    interrupt: Interrupt = field(default_factory=Interrupt)
    clock_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000


@dataclass(frozen=True, slots=True)
class Course:
    """Which steps a run takes.

    Attributes:
        steps: in their order.
        given: by step, a folder of its output that another run made, for steps that are not run.
        code_folders: folders from which a team's own modules are imported, the first one first.
    """

    steps: tuple[StepSpec, ...] = PIPELINE
    given: Mapping[str, Path] = field(default_factory=dict)
    code_folders: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class DrivenRun:
    """A run that was driven to its end.

    Attributes:
        folder: of the execution.
        execution: its record.
        recipe: with outputs.
        records: by step.
        unlogged: why the tracker does not have all of it, None where it has.
    """

    folder: ExecutionFolder
    execution: Execution
    recipe: Recipe
    records: Mapping[str, StepRecord]
    unlogged: ProblemError | None

    @property
    def run_id(self) -> str | None:
        """The tracker's id of the run, None where the run is not logged whole."""
        logged = self.folder.load_logged()
        return logged.run_id if logged.complete else None


def drive(driver: Driver, prepared: PreparedRun, course: Course) -> DrivenRun:
    """Run the steps and log them.

    Raises:
        InputError: settings and data do not fit.
        JobError: a step failed.
        StoreError: the run's own files could not be written.
        KeyboardInterrupt: the run was interrupted; it is marked KILLED.
    """
    run = _Run(driver, prepared, course)
    unlogged: ProblemError | None = None
    try:
        # From here on another thread imports.
        with driver.interrupt.deferred(), _recorder(driver, prepared) as recorder:
            run.tell(recorder)
            run.execute(recorder)
    except ProblemError as error:
        if run.execution.status is not RunStatus.FINISHED:
            raise
        unlogged = error
    except KeyboardInterrupt as error:
        if run.execution.status is not RunStatus.FINISHED:
            raise
        unlogged = TrackingError("logging was interrupted.")
        unlogged.__cause__ = error
    return DrivenRun(run.folder, run.execution, run.recipe, run.records, unlogged)


def _recorder(driver: Driver, prepared: PreparedRun) -> AbstractContextManager[BackgroundRecorder]:
    return BackgroundRecorder(
        lambda: Recorder(driver.open_tracker(), prepared.folder),
        execution_id=prepared.execution.execution_id,
        interrupt=driver.interrupt,
    )


class _Run:
    """One run in progress."""

    def __init__(self, driver: Driver, prepared: PreparedRun, course: Course) -> None:
        self.folder = prepared.folder
        self.execution = prepared.execution
        self.recipe = prepared.recipe
        self.records: dict[str, StepRecord] = {}
        self._driver = driver
        self._course = course

    def tell(self, recorder: BackgroundRecorder) -> None:
        """Have the run begun in the tracker."""
        execution = self.execution
        recorder.say(lambda log: log.begin(execution))

    def execute(self, recorder: BackgroundRecorder) -> None:
        """Run the steps in their order, and end the run however it ends."""
        try:
            for spec in self._course.steps:
                self._driver.interrupt.check()
                self.records[spec.name] = self._step(spec, recorder)
            self._keep_recipe()
        except KeyboardInterrupt as error:
            self._end_early(recorder, RunStatus.KILLED, "interrupted", error)
            raise
        except Exception as error:
            self._end_early(recorder, RunStatus.FAILED, str(error) or repr(error), error)
            raise
        self._end(recorder, RunStatus.FINISHED, None)

    def _step(self, spec: StepSpec, recorder: BackgroundRecorder) -> StepRecord:
        state = StepState(spec.name, RunStatus.RUNNING, self._driver.clock_ms())
        status = RunStatus.FAILED
        try:
            self._keep(self.execution.with_step(state))
            self._say_begun(recorder, state)
            self._driver.watcher.step_began(spec.name)
            record = self._driver.engine.run_step(self._job(spec), self._driver.watcher.step_moved)
            status = RunStatus.FINISHED
        except KeyboardInterrupt:
            status = RunStatus.KILLED
            raise
        finally:
            ended = replace(state, status=status, ended_ms=self._driver.clock_ms())
            self._keep(self.execution.with_step(ended))
            self._say_ended(recorder, ended)
            self._driver.watcher.step_ended(spec.name, status, ((ended.ended_ms or 0) - state.started_ms) / 1000)
        return record

    def _job(self, spec: StepSpec) -> StepJob:
        given = self._course.given
        inputs = {channel: given.get(source, self.folder.step(source)) for channel, source in spec.inputs.items()}
        if DATA_INPUT in spec.inputs.values():
            inputs[DATA_INPUT] = self.folder.path / DATA_FOLDER
        return StepJob(spec, self.folder.settings, inputs, self.folder.step(spec.name), self._course.code_folders)

    def _say_begun(self, recorder: BackgroundRecorder, state: StepState) -> None:
        execution = self.execution
        recorder.say(lambda log: log.begin_step(execution, state))

    def _say_ended(self, recorder: BackgroundRecorder, state: StepState) -> None:
        execution = self.execution
        recorder.say(lambda log: log.end_step(execution, state))

    def _keep_recipe(self) -> None:
        records = self.records
        layers = {name: digest for record in records.values() for name, digest in record.outputs.items()}
        timings = {f"{name}.wall_s": record.wall_s for name, record in records.items()}
        self.recipe = replace(self.recipe, outputs=Outputs(layers), timings=timings)
        replace_whole(self.folder.recipe, self.recipe.to_json())

    def _end_early(self, recorder: BackgroundRecorder, status: RunStatus, failure: str, error: BaseException) -> None:
        """End the run without hiding why, also where the disk takes nothing more."""
        try:
            self._end(recorder, status, failure)
        except StoreError as unwritten:
            error.add_note(str(unwritten))

    def _end(self, recorder: BackgroundRecorder, status: RunStatus, failure: str | None) -> None:
        self._keep(replace(self.execution, status=status, ended_ms=self._driver.clock_ms(), failure=failure))
        execution = self.execution
        shutil.rmtree(self.folder.path / DATA_FOLDER / FILES_FOLDER, ignore_errors=True)
        recorder.say(lambda log: log.end(execution))

    def _keep(self, execution: Execution) -> None:
        self.execution = execution
        self.folder.save(execution)
