"""Objects: bytes under a key, published once and whole. The protocol, and its twin in memory.

Adapters: `FolderObjects` (`folder_objects.py`), `S3Objects` (`s3_objects.py`) and `MemoryObjects` here. One contract
suite runs against each: `tests/contract/test_objects_contract.py`. `location.open_objects` takes the right one.
"""

import hashlib
import io
import re
from collections.abc import Iterator
from pathlib import Path
from threading import Lock
from typing import BinaryIO, Protocol

from tracking.aside import StoreError
from tracking.errors import InputError

MAX_KEY = 900

_SEGMENT = re.compile(r"[A-Za-z0-9_=][A-Za-z0-9._=-]{0,199}")


class ObjectMissingError(StoreError):
    """There is no object under a key."""

    def __init__(self, uri: str, key: str) -> None:
        super().__init__(
            f"object {key} is not in {uri}: it was deleted, or never stored there; give the store it was put into, "
            "or put it again."
        )
        self.key = key


class ObjectChangedError(StoreError):
    """What was to be stored is not what was announced; nothing was stored."""

    def __init__(self, key: str, sha256: str, found: str) -> None:
        super().__init__(
            f"object {key}: its content has the sha256 {found}, must be {sha256}: it changed while it was stored; "
            "store it again when nothing writes to it."
        )


class Objects(Protocol):
    """Bytes under keys: `/`-separated segments of letters, digits and `._=-`, none beginning with `.` or `-`.

    An object appears whole or not at all and never changes; who puts a key first wins. Every method raises
    InputError for a key that is not valid, and StoreError where the place cannot be reached or is full. No key may
    be another's folder (`a` beside `a/b`): an adapter need not hold both.
    """

    @property
    def uri(self) -> str:
        """Where the objects are, as the user would write it."""
        ...

    def put_if_absent(self, key: str, content: Path | bytes, *, sha256: str | None = None) -> bool:
        """Store bytes, or a file's content, unless the key is taken.

        Args:
            key: The object's key.
            content: What to store.
            sha256: The content's digest (64 hexadecimal digits), checked while it is stored.

        Returns:
            Whether this call stored it; False where the key was taken, whatever is under it.

        Raises:
            ObjectChangedError: the content has another digest; nothing was stored.
            FileNotFoundError: the file does not exist.
        """
        ...

    def open(self, key: str) -> BinaryIO:
        """The object's content as a readable file; the caller closes it.

        Raises:
            ObjectMissingError: there is none.
        """
        ...

    def read(self, key: str) -> bytes:
        """The object's whole content.

        Raises:
            ObjectMissingError: there is none.
        """
        ...

    def size(self, key: str) -> int:
        """The object's size in bytes.

        Raises:
            ObjectMissingError: there is none.
        """
        ...

    def vouched_sha256(self, key: str) -> str | None:
        """The sha256 (hex) that the place itself keeps of the object's whole content and verified when it was stored.

        Returns:
            None where the place keeps none: who wants it reads the object.

        Raises:
            ObjectMissingError: there is none.
        """
        ...

    def exists(self, key: str) -> bool:
        """Whether there is an object under the key."""
        ...

    def list(self, prefix: str = "") -> Iterator[str]:
        """The keys that begin with some text, sorted by code point; unfinished objects are not among them."""
        ...

    def delete(self, key: str) -> bool:
        """Remove an object; returns whether there was one."""
        ...


class MemoryObjects:
    """Objects in this process's memory: for tests, and for trying things out."""

    def __init__(self) -> None:
        self._contents: dict[str, bytes] = {}
        self._lock = Lock()

    @property
    def uri(self) -> str:
        """Where the objects are."""
        return "memory:"

    def put_if_absent(self, key: str, content: Path | bytes, *, sha256: str | None = None) -> bool:
        """See `Objects`."""
        check_key(key)
        data = content if isinstance(content, bytes) else content.read_bytes()
        check_digest(key, sha256, hashlib.sha256(data).hexdigest())
        with self._lock:
            is_new = key not in self._contents
            self._contents.setdefault(key, data)
        return is_new

    def open(self, key: str) -> BinaryIO:
        """See `Objects`."""
        return io.BytesIO(self.read(key))

    def read(self, key: str) -> bytes:
        """See `Objects`."""
        check_key(key)
        try:
            return self._contents[key]
        except KeyError:
            raise ObjectMissingError(self.uri, key) from None

    def size(self, key: str) -> int:
        """See `Objects`."""
        return len(self.read(key))

    def vouched_sha256(self, key: str) -> str | None:
        """See `Objects`; memory keeps none."""
        self.read(key)
        return None

    def exists(self, key: str) -> bool:
        """See `Objects`."""
        check_key(key)
        return key in self._contents

    def list(self, prefix: str = "") -> Iterator[str]:
        """See `Objects`."""
        check_prefix(prefix)
        return iter(sorted(key for key in self._contents if key.startswith(prefix)))

    def delete(self, key: str) -> bool:
        """See `Objects`."""
        check_key(key)
        with self._lock:
            return self._contents.pop(key, None) is not None


def is_key(key: str) -> bool:
    """Whether every adapter could hold an object under the key."""
    return len(key) <= MAX_KEY and all(_SEGMENT.fullmatch(segment) for segment in key.split("/"))


def check_key(key: str) -> None:
    """Refuse a key that some adapter could not hold.

    Raises:
        InputError: naming the key and the rule.
    """
    if not is_key(key):
        raise InputError(
            f"object key {key!r} must be segments of letters, digits and `._=-` (none beginning with `.` or `-`, "
            f"each at most 200 long) joined by `/`, at most {MAX_KEY} in all: choose another key."
        )


def check_prefix(prefix: str) -> None:
    """Refuse a beginning that no key can have.

    Raises:
        InputError: naming it and the rule.
    """
    folder, slash, rest = prefix.rpartition("/")
    if slash:
        check_key(folder)
    if rest:
        check_key(rest)


def check_digest(key: str, expected: str | None, found: str) -> None:
    """Refuse content that is not what was announced.

    Raises:
        ObjectChangedError: the digests differ.
    """
    if expected is not None and expected != found:
        raise ObjectChangedError(key, expected, found)
