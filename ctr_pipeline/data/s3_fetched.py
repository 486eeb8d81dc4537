"""A folder of objects fetched from S3: each verified while it is fetched, and again before it is used once more.

A file's name says what it holds: the digest of the object's identity (bucket, key and version, or ETag and size where
the bucket keeps no versions), then the sha256 of its content. Deleting any of them costs time only; `gc` removes those
that were not used for a while.
"""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from tracking.aside import StoreError, moved, naming_problems, written_aside
from tracking.canonical import canonical_json, sha256_file, sha256_hex
from tracking.errors import InputError
from tracking.parallel import stop_if_abandoned
from tracking.s3_client import BLOCK_BYTES
from tracking.s3_reading import S3Object, S3ObjectChangedError, S3ObjectMissingError, open_object

FETCHED_FOLDER: Final = "s3"
_IDENTITY_DIGITS: Final = 32


@dataclass(frozen=True, slots=True)
class FetchFolder:
    """Fetched objects.

    Attributes:
        path: the folder; made with the first object.
    """

    path: Path

    def fetch(self, found: S3Object) -> Path:
        """Return a file with exactly the content that was looked up, fetched where it is not here yet.

        Raises:
            InputError: the object was overwritten or deleted meanwhile.
            StoreError: it cannot be read, is not what its checksum says, or the folder cannot be written.
        """
        return self.find(found) or self._fetched(found)

    def find(self, found: S3Object) -> Path | None:
        """Return the file of an object that was fetched before, its content verified; None where there is none."""
        identity = _identity(found)
        for path in sorted(self._folder(identity).glob(f"{identity}-*")):
            with naming_problems(path, verb="read"):
                if sha256_file(path) == path.name.partition("-")[2]:
                    os.utime(path)  # used just now: it is not old
                    return path
            path.unlink(missing_ok=True)
        return None

    def _fetched(self, found: S3Object) -> Path:
        # The name holds the content's digest, which is known when all of it is here.
        identity = _identity(found)
        names: list[Path] = []
        with written_aside(self._folder(identity), lambda temporary: moved(temporary, names[0])) as file:
            sha256 = copy_object(found, file)
            names.append(self._folder(identity) / f"{identity}-{sha256}")
        return names[0]

    def _folder(self, identity: str) -> Path:
        # Many small folders, so that looking for one file of thousands stays cheap.
        return self.path / identity[:2]


def copy_object(found: S3Object, file: BinaryIO) -> str:
    """Write an object's content to a file and return its sha256.

    Raises:
        InputError: the object was overwritten or deleted since it was looked up.
        StoreError: it cannot be read, or is not what S3's checksum says.
    """
    with _unchanged(found), open_object(found) as content:
        sha256 = copy_hashed(content, file)
    if found.sha256 not in {None, sha256}:
        raise StoreError(
            f"object {found} has the sha256 {sha256}, must be {found.sha256} as S3 recorded it: read it again; restore "
            "it from a backup if that fails."
        )
    return sha256


def copy_hashed(content: BinaryIO, file: BinaryIO) -> str:
    """Write what is left of one file to another and return its sha256, 64 hex digits."""
    digest = hashlib.sha256()
    while block := content.read(BLOCK_BYTES):
        stop_if_abandoned()
        digest.update(block)
        file.write(block)
    return digest.hexdigest()


@contextmanager
def _unchanged(found: S3Object) -> Iterator[None]:
    try:
        yield
    except S3ObjectChangedError as error:
        raise InputError(
            f"object {found} changed while it was read, must stay as it is; wait for its writer, then start again"
        ) from error
    except S3ObjectMissingError as error:
        raise InputError(
            f"object {found} was deleted while it was read, must stay; put it back, then start again"
        ) from error


def _identity(found: S3Object) -> str:
    content = {
        "bucket": found.place.bucket,
        "key": found.place.key,
        "version_id": found.version_id,
        "unversioned": [found.etag, found.size] if found.version_id is None else None,
    }
    return sha256_hex(canonical_json(content))[:_IDENTITY_DIGITS]
