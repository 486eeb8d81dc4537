"""Which files a source snapshot keeps and which it only records."""

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path, PurePosixPath

from tracking.canonical import sha256_file
from tracking.code import (
    HOME_MARK,
    SOURCE_SUFFIXES,
    WALK_LIMIT,
    CodeFile,
    SourceTree,
    is_noise,
    is_pruned,
    is_source,
    is_withheld,
    walk,
)
from tracking.git import GitState

WITHHELD = "untracked, and the digest of a short secret would give it away"


@dataclass(frozen=True, slots=True)
class SnapshotLimits:
    """How much a snapshot may hold; all sizes in bytes.

    Attributes:
        untracked_total: Of untracked source files together.
        kept_file: Of one tracked or imported file; a larger one is recorded by digest and git blob id.
        kept_total: Of tracked and imported files together; source files go first.
        digested_total: Of files that are only recorded, how much is read for their digests.
        n_recorded: How many files are recorded one by one; the rest only as a number.
    """

    untracked_total: int = 50_000_000
    kept_file: int = 10_000_000
    kept_total: int = 100_000_000
    digested_total: int = 250_000_000
    n_recorded: int = 1_000


@dataclass(frozen=True, slots=True)
class Candidate:
    """A file that a snapshot could keep.

    Attributes:
        part: "tree", or "site" for what lies elsewhere on Python's path.
        path: Relative to that part, with `/`.
        file: Where it is now.
        status: "tracked", "modified", "untracked", "ignored" (by git, yet it can be imported) or "installed".
        blob: The blob that git recorded for it, if any.
        is_imported: Whether steps can import it: then it is kept whatever its ending.
    """

    part: str
    path: str
    file: Path
    status: str
    blob: str | None = None
    is_imported: bool = False


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A file that the snapshot only records: why, its size (bytes) and what is known of its content."""

    path: str
    reason: str
    size: int = 0
    sha256: str | None = None
    blob: str | None = None

    @property
    def is_recorded(self) -> bool:
        """Whether its content could be recognised, or is none of a run's business."""
        return self.sha256 is not None or self.blob is not None or self.reason == WITHHELD


@dataclass(frozen=True, slots=True)
class Selection:
    """What is kept, sorted by part and path, and what is only recorded."""

    kept: tuple[Candidate, ...]
    left_out: tuple[LeftOut, ...]


def candidates(tree: SourceTree, state: GitState | None, code: Sequence[CodeFile]) -> tuple[Candidate, ...]:
    """Every file of a tree (as git lists it, else by a walk), and whatever else the steps can import."""
    listed = {candidate.file: candidate for candidate in _of_tree(tree, state)}
    for file in code:
        known = listed.get(file.path)
        listed[file.path] = replace(known, is_imported=True) if known else _unlisted(tree, file)
    return tuple(sorted(listed.values(), key=lambda candidate: (candidate.part, candidate.path)))


def select(found: Sequence[Candidate], limits: SnapshotLimits) -> Selection:
    """Divide the candidates by the rules of the snapshot; only files' sizes are looked at, and links' targets."""
    untracked_left, kept_left = limits.untracked_total, limits.kept_total
    kept: list[Candidate] = []
    rest: list[tuple[Candidate, str, int]] = []
    for candidate in sorted(found, key=lambda candidate: not _has_source_suffix(candidate.path)):
        size, problem = _looked_at(candidate)
        if candidate.status == "untracked" and not candidate.is_imported:
            problem = problem or _untracked_problem(candidate, size, untracked_left)
            untracked_left -= 0 if problem else size
        else:
            problem = problem or _kept_problem(size, kept_left, limits)
            kept_left -= 0 if problem else size
        if problem:
            rest.append((candidate, problem, size))
        else:
            kept.append(candidate)
    kept.sort(key=lambda candidate: (candidate.part, candidate.path))
    return Selection(tuple(kept), tuple(_recorded(rest, limits)))


def place_in_tree(tree: SourceTree, file: Path) -> PurePosixPath | None:
    """A file's path in the tree; None outside it and in a folder of installed packages inside it."""
    if tree.root is None or not file.is_relative_to(tree.root):
        return None
    relative = file.relative_to(tree.root)
    if any(is_pruned(tree.root / folder) for folder in relative.parents if folder != Path()):
        return None
    return PurePosixPath(relative.as_posix())


def stays_inside(path: str, target: str) -> bool:
    """Whether a link at a relative path, with this target, leads to a place inside the same part."""
    if target.startswith("/"):
        return False
    reached = os.path.normpath(PurePosixPath(path).parent / target)
    return reached != ".." and not reached.startswith("../")


def is_kept_link(candidate: Candidate) -> bool:
    """Whether a file is a link that is kept as one: it leads to a place inside the same part."""
    return candidate.file.is_symlink() and stays_inside(candidate.path, str(candidate.file.readlink()))


def _of_tree(tree: SourceTree, state: GitState | None) -> Iterator[Candidate]:
    if tree.root is None:
        return
    if state is None:
        for path in islice(walk(tree.root), WALK_LIMIT):
            yield Candidate("tree", path, tree.root / path, "untracked")
        return
    for file in state.tracked:
        status = "modified" if file.modified else "tracked"
        yield Candidate("tree", file.path, tree.root / file.path, status, file.blob)
    for path in state.untracked:
        if not _is_passed_over(tree.root, path):
            yield Candidate("tree", path, tree.root / path, "untracked")


def _unlisted(tree: SourceTree, file: CodeFile) -> Candidate:
    place = place_in_tree(tree, file.path)
    if place is not None:
        return Candidate("tree", str(place), file.path, "ignored" if tree.is_git else "untracked", is_imported=True)
    return Candidate("site", file.module_path.removeprefix("project:"), file.path, "installed", is_imported=True)


def _is_passed_over(root: Path, path: str) -> bool:
    folders = PurePosixPath(path).parents
    marks = ("pyvenv.cfg", HOME_MARK)
    inner = (root / folder for folder in folders if folder != PurePosixPath())
    return is_noise(path) or any((folder / mark).exists() for folder in inner for mark in marks)


def _looked_at(candidate: Candidate) -> tuple[int, str]:
    """A file's size in bytes, and why it cannot be kept at all (empty: it can)."""
    try:
        candidate.path.encode()
    except UnicodeEncodeError:
        return 0, "its name is not UTF-8"
    try:
        status = candidate.file.lstat()
    except OSError:
        return 0, "it vanished"
    if stat.S_ISLNK(status.st_mode):
        if is_kept_link(candidate):
            return 0, ""
        if candidate.is_imported and candidate.file.is_file():
            return candidate.file.stat().st_size, ""  # what it leads to is kept in its place
        return 0, "the link leads out of the tree"
    return status.st_size, "" if stat.S_ISREG(status.st_mode) else "it is no regular file"


def _untracked_problem(candidate: Candidate, size: int, left: int) -> str:
    if is_withheld(candidate.path):
        return WITHHELD
    if not is_source(candidate.path, size):
        return "untracked, and no source file of at most 1 MB"
    return "" if size <= left else "untracked source files exceed their limit in all"


def _kept_problem(size: int, left: int, limits: SnapshotLimits) -> str:
    if size > limits.kept_file:
        return f"larger than {limits.kept_file:,} bytes"
    return "" if size <= left else "the files exceed their limit in all"


def _recorded(rest: Sequence[tuple[Candidate, str, int]], limits: SnapshotLimits) -> Iterator[LeftOut]:
    budget = limits.digested_total
    by_path = sorted(rest, key=lambda entry: entry[0].path)
    for candidate, reason, size in by_path[: limits.n_recorded]:
        sha256 = _digest(candidate, reason) if size <= budget else None
        budget -= size if sha256 else 0
        name = candidate.path.encode("utf-8", "backslashreplace").decode()
        yield LeftOut(name, reason, size, sha256, candidate.blob)
    if more := by_path[limits.n_recorded :]:
        total = sum(size for _, _, size in more)
        yield LeftOut(f"{len(more):,} more files", "too many to record one by one", total)


def _digest(candidate: Candidate, reason: str) -> str | None:
    if reason == WITHHELD or not candidate.file.is_file():  # a named pipe would be waited for
        return None
    try:
        return sha256_file(candidate.file)
    except OSError:
        return None


def _has_source_suffix(path: str) -> bool:
    return PurePosixPath(path).suffix.lower() in SOURCE_SUFFIXES
