"""`run`: pin the data, state the recipe, run the steps, keep what they made, log it."""

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from ctr_pipeline.config_file import LoadedSettings
from ctr_pipeline.engines.interrupt import Interrupt
from ctr_pipeline.engines.local import LocalEngine, StepJob, StepProgress
from ctr_pipeline.pipeline import DATA_INPUT, PIPELINE, StepSpec
from ctr_pipeline.steps.job import FILES_FOLDER, StepRecord
from ctr_pipeline.workflows.background import BackgroundRecorder
from ctr_pipeline.workflows.execution import Execution, StepState
from ctr_pipeline.workflows.preparation import DATA_FOLDER, PreparedRun, prepare_run
from ctr_pipeline.workflows.recorder import Recorder
from ctr_pipeline.workflows.tracker import open_tracker
from tracking.aside import StoreError, replace_whole
from tracking.errors import ProblemError, TrackingError
from tracking.recipe import Outputs
from tracking.records import RunStatus


class Watcher(Protocol):
    """Who is told how far a run is."""

    def step_began(self, name: str) -> None:
        """A step starts."""

    def step_moved(self, progress: StepProgress) -> None:
        """A step says how far it is."""

    def step_ended(self, name: str, status: RunStatus, wall_s: float) -> None:
        """A step is over."""


@dataclass(frozen=True, slots=True)
class RunReport:
    """What `run` tells.

    Attributes:
        run_id: the tracker's id; None where the tracker was away.
        execution_id: our own id.
        status: of the run.
        data_version: of the input.
        code_version: the commit, or the code digest where there is none.
        model_digest: of trees and preprocessing.
        recipe_digest: of what decided about the result.
        recipe_grade: A to D.
        recipe_missing: in words, what keeps the grade from an A.
        metrics: by name.
        estimates: by metric, its value, interval and counts.
        confidence: of the intervals, 0 to 1.
        own_metrics: names of the team's own metrics.
        folder: of the outputs.
        tracking_uri: without credentials.
        wall_s: seconds.
    """

    run_id: str | None
    execution_id: str
    status: RunStatus
    data_version: str
    code_version: str
    model_digest: str
    recipe_digest: str
    recipe_grade: str
    recipe_missing: tuple[str, ...]
    metrics: Mapping[str, float]
    estimates: Mapping[str, Mapping[str, Any]]
    confidence: float
    own_metrics: tuple[str, ...]
    folder: Path
    tracking_uri: str
    wall_s: float


class UnloggedRunError(TrackingError):
    """The run is finished and kept, but the tracker does not have it."""

    def __init__(self, report: RunReport, cause: ProblemError) -> None:
        """Say where the outputs are and how to send them."""
        super().__init__(
            f"the run is finished but not logged: {str(cause).rstrip('.')}. Its outputs are in {report.folder}; "
            f"`ctr-pipeline sync {report.execution_id}` sends them"
        )
        self.report = report


def run_pipeline(
    loaded: LoadedSettings,
    watcher: Watcher,
    *,
    start: Path,
    argv: Sequence[str],
    interrupt: Interrupt | None = None,
    clock_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
) -> RunReport:
    """Run the whole pipeline on this machine.

    Args:
        loaded: the settings.
        watcher: is told how far it is.
        start: folder in the source tree that the run belongs to.
        argv: the command's arguments, for the record.
        interrupt: asked at safe points whether to end; None where the caller leaves signals to Python.
        clock_ms: milliseconds since 1970 UTC.

    Raises:
        InputError: settings and data do not fit, or a secret would be kept.
        JobError: a step failed.
        StoreError: the run's own files could not be written.
        UnloggedRunError: all is computed, but the tracker could not be told, or nobody waited for it.
        KeyboardInterrupt: the run was interrupted; it is marked KILLED.
    """
    interrupt = interrupt or Interrupt()
    try:
        driver = _Driver(LocalEngine(interrupt), watcher, interrupt, clock_ms)
        return _drive(driver, loaded, start, argv)
    except OSError as error:
        place = f" {error.filename}" if error.filename else ""
        raise StoreError(
            f"the run's files{place} cannot be read or written: {error.strerror or error}; free some space there, or "
            "mend their rights, then run again"
        ) from error


@dataclass(frozen=True, slots=True)
class _Driver:
    """What a run is driven with."""

    engine: LocalEngine
    watcher: Watcher
    interrupt: Interrupt
    clock_ms: Callable[[], int]


def _drive(driver: _Driver, loaded: LoadedSettings, start: Path, argv: Sequence[str]) -> RunReport:
    began = time.monotonic()
    prepared = prepare_run(loaded, start=start, argv=argv, started_ms=driver.clock_ms())
    run = _Run(driver, prepared, start)
    unlogged: ProblemError | None = None
    try:
        # From here on another thread imports.
        with driver.interrupt.deferred(), _recorder(driver, loaded, run) as recorder:
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
    report = run.report(time.monotonic() - began)
    if unlogged is not None:
        raise UnloggedRunError(report, unlogged) from unlogged
    return report


def _recorder(driver: _Driver, loaded: LoadedSettings, run: "_Run") -> BackgroundRecorder:
    uri = loaded.settings.tracking.uri or run.home.tracking_uri
    return BackgroundRecorder(
        lambda: Recorder(open_tracker(uri, run.home), run.folder),
        execution_id=run.execution.execution_id,
        interrupt=driver.interrupt,
    )


class _Run:
    """One run in progress."""

    def __init__(self, driver: _Driver, prepared: PreparedRun, start: Path) -> None:
        self.home = prepared.home
        self.folder = prepared.folder
        self.execution = prepared.execution
        self._recipe = prepared.recipe
        self._code_folders = _code_folders(start, prepared.code_root)
        self._engine = driver.engine
        self._watcher = driver.watcher
        self._clock_ms = driver.clock_ms
        self._interrupt = driver.interrupt
        self._records: dict[str, StepRecord] = {}

    def tell(self, recorder: BackgroundRecorder) -> None:
        """Have the run begun in the tracker."""
        execution = self.execution
        recorder.say(lambda log: log.begin(execution))

    def execute(self, recorder: BackgroundRecorder) -> None:
        """Run the steps in their order, and end the run however it ends."""
        try:
            for spec in PIPELINE:
                self._interrupt.check()
                self._records[spec.name] = self._step(spec, recorder)
            self._keep_recipe()
        except KeyboardInterrupt as error:
            self._end_early(recorder, RunStatus.KILLED, "interrupted", error)
            raise
        except Exception as error:
            self._end_early(recorder, RunStatus.FAILED, str(error) or repr(error), error)
            raise
        self._end(recorder, RunStatus.FINISHED, None)

    def report(self, wall_s: float) -> RunReport:
        """Return what the finished run came to."""
        identity, evaluated = self._recipe.identity, self._records["evaluate"].facts
        logged = self.folder.load_logged()
        return RunReport(
            run_id=logged.run_id if logged.complete else None,
            execution_id=self.execution.execution_id,
            status=self.execution.status,
            data_version=identity.data_digest[:32],
            code_version=self.execution.tags["code_version"],
            model_digest=self._records["train"].outputs["model"],
            recipe_digest=self._recipe.digest,
            recipe_grade=self.execution.tags["recipe_grade"],
            recipe_missing=self._recipe.grade.missing if self._recipe.grade else (),
            metrics=evaluated["metrics"],
            estimates=evaluated["estimates"],
            confidence=evaluated["bootstrap"]["level"],
            own_metrics=tuple(sorted(identity.settings["evaluate"]["metrics"])),
            folder=self.folder.path,
            tracking_uri=self.execution.tracking_uri,
            wall_s=round(wall_s, 2),
        )

    def _step(self, spec: StepSpec, recorder: BackgroundRecorder) -> StepRecord:
        state = StepState(spec.name, RunStatus.RUNNING, self._clock_ms())
        status = RunStatus.FAILED
        try:
            self._keep(self.execution.with_step(state))
            self._say_begun(recorder, state)
            self._watcher.step_began(spec.name)
            record = self._engine.run_step(self._job(spec), self._watcher.step_moved)
            status = RunStatus.FINISHED
        except KeyboardInterrupt:
            status = RunStatus.KILLED
            raise
        finally:
            ended = replace(state, status=status, ended_ms=self._clock_ms())
            self._keep(self.execution.with_step(ended))
            self._say_ended(recorder, ended)
            self._watcher.step_ended(spec.name, status, ((ended.ended_ms or 0) - state.started_ms) / 1000)
        return record

    def _job(self, spec: StepSpec) -> StepJob:
        inputs = {channel: self.folder.step(source) for channel, source in spec.inputs.items()}
        if DATA_INPUT in spec.inputs.values():
            inputs[DATA_INPUT] = self.folder.path / DATA_FOLDER
        return StepJob(spec, self.folder.settings, inputs, self.folder.step(spec.name), self._code_folders)

    def _say_begun(self, recorder: BackgroundRecorder, state: StepState) -> None:
        execution = self.execution
        recorder.say(lambda log: log.begin_step(execution, state))

    def _say_ended(self, recorder: BackgroundRecorder, state: StepState) -> None:
        execution = self.execution
        recorder.say(lambda log: log.end_step(execution, state))

    def _keep_recipe(self) -> None:
        records = self._records
        layers = {name: digest for record in records.values() for name, digest in record.outputs.items()}
        timings = {f"{name}.wall_s": record.wall_s for name, record in records.items()}
        self._recipe = replace(self._recipe, outputs=Outputs(layers), timings=timings)
        replace_whole(self.folder.recipe, self._recipe.to_json())

    def _end_early(self, recorder: BackgroundRecorder, status: RunStatus, failure: str, error: BaseException) -> None:
        """End the run without hiding why, also where the disk takes nothing more."""
        try:
            self._end(recorder, status, failure)
        except StoreError as unwritten:
            error.add_note(str(unwritten))

    def _end(self, recorder: BackgroundRecorder, status: RunStatus, failure: str | None) -> None:
        self._keep(replace(self.execution, status=status, ended_ms=self._clock_ms(), failure=failure))
        execution = self.execution
        shutil.rmtree(self.folder.path / DATA_FOLDER / FILES_FOLDER, ignore_errors=True)
        recorder.say(lambda log: log.end(execution))

    def _keep(self, execution: Execution) -> None:
        self.execution = execution
        self.folder.save(execution)


def _code_folders(start: Path, root: Path | None) -> tuple[Path, ...]:
    """Return where a team's own modules may lie: in the folder that the run is started in, or in the tree's own."""
    return () if root is None else tuple(dict.fromkeys((start.resolve(), root.resolve())))
