"""The content-addressed store: files under the digest of their content, kept once, verified whenever read."""

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from tracking.aside import StoreError, moved, written_aside
from tracking.canonical import sha256_file, sha256_hex
from tracking.errors import InputError
from tracking.objects import ObjectMissingError, Objects

_FOLDER = "sha256"
_DIGEST = re.compile(r"[0-9a-f]{64}")
_BLOCK = 1 << 20


class DamagedObjectError(StoreError):
    """A stored object's content is not what its digest says."""

    def __init__(self, uri: str, sha256: str, found: str) -> None:
        super().__init__(
            f"object {sha256} in {uri} is damaged (its content has the sha256 {found}): restore that file from a "
            "backup, or remove it and store the original again."
        )
        self.sha256 = sha256


class Store:
    """Files and bytes by the sha256 of their content, over any `Objects`; equal content is kept once."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects

    @property
    def uri(self) -> str:
        """Where the objects are, as the user would write it."""
        return self._objects.uri

    def put_file(self, path: Path) -> str:
        """Keep a file's content; returns its sha256. Nothing is copied where it is kept already.

        Raises:
            InputError: the file cannot be read.
            ObjectChangedError: the file changed while it was read.
            StoreError: the store is full or cannot be reached.
        """
        try:
            sha256, size = sha256_file(path), path.stat().st_size
        except OSError as error:
            raise InputError(
                f"file {path} cannot be read ({error.strerror}): correct the path or its rights."
            ) from error
        self._put(sha256, path, size)
        return sha256

    def has(self, sha256: str) -> bool:
        """Whether there is an object with this digest; its content is not looked at."""
        return self._objects.exists(_key(sha256))

    def size(self, sha256: str) -> int:
        """An object's size in bytes.

        Raises:
            ObjectMissingError: there is none with this digest.
        """
        return self._objects.size(_key(sha256))

    def read(self, sha256: str) -> bytes:
        """An object's whole content, verified.

        Raises:
            ObjectMissingError: there is none with this digest.
            DamagedObjectError: its content is not what the digest says.
        """
        content = self._objects.read(_key(sha256))
        self._check(sha256, sha256_hex(content))
        return content

    def materialize(self, sha256: str, destination: Path) -> Path:
        """Write an object's content to a file, verified while it is copied; the file appears whole or not at all.

        Args:
            sha256: The object's digest.
            destination: The file; one of that name is replaced, missing folders are made.

        Returns:
            The destination.

        Raises:
            ObjectMissingError: there is none with this digest.
            DamagedObjectError: its content is not what the digest says; the destination is left as it was.
            StoreError: the destination cannot be written.
        """
        digest = hashlib.sha256()
        with (
            self._objects.open(_key(sha256)) as source,
            written_aside(destination.parent, lambda temporary: moved(temporary, destination)) as file,
        ):
            for block in _blocks(source):
                digest.update(block)
                file.write(block)
            self._check(sha256, digest.hexdigest())
        return destination

    def is_vouched(self, sha256: str) -> bool:
        """Whether the place itself vouches that an object's content is what the digest says; nothing is read.

        False says nothing: a folder never vouches.

        Raises:
            ObjectMissingError: there is none with this digest.
        """
        return self._objects.vouched_sha256(_key(sha256)) == sha256

    def is_intact(self, sha256: str) -> bool:
        """Whether an object is there and its content is what the digest says; reads it whole."""
        digest = hashlib.sha256()
        try:
            with self._objects.open(_key(sha256)) as source:
                for block in _blocks(source):
                    digest.update(block)
        except ObjectMissingError:
            return False
        return digest.hexdigest() == sha256

    def digests(self) -> Iterator[str]:
        """The digests of all objects, sorted."""
        return (key.removeprefix(f"{_FOLDER}/").replace("/", "") for key in self._objects.list(f"{_FOLDER}/"))

    def remove(self, sha256: str) -> bool:
        """Remove an object; returns whether there was one."""
        return self._objects.delete(_key(sha256))

    def _put(self, sha256: str, content: Path, size: int) -> None:
        key = _key(sha256)
        if self._objects.put_if_absent(key, content, sha256=sha256) or self._objects.size(key) == size:
            return
        # A disk that lost power can keep a name without its content; the right content is at hand.
        self._objects.delete(key)
        self._objects.put_if_absent(key, content, sha256=sha256)

    def _check(self, sha256: str, found: str) -> None:
        if found != sha256:
            raise DamagedObjectError(self.uri, sha256, found)


def _blocks(source: BinaryIO) -> Iterator[bytes]:
    while block := source.read(_BLOCK):
        yield block


def _key(sha256: str) -> str:
    if not _DIGEST.fullmatch(sha256):
        raise InputError(f"object digest {sha256!r} must be 64 hexadecimal digits, lower case: copy it whole.")
    return f"{_FOLDER}/{sha256[:2]}/{sha256[2:]}"
