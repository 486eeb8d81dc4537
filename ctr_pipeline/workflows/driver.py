"""Driving a prepared run: its steps one after the other, each told to the tracker, each way of ending kept on disk."""

import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, Protocol

from ctr_pipeline.engines.attempt import StepJob, StepProgress
from ctr_pipeline.engines.interrupt import Interrupt
from ctr_pipeline.pipeline import DATA_INPUT, PIPELINE, StepSpec
from ctr_pipeline.steps.job import FILES_FOLDER, StepRecord
from ctr_pipeline.workflows.background import BackgroundRecorder
from ctr_pipeline.workflows.execution import Execution, ExecutionFolder, StepState
from ctr_pipeline.workflows.noise_runs import NoiseBench, NoisePlan, measure_band
from ctr_pipeline.workflows.preparation import DATA_FOLDER, PreparedRun
from ctr_pipeline.workflows.recorder import Recorder
from ctr_pipeline.workflows.reuse import Reuse
from tracking.aside import StoreError, replace_whole
from tracking.errors import ProblemError, TrackingError
from tracking.recipe import Outputs, Recipe
from tracking.records import RunStatus
from tracking.tracker import Tracker

# What a reused step is doing, as its watcher is told.
REUSED: Final = "reused"
# As whom a watcher hears of the extra runs of the noise band.
NOISE: Final = "noise"


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
        given_layers: by layer, the digest of what was given, in place of what a step may say; None where nothing of
            the run follows from that layer.
        code_folders: folders from which a team's own modules are imported, the first one first.
        reuse: decides which steps need not run, and keeps their keys; None where every step runs and none is offered to
            later runs, as when a run is reproduced.
        noise: the extra runs that measure the noise band; None where none is asked for, as when a run is reproduced.
    """

    steps: tuple[StepSpec, ...] = PIPELINE
    given: Mapping[str, Path] = field(default_factory=dict)
    given_layers: Mapping[str, str | None] = field(default_factory=dict)
    code_folders: tuple[Path, ...] = ()
    reuse: Reuse | None = None
    noise: NoisePlan | None = None


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
        if not run.folder.load_logged().complete:
            unlogged = TrackingError("logging was interrupted.")
            unlogged.__cause__ = error
    return DrivenRun(run.folder, run.execution, run.recipe, run.records, unlogged)


def _recorder(driver: Driver, prepared: PreparedRun) -> AbstractContextManager[BackgroundRecorder]:
    return BackgroundRecorder(
        lambda: Recorder(driver.open_tracker(), prepared.folder),
        execution_id=prepared.execution.execution_id,
        interrupt=driver.interrupt,
    )


@dataclass(slots=True)
class _Attempt:
    """An attempt in progress: its state so far."""

    state: StepState


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
        interrupt = self._measure_noise(self._course.noise, recorder) if self._course.noise else None
        self._end(recorder, RunStatus.FINISHED, None)
        if interrupt is not None:
            raise interrupt

    def _step(self, spec: StepSpec, recorder: BackgroundRecorder) -> StepRecord:
        watcher, began_ms, status = self._driver.watcher, self._driver.clock_ms(), RunStatus.FAILED
        try:
            with self._attempt(spec.name, recorder) as attempt:
                watcher.step_began(spec.name)
                record, attempt.state = self._reused_or_run(spec, attempt.state)
            status = attempt.state.status
        except KeyboardInterrupt:
            status = RunStatus.KILLED
            raise
        finally:
            watcher.step_ended(spec.name, status, (self._driver.clock_ms() - began_ms) / 1000)
        return record

    @contextmanager
    def _attempt(self, name: str, recorder: BackgroundRecorder) -> "Iterator[_Attempt]":
        """Begin an attempt, and end it however the block ends: on disk first, then for the tracker."""
        attempt = _Attempt(StepState(name, RunStatus.RUNNING, self._driver.clock_ms()))
        status = RunStatus.FAILED
        try:
            self._keep(self.execution.with_step(attempt.state))
            self._say_begun(recorder, attempt.state)
            yield attempt
            status = RunStatus.FINISHED
        except KeyboardInterrupt:
            status = RunStatus.KILLED
            raise
        finally:
            attempt.state = replace(attempt.state, status=status, ended_ms=self._driver.clock_ms())
            self._keep(self.execution.with_step(attempt.state))
            self._say_ended(recorder, attempt.state)

    def _measure_noise(self, plan: NoisePlan, recorder: BackgroundRecorder) -> KeyboardInterrupt | None:
        """Measure the noise band; whatever fails costs the band alone, as the run itself is complete.

        Returns:
            The interrupt that ended it, where one did.
        """
        watcher, began_ms, status = self._driver.watcher, self._driver.clock_ms(), RunStatus.FAILED
        total, interrupt = len(plan.seeds), None

        def run_step(job: StepJob) -> StepRecord:
            done = sum(step.noise is not None for step in self.execution.steps) - 1
            watcher.step_moved(StepProgress(NOISE, job.spec.name, done, total))
            return self._driver.engine.run_step(job, lambda _: None)

        bench = NoiseBench(
            folder=self.folder,
            run_step=run_step,
            attempt=lambda name: self._attempt(name, recorder),
            check=self._driver.interrupt.check,
            code_folders=self._course.code_folders,
        )
        watcher.step_began(NOISE)
        try:
            recipe, told_ms = self.folder.recipe, self._driver.clock_ms()
            recorder.say(lambda log: log.log_recipe(recipe.name, told_ms))
            measure_band(plan, bench, self.records["evaluate"])
            status = RunStatus.FINISHED
        except KeyboardInterrupt as error:
            status, interrupt = RunStatus.KILLED, error
            self._no_band("interrupted")
        except Exception as error:  # noqa: BLE001 - no failure of an extra may cost the finished run
            self._no_band(str(error) or repr(error))
        watcher.step_ended(NOISE, status, (self._driver.clock_ms() - began_ms) / 1000)
        return interrupt

    def _no_band(self, reason: str) -> None:
        self.execution = replace(self.execution, noise_failure=f"the noise band was not measured: {reason}")

    def _reused_or_run(self, spec: StepSpec, state: StepState) -> tuple[StepRecord, StepState]:
        reuse, watcher, output = self._course.reuse, self._driver.watcher, self.folder.step(spec.name)
        taken = reuse.take(spec, self.records, output, self._driver.interrupt.check) if reuse else None
        if taken is not None:
            watcher.step_moved(StepProgress(spec.name, REUSED, 1, 1))
            made_by = taken.origin
            return taken.record, replace(state, reused_from=made_by.execution_id, reused_run_id=made_by.run_id)
        record = self._driver.engine.run_step(self._job(spec), watcher.step_moved)
        if reuse is not None:
            reuse.made(spec, output)
        return record, state

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
        made = {name: digest for record in records.values() for name, digest in record.outputs.items()}
        layers = {name: digest for name, digest in {**made, **self._course.given_layers}.items() if digest is not None}
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
