"""What differs between two source snapshots, read from their archives without unpacking them."""

import difflib
import json
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from ctr_pipeline.workflows.diff_parts import FilePatch
from ctr_pipeline.workflows.provenance import SNAPSHOT_RECORD

_LARGEST: Final = 256 * 1024
_MOST_LINES: Final = 2_000
_TREE: Final = "tree/"


class UnreadableSnapshotError(Exception):
    """A source archive cannot be read; the text says why."""


def patches(before: Path, after: Path) -> tuple[FilePatch, ...]:
    """Return the files that differ, by path.

    Args:
        before: the first run's archive.
        after: the second's.

    Raises:
        UnreadableSnapshotError: an archive is damaged.
    """
    with ExitStack() as stack:
        old, new = _Archive.open(before, stack), _Archive.open(after, stack)
        names = sorted(old.files.keys() | new.files.keys())
        return tuple(_patch(name, old, new) for name in names if old.files.get(name) != new.files.get(name))


class _Archive:
    """A snapshot's members; `files` are their kinds, digests and sizes by name."""

    def __init__(self, path: Path, tar: tarfile.TarFile, files: Mapping[str, tuple[str, str, int]]) -> None:
        self.files = files
        self._path = path
        self._tar = tar

    @classmethod
    def open(cls, path: Path, stack: ExitStack) -> "_Archive":
        try:
            tar = stack.enter_context(tarfile.open(path, "r:gz"))  # noqa: SIM115 - the stack closes it
            record = tar.extractfile(SNAPSHOT_RECORD)
            listed = json.loads(record.read())["files"] if record else []
            files = {f"{part}/{name}": (kind, digest, size) for part, name, kind, digest, size in listed}
        except (OSError, EOFError, tarfile.TarError, zlib.error, ValueError, LookupError, TypeError) as error:
            raise UnreadableSnapshotError(f"{path.name} cannot be read ({error})") from error
        return cls(path, tar, files)

    def lines(self, name: str) -> list[str] | str:
        """Return a member's lines, none where there is no such member; or in words why it has none to show."""
        kind, _, size = self.files.get(name, ("file", "", 0))
        if name not in self.files:
            return []
        if size > _LARGEST:
            return f"too large to be shown: {size:,} bytes"
        try:
            member = self._tar.getmember(name)
            if kind == "link":
                return [f"link to {member.linkname}\n"]
            file = self._tar.extractfile(member)
            content = file.read() if file else b""
        except (OSError, EOFError, tarfile.TarError, zlib.error, KeyError) as error:
            raise UnreadableSnapshotError(f"{self._path.name}: {name} cannot be read ({error})") from error
        try:
            text = content.decode("utf-8")
        except UnicodeDecodeError:
            return "binary"
        return "binary" if "\0" in text else _ends_kept(text)


def _patch(name: str, old: _Archive, new: _Archive) -> FilePatch:
    change = "changed" if name in old.files and name in new.files else "added" if name in new.files else "removed"
    path = name.removeprefix(_TREE)
    before, after = old.lines(name), new.lines(name)
    if isinstance(before, str) or isinstance(after, str):
        reason = before if isinstance(before, str) else str(after)
        return FilePatch(path, change, (), 0, 0, reason)
    origin = "/dev/null" if change == "added" else f"a/{path}"
    target = "/dev/null" if change == "removed" else f"b/{path}"
    lines = tuple(_written(difflib.unified_diff(before, after, origin, target)))
    added, removed = _counted(lines, "+"), _counted(lines, "-")
    if before == after:
        same = "the same text; its kind or its permission to be executed differs"
        return FilePatch(path, change, (), 0, 0, same if change == "changed" else "empty")
    if len(lines) > _MOST_LINES:
        return FilePatch(path, change, (), added, removed, f"too long to be shown: {len(lines):,} lines")
    return FilePatch(path, change, lines, added, removed)


def _ends_kept(text: str) -> list[str]:
    """Return lines with their ends; only a newline ends one."""
    lines = [f"{line}\n" for line in text.split("\n")]
    last = lines.pop().removesuffix("\n")
    return [*lines, last] if last else lines


def _written(lines: Iterator[str]) -> Iterator[str]:
    """Yield a patch's lines without their ends; a last line without one is followed by the usual remark."""
    for line in lines:
        yield line.removesuffix("\n").removesuffix("\r")
        if not line.endswith("\n"):
            yield "\\ No newline at end of file"


def _counted(lines: tuple[str, ...], sign: str) -> int:
    # The first two lines name the files.
    return sum(line.startswith(sign) for line in lines[2:])


def as_text(found: tuple[FilePatch, ...]) -> Iterator[str]:
    """Yield the patches' lines, one file after the other, as `git apply` reads them."""
    for patch in found:
        yield from patch.lines or (f"{patch.change} {patch.path}: {patch.reason}",)
