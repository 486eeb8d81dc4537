"""The files that modules named in the settings bring along: found as Python would find them, and nothing is run."""

import ast
import importlib
import sys
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path

from tracking.code import NOT_IMPORTED_AT_TOP, is_package_file, is_project_module, is_pruned, walk
from tracking.imported_code import INSTALLED, ImportedUnit, Search, imported_units, package_files


def named_files(
    modules: Iterable[str],
    root: Path | None,
    path: Sequence[str] | None = None,
    *,
    start: Path | None = None,
    leave_out: Sequence[str] = (),
) -> dict[str, Path]:
    """The files behind modules, wherever they lie, by their path from the folder on Python's path.

    Of a package that is every `.py` and the small data files in it. The modules and packages in the same folder can be
    imported beside it, so they belong to it, and so do the small data files there whose names those modules state;
    but not where the folder holds installed packages. What these modules import from other folders on Python's path
    belongs to them too, and so on; but no library, and no module of the project, which counts in any case.

    Args:
        modules: Dotted names; one that cannot be found adds nothing, its first use says so.
        root: The folder that steps put before Python's path, the project's root.
        path: Python's path of the steps; default: this process's.
        start: A folder in the project that they put before the root; the modules in it count like those beside a named
            one.
        leave_out: Top-level names of packages that are told of elsewhere.
    """
    importlib.invalidate_caches()
    search = search_on([folder for folder in (start, root) if folder], path)
    named = {module for module in modules if module.partition(".")[0] not in sys.stdlib_module_names}
    found: dict[str, Path] = {}
    bases = {folder for folder in (start, root) if folder}
    beside = () if start is None or not named else _beside(start)
    for place, file in beside:
        found.setdefault(place, file)
    for top in sorted({module.partition(".")[0] for module in named}):
        spec = search(top)
        bases |= _bases(spec)
        for place, file in _files_behind(top, spec):
            found.setdefault(place, file)
    for imported in imported_units(sorted(named), search, leave_out):
        is_new = imported.unit.base not in bases
        # As it is what Python finds, it goes before a namesake beside a named module.
        found |= {place: file for place, file in _counted(imported) if is_new or not _is_the_projects(file, root)}
    return found


def search_on(folders: Sequence[Path], path: Sequence[str] | None = None) -> Search:
    """How a step finds top-level names: in folders, then on a path; default: this process's.

    Args:
        folders: That go before the path.
        path: Folders; None is where this process imports from, editable installs among it.
    """
    first = [str(folder) for folder in folders]

    @cache
    def search(top: str) -> ModuleSpec | None:
        spec = PathFinder.find_spec(top, [*first, *(sys.path if path is None else path)])
        if spec is not None or path is not None:
            return spec
        # As in a step: an editable install's own finder comes last.
        return next(filter(None, (finder.find_spec(top, None) for finder in sys.meta_path)), None)

    return search


def stated_files(folder: Path, modules: Iterable[Path]) -> Iterator[tuple[str, Path]]:
    """Yield the data files in or below a folder that modules name in a text, such as a query beside its module.

    Args:
        folder: one that holds no installed packages, else there are none.
        modules: files of Python.

    Yields:
        The path from the folder, and the file.
    """
    if INSTALLED.intersection(folder.parts):
        return
    stated = {name for module in modules for name in _stated_names(module)}
    for path in walk(folder) if stated else ():
        file = folder / path
        if file.name in stated and file.is_file() and is_package_file(path, file.stat().st_size):
            yield path, file.resolve()


def _files_behind(top: str, spec: ModuleSpec | None) -> Iterator[tuple[str, Path]]:
    portions = [Path(portion) for portion in (spec.submodule_search_locations or ())] if spec else []
    for package in portions:
        yield from package_files(top, package)
        yield from _siblings(package.parent)
    if spec and not portions and spec.origin and Path(spec.origin).is_file():
        yield Path(spec.origin).name, Path(spec.origin).resolve()
        yield from _beside(Path(spec.origin).parent)


def _bases(spec: ModuleSpec | None) -> set[Path]:
    """Return the folders on Python's path in which a top-level name was found."""
    portions = {Path(portion).parent for portion in (spec.submodule_search_locations or ())} if spec else set()
    return portions or ({Path(spec.origin).parent} if spec and spec.origin else set())


def _counted(imported: ImportedUnit) -> Iterator[tuple[str, Path]]:
    """Yield the files of what is imported; of a single module the data files that it names too."""
    yield from imported.files.items()
    location, base = imported.unit.location, imported.unit.base
    if not location.is_dir():
        folder = location.parent.relative_to(base)
        for place, file in stated_files(location.parent, [location]):
            yield (folder / place).as_posix(), file


def _is_the_projects(file: Path, root: Path | None) -> bool:
    """Whether a file in the project counts with it, or, being data, does not count."""
    if root is None or not file.is_relative_to(root.resolve()):
        return False
    return file.suffix != ".py" or is_project_module(file, root.resolve())


def _beside(folder: Path) -> Iterator[tuple[str, Path]]:
    yield from _siblings(folder)
    yield from stated_files(folder, sorted(folder.glob("*.py")))


def _siblings(folder: Path) -> Iterator[tuple[str, Path]]:
    if INSTALLED.intersection(folder.parts) or not folder.is_dir():
        return
    for path in sorted(folder.iterdir()):
        if path.suffix == ".py" and path.is_file():
            yield path.name, path.resolve()
        elif (path / "__init__.py").is_file() and path.name not in NOT_IMPORTED_AT_TOP and not is_pruned(path):
            yield from package_files(path.name, path)


def _stated_names(module: Path) -> Iterator[str]:
    """Yield the last part of each text in a module that could be a data file's path; none where it cannot be parsed."""
    try:
        tree = ast.parse(module.read_bytes())
    except (OSError, SyntaxError, ValueError, RecursionError):
        return
    texts = (node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str))
    for text in texts:
        name = text.rpartition("/")[2]
        if "." in name and not name.startswith(".") and not name.endswith(".py"):
            yield name
