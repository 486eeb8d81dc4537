"""`show`: everything that a colleague asks of a run, from its outputs or from the tracker alone."""

import csv
import json
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from ctr_pipeline.columns import ContextColumn
from ctr_pipeline.config import Settings, flatten
from ctr_pipeline.data.data_store import DataStore
from ctr_pipeline.data.manifest import DatasetManifest
from ctr_pipeline.data.pin import missing_files
from ctr_pipeline.evaluation.evaluation_file import read_evaluation
from ctr_pipeline.steps.job import MANIFEST_FILE, STEP_FILE
from ctr_pipeline.workflows.execution import PROVENANCE_FOLDER, RECIPE_FILE, SETTINGS_FILE
from ctr_pipeline.workflows.find_run import FoundRun, find_run
from ctr_pipeline.workflows.fitted import fitted_values
from ctr_pipeline.workflows.place import Place
from ctr_pipeline.workflows.provenance import PATCH_FILE, SNAPSHOT_RECORD
from ctr_pipeline.workflows.run_documents import RunDocuments
from ctr_pipeline.workflows.run_head import head_of
from ctr_pipeline.workflows.run_view import (
    CodeView,
    ColumnView,
    DataView,
    EnvironmentView,
    EstimateView,
    FileView,
    MetricsView,
    ParametersView,
    PreprocessingView,
    RecipeView,
    RunView,
    SliceView,
    SplitView,
)
from tracking.aside import StoreError
from tracking.errors import InputError
from tracking.recipe import Circumstances, Recipe
from tracking.snapshot import ARCHIVE_NAME
from tracking.tracker import Tracker

# What the steps call their files: importing the steps for it would load xgboost.
_ENCODER_FOLDER: Final = "encoder"
_EVALUATION_FILE: Final = "evaluation.json"
_IMPORTANCE_FILE: Final = "importance.csv"
_SPLITS: Final = ("train", "validation", "test")
_KEY_PACKAGES: Final = ("xgboost", "numpy", "pyarrow", "pandas", "mlflow", "scipy", "ctr-pipeline")


def show_run(wanted: str, place: Place) -> RunView:
    """Find a run and gather what it was made of and how well it did.

    Raises:
        InputError: the run is not known, or its documents are gone or of a newer version.
        TrackingError: the tracker is needed and cannot be reached.
    """
    found = find_run(wanted, place)
    with RunDocuments(found, lambda: tracker_for(found, place)) as documents:
        return view_of(found, place, documents)


def tracker_for(found: FoundRun, place: Place) -> Tracker:
    """Open the tracker that has a run.

    Raises:
        InputError: the home has no database yet.
        TrackingError: it cannot be reached.
    """
    return place.tracker() if found.folder is None else place.tracker_of(found.folder.load())


def view_of(found: FoundRun, place: Place, documents: RunDocuments) -> RunView:
    """Gather what a run was made of and how well it did.

    Raises:
        InputError: its documents are gone, or of a newer version.
        TrackingError: the tracker is needed and cannot be reached.
    """
    recipe, settings = recipe_of(found, documents), _settings(documents)
    preprocessed, trained = _facts(documents, "preprocess"), _facts(documents, "train")
    evaluated = documents.of_run(_EVALUATION_FILE, f"evaluate/{_EVALUATION_FILE}")
    evaluation = read_evaluation(evaluated) if evaluated is not None else None
    return RunView(
        run=head_of(found, place, documents, recipe.circumstances),
        data=_data(recipe, settings, preprocessed, place, documents),
        preprocessing=_preprocessing(settings, preprocessed, documents),
        parameters=_parameters(settings, trained, documents),
        code=_code(recipe, documents),
        environment=_environment(recipe),
        metrics=_metrics(evaluation["scorecard"]) if evaluation else None,
        slices=tuple(_slices(evaluation["slices"])) if evaluation else (),
        recipe=_recipe_view(recipe),
        notes=tuple(documents.notes),
    )


def recipe_of(found: FoundRun, documents: RunDocuments) -> Recipe:
    """Read a run's recipe.

    Raises:
        InputError: there is none, or it is of a newer version.
    """
    path = documents.of_run(RECIPE_FILE, RECIPE_FILE)
    if path is None:
        name = found.run_id or found.execution_id
        raise InputError(
            f"run {name} has no {RECIPE_FILE}: it is still running elsewhere, or another program made it; "
            "where it was started, `ctr-pipeline sync` sends what is missing"
        )
    return Recipe.from_json(path.read_bytes())


def _settings(documents: RunDocuments) -> Mapping[str, Any]:
    return _json(documents.of_run(SETTINGS_FILE, SETTINGS_FILE)) or {}


def _facts(documents: RunDocuments, step: str) -> Mapping[str, Any]:
    values = _json(documents.of_step(step, STEP_FILE))
    facts: Mapping[str, Any] = values["facts"] if values else {}
    return facts


def _json(path: Path | None) -> Mapping[str, Any] | None:
    if path is None:
        return None
    values: Mapping[str, Any] = json.loads(path.read_bytes())
    return values


def _is_whole(manifest: DatasetManifest, store: DataStore) -> bool | None:
    try:
        return not missing_files(manifest, store)
    except StoreError:  # out of reach: nobody knows
        return None


def _data(
    recipe: Recipe, settings: Mapping[str, Any], facts: Mapping[str, Any], place: Place, documents: RunDocuments
) -> DataView:
    circumstances = recipe.circumstances
    manifest = _manifest(documents)
    version = recipe.identity.data_digest[:32]
    roles = dict(_roles(settings))
    store = place.store_of(circumstances.pinned_uri)
    return DataView(
        name=manifest.name if manifest else None,
        version=version,
        source_uri=circumstances.data_uri,
        n_rows=manifest.n_rows if manifest else None,
        columns=tuple(ColumnView(c.name, c.type, roles.get(c.name)) for c in manifest.columns) if manifest else (),
        files=tuple(FileView(f.path, f.size, f.n_rows, f.sha256) for f in manifest.files) if manifest else (),
        time_range=tuple(circumstances.time_range),
        pinned_uri=circumstances.pinned_uri,
        pinned_here=_is_whole(manifest, store) if store and manifest else None,
        splits=tuple(
            SplitView(name, split["n_rows"], split["n_clicks"], split["digest"])
            for name, split in sorted(facts.get("splits", {}).items(), key=lambda item: _SPLITS.index(item[0]))
        ),
        windows=dict(sorted((facts.get("windows") or {}).items(), key=lambda item: item[1])),
    )


def _manifest(documents: RunDocuments) -> DatasetManifest | None:
    artifact = f"{PROVENANCE_FOLDER}/{MANIFEST_FILE}"
    path = documents.of_run(artifact, artifact)
    return None if path is None else DatasetManifest.from_json(path.read_bytes(), origin=str(path))


def _roles(settings: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    columns = settings.get("data", {}).get("columns", {})
    for role, named in columns.items():
        if role == "context":
            for name, values in named.items():
                context = ContextColumn.model_validate(values)
                yield name, f"context, {context.kind}, pinned at {json.dumps(context.pinned)}"
        elif isinstance(named, list):
            yield from ((name, "id" if role == "ids" else role) for name in named)
        elif isinstance(named, str) and role != "time_format":
            yield named, role


def _preprocessing(
    settings: Mapping[str, Any], facts: Mapping[str, Any], documents: RunDocuments
) -> PreprocessingView | None:
    folder = documents.of_step("preprocess", _ENCODER_FOLDER)
    custom = settings.get("features", {}).get("custom")
    return fitted_values(folder, scheme=facts.get("statistics_scheme"), custom=custom) if folder else None


def _parameters(settings: Mapping[str, Any], facts: Mapping[str, Any], documents: RunDocuments) -> ParametersView:
    # Not validated: the defaults alone name no time column.
    flat, usual = flatten(settings), flatten(Settings.model_construct().resolved())
    return ParametersView(
        settings=flat,
        changed=tuple(key for key, value in flat.items() if usual.get(key) != value),
        booster=flatten(facts.get("parameters", {})),
        best_round=facts.get("best_round"),
        rounds_run=facts.get("rounds_run"),
        importance=dict(_importance(documents.of_run(_IMPORTANCE_FILE, f"train/{_IMPORTANCE_FILE}"))),
    )


def _importance(path: Path | None) -> Iterator[tuple[str, float]]:
    if path is not None:
        with path.open(encoding="utf-8", newline="") as file:
            yield from ((row["feature"], float(row["total_gain"])) for row in csv.DictReader(file))


def _code(recipe: Recipe, documents: RunDocuments) -> CodeView:
    circumstances, digest = recipe.circumstances, recipe.identity.code_digest
    patch = documents.of_run(f"{PROVENANCE_FOLDER}/{PATCH_FILE}", f"{PROVENANCE_FOLDER}/{PATCH_FILE}")
    archive = documents.of_run(f"{PROVENANCE_FOLDER}/{ARCHIVE_NAME}", f"{PROVENANCE_FOLDER}/{ARCHIVE_NAME}")
    snapshot = _snapshot(archive) if archive else None
    return CodeView(
        version=_code_version(circumstances, digest),
        digest=digest,
        commit=circumstances.commit,
        branch=circumstances.branch,
        remote=circumstances.remote,
        pushed=circumstances.pushed,
        dirty=circumstances.dirty,
        submodules=dict(circumstances.submodules),
        patch=patch.read_text(encoding="utf-8", errors="replace") if patch else None,
        snapshot_digest=circumstances.snapshot_digest,
        n_files=len(snapshot["files"]) if snapshot else None,
        left_out=tuple(_left_out(file) for file in snapshot.get("left_out", ())) if snapshot else (),
    )


def _code_version(circumstances: Circumstances, digest: str) -> str:
    if circumstances.commit is None:
        return f"code-{digest[:12]}"
    return circumstances.commit + ("-dirty" if circumstances.dirty else "")


def _snapshot(archive: Path) -> Mapping[str, Any] | None:
    """Return what a source archive lists; None where it is damaged, which must not hide the rest of a run."""
    try:
        with tarfile.open(archive, "r:gz") as opened:
            file = opened.extractfile(SNAPSHOT_RECORD)
            record: Mapping[str, Any] = json.loads(file.read()) if file else {"files": []}
    except (OSError, EOFError, tarfile.TarError, zlib.error, KeyError, ValueError):
        return None
    return record


def _left_out(file: Mapping[str, Any]) -> str:
    return f"{file['path']}: {file['reason']}"


def _environment(recipe: Recipe) -> EnvironmentView:
    identity, circumstances = recipe.identity, recipe.circumstances
    packages = dict(circumstances.packages)
    return EnvironmentView(
        python_version=identity.python_version,
        lock_digest=identity.lock_digest,
        lock_path=circumstances.lock_path,
        key_packages={name: packages[name] for name in _KEY_PACKAGES if name in packages},
        packages=packages,
        platform=circumstances.platform,
        cpu=circumstances.cpu,
        n_cores=circumstances.n_cores,
        gpus=tuple(circumstances.gpus),
        timezone=circumstances.timezone,
        variables=dict(circumstances.variables),
        config_variables=dict(circumstances.config_variables),
        image_digest=circumstances.image_digest,
    )


def _metrics(scorecard: Mapping[str, Any]) -> MetricsView:
    bootstrap = scorecard["bootstrap"]
    return MetricsView(
        estimates=tuple(EstimateView(name, **values) for name, values in scorecard["estimates"].items()),
        level=bootstrap["level"],
        unit=bootstrap["unit"],
        n_units=bootstrap["n_units"],
        n_replicates=bootstrap["n_replicates"],
    )


def _slices(tables: list[Mapping[str, Any]]) -> Iterator[SliceView]:
    parts = [(table["column"], part) for table in tables for part in table["worst_first"]]
    for column, part in sorted(parts, key=lambda pair: -pair[1]["excess"]):
        ctr = part["ctr"]
        yield SliceView(
            column=column,
            value=part["value"],
            n_rows=ctr["n_rows"],
            n_clicks=ctr["n_clicks"],
            ctr=ctr["value"],
            mean_prediction=part["mean_prediction"],
            calibration=EstimateView("calibration", **part["calibration"]),
            logloss=EstimateView("logloss", **part["logloss"]),
            auc=part["auc"],
            excess=part["excess"],
        )


def _recipe_view(recipe: Recipe) -> RecipeView:
    grade = recipe.grade
    return RecipeView(
        digest=recipe.digest,
        grade=str(grade.letter) if grade else None,
        missing=tuple(grade.missing) if grade else (),
        outputs=dict(recipe.outputs.layers),
        timings=dict(recipe.timings),
    )
