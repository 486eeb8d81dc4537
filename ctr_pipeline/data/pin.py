"""Pin data versions: the bytes go into the content-addressed store once, the manifest beside them.

`pin` digests what it really read and refuses a source that changes meanwhile; `restore` and `open_pinned` bring the
very bytes back after the source was overwritten or deleted. An object on S3 whose bucket keeps versions is pinned by
its version, without a copy.
"""

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from ctr_pipeline.data.data_store import DataStore, VersionGoneError
from ctr_pipeline.data.digest_cache import DigestCache, cache_key
from ctr_pipeline.data.listing import SourceFile
from ctr_pipeline.data.manifest import DatasetManifest, PinnedFile, TimeRange
from ctr_pipeline.data.reading import changed_while_read, sha256_of
from ctr_pipeline.data.source import TIME, Source
from ctr_pipeline.data.version import DigestState
from tracking.canonical import sha256_file
from tracking.errors import InputError
from tracking.objects import ObjectChangedError
from tracking.parallel import in_parallel

__all__ = ["DataStore", "find", "missing_files", "open_pinned", "pin", "resolve", "restore"]

_FOLDER: Final = "manifests/"
_SHOWN: Final = 5


def pin(
    source: Source, store: DataStore, cache: DigestCache, *, name: str, time_column: str | None = None
) -> DatasetManifest:
    """Digest a source and keep its bytes.

    Files whose bytes are known cost one sha256 pass; others are read once more for their digest.

    Args:
        source: what to pin.
        store: keeps the files and the manifest.
        cache: digests of files seen before.
        name: what the data set is called.
        time_column: whose range the manifest tells, where it is a column of a time type.

    Returns:
        The manifest, as stored.

    Raises:
        InputError: a file is broken, or changes while it is pinned.
    """
    sha256s = {file.path: sha256_of(file) for file in source.files}
    key = cache_key(source, sha256s, time_column)
    known = cache.get(key)
    manifest = _known(source, sha256s, known, name) if known else _digested(source, sha256s, name, time_column)
    in_parallel(lambda pair: _keep(*pair, store), zip(source.files, manifest.files, strict=True))
    if known is None:
        cache.put(key, manifest)
    store.objects.put_if_absent(manifest.key, manifest.to_json())
    return manifest


def find(prefix: str, store: DataStore) -> tuple[DatasetManifest, ...]:
    """Return the manifests whose data version starts with the prefix, sorted by key.

    Raises:
        InputError: a manifest cannot be read.
    """
    keys = sorted(store.objects.list(_FOLDER + prefix))
    return tuple(in_parallel(lambda key: DatasetManifest.from_json(store.objects.read(key), origin=key), keys))


def resolve(prefix: str, store: DataStore) -> DatasetManifest:
    """Return the manifest of the one data version that starts with the prefix.

    Of several manifests of that version it is the first whose files the store holds; one of them is named by its key's
    stem, `VERSION-DIGEST`.

    Raises:
        InputError: no data version, or more than one, starts so.
    """
    found = find(prefix, store) if prefix else ()
    versions = sorted({manifest.data_version for manifest in found})
    if not versions:
        raise InputError(
            f"data version == {prefix!r}, must be the start of a pinned one; pin the data, or check the store"
        )
    if len(versions) > 1:
        shown = ", ".join(versions[:_SHOWN])
        raise InputError(
            f"data version == {prefix!r}, must be the start of one version only, not of {shown}; give more digits"
        )
    return next((manifest for manifest in found if not missing_files(manifest, store)), found[0])


def missing_files(manifest: DatasetManifest, store: DataStore) -> tuple[PinnedFile, ...]:
    """Return the manifest's files that neither the store holds nor S3 in the pinned version.

    Raises:
        StoreError: the store or S3 cannot be asked.
    """
    held = in_parallel(store.holds, manifest.files)
    return tuple(file for file, is_held in zip(manifest.files, held, strict=True) if not is_held)


def restore(prefix: str, into: Path, store: DataStore) -> DatasetManifest:
    """Write the files of a data version back, verified.

    Args:
        prefix: the start of the data version.
        into: a folder; files that are there already must be the pinned ones.
        store: where it was pinned.

    Raises:
        InputError: the version is not known, its files are gone, or the folder holds another file in a file's place.
    """
    manifest = resolve(prefix, store)
    _require_files(manifest, store)

    def write_back(file: PinnedFile) -> None:
        target = into / file.path
        if not target.exists():
            store.materialize(file, target)
        elif sha256_file(target) != file.sha256:
            raise InputError(
                f"file {str(target)!r} is not the pinned one, must be absent or equal; give an empty folder"
            )

    in_parallel(write_back, manifest.files)
    return manifest


def open_pinned(manifest: DatasetManifest, store: DataStore, into: Path) -> Source:
    """Open the pinned files, brought into a folder first; reading them verifies every byte.

    Args:
        manifest: which files.
        store: where they were pinned.
        into: the folder; files of an earlier call are used again.

    Raises:
        InputError: the store lacks a file.
    """
    absent = [file for file in manifest.files if not _is_there(into / file.path, file.size)]
    if absent:
        _require_files(manifest, store)
    in_parallel(lambda file: store.materialize(file, into / file.path), absent)
    expected = {file.path: file.sha256 for file in manifest.files}
    return Source.open(str(into), manifest.data_format, expected=expected)


def _known(source: Source, sha256s: Mapping[str, str], known: DatasetManifest, name: str) -> DatasetManifest:
    by_sha256 = {file.sha256: file for file in known.files}
    files = tuple(_versioned(replace(by_sha256[sha256s[file.path]], path=file.path), file) for file in source.files)
    return replace(known, name=name, files=files, data_format=source.format)


def _digested(source: Source, sha256s: Mapping[str, str], name: str, time_column: str | None) -> DatasetManifest:
    whole = DigestState(source.schema)
    files = []
    timed = (
        time_column if time_column in source.schema.names and source.schema.field(time_column).type == TIME else None
    )
    ranges: list[TimeRange] = []
    for reading in source.readings():
        part = DigestState(source.schema)
        for batch in reading:
            part.update(batch)
            if timed:
                ranges.extend(_time_range(batch.column(timed)))
        if reading.record.sha256 != sha256s[reading.file.path]:
            raise changed_while_read(reading.file)
        whole.merge(part)
        content = part.finish().data_version
        files.append(_versioned(PinnedFile(**asdict(reading.record), content=content), reading.file))
    digest = whole.finish()
    return DatasetManifest(
        name=name,
        digest=digest.digest,
        n_rows=digest.n_rows,
        columns=digest.columns,
        files=tuple(files),
        data_format=source.format,
        time_range=_joined(ranges),
    )


def _time_range(times: pa.Array) -> list[TimeRange]:
    found = pc.min_max(times.cast(pa.int64())).as_py()
    return [] if found["min"] is None else [TimeRange(found["min"], found["max"])]


def _joined(ranges: list[TimeRange]) -> TimeRange | None:
    if not ranges:
        return None
    return TimeRange(min(part.start_us for part in ranges), max(part.end_us for part in ranges))


def _versioned(pinned: PinnedFile, file: SourceFile) -> PinnedFile:
    """Name what pins a file without a copy: the version of its object on S3, where there is one."""
    origin = file.origin
    if origin is None or origin.version_id is None:
        return replace(pinned, s3_version_id=None, uri=None)
    return replace(pinned, s3_version_id=origin.version_id, uri=str(origin.place))


def _keep(file: SourceFile, pinned: PinnedFile, store: DataStore) -> None:
    if pinned.s3_version_id is not None or store.keeps(pinned):
        return
    try:
        kept = store.files.put_file(file.location)
    except ObjectChangedError as error:
        raise changed_while_read(file) from error
    if kept != pinned.sha256:
        raise changed_while_read(file)


def _require_files(manifest: DatasetManifest, store: DataStore) -> None:
    missing = missing_files(manifest, store)
    if missing and missing[0].uri is not None:
        raise VersionGoneError(missing[0], store.objects.uri)
    if missing:
        raise InputError(
            f"data version {manifest.data_version} lacks {len(missing)} of {len(manifest.files)} files in the store, "
            f"first {missing[0].path!r} (sha256 {missing[0].sha256}), must be whole; pin the same data again"
        )


def _is_there(path: Path, size: int) -> bool:
    return path.is_file() and path.stat().st_size == size
