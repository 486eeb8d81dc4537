"""The re-run: a new execution of the run's own code, libraries, data and settings, driven by today's driver."""

import json
import shutil
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from ctr_pipeline.config import Settings
from ctr_pipeline.config_file import LoadedSettings
from ctr_pipeline.data.pin import open_pinned
from ctr_pipeline.data.splits import utc_text
from ctr_pipeline.engines.foreign import ForeignEngine
from ctr_pipeline.engines.interrupt import Interrupt
from ctr_pipeline.pipeline import FROZEN_INPUT, PIPELINE, PREPROCESS, TRAIN, StepSpec
from ctr_pipeline.reproduce.environment import environments_folder
from ctr_pipeline.reproduce.identity import Materials, identity_of
from ctr_pipeline.reproduce.original import PATCH, REPRODUCES_TAG
from ctr_pipeline.reproduce.plan import Plan
from ctr_pipeline.steps.job import FILES_FOLDER, MANIFEST_FILE
from ctr_pipeline.workflows.driver import Course, DrivenRun, Driver, Watcher, drive
from ctr_pipeline.workflows.execution import Execution, ExecutionFolder, Home, Process
from ctr_pipeline.workflows.preparation import DATA_FOLDER, PreparedRun, new_execution_id
from ctr_pipeline.workflows.provenance import (
    LOCK_FILE,
    PATCH_FILE,
    Provenance,
    capture,
    code_history,
    find_tree,
    machine_facts,
    run_tags,
)
from ctr_pipeline.workflows.tracker import open_tracker, shown_uri
from tracking.aside import replace_whole
from tracking.environment import capture_environment
from tracking.errors import InputError
from tracking.recipe import Circumstances, Recipe
from tracking.secrets import redact_url
from tracking.snapshot import ARCHIVE_NAME
from tracking.tracker import Tracker

# The run whose model was only tested.
FROZEN_TAG: Final = "frozen_model_of"
_SERVER_LOG: Final = "steps.log"
# Tags that go with the code, wherever it runs.
_OF_CODE: Final = (
    "code_version",
    "recipe_grade",
    "git.dirty",
    "mlflow.source.git.commit",
    "mlflow.source.git.branch",
    "mlflow.source.git.repoURL",
)


@dataclass(frozen=True, slots=True)
class Bench:
    """Where and how a re-run is driven.

    Attributes:
        home: that keeps its outputs.
        tracking_uri: where it is logged; not to be shown.
        watcher: is told how far it is.
        interrupt: asked at safe points whether to end.
        clock_ms: milliseconds since 1970 UTC.
    """

    home: Home
    tracking_uri: str
    watcher: Watcher
    interrupt: Interrupt = field(default_factory=Interrupt)
    clock_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000


def rerun(plan: Plan, materials: Materials, bench: Bench) -> DrivenRun:
    """Run the steps anew and log them as a run of their own, tagged with the original's id.

    Raises:
        InputError: the steps refuse the settings or the data.
        JobError: a step failed.
        StoreError: the run's own files could not be written.
        KeyboardInterrupt: it was interrupted; the new run is marked KILLED.
    """
    bench.home.make()
    started_ms = bench.clock_ms()
    folder = bench.home.execution(new_execution_id(started_ms))
    folder.path.mkdir(parents=True)
    python, log = materials.interpreter.python, folder.path / _SERVER_LOG
    with ExitStack() as stack:
        try:
            engine = ForeignEngine(python, log, bytecode=_bytecode(python), interrupt=bench.interrupt)
            stack.callback(engine.close)
            engine.use_code(materials.code.roots)
            prepared = _prepared(plan, materials, bench, folder, started_ms)
        except BaseException:
            # Before it has a record it is nobody's.
            shutil.rmtree(folder.path, ignore_errors=True)
            raise

        def tracker() -> Tracker:
            return open_tracker(bench.tracking_uri, bench.home, materials.code.packages)

        driver = Driver(engine, bench.watcher, tracker, bench.interrupt, bench.clock_ms)
        return drive(driver, prepared, Course(_steps(materials), materials.given, materials.given_layers))


def _bytecode(python: Path) -> Path | None:
    """Return where the bytecode of a rebuilt environment is kept: beside it, so that it stays as it was built."""
    rebuilt = python.is_relative_to(environments_folder())
    return python.parents[2] / "bytecode" if rebuilt else None


def _steps(materials: Materials) -> tuple[StepSpec, ...]:
    """Return the steps that run; where a model is given, preprocess is told so, and fits nothing."""
    steps = tuple(spec for spec in PIPELINE if spec.name not in materials.given)
    if TRAIN.name not in materials.given:
        return steps
    frozen = {FROZEN_INPUT: TRAIN.name}
    return tuple(replace(spec, inputs={**spec.inputs, **frozen}) if spec is PREPROCESS else spec for spec in steps)


def _prepared(plan: Plan, materials: Materials, bench: Bench, folder: ExecutionFolder, started_ms: int) -> PreparedRun:
    data, manifest = folder.path / DATA_FOLDER, materials.data.manifest
    open_pinned(manifest, materials.data.store, data / FILES_FOLDER)
    # The steps, perhaps of a version that knew no S3, are told what the files hold and not where they came from.
    placeless = tuple(replace(file, uri=None, s3_version_id=None) for file in manifest.files)
    replace_whole(data / MANIFEST_FILE, replace(manifest, files=placeless).to_json())
    folder.provenance.mkdir(parents=True)
    current = _current(plan, materials, bench, folder) if materials.code.archive is None else None
    _keep_provenance(plan, materials, folder)
    around = _circumstances(plan, materials, current, started_ms)
    grade = current.grade if current else plan.recipe.grade
    deciding = _valid(materials).identity() if plan.request.current_settings is not None else None
    recipe = Recipe(identity_of(materials, plan.recipe.identity, deciding), around, grade=grade)
    replace_whole(folder.settings, json.dumps(materials.settings, indent=2).encode())
    replace_whole(folder.recipe, recipe.to_json())
    now_tags = run_tags(current, manifest, recipe.digest) if current else {}
    execution = Execution(
        execution_id=folder.path.name,
        name=f"{materials.settings.get('name', 'ctr')}-{folder.path.name[-4:]}",
        experiment=plan.original.experiment,
        tracking_uri=shown_uri(bench.tracking_uri),
        started_ms=started_ms,
        process=Process.current(),
        tags=_tags(plan, recipe, now_tags, is_frozen=materials.is_frozen),
    )
    folder.save(execution)
    return PreparedRun(bench.home, folder, execution, recipe, None)


def _current(plan: Plan, materials: Materials, bench: Bench, folder: ExecutionFolder) -> Provenance:
    """Keep the project's code as it is now: the re-run must be as reproducible as any."""
    settings = _valid(materials)
    tree = find_tree(plan.request.start, materials.settings)
    loaded = LoadedSettings(settings, (), plan.request.overrides, {})
    return capture(tree, loaded, plan.request.argv, folder.provenance, bench.home.cache)


def _valid(materials: Materials) -> Settings:
    """Return the settings as the current code reads them."""
    try:
        return Settings.from_json(json.dumps(materials.settings))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in first["loc"])
        raise InputError(
            f"the run's settings do not fit the current code: {key}: {first['msg']}; leave out --use-current-code, or "
            "mend them with --set"
        ) from error


def _keep_provenance(plan: Plan, materials: Materials, folder: ExecutionFolder) -> None:
    replace_whole(folder.provenance / MANIFEST_FILE, materials.data.manifest.to_json())
    lock, archive = materials.interpreter.lock, materials.code.archive
    kept = {
        LOCK_FILE: lock.path if lock else None,
        ARCHIVE_NAME: archive,
        PATCH_FILE: next(plan.original.documents.copies(PATCH), None) if archive else None,
    }
    for name, source in kept.items():
        if source is not None:
            shutil.copyfile(source, folder.provenance / name)


def _circumstances(plan: Plan, materials: Materials, current: Provenance | None, started_ms: int) -> Circumstances:
    """Return what surrounds the re-run: this machine, and the code's own history."""
    now = capture_environment(Path.cwd(), argv=plan.request.argv)
    data = materials.data
    times = data.manifest.time_range
    return replace(
        plan.recipe.circumstances,
        **(code_history(current) if current else {}),
        **machine_facts(now),
        packages={package.name: package.version for package in materials.interpreter.packages},
        package_origins={p.name: p.origin for p in materials.interpreter.packages if p.origin},
        file_digests={file.path: file.sha256 for file in data.manifest.files},
        data_uri=redact_url(str(materials.settings["data"]["uri"])),
        pinned_uri=data.pinned_uri,
        s3_versions={file.uri: file.s3_version_id for file in data.manifest.files if file.uri and file.s3_version_id},
        time_range=(utc_text(times.start_us), utc_text(times.end_us)) if times else (),
        started_utc=datetime.fromtimestamp(started_ms / 1000, UTC).isoformat(),
    )


def _tags(plan: Plan, recipe: Recipe, current: Mapping[str, str], *, is_frozen: bool) -> dict[str, str]:
    """Return the tags that go with the code, and the re-run's own."""
    of_code = {key: value for key, value in (current or plan.original.tags).items() if key in _OF_CODE}
    frozen = {FROZEN_TAG: plan.original.name} if is_frozen else {}
    return (
        of_code
        | frozen
        | {
            REPRODUCES_TAG: plan.original.name,
            "data_version": recipe.identity.data_digest[:32],
            "code_digest": recipe.identity.code_digest,
            "recipe_digest": recipe.digest,
            "mlflow.user": str(recipe.circumstances.user),
            "mlflow.source.name": "ctr-pipeline reproduce",
            "mlflow.source.type": "LOCAL",
            "host": str(recipe.circumstances.host),
        }
    )
