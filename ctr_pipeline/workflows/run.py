"""`run`: pin the data, state the recipe, run the steps, keep what they made, log it."""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ctr_pipeline.config_file import LoadedSettings
from ctr_pipeline.engines.interrupt import Interrupt
from ctr_pipeline.engines.local import LocalEngine
from ctr_pipeline.evaluation.noise import NoiseBand
from ctr_pipeline.workflows.driver import Course, DrivenRun, Driver, Watcher, drive
from ctr_pipeline.workflows.execution import ExecutionFolder
from ctr_pipeline.workflows.noise_runs import NoisePlan
from ctr_pipeline.workflows.preparation import prepare_run
from ctr_pipeline.workflows.reuse import Reuse
from ctr_pipeline.workflows.reuse_surroundings import loaded_sources
from ctr_pipeline.workflows.tracker import open_tracker
from tracking.aside import StoreError
from tracking.errors import ProblemError, TrackingError
from tracking.records import RunStatus


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
        reused: by step that was not run, the execution that made its output.
        warnings: kept outputs that could not be reused, and why; why a noise band was not measured.
        noise: what chance alone does to the run; None where it was not measured.
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
    reused: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    noise: NoiseBand | None = None


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
    reuse: bool = True,
    clock_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
) -> RunReport:
    """Run the whole pipeline on this machine.

    Args:
        loaded: the settings.
        watcher: is told how far it is.
        start: folder in the source tree that the run belongs to.
        argv: the command's arguments, for the record.
        interrupt: asked at safe points whether to end; None where the caller leaves signals to Python.
        reuse: whether a step's earlier output may take its place.
        clock_ms: milliseconds since 1970 UTC.

    Raises:
        InputError: settings and data do not fit, or a secret would be kept.
        JobError: a step failed.
        StoreError: the run's own files could not be written.
        UnloggedRunError: all is computed, but the tracker could not be told, or nobody waited for it.
        KeyboardInterrupt: the run was interrupted; it is marked KILLED.
    """
    interrupt = interrupt or Interrupt()
    began = time.monotonic()
    try:
        # Before the engine's processes import them.
        sources = loaded_sources()
        # Before the data are looked at: the engine imports meanwhile.
        engine = LocalEngine(interrupt)
        prepared = prepare_run(loaded, start=start, argv=argv, started_ms=clock_ms())
        uri = loaded.settings.tracking.uri or prepared.home.tracking_uri
        driver = Driver(engine, watcher, lambda: open_tracker(uri, prepared.home), interrupt, clock_ms)
        folders = _code_folders(start, prepared.code_root)
        steps = Reuse.of(prepared, sources, look=reuse)
        course = Course(code_folders=folders, reuse=steps, noise=NoisePlan.of(loaded.settings))
        driven = drive(driver, prepared, course)
    except OSError as error:
        place = f" {error.filename}" if error.filename else ""
        raise StoreError(
            f"the run's files{place} cannot be read or written: {error.strerror or error}; free some space there, or "
            "mend their rights, then run again"
        ) from error
    report = replace(_report(driven, time.monotonic() - began), warnings=_warnings(driven, steps))
    if driven.unlogged is not None:
        raise UnloggedRunError(report, driven.unlogged) from driven.unlogged
    return report


def _report(driven: DrivenRun, wall_s: float) -> RunReport:
    """Return what the finished run came to."""
    recipe, evaluated, tags = driven.recipe, driven.records["evaluate"].facts, driven.execution.tags
    return RunReport(
        run_id=driven.run_id,
        execution_id=driven.execution.execution_id,
        status=driven.execution.status,
        data_version=recipe.identity.data_digest[:32],
        code_version=tags["code_version"],
        model_digest=driven.records["train"].outputs["model"],
        recipe_digest=recipe.digest,
        recipe_grade=tags["recipe_grade"],
        recipe_missing=recipe.grade.missing if recipe.grade else (),
        metrics=evaluated["metrics"],
        estimates=evaluated["estimates"],
        confidence=evaluated["bootstrap"]["level"],
        own_metrics=tuple(sorted(recipe.identity.settings["evaluate"]["metrics"])),
        folder=driven.folder.path,
        tracking_uri=driven.execution.tracking_uri,
        wall_s=round(wall_s, 2),
        noise=_noise(driven.folder),
        reused={state.name: state.reused_from for state in driven.execution.steps if state.reused_from is not None},
    )


def _noise(folder: ExecutionFolder) -> NoiseBand | None:
    band = folder.noise_band
    return NoiseBand.from_record(json.loads(band.read_bytes()), str(band)) if band.exists() else None


def _warnings(driven: DrivenRun, steps: Reuse) -> tuple[str, ...]:
    failure = driven.execution.noise_failure
    return steps.warnings if failure is None else (*steps.warnings, failure)


def _code_folders(start: Path, root: Path | None) -> tuple[Path, ...]:
    """Return where a team's own modules may lie: in the folder that the run is started in, or in the tree's own."""
    return () if root is None else tuple(dict.fromkeys((start.resolve(), root.resolve())))
