"""What must not be removed: what a kept run, or whoever else joins, names."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from ctr_pipeline.data.pin import find
from ctr_pipeline.workflows.execution import RECIPE_FILE, ExecutionFolder
from ctr_pipeline.workflows.find_run import parent_runs
from ctr_pipeline.workflows.place import Place
from tracking.errors import InputError
from tracking.recipe import Recipe
from tracking.records import RunRecord
from tracking.tracker import Tracker

VERSION_TAG = "data_version"
_EVERY = 10**9


@dataclass(frozen=True, slots=True)
class Protected:
    """Names of what is kept.

    Attributes:
        versions: data versions, 32 hex digits.
        objects: sha256 of stored files.
        run_ids: runs whose outputs stay on this machine too.
    """

    versions: frozenset[str] = frozenset()
    objects: frozenset[str] = frozenset()
    run_ids: frozenset[str] = frozenset()

    def union(self, other: "Protected") -> "Protected":
        """Return what either protects."""
        return Protected(self.versions | other.versions, self.objects | other.objects, self.run_ids | other.run_ids)


def protected_digests(
    place: Place, trackers: Iterable[Tracker], kept: Iterable[ExecutionFolder], *others: Protected
) -> Protected:
    """Return what kept executions, the tracker's runs and others name, with the stored files of every such version.

    Args:
        place: whose own store holds the data.
        trackers: whose runs count as kept unless they were deleted.
        kept: executions on disk that stay.
        others: what others keep, such as a ledger.

    Raises:
        InputError: a recipe or manifest cannot be read: what it names is not known, so nothing may be removed.
        TrackingError: the tracker cannot be reached.
    """
    found = Protected()
    for folder in kept:
        if folder.recipe.exists():
            found = found.union(_named(Recipe.from_json(folder.recipe.read_bytes())))
    for tracker in trackers:
        for named in _of_tracker(tracker, place):
            found = found.union(named)
    for other in others:
        found = found.union(other)
    held = (manifest for manifest in find("", place.own_store) if manifest.data_version in found.versions)
    files = frozenset(file.sha256 for manifest in held for file in manifest.files)
    return found.union(Protected(objects=files))


def recipe_of(tracker: Tracker, record: RunRecord) -> Recipe | None:
    """Return a run's recipe, None where it has none.

    Raises:
        InputError: the recipe is of a newer format.
    """
    with TemporaryDirectory(prefix="ctr-recipe-") as folder:
        try:
            path = tracker.download(record.run_id, RECIPE_FILE, Path(folder))
        except InputError:
            return None
        return Recipe.from_json(path.read_bytes())


def _of_tracker(tracker: Tracker, place: Place) -> Iterator[Protected]:
    pinned = {manifest.data_version for manifest in find("", place.own_store)}
    for record in parent_runs(tracker, _EVERY):
        version = record.tags.get(VERSION_TAG, "")
        yield Protected(versions=frozenset({version}))
        # Where the manifest is gone, or the run has no tag, its recipe alone names the files.
        recipe = None if version in pinned else recipe_of(tracker, record)
        if recipe is not None:
            yield _named(recipe)


def _named(recipe: Recipe) -> Protected:
    return Protected(
        versions=frozenset({recipe.identity.data_digest[:32]}),
        objects=frozenset(recipe.circumstances.file_digests.values()),
    )
