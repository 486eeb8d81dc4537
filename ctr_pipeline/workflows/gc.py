"""`gc`: what may be removed from the home, and its removal.

Nothing goes that a kept run names, that is younger than asked for, or that the tracker does not completely have. A
store that is configured elsewhere (`data.store`) is shared: runs that this tracker never heard of may need what it
holds, so nothing is ever removed from it.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from ctr_pipeline.data.pin import find
from ctr_pipeline.workflows.execution import Execution, ExecutionFolder, Logged
from ctr_pipeline.workflows.kept import Protected, protected_digests
from ctr_pipeline.workflows.left import half_written, is_over, remove, size_of
from ctr_pipeline.workflows.place import Place
from tracking.errors import InputError
from tracking.records import RunStatus
from tracking.times import duration_us
from tracking.tracker import Tracker

type Kind = Literal["execution", "step output", "half-written", "manifest", "object", "cache"]

_LOCK: Final = ".lock"


@dataclass(frozen=True, slots=True)
class Removable:
    """Something that may go; `why` in words, `n_bytes` in bytes."""

    kind: Kind
    path: Path
    n_bytes: int
    why: str


@dataclass(frozen=True, slots=True)
class Collection:
    """What is, or was, to be removed.

    Attributes:
        items: in the order in which they are removed: nothing that is named goes before what names it.
        removed: whether they are gone.
    """

    items: tuple[Removable, ...]
    removed: bool = False

    @property
    def n_bytes(self) -> int:
        """Bytes in all."""
        return sum(item.n_bytes for item in self.items)


def age_us(text: str) -> int:
    """Return an age such as `30d` in microseconds.

    Raises:
        InputError: it is no duration.
    """
    try:
        return duration_us(text)
    except ValueError as error:
        raise InputError(f"--older-than == {text!r}, {error}") from error


def plan_collection(
    place: Place, *, older_than_us: int, now_s: float, others: tuple[Protected, ...] = ()
) -> Collection:
    """Find what may go.

    Args:
        place: the home and its tracker.
        older_than_us: the least age, in microseconds.
        now_s: the time, in seconds since 1970.
        others: what others keep, such as a ledger.

    Raises:
        InputError: a recipe or manifest cannot be read.
        TrackingError: the tracker cannot be reached, so nobody knows which runs are kept.
    """
    return _Collector(place, place.trackers(), now_s - older_than_us / 1e6, others).plan()


def collect(collection: Collection, on_removed: Callable[[Removable], None] = lambda _: None) -> Collection:
    """Remove what was planned.

    Args:
        collection: what `plan_collection` found, just now.
        on_removed: told of each.
    """
    for item in collection.items:
        remove(item.path)
        on_removed(item)
    return Collection(collection.items, removed=True)


class _Collector:
    """One look at a home."""

    def __init__(
        self, place: Place, trackers: tuple[Tracker, ...], before_s: float, others: tuple[Protected, ...]
    ) -> None:
        self._place = place
        self._trackers = trackers
        self._before_s = before_s
        self._others = others
        self._named_runs = frozenset[str]().union(*(other.run_ids for other in others))

    def plan(self) -> Collection:
        folders = tuple(self._place.home.executions())
        gone = tuple(item for folder in folders for item in self._of_execution(folder))
        whole = {item.path for item in gone if item.kind == "execution"}
        kept = [folder for folder in folders if folder.path not in whole]
        protected = protected_digests(self._place, self._trackers, kept, *self._others)
        return Collection((*gone, *self._manifests(protected), *self._objects(protected), *self._caches()))

    def _of_execution(self, folder: ExecutionFolder) -> Iterator[Removable]:
        execution, logged = folder.load(), folder.load_logged()
        may_go = self._may_go(execution, logged)
        if may_go and self._was_deleted(execution, logged):
            yield _item("execution", folder.path, "its run was deleted from the tracker")
            return
        if is_over(execution):
            for path in half_written(folder):
                yield _item("half-written", path, "its run is over")
        if may_go:
            for name in dict.fromkeys(step.name for step in execution.steps):
                if folder.step(name).exists():
                    yield _item("step output", folder.step(name), "the tracker has its run")

    def _may_go(self, execution: Execution, logged: Logged) -> bool:
        return (
            execution.status is not RunStatus.RUNNING
            and logged.complete
            and logged.run_id not in self._named_runs
            and (execution.ended_ms or execution.started_ms) / 1000 < self._before_s
        )

    def _was_deleted(self, execution: Execution, logged: Logged) -> bool:
        for tracker in self._trackers:
            if tracker.uri == execution.tracking_uri:
                try:
                    tracker.run(str(logged.run_id))
                except InputError as error:
                    # A run that was never heard of tells of another database, not of a wish to lose the run.
                    return "was deleted" in str(error)
        return False

    def _manifests(self, protected: Protected) -> Iterator[Removable]:
        for manifest in find("", self._place.own_store):
            path = self._place.home.store / manifest.key
            if manifest.data_version not in protected.versions and self._is_old(path):
                yield _item("manifest", path, "no kept run names it")

    def _objects(self, protected: Protected) -> Iterator[Removable]:
        # A manifest that stays because it is young keeps its files.
        young = [
            manifest
            for manifest in find("", self._place.own_store)
            if not self._is_old(self._place.home.store / manifest.key)
        ]
        kept = protected.objects.union(file.sha256 for manifest in young for file in manifest.files)
        for sha256 in self._place.own_store.files.digests():
            path = self._place.home.store / "sha256" / sha256[:2] / sha256[2:]
            if sha256 not in kept and self._is_old(path):
                yield _item("object", path, "no kept run names it")

    def _caches(self) -> Iterator[Removable]:
        for path in sorted(self._place.home.cache.rglob("*")):
            if path.is_file() and not path.name.endswith(_LOCK) and self._is_old(path):
                yield _item("cache", path, "it is computed again when it is needed")

    def _is_old(self, path: Path) -> bool:
        return path.stat().st_mtime < self._before_s


def _item(kind: Kind, path: Path, why: str) -> Removable:
    return Removable(kind, path, size_of(path), why)
