"""The files behind a source's URI, in an order that no file system decides."""

import glob
import importlib.resources
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from ctr_pipeline.data.formats import EXTENSIONS, DataFormat, FileFormat, file_format
from tracking.errors import InputError
from tracking.s3_reading import S3Object

SAMPLE_SCHEME: Final = "sample:"
WILDCARDS: Final = frozenset("*?[")


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file of a source.

    Attributes:
        path: relative to the source's folder, with forward slashes; a single file's name.
        location: where it lies.
        format: how to read it.
        size: bytes.
        origin: the object on S3 that it was fetched from.
    """

    path: str
    location: Path
    format: FileFormat
    size: int
    origin: S3Object | None = None


def list_files(uri: str, fmt: DataFormat) -> tuple[SourceFile, ...]:
    """List the files that a URI names, sorted by relative path.

    In folders and globs, files and folders whose name starts with a dot or an underscore are passed over.

    Args:
        uri: a file, a folder (searched to its depth), a glob (`**` included), a `file://` URI or `sample:NAME`.
        fmt: how they are to be read.

    Raises:
        InputError: nothing is there, a file is empty or of an unknown kind, or the kinds are mixed.
    """
    files = tuple(_source_file(path, location, fmt) for path, location in sorted(_found(uri).items()))
    require_one_kind(uri, {file.path: file.format for file in files})
    return files


def require_one_kind(uri: str, formats: Mapping[str, FileFormat]) -> None:
    """Refuse a source without a file, or with files of several kinds.

    Raises:
        InputError: naming the source and two of its files.
    """
    if not formats:
        raise InputError(f"source {uri!r} holds no data file, must hold at least one {EXTENSIONS}; check the path")
    first, kind = next((path, described.kind) for path, described in formats.items())
    for path, described in formats.items():
        if described.kind != kind:
            raise InputError(
                f"source {uri!r} mixes kinds: {first!r} is {kind}, {path!r} is {described.kind}, must be of one kind; "
                "give a glob that matches one of them"
            )


def require_content(path: str, size: int) -> None:
    """Refuse a file without a byte.

    Raises:
        InputError: naming it.
    """
    if not size:
        raise InputError(f"file {path!r} is empty (0 bytes), must hold data; write it again, or move it away")


def is_hidden(name: str) -> bool:
    """Whether folders and globs pass over files and folders of this name."""
    return name.startswith((".", "_"))


def pinned_files(folder: Path, paths: Iterable[str], fmt: DataFormat) -> tuple[SourceFile, ...]:
    """List exactly the files that were pinned, sorted by relative path, whatever else the folder holds.

    Raises:
        InputError: one of them is not there.
    """
    return tuple(_source_file(path, folder / path, fmt) for path in sorted(paths))


def sample_names() -> tuple[str, ...]:
    """Return the names of the bundled samples, sorted."""
    return tuple(sorted(path.stem for path in _sample_folder().glob("*.parquet")))


def _found(uri: str) -> dict[str, Path]:
    """Return location by relative path."""
    path = _local_path(uri)
    if path.is_dir():
        return dict(_walk(path, path, {path.resolve()}))
    if path.exists():
        return {path.name: path}
    if not WILDCARDS.isdisjoint(str(path)):
        return _matches(path)
    raise InputError(f"source {uri!r} does not exist, must be a file, a folder or a glob that matches; check the path")


def _local_path(uri: str) -> Path:
    if uri.startswith(SAMPLE_SCHEME):
        return _sample_path(uri.removeprefix(SAMPLE_SCHEME))
    if uri.startswith("file://"):
        return Path(unquote(urlsplit(uri).path))
    if "://" in uri:
        scheme = uri.partition("://")[0]
        raise InputError(
            f"source {uri!r} has scheme {scheme!r}, must be a local path, file://, s3:// or sample:NAME; copy "
            "the data to a folder and name that"
        )
    return Path(uri)


def _sample_folder() -> Path:
    return Path(str(importlib.resources.files("ctr_pipeline.data"))) / "samples"


def _sample_path(name: str) -> Path:
    if name not in sample_names():
        known = ", ".join(sample_names())
        raise InputError(f"sample == {name!r}, must be one of {known}; name one of these after {SAMPLE_SCHEME!r}")
    return _sample_folder() / f"{name}.parquet"


def _walk(folder: Path, root: Path, visited: set[Path]) -> Iterator[tuple[str, Path]]:
    for entry in folder.iterdir():
        if is_hidden(entry.name):
            continue
        if not entry.is_dir():
            yield entry.relative_to(root).as_posix(), entry
        elif (real := entry.resolve()) not in visited:  # a link back up would be walked forever
            yield from _walk(entry, root, visited | {real})


def _matches(pattern: Path) -> dict[str, Path]:
    fixed = next(n for n, part in enumerate(pattern.parts) if not WILDCARDS.isdisjoint(part))
    root = Path(*pattern.parts[:fixed])
    inner = os.path.join(*pattern.parts[fixed:])  # noqa: PTH118 - a pattern, not a path
    names = glob.glob(inner, root_dir=root, recursive=True)  # noqa: PTH207 - pathlib's glob walks hidden folders
    return {
        Path(name).as_posix(): root / name
        for name in names
        if (root / name).is_file() and not any(is_hidden(part) for part in Path(name).parts)
    }


def _source_file(path: str, location: Path, fmt: DataFormat) -> SourceFile:
    described = file_format(path, fmt)
    try:
        size = location.stat().st_size
    except OSError as error:
        raise InputError(f"file {path!r} cannot be read: {error.strerror}; check the file and its rights") from error
    require_content(path, size)
    return SourceFile(path, location, described, size)
