"""Sources on S3: the objects behind `s3://bucket/key`, a prefix or a glob, fetched so that readers find files."""

from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import PurePosixPath

from ctr_pipeline.data.formats import DataFormat, file_format
from ctr_pipeline.data.listing import WILDCARDS, SourceFile, is_hidden, require_content, require_one_kind
from ctr_pipeline.data.s3_fetched import FetchFolder
from tracking.errors import InputError
from tracking.parallel import in_parallel
from tracking.s3_client import MissingBucketError, S3Uri
from tracking.s3_reading import S3Object, list_objects, look_up


def list_s3_files(uri: str, fmt: DataFormat, folder: FetchFolder) -> tuple[SourceFile, ...]:
    """Fetch the objects that a URI names and return them sorted by relative path.

    As in local folders, what lies under a name that starts with a dot or an underscore is passed over.

    Args:
        uri: an object, a prefix (with or without a slash at its end) or a glob (`**` included).
        fmt: how they are to be read.
        folder: where they are fetched into.

    Raises:
        InputError: nothing is there, an object is empty, of an unknown kind or changes meanwhile, or kinds are mixed.
        StoreError: S3 cannot be read.
    """
    found = sorted(_found(uri).items())
    # All of them, before anything large is fetched.
    formats = {path: file_format(path, fmt) for path, _ in found}
    require_one_kind(uri, formats)
    for path, listed in found:
        require_content(path, listed.size)

    def fetched(item: tuple[str, S3Object]) -> SourceFile:
        path, listed = item
        origin = look_up(listed.place)
        if origin is None:
            raise InputError(f"object {listed.place} was deleted meanwhile, must stay; put it back, then start again")
        return SourceFile(path, folder.fetch(origin), formats[path], origin.size, origin)

    return tuple(in_parallel(fetched, found))


def _found(uri: str) -> dict[str, S3Object]:
    """Return objects by relative path."""
    place = S3Uri.parse(uri)
    if place.key and not place.key.endswith("/"):
        exact = look_up(place)
        if exact is not None:
            return {PurePosixPath(place.key).name: exact}
    try:
        found = _matches(place) if not WILDCARDS.isdisjoint(place.key) else _below(place)
    except MissingBucketError as error:
        raise InputError(str(error)) from error
    if not found:
        raise InputError(
            f"source {uri!r} does not exist or holds no file, must be an object, a prefix or a glob that matches; "
            "check the URI"
        )
    return found


def _below(place: S3Uri) -> dict[str, S3Object]:
    folder = place.key.rstrip("/")
    return dict(_relative(place.with_key(f"{folder}/" if folder else ""), len(folder) + 1 if folder else 0))


def _matches(place: S3Uri) -> dict[str, S3Object]:
    segments = place.key.split("/")
    fixed = next(n for n, segment in enumerate(segments) if not WILDCARDS.isdisjoint(segment))
    folder = "".join(f"{segment}/" for segment in segments[:fixed])
    # What stands before the first wildcard is left to S3, so that it lists no more than it must.
    literal = segments[fixed][: min(n for n, letter in enumerate(segments[fixed]) if letter in WILDCARDS)]
    listed = _relative(place.with_key(folder + literal), len(folder))
    return {path: found for path, found in listed if _fits(path.split("/"), segments[fixed:])}


def _relative(beginning: S3Uri, n_cut: int) -> Iterator[tuple[str, S3Object]]:
    for found in list_objects(beginning):
        path = found.place.key[n_cut:]
        segments = path.split("/")
        # A key that ends with a slash is a folder's mark.
        if path.endswith("/") or not path or any(is_hidden(segment) for segment in segments):
            continue
        if "" in segments:
            raise InputError(f"object {found.place} has an empty folder name, must have none; give it another key")
        yield path, found


def _fits(segments: Sequence[str], pattern: Sequence[str]) -> bool:
    """Whether a path fits a glob: `*` stays within a segment, `**` is any number of them."""
    if not pattern:
        return not segments
    if pattern[0] == "**":
        return any(_fits(segments[skipped:], pattern[1:] or ["*"]) for skipped in range(len(segments) + 1))
    return bool(segments) and fnmatchcase(segments[0], pattern[0]) and _fits(segments[1:], pattern[1:])
