"""Pinned data: damaged, missing, or gone although a run names them."""

from collections.abc import Iterator

from ctr_pipeline.data.manifest import DatasetManifest
from ctr_pipeline.data.pin import missing_files
from ctr_pipeline.workflows.diagnosis import Finding
from ctr_pipeline.workflows.find_run import parent_runs
from ctr_pipeline.workflows.kept import recipe_of
from ctr_pipeline.workflows.place import Place
from ctr_pipeline.workflows.recorder import EXECUTION_TAG
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
    if deep:
        yield from _damaged(place)
    for key in place.store.objects.list(_MANIFESTS):
        yield from _of_manifest(key, place)
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
        yield Finding(
            "manifest-incomplete",
            manifest.data_version,
            f"the store lacks {len(missing)} of {len(manifest.files)} files, or part of them, first {missing[0].path}",
            _PIN_AGAIN,
        )


def _gone(place: Place, tracker: Tracker) -> Iterator[Finding]:
    for record in parent_runs(tracker, _EVERY):
        recipe = _recipe(record, place, tracker)
        # Only this machine's own store can be looked at from here.
        if recipe is None or not place.holds(recipe.circumstances.pinned_uri):
            continue
        digests = recipe.circumstances.file_digests
        lost = [path for path, sha256 in digests.items() if not place.store.files.has(sha256)]
        if lost:
            yield Finding(
                "run-without-data",
                record.run_id,
                f"{len(lost)} of {len(digests)} files of its data version {recipe.identity.data_digest[:32]} are gone, "
                f"first {lost[0]}",
                f"it cannot be reproduced until they are back: {_PIN_AGAIN}",
            )


def _recipe(record: RunRecord, place: Place, tracker: Tracker) -> Recipe | None:
    folder = place.home.execution(record.tags[EXECUTION_TAG])
    if folder.recipe.exists():
        return Recipe.from_json(folder.recipe.read_bytes())
    return recipe_of(tracker, record)
