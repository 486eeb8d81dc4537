"""Where objects can be: a folder or S3, told apart by how the place is written."""

from pathlib import Path
from urllib.parse import unquote, urlsplit

from tracking.errors import InputError
from tracking.folder_objects import FolderObjects
from tracking.objects import Objects
from tracking.s3_client import SCHEME
from tracking.s3_objects import S3Objects


def open_objects(place: str | Path) -> Objects:
    """Return the objects of a place; nothing is read or made yet.

    Args:
        place: a folder's path, `file:///folder` or `s3://bucket/prefix`.

    Raises:
        InputError: it is none of these.
    """
    if isinstance(place, str) and place.startswith(SCHEME):
        return S3Objects(place)
    return FolderObjects(_folder(place))


def _folder(place: str | Path) -> Path:
    if isinstance(place, Path) or "://" not in place:
        return Path(place).expanduser()
    parts = urlsplit(place)
    if parts.scheme != "file" or parts.netloc not in {"", "localhost"}:
        raise InputError(
            f"store == {place!r}, must be a folder, file:///FOLDER or s3://BUCKET/PREFIX; name one of these"
        )
    return Path(unquote(parts.path))
