"""The data of a reproduction: the pinned copy, found in one of the stores and verified."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ctr_pipeline.data.data_store import DataStore
from ctr_pipeline.data.manifest import DatasetManifest
from ctr_pipeline.data.pinned import PinnedProblem, verify_pinned
from ctr_pipeline.reproduce.original import MANIFEST, Original
from ctr_pipeline.reproduce.request import Request
from ctr_pipeline.reproduce.verdict import Ingredient
from ctr_pipeline.workflows.place import open_store, store_named_by
from tracking.errors import InputError, ProblemError
from tracking.recipe import Recipe
from tracking.s3_client import SCHEME

_REMEDY = "name a store that has them with --store"


@dataclass(frozen=True, slots=True)
class FoundData:
    """A run's data, to be had.

    Attributes:
        manifest: of the data version.
        store: that holds its files.
    """

    manifest: DatasetManifest
    store: DataStore

    @property
    def pinned_uri(self) -> str:
        """The store, then `#` and the manifest's key."""
        return f"{self.store.objects.uri}#{self.manifest.key}"


def look_up_data(original: Original, recipe: Recipe, request: Request) -> tuple[FoundData | None, Ingredient]:
    """Find the pinned data of a run in the store that was named, the recorded one, or the home's, and verify them."""
    wanted = recipe.identity.data_digest[:32]
    manifest, problem = find_manifest(original, recipe)
    if manifest is None:
        remedy = "restore the run's provenance/manifest.json, or name a store that has the manifest with --store"
        return None, Ingredient("data", ready=False, wanted=wanted, found=problem, remedy=remedy)
    problems: list[str] = []
    for store in stores(original, recipe, request):
        try:
            wrong = verify_pinned(manifest, store)
        except ProblemError as error:
            problems.append(str(error))
            continue
        if not wrong:
            found = f"{len(manifest.files)} files in {store.objects.uri}"
            return FoundData(manifest, store), Ingredient("data", ready=True, wanted=wanted, found=found)
        problems.append(_told(wrong, manifest, store))
    found = "; ".join(problems) or "no store is known"
    return None, Ingredient(
        "data", ready=False, wanted=wanted, found=found, remedy=f"pin the same data again, or {_REMEDY}"
    )


def find_manifest(original: Original, recipe: Recipe) -> tuple[DatasetManifest | None, str]:
    """Return a run's manifest, as its recipe names it; or None and why there is none."""
    key = (recipe.circumstances.pinned_uri or "").rpartition("#")[2]
    problem = f"{MANIFEST} is gone"
    for path in original.documents.copies(MANIFEST):
        try:
            manifest = DatasetManifest.from_json(path.read_bytes(), origin=str(path))
        except InputError as error:
            problem = str(error)
            continue
        if manifest.key == key and manifest.digest == recipe.identity.data_digest:
            return manifest, ""
        problem = f"{path} is not the manifest that the recipe names ({key})"
    return None, problem


def stores(original: Original, recipe: Recipe, request: Request) -> Iterator[DataStore]:
    """Yield the stores that may hold a run's data: the one that was named, the recorded one, this place's."""
    place = original.documents.place
    recorded = store_named_by(recipe.circumstances.pinned_uri)
    if request.store is not None:
        yield open_store(place.home, place.root, request.store)
    # This place's own come last; a folder of another machine is not here.
    if recorded and recorded != place.store.objects.uri and (recorded.startswith(SCHEME) or Path(recorded).is_dir()):
        yield open_store(place.home, place.root, recorded)
    yield place.store
    if place.own_store.objects.uri != place.store.objects.uri:
        yield place.own_store


def _told(problems: tuple[PinnedProblem, ...], manifest: DatasetManifest, store: DataStore) -> str:
    first = problems[0]
    return f"{len(problems)} of {len(manifest.files)} files cannot be had from {store.objects.uri}: {first.problem}"
