"""`run`: pin the data, state the recipe, run the steps, keep what they made, log it."""

import secrets
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Protocol

from ctr_pipeline.config_file import LoadedSettings
from ctr_pipeline.data.digest_cache import DigestCache
from ctr_pipeline.data.formats import DataFormat
from ctr_pipeline.data.manifest import DatasetManifest
from ctr_pipeline.data.pin import DataStore, open_pinned, pin
from ctr_pipeline.data.source import Source
from ctr_pipeline.engines.local import LocalEngine, StepJob, StepProgress
from ctr_pipeline.pipeline import DATA_INPUT, PIPELINE, StepSpec
from ctr_pipeline.steps.job import FILES_FOLDER, MANIFEST_FILE, StepRecord
from ctr_pipeline.workflows.background import BackgroundRecorder
from ctr_pipeline.workflows.execution import Execution, ExecutionFolder, Home, Process, StepState
from ctr_pipeline.workflows.provenance import capture, circumstances_of, find_tree, identity_of, run_tags
from ctr_pipeline.workflows.recorder import Recorder
from ctr_pipeline.workflows.tracker import open_tracker, shown_uri
from tracking.errors import ProblemError, TrackingError
from tracking.folder_objects import FolderObjects
from tracking.recipe import Outputs, Recipe
from tracking.records import RunStatus

DATA_FOLDER: Final = "data"


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
        metrics: by name.
        estimates: by metric, its value, interval and counts.
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
    metrics: Mapping[str, float]
    estimates: Mapping[str, Mapping[str, Any]]
    folder: Path
    tracking_uri: str
    wall_s: float


class UnloggedRunError(TrackingError):
    """The run is finished and kept, but the tracker does not have it."""

    def __init__(self, report: RunReport, cause: ProblemError) -> None:
        """Say where the outputs are and how to send them."""
        super().__init__(
            f"the run is finished but not logged: {cause} Its outputs are in {report.folder}; "
            f"`ctr-pipeline sync {report.execution_id}` sends them"
        )
        self.report = report


def run_pipeline(
    loaded: LoadedSettings,
    watcher: Watcher,
    *,
    start: Path,
    argv: Sequence[str],
    clock_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
) -> RunReport:
    """Run the whole pipeline on this machine.

    Args:
        loaded: the settings.
        watcher: is told how far it is.
        start: folder in the source tree that the run belongs to.
        argv: the command's arguments, for the record.
        clock_ms: milliseconds since 1970 UTC.

    Raises:
        InputError: settings and data do not fit, or a secret would be kept.
        JobError: a step failed.
        UnloggedRunError: all is computed, but the tracker could not be told.
        KeyboardInterrupt: the run was interrupted; it is marked KILLED.
    """
    engine = LocalEngine()
    began = time.monotonic()
    run = _Run.prepare(
        loaded, engine=engine, watcher=watcher, start=start, argv=argv, clock_ms=clock_ms
    )
    uri = loaded.settings.tracking.uri or run.home.tracking_uri
    recorder = BackgroundRecorder(lambda: Recorder(open_tracker(uri, run.home), run.folder))
    records: dict[str, StepRecord] = {}
    unlogged: ProblemError | None = None
    try:
        with recorder:
            run.tell(recorder)
            records = run.execute(recorder)
    except ProblemError as error:
        if run.execution.status is not RunStatus.FINISHED:
            raise
        unlogged = error
    report = run.report(records, time.monotonic() - began)
    if unlogged is not None:
        raise UnloggedRunError(report, unlogged) from unlogged
    return report


class _Run:
    """One run in progress."""

    def __init__(
        self,
        *,
        home: Home,
        folder: ExecutionFolder,
        execution: Execution,
        recipe: Recipe,
        engine: LocalEngine,
        watcher: Watcher,
        code_root: Path | None,
        clock_ms: Callable[[], int],
    ) -> None:
        self.home = home
        self.folder = folder
        self.execution = execution
        self._recipe = recipe
        self._engine = engine
        self._watcher = watcher
        self._code_root = code_root
        self._clock_ms = clock_ms

    @classmethod
    def prepare(
        cls,
        loaded: LoadedSettings,
        *,
        engine: LocalEngine,
        watcher: Watcher,
        start: Path,
        argv: Sequence[str],
        clock_ms: Callable[[], int],
    ) -> "_Run":
        """Pin the data, look at code and environment, and write down what is about to happen."""
        settings = loaded.settings
        tree = find_tree(start, loaded)
        home = Home.find(tree.root or start)
        store = DataStore(FolderObjects(home.store))
        manifest = pin_data(loaded, store, home)
        started_ms = clock_ms()
        folder = home.execution(_new_execution_id(started_ms))
        provenance = capture(tree, loaded, argv, folder.provenance, home.cache)
        started_utc = datetime.fromtimestamp(started_ms / 1000, UTC).isoformat()
        circumstances = circumstances_of(loaded, provenance, manifest, store.objects.uri, started_utc)
        recipe = Recipe(identity_of(loaded, provenance, manifest), circumstances, grade=provenance.grade)
        execution = Execution(
            execution_id=folder.path.name,
            name=f"{settings.name}-{folder.path.name[-4:]}",
            experiment=settings.tracking.experiment,
            tracking_uri=shown_uri(settings.tracking.uri or home.tracking_uri),
            started_ms=started_ms,
            process=Process.current(),
            tags=run_tags(provenance, manifest, recipe.digest),
        )
        _write_inputs(folder, loaded, manifest, store, recipe)
        folder.save(execution)
        return cls(
            home=home,
            folder=folder,
            execution=execution,
            recipe=recipe,
            engine=engine,
            watcher=watcher,
            code_root=tree.root,
            clock_ms=clock_ms,
        )

    def tell(self, recorder: BackgroundRecorder) -> None:
        """Have the run begun in the tracker."""
        execution = self.execution
        recorder.say(lambda log: log.begin(execution))

    def execute(self, recorder: BackgroundRecorder) -> dict[str, StepRecord]:
        """Run the steps in their order, and end the run however it ends."""
        records: dict[str, StepRecord] = {}
        try:
            for spec in PIPELINE:
                records[spec.name] = self._step(spec, recorder)
        except KeyboardInterrupt:
            self._end(recorder, RunStatus.KILLED, "interrupted")
            raise
        except Exception as error:
            self._end(recorder, RunStatus.FAILED, str(error) or repr(error))
            raise
        self._keep_recipe(records)
        self._end(recorder, RunStatus.FINISHED, None)
        return records

    def report(self, records: Mapping[str, StepRecord], wall_s: float) -> RunReport:
        """Return what the run came to."""
        identity, evaluated = self._recipe.identity, records["evaluate"].facts
        logged = self.folder.load_logged()
        return RunReport(
            run_id=logged.run_id if logged.complete else None,
            execution_id=self.execution.execution_id,
            status=self.execution.status,
            data_version=identity.data_digest[:32],
            code_version=self.execution.tags["code_version"],
            model_digest=records["train"].outputs["model"],
            recipe_digest=self._recipe.digest,
            recipe_grade=self.execution.tags["recipe_grade"],
            metrics=evaluated["metrics"],
            estimates=evaluated["estimates"],
            folder=self.folder.path,
            tracking_uri=self.execution.tracking_uri,
            wall_s=round(wall_s, 2),
        )

    def _step(self, spec: StepSpec, recorder: BackgroundRecorder) -> StepRecord:
        state = StepState(spec.name, RunStatus.RUNNING, self._clock_ms())
        self._keep(self.execution.with_step(state))
        self._say_begun(recorder, state)
        self._watcher.step_began(spec.name)
        status = RunStatus.FAILED
        try:
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
        return StepJob(spec, self.folder.settings, inputs, self.folder.step(spec.name), self._code_root)

    def _say_begun(self, recorder: BackgroundRecorder, state: StepState) -> None:
        execution = self.execution
        recorder.say(lambda log: log.begin_step(execution, state))

    def _say_ended(self, recorder: BackgroundRecorder, state: StepState) -> None:
        execution = self.execution
        recorder.say(lambda log: log.end_step(execution, state))

    def _keep_recipe(self, records: Mapping[str, StepRecord]) -> None:
        layers = {name: digest for record in records.values() for name, digest in record.outputs.items()}
        timings = {f"{name}.wall_s": record.wall_s for name, record in records.items()}
        self._recipe = replace(self._recipe, outputs=Outputs(layers), timings=timings)
        self.folder.recipe.write_bytes(self._recipe.to_json())

    def _end(self, recorder: BackgroundRecorder, status: RunStatus, failure: str | None) -> None:
        self._keep(replace(self.execution, status=status, ended_ms=self._clock_ms(), failure=failure))
        execution = self.execution
        shutil.rmtree(self.folder.path / DATA_FOLDER / FILES_FOLDER, ignore_errors=True)
        recorder.say(lambda log: log.end(execution))

    def _keep(self, execution: Execution) -> None:
        self.execution = execution
        self.folder.save(execution)


def pin_data(loaded: LoadedSettings, store: DataStore, home: Home) -> DatasetManifest:
    """Pin the settings' input in the store and return its manifest.

    Raises:
        InputError: the input is missing, broken, or changes meanwhile.
    """
    data = loaded.settings.data
    data_format = DataFormat(data.format, data.delimiter, data.header, data.column_names)
    source = Source.open(data.uri, data_format)
    cache = DigestCache(home.cache / "digests")
    return pin(source, store, cache, name=loaded.settings.name, time_column=data.columns.time)


def _write_inputs(
    folder: ExecutionFolder, loaded: LoadedSettings, manifest: DatasetManifest, store: DataStore, recipe: Recipe
) -> None:
    data = folder.path / DATA_FOLDER
    open_pinned(manifest, store, data / FILES_FOLDER)
    (data / MANIFEST_FILE).write_bytes(manifest.to_json())
    (folder.provenance / MANIFEST_FILE).write_bytes(manifest.to_json())
    folder.settings.write_text(loaded.settings.to_json(), encoding="utf-8")
    folder.recipe.write_bytes(recipe.to_json())


def _new_execution_id(started_ms: int) -> str:
    began = datetime.fromtimestamp(started_ms / 1000, UTC)
    return f"{began:%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"
