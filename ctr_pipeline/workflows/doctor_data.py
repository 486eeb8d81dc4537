"""Pinned data: damaged, missing, or gone although a run names them."""

from collections.abc import Iterator

from ctr_pipeline.data.data_store import DataStore
from ctr_pipeline.data.manifest import DatasetManifest
from ctr_pipeline.data.pin import missing_files
from ctr_pipeline.workflows.diagnosis import Finding
from ctr_pipeline.workflows.find_run import parent_runs
from ctr_pipeline.workflows.kept import recipe_of
from ctr_pipeline.workflows.place import Place
from ctr_pipeline.workflows.recorder import EXECUTION_TAG
from tracking.aside import StoreError
from tracking.errors import ProblemError
from tracking.recipe import Recipe
from tracking.records import RunRecord
from tracking.tracker import Tracker

_MANIFESTS = "manifests/"
_EVERY = 10**9
_PIN_AGAIN = "pin the same data again with `ctr-pipeline data pin`, or restore the store from a backup"


def data_findings(place: Place, tracker: Tracker | None, *, deep: bool) -> Iterator[Finding]:
    """Yield what is wrong with the pinned data.

    Args:
        place: whose store it is.
        tracker: whose runs are asked what they were made of; None where it cannot be reached.
        deep: read every object.
    """
    try:
        if deep:
            yield from _damaged(place)
        for key in place.store.objects.list(_MANIFESTS):
            yield from _of_manifest(key, place)
    except StoreError as error:
        yield Finding("store", place.store.objects.uri, str(error), "see the message")
    if tracker is not None:
        try:
            yield from _gone(place, tracker)
        except ProblemError as error:
            yield Finding("tracker", place.shown_uri, str(error), "see the message")


def _damaged(place: Place) -> Iterator[Finding]:
    for sha256 in place.store.files.digests():
        if not place.store.files.is_intact(sha256):
            yield Finding(
                "object-damaged", sha256, "its content is not what its digest says", f"remove it, then {_PIN_AGAIN}"
            )


def _of_manifest(key: str, place: Place) -> Iterator[Finding]:
    try:
        manifest = DatasetManifest.from_json(place.store.objects.read(key), origin=key)
    except ProblemError as error:
        yield Finding("manifest-unreadable", key, str(error), f"remove it, then {_PIN_AGAIN}")
        return
    missing = missing_files(manifest, place.store)
    if missing:
        first = missing[0]
        version = "" if first.uri is None else f" ({first.uri} version {first.s3_version_id} is gone)"
        yield Finding(
            "manifest-incomplete",
            manifest.data_version,
            f"the store lacks {len(missing)} of {len(manifest.files)} files, or part of them, first "
            f"{first.path}{version}",
            _PIN_AGAIN,
        )


def _gone(place: Place, tracker: Tracker) -> Iterator[Finding]:
    for record in parent_runs(tracker, _EVERY):
        recipe = _recipe(record, place, tracker)
        # Only the stores of this place are looked at from here.
        store = None if recipe is None else place.store_of(recipe.circumstances.pinned_uri)
        if recipe is None or store is None:
            continue
        digests = recipe.circumstances.file_digests
        lost = _lost(recipe, store)
        if lost:
            yield Finding(
                "run-without-data",
                record.run_id,
                f"{len(lost)} of {len(digests)} files of its data version {recipe.identity.data_digest[:32]} are gone, "
                f"first {lost[0]}",
                f"it cannot be reproduced until they are back: {_PIN_AGAIN}",
            )


def _lost(recipe: Recipe, store: DataStore) -> list[str]:
    """Paths of a run's files that nobody has any more."""
    key = str(recipe.circumstances.pinned_uri).partition("#")[2]
    if store.objects.exists(key):
        return [
            file.path for file in missing_files(DatasetManifest.from_json(store.objects.read(key), origin=key), store)
        ]
    return [path for path, sha256 in recipe.circumstances.file_digests.items() if not store.files.has(sha256)]


def _recipe(record: RunRecord, place: Place, tracker: Tracker) -> Recipe | None:
    folder = place.home.execution(record.tags[EXECUTION_TAG])
    if folder.recipe.exists():
        return Recipe.from_json(folder.recipe.read_bytes())
    return recipe_of(tracker, record)
