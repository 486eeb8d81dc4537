"""Before a run: its data pinned, its code and environment looked at, its recipe stated, its folder made."""

import secrets
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from ctr_pipeline.config import Settings
from ctr_pipeline.config_file import LoadedSettings
from ctr_pipeline.data.digest_cache import DigestCache
from ctr_pipeline.data.formats import DataFormat
from ctr_pipeline.data.manifest import DatasetManifest
from ctr_pipeline.data.pin import DataStore, open_pinned, pin
from ctr_pipeline.data.source import Source
from ctr_pipeline.steps.job import FILES_FOLDER, MANIFEST_FILE
from ctr_pipeline.workflows.execution import Execution, ExecutionFolder, Home, Process
from ctr_pipeline.workflows.place import open_store
from ctr_pipeline.workflows.provenance import (
    Provenance,
    capture,
    circumstances_of,
    find_tree,
    identity_of,
    kept_settings,
    run_tags,
)
from ctr_pipeline.workflows.tracker import shown_uri
from tracking.aside import replace_whole
from tracking.recipe import Recipe

DATA_FOLDER: Final = "data"


@dataclass(frozen=True, slots=True)
class PreparedRun:
    """A run that is about to start.

    Attributes:
        home: where everything is kept.
        folder: of this execution, written.
        execution: its record.
        recipe: without outputs yet.
        code_root: folder that a team's own modules are imported from; None without one.
        code_start: folder in it from which they are imported first; None where there is none.
    """

    home: Home
    folder: ExecutionFolder
    execution: Execution
    recipe: Recipe
    code_root: Path | None
    code_start: Path | None = None


def prepare_run(loaded: LoadedSettings, *, start: Path, argv: Sequence[str], started_ms: int) -> PreparedRun:
    """Pin the data, look at code and environment, and write down what is about to happen.

    Args:
        loaded: the settings.
        start: folder in the source tree that the run belongs to.
        argv: the command's arguments, for the record.
        started_ms: milliseconds since 1970 UTC.

    Raises:
        InputError: the input is missing or broken, or a secret would be kept; nothing of the run is left.
    """
    kept = kept_settings(loaded.settings)
    tree = find_tree(start, loaded.settings.resolved())
    home = Home.find(tree.root or start)
    home.make()
    store = open_store(home, tree.root or start, loaded.settings.data.store)
    manifest = pin_data(loaded, store, home)
    folder = home.execution(new_execution_id(started_ms))
    try:
        provenance = capture(tree, loaded, argv, folder.provenance, home.cache)
        recipe = _recipe(loaded, provenance, manifest, store, started_ms)
        execution = _execution(loaded, home, folder, run_tags(provenance, manifest, recipe.digest), started_ms)
        _write_inputs(folder, kept, manifest, store, recipe)
        folder.save(execution)
    except BaseException:
        shutil.rmtree(folder.path, ignore_errors=True)
        raise
    return PreparedRun(home, folder, execution, recipe, tree.root, tree.start)


def pin_data(loaded: LoadedSettings, store: DataStore, home: Home) -> DatasetManifest:
    """Pin the settings' input in the store and return its manifest.

    Raises:
        InputError: the input is missing, broken, or changes meanwhile.
    """
    data = loaded.settings.data
    data_format = DataFormat(data.format, data.delimiter, data.header, data.column_names)
    source = Source.open(data.uri, data_format, fetched=store.fetched)
    cache = DigestCache(home.cache / "digests")
    return pin(source, store, cache, name=loaded.settings.name, time_column=data.columns.time)


def _recipe(
    loaded: LoadedSettings, provenance: Provenance, manifest: DatasetManifest, store: DataStore, started_ms: int
) -> Recipe:
    started_utc = datetime.fromtimestamp(started_ms / 1000, UTC).isoformat()
    pinned_uri = f"{store.objects.uri}#{manifest.key}"
    circumstances = circumstances_of(loaded, provenance, manifest, pinned_uri, started_utc)
    return Recipe(identity_of(loaded, provenance, manifest), circumstances, grade=provenance.grade)


def _execution(
    loaded: LoadedSettings, home: Home, folder: ExecutionFolder, tags: dict[str, str], started_ms: int
) -> Execution:
    settings = loaded.settings
    execution_id = folder.path.name
    return Execution(
        execution_id=execution_id,
        name=f"{settings.name}-{execution_id[-4:]}",
        experiment=settings.tracking.experiment,
        tracking_uri=shown_uri(settings.tracking.uri or home.tracking_uri),
        started_ms=started_ms,
        process=Process.current(),
        tags=tags,
    )


def _write_inputs(
    folder: ExecutionFolder, kept: Settings, manifest: DatasetManifest, store: DataStore, recipe: Recipe
) -> None:
    data = folder.path / DATA_FOLDER
    open_pinned(manifest, store, data / FILES_FOLDER)
    replace_whole(data / MANIFEST_FILE, manifest.to_json())
    replace_whole(folder.provenance / MANIFEST_FILE, manifest.to_json())
    replace_whole(folder.settings, kept.to_json().encode())
    replace_whole(folder.recipe, recipe.to_json())


def new_execution_id(started_ms: int) -> str:
    """Return an id that sorts by time and that no other run has."""
    began = datetime.fromtimestamp(started_ms / 1000, UTC)
    return f"{began:%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"
