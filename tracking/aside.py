"""Files that appear whole or not at all: written aside, flushed to the disk, then put in place.

A temporary file's name carries the machine and the process that writes it, so that what a killed process left can
be told from what another one is writing right now.
"""

import errno
import os
import platform
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from tracking.errors import TrackingError

_SUFFIX = ".tmp"
_N_PARTS = 3  # machine, process, token
# What a write fails with where no space is left, or no more of it is allowed.
FULL_DISK = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class StoreError(TrackingError):
    """A file could not be written, read or published."""


@contextmanager
def written_aside(folder: Path, publish: Callable[[Path], None]) -> Iterator[BinaryIO]:
    """A new file to write to; after the block it is flushed and handed to `publish`, then the temporary name goes.

    Args:
        folder: Where to write aside: on the file system of the file's later place; made where it is missing.
        publish: Puts the finished file in place; it may rename it away.

    Raises:
        StoreError: it cannot be written, such as on a full disk.
    """
    with naming_problems(folder):
        folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f".{_machine()}.{os.getpid()}.{secrets.token_hex(8)}{_SUFFIX}"
    try:
        with naming_problems(folder), temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        with naming_problems(folder):
            publish(temporary)
    finally:
        temporary.unlink(missing_ok=True)


def replace_whole(path: Path, content: bytes) -> None:
    """Write a file anew; a reader sees the old content or the new one.

    Raises:
        StoreError: it cannot be written, such as on a full disk.
    """
    with written_aside(path.parent, lambda temporary: moved(temporary, path)) as file:
        file.write(content)


def moved(temporary: Path, path: Path) -> None:
    """Put a finished file in place and make its name last over a crash of the machine."""
    temporary.replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Flush a folder's entries to the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def abandoned(folder: Path, *, now_s: float, older_than_s: float = 3600.0) -> tuple[Path, ...]:
    """The temporary files below a folder that nobody is writing any more, sorted.

    Args:
        folder: Where to look.
        now_s: The time, in seconds since 1970.
        older_than_s: A file of another machine, or one whose process number lives on, counts after so many seconds.
    """
    found = folder.rglob(f".*{_SUFFIX}") if folder.is_dir() else ()
    return tuple(sorted(path for path in found if _is_abandoned(path, now_s - older_than_s)))


@contextmanager
def naming_problems(path: Path, *, verb: str = "write to") -> Iterator[None]:
    """Turn the operating system's error into one line that names the place and the remedy.

    Args:
        path: The place.
        verb: What is done there, for the message: "write to", "read".

    Raises:
        StoreError: in place of any OSError.
    """
    try:
        yield
    except OSError as error:
        is_full = error.errno in FULL_DISK
        remedy = (
            "free some space there, or give another folder"
            if is_full
            else "check that the place is there and its rights"
        )
        reason = "no space left" if is_full else error.strerror or str(error)
        raise StoreError(f"cannot {verb} {path}: {reason}; {remedy}.") from error


def _is_abandoned(path: Path, before_s: float) -> bool:
    parts = path.name.removeprefix(".").removesuffix(_SUFFIX).rsplit(".", 2)
    if len(parts) != _N_PARTS or not parts[1].isdigit():  # not one of ours
        return False
    machine, process, _ = parts
    if machine == _machine() and not _is_alive(int(process)):
        return True
    try:
        return path.stat().st_mtime < before_s
    except FileNotFoundError:  # published in the meantime
        return False


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's
        return True
    return True


def _machine() -> str:
    return platform.node() or "localhost"
