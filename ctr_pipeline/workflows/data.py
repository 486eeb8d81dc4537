"""`data`: pin, list, find and compare data versions in the home's store, or in the one that is configured."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Self
from urllib.parse import urlsplit

from ctr_pipeline.data.data_store import DataStore
from ctr_pipeline.data.difference import ManifestDiff, diff
from ctr_pipeline.data.digest_cache import DigestCache
from ctr_pipeline.data.formats import DataFormat
from ctr_pipeline.data.listing import SAMPLE_SCHEME
from ctr_pipeline.data.manifest import DatasetManifest, PinnedFile
from ctr_pipeline.data.pin import find, missing_files, pin, resolve, restore
from ctr_pipeline.data.source import TIME, Source
from ctr_pipeline.data.splits import utc_text
from ctr_pipeline.workflows.place import Place, load_config
from tracking.aside import StoreError


@dataclass(frozen=True, slots=True)
class FileChange:
    """A file of two versions with its rows in each; None where a version does not have it.

    Attributes:
        path: the later one's, where both have it.
        change: "added", "removed", "renamed", "changed" (other rows) or "rewritten" (other bytes, same rows).
        n_rows_before: rows in the first version.
        n_rows_after: rows in the second.
        path_before: where it was renamed.
    """

    path: str
    change: str
    n_rows_before: int | None
    n_rows_after: int | None
    path_before: str | None = None


@dataclass(frozen=True, slots=True)
class VersionDiff:
    """What differs between two data versions."""

    before: str
    after: str
    difference: ManifestDiff
    files: tuple[FileChange, ...]


@dataclass(frozen=True, slots=True)
class VersionView:
    """A pinned data version.

    Attributes:
        manifest: what it says.
        missing: paths of files that neither the store holds nor S3 in the pinned version.
        n_bytes: of all its files.
        time_range: first and last time, ISO 8601 in UTC; empty without a time column.
        unchecked: why nobody knows whether files are missing; None where it is known.
    """

    manifest: DatasetManifest
    missing: tuple[str, ...]
    n_bytes: int
    time_range: tuple[str, ...]
    unchecked: str | None = None

    @classmethod
    def of(cls, manifest: DatasetManifest, store: DataStore) -> Self:
        """Look at a version's files in the store, or on S3."""
        times = manifest.time_range
        missing: tuple[PinnedFile, ...] = ()
        unchecked = None
        try:
            missing = missing_files(manifest, store)
        except StoreError as error:
            # The store's own manifests could be read: one version on S3 out of reach must not hide all others.
            unchecked = str(error)
        return cls(
            manifest=manifest,
            missing=tuple(file.path for file in missing),
            n_bytes=sum(file.size for file in manifest.files),
            time_range=(utc_text(times.start_us), utc_text(times.end_us)) if times else (),
            unchecked=unchecked,
        )


@dataclass(frozen=True, slots=True)
class PinRequest:
    """What is to be pinned, its files found already."""

    source: Source
    name: str
    time_column: str | None

    @property
    def n_bytes(self) -> int:
        """Bytes to be read."""
        return sum(file.size for file in self.source.files)


def find_source(start: Path, uri: str | None, config: str | None, place: Place) -> PinRequest:
    """Find the files of a URI, of a config, or of the default config; objects on S3 are fetched.

    Args:
        start: folder whose default config counts.
        uri: goes before the config's; without a config it is read by the files' extensions.
        config: YAML file.
        place: the home that keeps what is fetched.

    Raises:
        InputError: the config is broken, or the files are.
        StoreError: S3 cannot be read.
    """
    fetched = place.store.fetched
    if uri is not None and config is None:
        source = Source.open(uri, fetched=fetched)
        timed = [column.name for column in source.schema if column.type == TIME]
        return PinRequest(source, _name_of(uri), timed[0] if len(timed) == 1 else None)
    settings = load_config(start, config).settings
    data = settings.data
    data_format = DataFormat(data.format, data.delimiter, data.header, data.column_names)
    source = Source.open(uri or data.uri, data_format, fetched=fetched)
    return PinRequest(source, settings.name, data.columns.time)


def pin_source(request: PinRequest, place: Place) -> VersionView:
    """Pin what was found.

    Raises:
        InputError: a file is broken, or changes meanwhile.
        StoreError: the store cannot be written.
    """
    cache = DigestCache(place.home.cache / "digests")
    place.home.make()
    manifest = pin(request.source, place.store, cache, name=request.name, time_column=request.time_column)
    return VersionView.of(manifest, place.store)


def list_versions(place: Place) -> tuple[VersionView, ...]:
    """Return all pinned versions, by name and then version."""
    views = [VersionView.of(manifest, place.store) for manifest in find("", place.store)]
    return tuple(sorted(views, key=lambda view: (view.manifest.name, view.manifest.key)))


def show_version(version: str, place: Place) -> VersionView:
    """Return the version that starts so.

    Raises:
        InputError: none does, or several do.
    """
    return VersionView.of(resolve(version, place.store), place.store)


def restore_version(version: str, into: Path, place: Place) -> VersionView:
    """Write a version's files back.

    Raises:
        InputError: the version is not known, its files are gone, or the folder holds another file in one's place.
        StoreError: a file in the store is damaged, or the folder cannot be written.
    """
    return VersionView.of(restore(version, into, place.store), place.store)


def compare_versions(before: str, after: str, place: Place) -> VersionDiff:
    """Compare two versions by their manifests.

    Raises:
        InputError: one is not known.
    """
    old, new = resolve(before, place.store), resolve(after, place.store)
    difference = diff(old, new)
    return VersionDiff(old.data_version, new.data_version, difference, _file_changes(difference, old, new))


def _file_changes(difference: ManifestDiff, before: DatasetManifest, after: DatasetManifest) -> tuple[FileChange, ...]:
    old, new = {file.path: file.n_rows for file in before.files}, {file.path: file.n_rows for file in after.files}
    kept = _both("changed", difference.files_changed, old, new)
    return (
        *(FileChange(path, "added", None, new[path]) for path in difference.files_added),
        *(FileChange(path, "removed", old[path], None) for path in difference.files_removed),
        *(FileChange(to, "renamed", old[path], new[to], path) for path, to in difference.files_renamed),
        *kept,
        *_both("rewritten", difference.files_rewritten, old, new),
    )


def _both(change: str, paths: Sequence[str], old: dict[str, int], new: dict[str, int]) -> tuple[FileChange, ...]:
    # A file that was compressed anew has another name in the first version; its rows are found by the name's stem.
    stems = {_stem(path): path for path in old}
    earlier = {path: path if path in old else stems[_stem(path)] for path in paths}
    return tuple(
        FileChange(path, change, old[earlier[path]], new[path], None if earlier[path] == path else earlier[path])
        for path in paths
    )


def _stem(path: str) -> str:
    pure = PurePosixPath(path)
    return str(pure.with_suffix("")) if pure.suffix.lower() in {".gz", ".zst"} else path


def _name_of(uri: str) -> str:
    if uri.startswith(SAMPLE_SCHEME):
        return uri.removeprefix(SAMPLE_SCHEME)
    name = PurePosixPath(urlsplit(uri).path.rstrip("/")).name
    return name.partition(".")[0] or "data"
