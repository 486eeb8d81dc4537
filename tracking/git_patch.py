"""A working tree's difference from its commit as one patch, untracked source files included.

Nothing in the repository is written: the untracked files are made known to a copy of the index, with an object
folder of its own.
"""

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tracking.git_command import join_records, run_git

# Files above this size (bytes) are left out of a patch.
PATCH_FILE_LIMIT = 10_000_000

# The same patch whatever the user's own git settings are.
_DIFF_OPTIONS = (
    "--binary",
    "--full-index",
    "--no-color",
    "--no-ext-diff",
    "--no-textconv",
    "--no-renames",
    "--no-relative",
    "--diff-algorithm=myers",
    "-U3",
    "--inter-hunk-context=0",
    "-O/dev/null",
    "--submodule=short",
    "--ignore-submodules=none",
)


_HUNK = re.compile(rb"@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@")


@dataclass(frozen=True, slots=True)
class PatchLine:
    """A line of a patch's hunk: the file, its number there (from 1), its content, and whether the patch changes it."""

    file: str
    line: int
    content: bytes
    changed: bool = True


@dataclass(frozen=True, slots=True)
class PatchScope:
    """What a patch covers: paths relative to the repository's root.

    Attributes:
        prefix: What to put before every path in the patch; with a `/` at its end, or empty.
        base: The commit to start from; None before the first one.
        changed: The tracked paths that differ.
        sources: The untracked files to show as new.
        hidden: Tracked paths that git was told not to look at.
    """

    prefix: str
    base: str | None
    changed: tuple[str, ...]
    sources: tuple[str, ...]
    hidden: tuple[str, ...]


def make_patch(root: Path, scope: PatchScope) -> bytes:
    """The patch, as `git apply` takes it; empty where nothing differs.

    Raises:
        GitError: a git command failed.
    """
    if not (scope.changed or scope.sources):
        return b""
    base = scope.base or run_git(root, "hash-object", "-t", "tree", "--stdin").decode().strip()
    prefixes = (f"--src-prefix=a/{scope.prefix}", f"--dst-prefix=b/{scope.prefix}")
    left_out = (f":(top,exclude,literal){path}" for path in scope.changed if _is_too_large(root / path))
    with tempfile.TemporaryDirectory(prefix="ctr-index-") as scratch:
        environment = _with_own_index(root, Path(scratch))
        _show_all(root, scope, environment)
        return run_git(
            root, "diff", base, *_DIFF_OPTIONS, *prefixes, "--", ":/", *left_out, environment=environment
        )  # fmt: skip


def removed_lines(patch: bytes) -> Iterator[PatchLine]:
    """The lines that a patch takes out: they are in no file any more, yet anyone can read them in the patch."""
    return (line for side, line in _lines(patch) if side == "old" and line.changed)


def new_lines(patch: bytes) -> Iterator[PatchLine]:
    """The lines of a patch as they are after it: those that it adds, and those around them."""
    return (line for side, line in _lines(patch) if side == "new")


def _lines(patch: bytes) -> Iterator[tuple[Literal["old", "new"], PatchLine]]:
    old, new = _Side(), _Side()
    for line in patch.split(b"\n"):
        if old.left <= 0 and new.left <= 0:
            if line.startswith((b"--- ", b"+++ ")):
                (old if line.startswith(b"-") else new).file = _file_of(line)
            elif hunk := _HUNK.match(line):
                old.line, old.left, new.line, new.left = (int(group or b"1") for group in hunk.groups())
            continue
        if line.startswith(b"\\"):
            continue
        if not line.startswith(b"+"):
            yield "old", old.take(line[1:], changed=line.startswith(b"-"))
        if not line.startswith(b"-"):
            yield "new", new.take(line[1:], changed=line.startswith(b"+"))


@dataclass(slots=True)
class _Side:
    file: str = ""
    line: int = 0
    left: int = 0

    def take(self, content: bytes, *, changed: bool) -> PatchLine:
        taken = PatchLine(self.file, self.line, content, changed)
        self.line, self.left = self.line + 1, self.left - 1
        return taken


def _file_of(header: bytes) -> str:
    """The file that a `--- a/FILE` or `+++ b/FILE` line names; git quotes one with strange letters."""
    return os.fsdecode(header[4:].rstrip(b"\t").strip(b'"')[2:])


def _show_all(root: Path, scope: PatchScope, environment: dict[str, str]) -> None:
    for flag in ("--no-assume-unchanged", "--no-skip-worktree") if scope.hidden else ():
        paths = join_records(scope.hidden)
        run_git(root, "update-index", flag, "-z", "--stdin", stdin=paths, environment=environment)
    if scope.sources:
        options = ("--intent-to-add", "--pathspec-from-file=-", "--pathspec-file-nul")
        paths = join_records(scope.sources)
        run_git(root, "--literal-pathspecs", "add", *options, stdin=paths, environment=environment)


def _is_too_large(file: Path) -> bool:
    return file.is_file() and file.stat().st_size > PATCH_FILE_LIMIT


def _with_own_index(root: Path, scratch: Path) -> dict[str, str]:
    lines = run_git(root, "rev-parse", "--git-path", "index", "--git-path", "objects").split(b"\n")
    index, objects = (root / os.fsdecode(line) for line in lines[:2])
    copy, own_objects = scratch / "index", scratch / "objects"
    own_objects.mkdir()
    if index.exists():
        # With its time: git compares it with the files' to find edits of the same size in the same second.
        shutil.copy2(index, copy)
    quoted = str(objects.resolve()).replace("\\", "\\\\").replace('"', '\\"')
    return {
        "GIT_INDEX_FILE": str(copy),
        "GIT_OBJECT_DIRECTORY": str(own_objects),
        "GIT_ALTERNATE_OBJECT_DIRECTORIES": f'"{quoted}"',
    }
