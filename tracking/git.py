"""What git knows of a working tree, asked of the `git` command without writing anything.

Submodules, and repositories that merely lie inside the tree, are entered; their files carry their path from the
outer root.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from tracking.git_command import GitError, run_git, split_records
from tracking.git_patch import PatchScope, make_patch
from tracking.secrets import redact_url

type SourceRule = Callable[[str, int], bool]
"""Says of an untracked file, by path and size in bytes, whether it counts as source."""

_SUBMODULE_MODE = "160000"


@dataclass(frozen=True, slots=True)
class TrackedFile:
    """A file in git's index: its path from the outer root, the blob recorded for it, whether it is changed since."""

    path: str
    blob: str
    modified: bool


@dataclass(frozen=True, slots=True)
class Submodule:
    """A repository inside the tree: the commit recorded for it (None: it is no submodule) and the one checked out."""

    path: str
    recorded: str | None
    commit: str | None


@dataclass(frozen=True, slots=True)
class GitState:
    """A working tree as git sees it. All paths are relative to the root, with `/`, sorted.

    Attributes:
        commit: The commit checked out; None before the first one.
        branch: The branch's name; None with a detached HEAD.
        remote: The URL of the branch's remote (else `origin`), without credentials.
        pushed: Whether some remote-tracking branch holds the commit.
        dirty: Whether anything that could run differs from the commit: tracked files (staged or not), untracked
            source files, submodules at another commit.
        changed: Tracked paths that differ from the commit, deleted ones among them.
        tracked: The files in the index, deleted ones left out.
        untracked: Files that are neither tracked nor ignored.
        submodules: The repositories inside the tree.
        patch: From the commit to the tree as it is, untracked source files included; `git apply` takes it.
    """

    commit: str | None
    branch: str | None
    remote: str | None
    pushed: bool
    dirty: bool
    changed: tuple[str, ...]
    tracked: tuple[TrackedFile, ...]
    untracked: tuple[str, ...]
    submodules: tuple[Submodule, ...]
    patch: bytes


def find_root(start: Path) -> tuple[Path | None, str]:
    """The root of the working tree around a folder; else None and, in words, why there is none."""
    try:
        root = Path(os.fsdecode(run_git(start, "rev-parse", "--show-toplevel").removesuffix(b"\n")))
    except FileNotFoundError:
        return None, "the command `git` is not installed"
    except GitError as error:
        if "dubious ownership" in str(error):
            return None, f"git distrusts {start}, another user's: `git config --global --add safe.directory {start}`"
        return None, f"{start} is not in a git working tree"
    if root != start.resolve() and _is_ignored(root, start):
        return None, f"{start} is ignored by the git repository {root}"
    return root, ""


def read_state(root: Path, *, is_source: SourceRule) -> GitState:
    """What git knows of the working tree at `root`.

    Args:
        root: As `find_root` gave it.
        is_source: Decides which untracked files make the tree dirty and go into the patch.

    Raises:
        GitError: a git command failed.
    """
    return _read(_Repository(root, "", is_source))


@dataclass(frozen=True, slots=True)
class _Repository:
    root: Path
    prefix: str
    is_source: SourceRule

    def counts_as_source(self, path: str) -> bool:
        file = self.root / path
        return os.path.lexists(file) and self.is_source(path, file.lstat().st_size)


@dataclass(frozen=True, slots=True)
class _Status:
    commit: str | None
    branch: str | None
    changed: tuple[str, ...]
    untracked: tuple[str, ...]
    nested: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Index:
    blobs: Mapping[str, str]
    links: Mapping[str, str]
    hidden: tuple[str, ...]


def _read(repository: _Repository) -> GitState:
    root, prefix = repository.root, repository.prefix
    status, index = _status(root), _index(root)
    hidden = _changed_behind_git(root, index)
    changed = tuple(sorted({*status.changed, *hidden}))
    sources = tuple(path for path in status.untracked if repository.counts_as_source(path))
    is_changed = frozenset(changed)
    state = GitState(
        commit=status.commit,
        branch=status.branch,
        remote=_remote(root, status.branch),
        pushed=status.commit is not None and _is_pushed(root),
        dirty=bool(changed or sources),
        changed=tuple(prefix + path for path in changed),
        tracked=tuple(
            TrackedFile(prefix + path, blob, path in is_changed)
            for path, blob in sorted(index.blobs.items())
            if os.path.lexists(root / path)
        ),
        untracked=tuple(prefix + path for path in sorted(status.untracked)),
        submodules=(),
        patch=make_patch(root, PatchScope(prefix, status.commit, changed, sources, hidden)),
    )
    for path in sorted({*index.links, *status.nested}):
        state = _entered(state, repository, path, index.links.get(path))
    return state


def _entered(outer: GitState, repository: _Repository, path: str, recorded: str | None) -> GitState:
    root, prefix = repository.root / path, repository.prefix + path
    if not (root / ".git").exists():  # a submodule that was never fetched
        return replace(outer, submodules=(*outer.submodules, Submodule(prefix, recorded, None)))
    inner = _read(_Repository(root, f"{prefix}/", repository.is_source))
    return replace(
        outer,
        dirty=outer.dirty or inner.dirty,
        changed=tuple(sorted({*outer.changed, *inner.changed})),
        tracked=outer.tracked + inner.tracked,
        untracked=outer.untracked + inner.untracked,
        submodules=(*outer.submodules, Submodule(prefix, recorded, inner.commit), *inner.submodules),
        patch=outer.patch + inner.patch,
    )


def _status(root: Path) -> _Status:
    output = run_git(
        root, "status", "--porcelain=v2", "-z", "--branch", "--untracked-files=all", "--no-renames",
        "--ignore-submodules=none",
    )  # fmt: skip
    headers: dict[str, str] = {}
    changed: list[str] = []
    untracked: list[str] = []
    for entry in split_records(output):
        match entry[0]:
            case "#":
                _, name, value = entry.split(" ", 2)
                headers[name] = value
            case "?":
                untracked.append(entry[2:])
            case "1":
                changed.append(entry.split(" ", 8)[8])
            case _:  # "u", an unmerged path
                changed.append(entry.split(" ", 10)[10])
    commit, branch = headers["branch.oid"], headers["branch.head"]
    return _Status(
        commit=None if commit == "(initial)" else commit,
        branch=None if branch == "(detached)" else branch,
        changed=tuple(changed),
        untracked=tuple(path for path in untracked if not path.endswith("/")),
        nested=tuple(path.rstrip("/") for path in untracked if path.endswith("/")),
    )


def _index(root: Path) -> _Index:
    blobs: dict[str, str] = {}
    links: dict[str, str] = {}
    hidden: list[str] = []
    for entry in split_records(run_git(root, "ls-files", "-z", "-s", "-v")):
        head, path = entry.split("\t", 1)
        tag, mode, blob, _ = head.split(" ")
        (links if mode == _SUBMODULE_MODE else blobs)[path] = blob
        if tag.islower() or tag == "S":
            hidden.append(path)
    return _Index(blobs, links, tuple(path for path in hidden if path in blobs))


def _changed_behind_git(root: Path, index: _Index) -> tuple[str, ...]:
    """Paths marked assume-unchanged or skip-worktree, of which status says nothing, that did change."""
    present = [path for path in index.hidden if (root / path).is_file()]
    if not present:
        return ()
    blobs = run_git(root, "hash-object", "--", *present).decode().split()
    return tuple(path for path, blob in zip(present, blobs, strict=True) if blob != index.blobs[path])


def _remote(root: Path, branch: str | None) -> str | None:
    try:
        output = run_git(root, "config", "-z", "--get-regexp", r"^(remote\..*\.url|branch\..*\.remote)$")
    except GitError:  # no such setting
        return None
    settings = dict(entry.split("\n", 1) for entry in split_records(output) if "\n" in entry)
    name = settings.get(f"branch.{branch}.remote", "origin")
    url = settings.get(f"remote.{name}.url") or next((settings[key] for key in settings if key.endswith(".url")), None)
    return redact_url(url) if url else None


def _is_pushed(root: Path) -> bool:
    return bool(run_git(root, "for-each-ref", "--count=1", "--contains=HEAD", "--format=%(refname)", "refs/remotes"))


def _is_ignored(root: Path, folder: Path) -> bool:
    try:
        run_git(root, "check-ignore", "-q", str(folder.resolve()))
    except GitError:
        return False
    return True
