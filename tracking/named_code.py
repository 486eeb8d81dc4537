"""The files that modules named in the settings bring along: found as Python would find them, and nothing is run."""

import ast
import importlib
import sys
from collections.abc import Iterable, Iterator, Sequence
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path

from tracking.code import NOT_IMPORTED_AT_TOP, is_package_file, is_pruned, walk

_INSTALLED = frozenset({"site-packages", "dist-packages"})


def named_files(modules: Iterable[str], root: Path | None, path: Sequence[str] | None = None) -> dict[str, Path]:
    """The files behind modules, wherever they lie, by their path from the folder on Python's path.

    Of a package that is every `.py` and the small data files in it. The modules and packages in the same folder can be
    imported beside it, so they belong to it, and so do the small data files there whose names those modules state;
    but not where the folder holds installed packages.

    Args:
        modules: Dotted names; one that cannot be found adds nothing, its first use says so.
        root: The folder that steps put before Python's path.
        path: Python's path of the steps; default: this process's.
    """
    importlib.invalidate_caches()
    found: dict[str, Path] = {}
    for top in sorted({module.partition(".")[0] for module in modules} - sys.stdlib_module_names):
        for place, file in _files_behind(top, root, path):
            found.setdefault(place, file)
    return found


def stated_files(folder: Path, modules: Iterable[Path]) -> Iterator[tuple[str, Path]]:
    """Yield the data files in or below a folder that modules name in a text, such as a query beside its module.

    Args:
        folder: one that holds no installed packages, else there are none.
        modules: files of Python.

    Yields:
        The path from the folder, and the file.
    """
    if _INSTALLED.intersection(folder.parts):
        return
    stated = {name for module in modules for name in _stated_names(module)}
    for path in walk(folder) if stated else ():
        file = folder / path
        if file.name in stated and file.is_file() and is_package_file(path, file.stat().st_size):
            yield path, file.resolve()


def _files_behind(top: str, root: Path | None, path: Sequence[str] | None) -> Iterator[tuple[str, Path]]:
    spec = _spec(top, root, path)
    portions = [Path(portion) for portion in (spec.submodule_search_locations or ())] if spec else []
    for package in portions:
        yield from _package(top, package)
        yield from _siblings(package.parent)
    if spec and not portions and spec.origin and Path(spec.origin).is_file():
        yield Path(spec.origin).name, Path(spec.origin).resolve()
        yield from _siblings(Path(spec.origin).parent)
        folder = Path(spec.origin).parent
        yield from stated_files(folder, sorted(folder.glob("*.py")))


def _spec(top: str, root: Path | None, path: Sequence[str] | None) -> ModuleSpec | None:
    if path is not None:
        return PathFinder.find_spec(top, [*([str(root)] if root else []), *path])
    # As in a step: the tree's folder goes before the path, and an editable install's own finder comes last.
    spec = PathFinder.find_spec(top, [*([str(root)] if root else []), *sys.path])
    others = (finder.find_spec(top, None) for finder in sys.meta_path)
    return spec or next(filter(None, others), None)


def _siblings(folder: Path) -> Iterator[tuple[str, Path]]:
    if _INSTALLED.intersection(folder.parts) or not folder.is_dir():
        return
    for path in sorted(folder.iterdir()):
        if path.suffix == ".py" and path.is_file():
            yield path.name, path.resolve()
        elif (path / "__init__.py").is_file() and path.name not in NOT_IMPORTED_AT_TOP and not is_pruned(path):
            yield from _package(path.name, path)


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


def _package(name: str, folder: Path) -> Iterator[tuple[str, Path]]:
    folder = folder.resolve()
    for path in walk(folder):
        file = folder / path
        if file.is_file() and (path.endswith(".py") or is_package_file(path, file.stat().st_size)):
            yield f"{name}/{path}", file
