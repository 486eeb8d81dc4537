"""The source snapshot: the files a run was made of, as they were, in one archive that the run keeps.

Kept are tracked files as they lie in the working tree, untracked *source* files, and whatever else the steps can
import (ignored modules, installed packages). Everything else is named, with its digest where that is affordable.
The snapshot's digest is that of the files' paths and contents: it does not depend on the archive's compression, on
git's opinion of the files or on where they lay.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from tracking.archive import ArchiveWriter, SourceFile, snapshot_digest
from tracking.aside import moved, written_aside
from tracking.canonical import sha256_file, sha256_hex
from tracking.code import WALK_LIMIT, CodeFile, SourceTree, code_files, git_state
from tracking.git import GitState
from tracking.git_patch import new_lines, removed_lines
from tracking.secrets import Finding, SecretFoundError, SecretScanner
from tracking.source_files import Candidate, LeftOut, SnapshotLimits, candidates, is_kept_link, place_in_tree, select

FORMAT = 1
ARCHIVE_NAME = "source.tar.gz"

_NOT_COMMITTED = frozenset({"modified", "untracked", "ignored"})


@dataclass(frozen=True, slots=True)
class SourceSnapshot:
    """A snapshot that was taken.

    Attributes:
        files: What the archive holds, sorted.
        left_out: What it does not hold, sorted.
        digest: The sha256 (hex) over the files' paths and contents.
        archive: The `tar.gz`: the tree under `tree/`, packages from elsewhere under `site/`, `snapshot.json` last.
        import_roots: The folders of the archive that go on Python's path, in order.
        git: What git knew of the tree; None outside git.
        note: Why git knew nothing, in words.
    """

    files: tuple[SourceFile, ...]
    left_out: tuple[LeftOut, ...]
    digest: str
    archive: Path
    import_roots: tuple[str, ...]
    git: GitState | None
    note: str

    @property
    def uncommitted(self) -> tuple[str, ...]:
        """Paths in which the tree differs from its commit, ignored files that can be imported among them; sorted."""
        own = {file.path for file in self.files if file.part == "tree" and file.status in _NOT_COMMITTED}
        return tuple(sorted(own.union(self.git.changed if self.git else ())))

    @property
    def recorded(self) -> tuple[str, ...]:
        """Files that are known by name and digest only, or whose digest was withheld on purpose; sorted."""
        return tuple(file.path for file in self.left_out if file.is_recorded)

    @property
    def unknown(self) -> tuple[str, ...]:
        """Files that are known by name only, each with the reason; sorted."""
        return tuple(f"{file.path} ({file.reason})" for file in self.left_out if not file.is_recorded)

    def to_record(self) -> dict[str, object]:
        """The manifest, as JSON-able values; no absolute path is in it."""
        return {
            "format": FORMAT,
            "digest": self.digest,
            "archive": {"name": self.archive.name, "sha256": sha256_file(self.archive)},
            "import_roots": list(self.import_roots),
            "commit": self.git.commit if self.git else None,
            "files": [
                {"part": file.part, "path": file.path, "kind": file.kind}
                | {"sha256": file.sha256, "size": file.size, "status": file.status}
                for file in self.files
            ],
            "left_out": [
                {"path": file.path, "reason": file.reason, "size": file.size}
                | {"sha256": file.sha256, "blob": file.blob}
                for file in self.left_out
            ],
            "submodules": [
                {"path": module.path, "recorded": module.recorded, "commit": module.commit}
                for module in (self.git.submodules if self.git else ())
            ],
        }


def take_snapshot(
    tree: SourceTree,
    into: Path,
    *,
    state: GitState | None = None,
    code: Sequence[CodeFile] | None = None,
    scanner: SecretScanner | None = None,
    limits: SnapshotLimits | None = None,
) -> SourceSnapshot:
    """Write the archive of a tree's source into a folder and say what it holds.

    Args:
        tree: The tree, and the packages that belong to it.
        into: An existing folder for the archive.
        state: What `git_state` said, where the caller has asked already.
        code: What steps can import; default: the tree's packages. Files outside the tree go under `site/`.
        scanner: Whose kept results to use; default: a new one.
        limits: Other limits than the usual ones.

    Raises:
        SecretFoundError: some file, or a line removed but not yet committed, holds a secret; nothing was written.
        GitError: a git command failed.
        StoreError: the archive cannot be written, such as on a full disk.
    """
    state = git_state(tree) if state is None else state
    code = code_files(tree.packages) if code is None else code
    scanner = scanner or SecretScanner()
    found = candidates(tree, state, code)
    selection = select(found, limits or SnapshotLimits())
    roots = import_roots(tree, code)
    files: list[SourceFile] = []
    unread: list[LeftOut] = []
    findings = {*_removed_secrets(state, scanner), *_added_secrets(state, scanner)}
    with written_aside(into, lambda temporary: moved(temporary, into / ARCHIVE_NAME)) as raw:
        archive = ArchiveWriter(raw)
        for candidate in selection.kept:
            try:
                file, content = _read(candidate)
            except OSError as error:
                unread.append(LeftOut(candidate.path, f"it cannot be read ({error.strerror})", blob=candidate.blob))
                continue
            findings.update(scanner.scan(candidate.path, content, file.sha256))
            archive.add(file, content)
            files.append(file)
        scanner.save()
        if findings:
            raise SecretFoundError(sorted(findings))
        archive.finish(roots)
    return SourceSnapshot(
        files=tuple(files),
        left_out=tuple(sorted((*selection.left_out, *unread, *_unseen(tree, found)), key=lambda file: file.path)),
        digest=snapshot_digest(files),
        archive=into / ARCHIVE_NAME,
        import_roots=roots,
        git=state,
        note=tree.note,
    )


def import_roots(tree: SourceTree, code: Sequence[CodeFile]) -> tuple[str, ...]:
    """The folders of an archive that Python's path needs: those that hold the code.

    The tree's start folder goes first where it holds code, then the tree itself. They follow from tree and code alone,
    so a restored archive's own word on them can be held against its files.
    """
    folders = dict.fromkeys(_import_root(tree, file) for file in code)
    start = None if tree.start is None else place_in_tree(tree, tree.start)
    first = [f"tree/{start}"] if f"tree/{start}" in folders else []
    return tuple(dict.fromkeys((*first, *(["tree"] if tree.root else []), *folders)))


def _import_root(tree: SourceTree, file: CodeFile) -> str:
    place = place_in_tree(tree, file.path)
    if place is None:
        return "site"
    return f"tree/{str(place).removesuffix(file.module_path.removeprefix('project:'))}".rstrip("/")


def _read(candidate: Candidate) -> tuple[SourceFile, bytes]:
    if is_kept_link(candidate):
        kind, content = "link", os.fsencode(candidate.file.readlink())
    else:
        content = candidate.file.read_bytes()
        kind = "executable" if candidate.file.stat().st_mode & 0o100 else "file"
    file = SourceFile(candidate.part, candidate.path, kind, sha256_hex(content), len(content), candidate.status)
    return file, content


def _removed_secrets(state: GitState | None, scanner: SecretScanner) -> Iterator[Finding]:
    for name, lines in groupby(removed_lines(state.patch if state else b""), key=lambda line: line.file):
        removed = tuple(lines)
        for finding in scanner.scan(name, b"\n".join(line.content for line in removed)):
            number = removed[finding.line - 1].line
            yield Finding(f"{name} (removed, not yet committed)", number, finding.kind)


def _added_secrets(state: GitState | None, scanner: SecretScanner) -> Iterator[Finding]:
    """What the patch adds; it can hold files that the archive has no room for."""
    for name, lines in groupby(new_lines(state.patch if state else b""), key=lambda line: line.file):
        after = tuple(lines)
        for finding in scanner.scan(name, b"\n".join(line.content for line in after)):
            if after[finding.line - 1].changed:  # the others were committed with whatever excuses them
                yield Finding(name, after[finding.line - 1].line, finding.kind)


def _unseen(tree: SourceTree, found: Sequence[Candidate]) -> tuple[LeftOut, ...]:
    n_in_tree = sum(candidate.part == "tree" for candidate in found)
    if tree.is_git or n_in_tree < WALK_LIMIT:
        return ()
    return (LeftOut("the rest of the folder", f"only its first {WALK_LIMIT:,} files were looked at"),)
