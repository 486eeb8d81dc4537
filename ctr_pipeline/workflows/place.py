"""Where runs are kept and recorded, as seen from a folder: the home on this machine and the tracker that is named."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from ctr_pipeline.config_file import LoadedSettings, load_settings
from ctr_pipeline.data.data_store import DataStore
from ctr_pipeline.data.s3_fetched import FETCHED_FOLDER, FetchFolder
from ctr_pipeline.workflows.execution import Execution, Home
from ctr_pipeline.workflows.tracker import open_tracker, shown_uri
from tracking.code import SourceTree
from tracking.errors import InputError
from tracking.folder_objects import FolderObjects
from tracking.location import open_objects
from tracking.objects import Objects
from tracking.tracker import Tracker

DEFAULT_CONFIG: Final = "configs/default.yaml"
DATABASE_FILE: Final = "mlflow.db"


@dataclass(frozen=True, slots=True)
class Place:
    """A home and its tracker.

    Attributes:
        root: the source tree's folder, or the folder itself.
        home: where this machine keeps executions and pinned data.
        uri: of the tracker, with credentials where it has them: never to be shown.
        named: whether the caller named the tracker: it then goes before the one that an execution was told.
        store_uri: where pinned data are kept, as configured (`data.store`); None is the home.
    """

    root: Path
    home: Home
    uri: str
    named: bool = False
    store_uri: str | None = None

    @property
    def shown_uri(self) -> str:
        """The tracker's URI without credentials."""
        return shown_uri(self.uri)

    @property
    def is_local(self) -> bool:
        """Whether the tracker is the home's own database."""
        return self.uri == self.home.tracking_uri

    @property
    def has_database(self) -> bool:
        """Whether the home's own database is there."""
        return (self.home.path / DATABASE_FILE).exists()

    @property
    def store(self) -> DataStore:
        """The pinned data, where they are kept as configured."""
        return open_store(self.home, self.root, self.store_uri)

    @property
    def own_store(self) -> DataStore:
        """The home's own pinned data, whatever is configured."""
        return open_store(self.home, self.root, None)

    def holds(self, pinned_uri: str | None) -> bool:
        """Whether a recipe's `pinned_uri` (the store, then `#` and the manifest's key) is a store of this place."""
        return self.store_of(pinned_uri) is not None

    def store_of(self, pinned_uri: str | None) -> DataStore | None:
        """Return the store of this place, configured or the home's own, that a recipe's `pinned_uri` names."""
        named = store_named_by(pinned_uri)
        return next((store for store in (self.store, self.own_store) if store.objects.uri == named), None)

    def tracker(self) -> Tracker:
        """Open the tracker to read from it; no database is made.

        Raises:
            InputError: the home has no database yet.
            TrackingError: the tracker cannot be reached.
        """
        if self.is_local and not self.has_database:
            raise InputError(
                f"no run is recorded in {self.shown_uri}: start one with `ctr-pipeline run`, or name the tracker "
                "with --tracking-uri"
            )
        return open_tracker(self.uri, self.home)

    def trackers(self) -> tuple[Tracker, ...]:
        """Open the tracker and the home's own database, as far as they are there.

        Raises:
            TrackingError: one cannot be reached.
        """
        uris = {self.uri, self.home.tracking_uri} if self.has_database else {self.uri} - {self.home.tracking_uri}
        return tuple(open_tracker(uri, self.home) for uri in sorted(uris))

    def tracker_of(self, execution: Execution) -> Tracker:
        """Open the tracker that was named, else the one that an execution was told; its database is made if missing.

        Raises:
            TrackingError: it cannot be reached.
        """
        return open_tracker(self.uri_of(execution), self.home)

    def uri_of(self, execution: Execution) -> str:
        """Return where the tracker is that was named, else the one that an execution was told; not to be shown."""
        # The record has no credentials; where it names the same tracker, ours does.
        return self.uri if self.named or self.records(execution) else execution.tracking_uri

    def records(self, execution: Execution) -> bool:
        """Whether this tracker is the one that an execution logs to."""
        return execution.tracking_uri == self.shown_uri


def find_place(start: Path, *, config: str | None = None, tracking_uri: str | None = None) -> Place:
    """Return the home around a folder, its tracker and its store: as given, as configured, or the home's own.

    Args:
        start: a folder of the project.
        config: YAML file; by default `configs/default.yaml` where there is one.
        tracking_uri: goes before the configured one.

    Raises:
        InputError: the config is broken.
    """
    place = find_home(start)
    chosen = config or default_config(start)
    settings = None if chosen is None else load_settings(chosen).settings
    configured = None if settings is None else settings.tracking.uri
    named = tracking_uri is not None or (config is not None and configured is not None)
    uri = tracking_uri or configured or place.uri
    return replace(place, uri=uri, named=named, store_uri=None if settings is None else settings.data.store)


def find_home(start: Path) -> Place:
    """Return the home around a folder with its own tracker, whatever is configured."""
    root = SourceTree.find(start).root or start
    home = Home.find(root)
    return Place(root, home, home.tracking_uri)


def default_config(start: Path) -> str | None:
    """Return the config that is used where none is given: this folder's, else the project's; None: the bundled one."""
    if (start / DEFAULT_CONFIG).exists():
        return str(start / DEFAULT_CONFIG)
    root = SourceTree.find(start).root
    return str(root / DEFAULT_CONFIG) if root is not None and (root / DEFAULT_CONFIG).exists() else None


def load_config(start: Path, config: str | None) -> LoadedSettings:
    """Return the settings of a config, or of the default one.

    Raises:
        InputError: the config is missing or broken.
    """
    return load_settings(config or default_config(start))


def open_store(home: Home, root: Path, uri: str | None) -> DataStore:
    """Return the pinned data of a home, or of a store of its own; nothing is read or made yet.

    Args:
        home: keeps what is fetched from S3, and the data where no store is named.
        root: a relative folder is taken from here.
        uri: a folder, `file:///folder` or `s3://bucket/prefix`; None is the home's own.

    Raises:
        InputError: the URI is none of these.
    """
    if uri is None:
        objects: Objects = FolderObjects(home.store)
    else:
        objects = open_objects(uri if "://" in uri else (root / Path(uri).expanduser()).resolve())
    return DataStore(objects, FetchFolder(home.cache / FETCHED_FOLDER))


def store_named_by(pinned_uri: str | None) -> str | None:
    """Return the store's URI inside a recipe's `pinned_uri`; `open_store` opens it from any machine that reaches it."""
    return None if pinned_uri is None else pinned_uri.partition("#manifests/")[0]
