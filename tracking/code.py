"""Which code a run is made of: the tree it was started in, the files its steps can import, their digest."""

import importlib.util
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.machinery import PathFinder
from pathlib import Path, PurePosixPath

from tracking.canonical import canonical_json, sha256_file, sha256_hex
from tracking.errors import InputError
from tracking.git import GitState, find_root, read_state

# Untracked files with these endings (or names) are source, up to this size in bytes.
SOURCE_SUFFIXES = frozenset(
    {".py", ".pyi", ".toml", ".yaml", ".yml", ".json", ".cfg", ".ini", ".txt", ".md", ".sh", ".sql", ".lock"}
)
SOURCE_NAMES = frozenset({"Dockerfile", "Makefile"})
SOURCE_FILE_LIMIT = 1_000_000
# A run's home wears this file: it holds what runs made, never what they are made of.
HOME_MARK = ".ctr-home"
# Outside git no list of files exists, so a walk makes it; it ends here rather than read a whole disk.
WALK_LIMIT = 20_000

_PROJECT_MARKS = ("pyproject.toml", "setup.py", "setup.cfg", "uv.lock")
_NEVER_SOURCE = frozenset({"__pycache__", "node_modules", "mlruns", "mlartifacts"})
# Folders at a project's root that hold no code of a step; deeper down they are packages like any other.
NOT_IMPORTED_AT_TOP = frozenset({"tests", "test", "docs", "doc", "benchmarks", "build", "dist"})
_TABLES = frozenset({".csv", ".tsv"})
_LEFTOVERS = (".pyc", ".pyo", "~", ".swp", ".orig", ".rej")


@dataclass(frozen=True, slots=True)
class SourceTree:
    """The folder that holds a run's source, and the import packages whose files belong to it.

    Attributes:
        root: The root folder; None for installed packages alone.
        is_git: Whether git knows the tree; `note` says in words why not.
        packages: Import names whose files are kept too: under `site/` where they lie outside the tree.
        start: A folder below the root from which steps import before the root; None where they do not.
    """

    root: Path | None
    is_git: bool
    note: str = ""
    packages: tuple[str, ...] = ()
    start: Path | None = None

    @classmethod
    def find(cls, start: Path, packages: Sequence[str] = ()) -> "SourceTree":
        """The tree around a folder: its git working tree, else the nearest folder with a project file, else itself.

        Raises:
            InputError: `start` is no folder.
        """
        if not start.is_dir():
            raise InputError(f"source tree {start} is not a folder: give the project's folder.")
        root, note = find_root(start)
        if root is not None:
            return cls(root, is_git=True, packages=tuple(packages))
        start = start.resolve()
        root = next((folder for folder in (start, *start.parents) if is_project(folder)), start)
        return cls(root, is_git=False, note=note, packages=tuple(packages))

    @classmethod
    def of_package(cls, packages: Sequence[str]) -> "SourceTree":
        """No tree: the installed packages' own files are the source."""
        return cls(None, is_git=False, note="the code was installed as a package", packages=tuple(packages))

    def started_in(self, folder: Path) -> "SourceTree":
        """The tree of steps that import from a folder of it first, and from its root then."""
        start = folder.resolve()
        is_below = self.root is not None and start != self.root and start.is_relative_to(self.root)
        return replace(self, start=start if is_below else None)


@dataclass(frozen=True, slots=True)
class CodeFile:
    """A file that steps can import or read from a package.

    `module_path` is relative to the folder on Python's path (`ctr_pipeline/model.py`), so it does not depend on
    where the code lies.
    """

    module_path: str
    path: Path
    sha256: str


def git_state(tree: SourceTree) -> GitState | None:
    """What git knows of a tree; None where git does not know it.

    Raises:
        GitError: a git command failed.
    """
    return read_state(tree.root, is_source=is_source) if tree.root is not None and tree.is_git else None


def is_source(path: str, size: int) -> bool:
    """Whether an untracked file counts as source: by its ending or name, its size and the folders it lies in."""
    pure = PurePosixPath(path)
    return (
        size <= SOURCE_FILE_LIMIT
        and (pure.suffix.lower() in SOURCE_SUFFIXES or pure.name in SOURCE_NAMES)
        and not is_noise(path)
        and not is_withheld(path)
    )


def is_package_file(path: str, size: int) -> bool:
    """Whether a file in a team's own package goes with its code: source, or a small table beside it."""
    is_table = PurePosixPath(path).suffix.lower() in _TABLES and size <= SOURCE_FILE_LIMIT and not is_noise(path)
    return is_source(path, size) or is_table


def is_withheld(path: str) -> bool:
    """Whether a file holds environment variables (`.env`, `.env.yaml`, `prod.env`): secrets, more often than not."""
    name = PurePosixPath(path).name.lower()
    return name.startswith(".env") or name.endswith(".env")


def is_noise(path: str) -> bool:
    """Whether a path lies in a folder that never holds source: caches, run stores, `.ctr`."""
    return any(part in _NEVER_SOURCE or part == ".ctr" for part in PurePosixPath(path).parts[:-1])


def is_pruned(folder: Path) -> bool:
    """Whether a folder is passed over: hidden, a cache, package metadata, a virtual environment or a run's home."""
    return (
        folder.name.startswith(".")
        or folder.name in _NEVER_SOURCE
        or folder.name.endswith(".egg-info")
        or (folder / "pyvenv.cfg").exists()
        or (folder / HOME_MARK).exists()
    )


def code_files(
    packages: Sequence[str],
    *,
    project: Path | None = None,
    named: Mapping[str, Path] | None = None,
    leave_out: Sequence[str] = (),
    path: Sequence[str] | None = None,
) -> tuple[CodeFile, ...]:
    """Every file that steps can import, sorted by module path.

    Args:
        packages: Import names: all their files count, data files too.
        project: Where a custom module is configured, its project's root: every `.py` counts but those in the root's
            own folders of tests, docs, benchmarks and build output, in hidden folders and in virtual environments.
            Whether git ignores it does not matter: it can be imported all the same.
        named: What the custom modules bring along, as `tracking.named_code.named_files` finds it.
        leave_out: Module paths (files or folders) that no result depends on, such as bundled samples.
        path: Where the packages are looked for; default: where this process imports from.

    Raises:
        InputError: a package that cannot be found.
    """
    ours: dict[str, Path] = {}
    for name in packages:
        ours |= _package_files(name, path)
    found = {**(named or {}), **ours}
    if project is not None:
        taken = {file.resolve() for file in found.values()}
        own = (file for file in _modules(project) if file.resolve() not in taken)
        found |= {f"project:{file.relative_to(project).as_posix()}": file for file in own}
    kept = sorted((path, file) for path, file in found.items() if not _is_below(path, leave_out))
    return tuple(CodeFile(path, file, sha256_file(file)) for path, file in kept)


def code_digest(files: Iterable[CodeFile]) -> str:
    """The sha256 (hex) over the files' module paths and contents, sorted: equal wherever the code is installed."""
    return sha256_hex(canonical_json(sorted((file.module_path, file.sha256) for file in files)))


def walk(root: Path) -> Iterator[str]:
    """The regular files and links below a folder, by relative path, hidden folders and caches left out; sorted."""
    for folder, subfolders, names in os.walk(root):
        subfolders[:] = sorted(name for name in subfolders if not is_pruned(Path(folder, name)))
        relative = Path(folder).relative_to(root)
        yield from ((relative / name).as_posix() for name in sorted(names))


def _package_files(name: str, path: Sequence[str] | None) -> dict[str, Path]:
    spec = importlib.util.find_spec(name) if path is None else PathFinder.find_spec(name, path)
    place = name.replace(".", "/")
    for location in (spec.submodule_search_locations or ()) if spec else ():
        package = Path(location).resolve()
        if package.is_dir():
            return {f"{place}/{path}": package / path for path in walk(package) if _counts(path)}
    if spec and spec.origin and Path(spec.origin).is_file():
        return {f"{place}{Path(spec.origin).suffix}": Path(spec.origin).resolve()}
    raise InputError(f"package {name} is in no folder on Python's path: install it (unzipped), or correct its name.")


def _counts(path: str) -> bool:
    return not path.endswith(_LEFTOVERS) and not is_withheld(path)


def _modules(project: Path) -> Iterator[Path]:
    for folder, subfolders, names in os.walk(project):
        skipped = NOT_IMPORTED_AT_TOP if Path(folder) == project else frozenset()
        subfolders[:] = [name for name in subfolders if name not in skipped and not is_pruned(Path(folder, name))]
        yield from (Path(folder, name) for name in names if name.endswith(".py"))


def is_project_module(file: Path, project: Path) -> bool:
    """Whether a file is one of the modules that count because a project's steps may import them from its root."""
    if file.suffix != ".py" or not file.is_relative_to(project):
        return False
    *folders, _ = file.relative_to(project).parts
    is_left_out = bool(folders) and folders[0] in NOT_IMPORTED_AT_TOP
    return not is_left_out and not any(is_pruned(project.joinpath(*folders[: n + 1])) for n in range(len(folders)))


def is_project(folder: Path) -> bool:
    """Whether a file in the folder marks it as a Python project's root."""
    return any((folder / mark).is_file() for mark in _PROJECT_MARKS)


def _is_below(path: str, prefixes: Sequence[str]) -> bool:
    return any(path == prefix or path.startswith(f"{prefix}/") for prefix in prefixes)
