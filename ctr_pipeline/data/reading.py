"""One file, read once as record batches while its bytes are hashed.

Text files are one sequential stream: the sha256 is of the very bytes that the parser got. Parquet is read in leaps,
so its file is hashed in a pass of its own first; size, time of change and inode, taken before that pass and after
the last batch, must be the same, else the reading fails.
"""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, Protocol, Self

import pyarrow as pa

from ctr_pipeline.data.listing import SourceFile
from tracking.errors import InputError

_CHUNK_BYTES: Final = 1 << 20


class Digest(Protocol):
    """What `hashlib` gives."""

    def update(self, data: bytes, /) -> None:
        """Take more bytes in."""

    def hexdigest(self) -> str:
        """Return the digest of the bytes so far."""


@dataclass(frozen=True, slots=True)
class FileRecord:
    """What was really read of one file.

    Attributes:
        path: relative to the source's folder.
        size: bytes.
        sha256: of the bytes that were read, 64 hex digits.
        n_rows: rows found.
    """

    path: str
    size: int
    sha256: str
    n_rows: int


class FileReading:
    """One reading of a file: iterate over it once, then ask for its `record`.

    Args:
        file: what is read.
        read: yields the file's batches in the source's schema, feeding its bytes to the digest.
        expected: the sha256 that the bytes must have, where it is known.
    """

    def __init__(
        self,
        file: SourceFile,
        read: Callable[[SourceFile, Digest], Iterator[pa.RecordBatch]],
        expected: str | None = None,
    ) -> None:
        self._file = file
        self._read = read
        self._expected = expected
        self._record: FileRecord | None = None

    @property
    def file(self) -> SourceFile:
        """What is read."""
        return self._file

    @property
    def record(self) -> FileRecord:
        """What was read; there is none before the last batch was taken.

        Raises:
            ValueError: the reading is not over.
        """
        if self._record is None:
            raise ValueError(f"reading of {self._file.path!r} is not over, its bytes have no digest yet")
        return self._record

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        """Yield the file's batches.

        Raises:
            InputError: the file cannot be read, has changed meanwhile, or is not the one expected.
        """
        digest = hashlib.sha256()
        n_rows = 0
        before = file_state(self._file)
        for batch in self._read(self._file, digest):
            n_rows += batch.num_rows
            yield batch
        if file_state(self._file) != before:
            raise changed_while_read(self._file)
        sha256 = digest.hexdigest()
        if self._expected not in {None, sha256}:
            raise InputError(
                f"file {str(self._file.location)!r} has sha256 {sha256}, must be {self._expected} as pinned; delete "
                "this copy "
                "so that it is restored"
            )
        self._record = FileRecord(self._file.path, before[0], sha256, n_rows)


def file_state(file: SourceFile) -> tuple[int, int, int]:
    """Return size, time of change (nanoseconds) and inode of the file as it is now."""
    with reading_errors(file):
        stat = file.location.stat()
    return stat.st_size, stat.st_mtime_ns, stat.st_ino


def changed_while_read(file: SourceFile) -> InputError:
    """Return the error for a file that somebody writes while it is read."""
    return InputError(
        f"file {file.path!r} changed while it was read, must stay as it is; wait for its writer, then start again"
    )


@contextmanager
def reading_errors(file: SourceFile, rows: Callable[[], int] | None = None) -> Iterator[None]:
    """Turn what Arrow and the system say into one line that names the file and how far the reading came."""
    try:
        yield
    except UnicodeDecodeError as error:
        raise InputError(f"file {file.path!r} is not UTF-8 ({error.reason}); save it as UTF-8") from error
    except (pa.ArrowException, OSError) as error:
        where = f" after row {rows()}" if rows and rows() else ""
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"file {file.path!r} cannot be read{where}: {reason}; write or copy the file again") from error


def hash_file(file: SourceFile, digest: Digest) -> None:
    """Feed the whole file to the digest in one sequential pass."""
    with reading_errors(file), file.location.open("rb", buffering=0) as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            digest.update(chunk)


def sha256_of(file: SourceFile) -> str:
    """Return the sha256 of the file's bytes, 64 hex digits."""
    digest = hashlib.sha256()
    hash_file(file, digest)
    return digest.hexdigest()


class HashingStream:
    """A sequential binary file that hashes what is read from it; close it by leaving its `with`.

    Args:
        file: what is read.
        digest: gets every byte, once and in order.
    """

    def __init__(self, file: SourceFile, digest: Digest) -> None:
        self._stream = file.location.open("rb", buffering=0)
        self._digest = digest
        self.closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()

    def read(self, n_bytes: int = -1) -> bytes:
        """Return the next bytes, at most `n_bytes`; empty at the end."""
        data = self._stream.read(n_bytes)
        self._digest.update(data)
        return data

    def close(self) -> None:
        """Note that the parser is done; the file stays open, as bytes may be left behind its last row."""
        self.closed = True

    def drain(self) -> None:
        """Hash the bytes that the parser left, usually none."""
        self._digest.update(self._stream.read())
