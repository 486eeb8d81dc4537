"""The sources of a custom function, carried in the model folder, so that the model scores raw rows on its own.

What is carried: every top-level module and package that is loaded from the folder in which the custom module lies, a
package with the small data files in it, a single module with those beside or below it that it names. An installed
module is not carried but pinned, as is what the carried sources import.
"""

import ast
import importlib
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Final

from ctr_pipeline.features.custom import SETTING, load_function
from tracking.code import is_package_file
from tracking.errors import InputError
from tracking.named_code import stated_files

CODE_FOLDER: Final = "code"
_INSTALLED: Final = ("site-packages", "dist-packages")
# The logged model brings the product along.
_OURS: Final = ("ctr_pipeline", "tracking")


def carry_code(name: str, model: Path) -> None:
    """Copy the sources that the function `name` has loaded so far into a model folder.

    Args:
        name: `module:function`; it has been called, so that what it imports late is loaded too.
        model: the model folder.
    """
    root = _import_root(sys.modules[_top(name)])
    if root is None or any(part in _INSTALLED for part in root.parts):
        return
    for top in sorted({loaded.partition(".")[0] for loaded in sys.modules}):
        if not top.startswith("__") and top not in _OURS and _import_root(sys.modules.get(top)) == root:
            _copy(root, top, model / CODE_FOLDER)
    code = model / CODE_FOLDER
    for path, file in stated_files(root, sorted(code.glob("*.py"))):
        (code / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, code / path)


def use_carried_code(name: str, model: Path) -> None:
    """Make a model folder's sources importable, and load the function `name` from them.

    Raises:
        InputError: this process has loaded another version of one of the modules, or the function is not there.
    """
    code = model / CODE_FOLDER
    if not code.is_dir():
        return
    for top in sorted({path.relative_to(code).parts[0].removesuffix(".py") for path in code.rglob("*.py")}):
        _refuse_other_version(top, code, model)
    if str(code) not in sys.path:
        sys.path.insert(0, str(code))
        importlib.invalidate_caches()
    # A model folder is an input: byte code must not change it.
    writes_nothing = sys.dont_write_bytecode
    sys.dont_write_bytecode = True
    try:
        load_function(SETTING, name)
    finally:
        sys.dont_write_bytecode = writes_nothing


def imported_modules(name: str, model: Path) -> set[str]:
    """Return the modules that the carried sources import, or the custom module where it is installed."""
    sources = sorted((model / CODE_FOLDER).rglob("*.py"))
    if not sources:
        return {_top(name)}
    own = {path.relative_to(model / CODE_FOLDER).parts[0].removesuffix(".py") for path in sources}
    found = {module for path in sources for module in _imports(path)}
    return found - own - set(_OURS) - set(sys.stdlib_module_names)


def _imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None and not node.level:
            yield node.module.partition(".")[0]


def _top(name: str) -> str:
    return name.partition(":")[0].partition(".")[0]


def _import_root(module: ModuleType | None) -> Path | None:
    """Return the folder from which a top-level module was imported; None for built-in ones."""
    file = getattr(module, "__file__", None)
    if file is not None:
        path = Path(file).resolve()
        return path.parent.parent if path.name == "__init__.py" else path.parent
    portions = list(getattr(module, "__path__", ()))
    return Path(portions[0]).resolve().parent if portions else None


def _copy(root: Path, top: str, into: Path) -> None:
    single = root / f"{top}.py"
    files = [single] if single.is_file() else sorted((root / top).rglob("*"))
    for file in files:
        path = file.relative_to(root)
        hidden = any(part.startswith(".") for part in path.parts)
        if file.is_file() and not hidden and _is_carried(path.as_posix(), file.stat().st_size):
            (into / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, into / path)


def _is_carried(path: str, size: int) -> bool:
    return path.endswith(".py") or is_package_file(path, size)


def _refuse_other_version(top: str, code: Path, model: Path) -> None:
    # Python keeps one module of a name per process: without this, one model's code silently scores another's rows.
    if top not in sys.modules:
        return
    root = _import_root(sys.modules[top])
    single = code / f"{top}.py"
    stated = [file for _, file in stated_files(code, [single])]
    carried = [single, *stated] if single.is_file() else sorted(_files(code / top))
    if root is None or any(not _equal(file, root / file.relative_to(code)) for file in carried):
        raise InputError(
            f"{model} carries another version of module {top!r} than this process has loaded from {root}, must be the "
            "same; load the model in a process of its own"
        )


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)


def _equal(left: Path, right: Path) -> bool:
    return right.is_file() and left.read_bytes() == right.read_bytes()
