"""Objects as files in a folder, local or shared by several machines."""

import errno
import hashlib
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import filelock

from tracking.aside import abandoned, naming_problems, sync_folder, written_aside
from tracking.objects import ObjectMissingError, check_digest, check_key, check_prefix

_ASIDE = ".tmp"
_BLOCK = 1 << 20
# What file systems answer that have no hard links (FAT, some network and FUSE mounts).
_NO_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS}


class FolderObjects:
    """Objects as files under a root folder; see `tracking.objects.Objects` for the contract.

    An object is written aside, flushed to the disk and given its name by `link()`, which fails where the name is
    taken: of many writers exactly one wins, and a crash leaves no half of an object. Where the file system has no
    hard links, a lock (released by the operating system when its holder dies) and a rename do the same.

    Args:
        root: The folder; made by the first object.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    @property
    def uri(self) -> str:
        """The folder's path."""
        return str(self._root)

    def put_if_absent(self, key: str, content: Path | bytes, *, sha256: str | None = None) -> bool:
        """See `Objects`."""
        target = self._file(key)
        if target.exists():
            return False
        won = False

        def publish(temporary: Path) -> None:
            nonlocal won
            target.parent.mkdir(parents=True, exist_ok=True)
            won = self._named(temporary, target)

        with _opened(content) as source, written_aside(self._root / _ASIDE, publish) as file:
            digest = hashlib.sha256()
            while block := source.read(_BLOCK):
                digest.update(block)
                file.write(block)
            check_digest(key, sha256, digest.hexdigest())
        return won

    def open(self, key: str) -> BinaryIO:
        """See `Objects`."""
        file = self._file(key)
        if not file.is_file():
            raise ObjectMissingError(self.uri, key)
        with naming_problems(file, verb="read"):
            return file.open("rb")

    def read(self, key: str) -> bytes:
        """See `Objects`."""
        with self.open(key) as file:
            return file.read()

    def size(self, key: str) -> int:
        """See `Objects`."""
        with self.open(key) as file:
            return os.fstat(file.fileno()).st_size

    def vouched_sha256(self, key: str) -> str | None:
        """See `Objects`; a folder keeps none."""
        self.open(key).close()
        return None

    def exists(self, key: str) -> bool:
        """See `Objects`."""
        return self._file(key).is_file()

    def list(self, prefix: str = "") -> Iterator[str]:
        """See `Objects`."""
        check_prefix(prefix)
        start = self._root / prefix.rpartition("/")[0]
        keys = (path.relative_to(self._root).as_posix() for path in _files(start))
        return iter(sorted(key for key in keys if key.startswith(prefix)))

    def delete(self, key: str) -> bool:
        """See `Objects`."""
        file = self._file(key)
        if not file.is_file():
            return False
        with naming_problems(file, verb="delete"):
            file.unlink(missing_ok=True)
        return True

    def stale_temporaries(self, *, now_s: float, older_than_s: float = 3600.0) -> tuple[Path, ...]:
        """Unfinished files that nobody is writing any more, left by a process that was killed; sorted.

        Args:
            now_s: The time, in seconds since 1970.
            older_than_s: The age at which a file of another machine counts, or of a process that seems alive.
        """
        return abandoned(self._root / _ASIDE, now_s=now_s, older_than_s=older_than_s)

    def _file(self, key: str) -> Path:
        check_key(key)
        return self._root / key

    def _named(self, temporary: Path, target: Path) -> bool:
        try:
            os.link(temporary, target)
        except FileExistsError:
            return False
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            return self._renamed(temporary, target)
        sync_folder(target.parent)
        return True

    def _renamed(self, temporary: Path, target: Path) -> bool:
        with filelock.FileLock(self._root / _ASIDE / "publish.lock"):
            if target.exists():
                return False
            temporary.replace(target)
        sync_folder(target.parent)
        return True


def _opened(content: Path | bytes) -> BinaryIO:
    return content.open("rb") if isinstance(content, Path) else io.BytesIO(content)


def _files(root: Path) -> Iterator[Path]:
    for folder, subfolders, names in os.walk(root):
        subfolders[:] = [name for name in subfolders if not name.startswith(".")]
        yield from (Path(folder, name) for name in names if not name.startswith("."))
