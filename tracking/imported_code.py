"""The modules that a team's own code imports, wherever on Python's path they lie: found by reading, nothing is run.

Every `import` counts, wherever it stands: in a function, in a `try`, relative, of a submodule by `from`, or through
`importlib.import_module` with a constant name. Of a package that is imported every module is read on, as it may load
them under names that are made at run time; the tests in it only where something imports them.
"""

import ast
import sys
import sysconfig
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.machinery import ModuleSpec
from pathlib import Path

from tracking.code import NOT_IMPORTED_AT_TOP, is_package_file, walk
from tracking.errors import InputError

INSTALLED = frozenset({"site-packages", "dist-packages"})
# A team's own code is smaller by far: beyond it, folders of other programs were taken for it.
MODULE_LIMIT = 20_000

_INIT = "__init__.py"
_DYNAMIC = frozenset({"import_module", "__import__"})
_STANDARD_LIBRARY = tuple({Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib")})

type Search = Callable[[str], ModuleSpec | None]


@dataclass(frozen=True, slots=True)
class CodeUnit:
    """A regular package, or a module in a file of its own.

    Attributes:
        place: From the folder on Python's path, such as `corp/pricing` or `rates.py`.
        location: The package's folder, or the module's file.
        base: The folder on Python's path.
    """

    place: str
    location: Path
    base: Path

    @property
    def is_library(self) -> bool:
        """Whether it is Python's own or an installed one: then its version says what it is."""
        base = self.base.resolve()
        return bool(INSTALLED.intersection(self.base.parts)) or any(map(base.is_relative_to, _STANDARD_LIBRARY))

    def files(self) -> dict[str, Path]:
        """The module's file; of a package every `.py` and the small data files; by place."""
        if self.location.is_dir():
            return dict(package_files(self.place, self.location))
        return {self.place: self.location.resolve()}


@dataclass(frozen=True, slots=True)
class ImportedUnit:
    """A unit that own code imports, and its files by place."""

    unit: CodeUnit
    files: dict[str, Path]


def imported_units(modules: Iterable[str], search: Search, leave_out: Sequence[str] = ()) -> tuple[ImportedUnit, ...]:
    """What modules consist of and import, directly and through others; libraries are passed over.

    Args:
        modules: Dotted names; one that cannot be found adds nothing.
        search: Finds a top-level name as Python would.
        leave_out: Top-level names that are told of elsewhere.

    Raises:
        InputError: there are more than `MODULE_LIMIT` modules.
    """
    passed_over = {*leave_out, *sys.builtin_module_names}
    found: dict[CodeUnit, ImportedUnit] = {}
    waiting, seen = list(modules), set(modules)
    read: set[Path] = set()
    while waiting:
        name = waiting.pop()
        unit = None if name.partition(".")[0] in passed_over else find_unit(name, search)
        if unit is None or unit.is_library:
            continue
        if unit not in found:
            found[unit] = ImportedUnit(unit, unit.files())
        for place, file in _read_on(found[unit].files, name):
            if file not in read:
                read.add(file)
                new = _names_in(place, file) - seen
                seen |= new
                waiting += sorted(new)
        if len(read) > MODULE_LIMIT:
            raise InputError(
                f"own code imports {len(read):,} modules or more, must be at most {MODULE_LIMIT:,}: take folders of "
                "other programs off PYTHONPATH, or install the packages."
            )
    return tuple(sorted(found.values(), key=lambda each: each.unit.place))


def find_unit(name: str, search: Search) -> CodeUnit | None:
    """The package or module that holds a dotted name; None where there is none, or only folders without a module.

    Args:
        name: Such as `corp.pricing.rates`.
        search: Finds a top-level name as Python would.
    """
    top, *rest = name.split(".")
    spec = search(top) if top else None
    if spec is None:
        return None
    portions = [Path(portion) for portion in (spec.submodule_search_locations or ())]
    if spec.origin and Path(spec.origin).is_file():
        file = Path(spec.origin)
        return CodeUnit(top, file.parent, file.parent.parent) if portions else CodeUnit(file.name, file, file.parent)
    return _in_namespace(portions, [top], rest)


def has_module(name: str, search: Search) -> bool:
    """Whether Python would find a module, its own ones among them."""
    if name.partition(".")[0] in sys.stdlib_module_names:
        return True
    unit = find_unit(name, search)
    if unit is None:
        return False
    if not unit.location.is_dir():
        return name.count(".") == unit.place.count("/")
    inner = name.split(".")[unit.place.count("/") + 1 :]
    if not inner:
        return True
    folder = unit.location.joinpath(*inner[:-1])
    return folder.joinpath(inner[-1]).is_dir() or any(folder.glob(f"{inner[-1]}.*"))


def package_files(place: str, folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield every `.py` of a package and the small data files in it, by place."""
    folder = folder.resolve()
    for path in walk(folder):
        file = folder / path
        if file.is_file() and (path.endswith(".py") or is_package_file(path, file.stat().st_size)):
            yield f"{place}/{path}", file


def imported_names(path: str, content: bytes) -> Iterator[str]:
    """Yield the names that a module may import; of `from a import b` both `a` and `a.b`, whatever `b` is.

    Args:
        path: Of the module, from the folder on Python's path.
        content: Its source.

    Raises:
        InputError: it cannot be parsed.
    """
    try:
        tree = ast.parse(content)
    except (SyntaxError, ValueError, RecursionError) as error:
        raise InputError(f"{path} cannot be parsed ({error}); mend it, then run again") from error
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = _base(path, node)
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names if alias.name != "*")
        elif isinstance(node, ast.Call):
            yield from _dynamic(node)


def _in_namespace(portions: Sequence[Path], parts: Sequence[str], rest: Sequence[str]) -> CodeUnit | None:
    if not rest:
        return None
    name = rest[0]
    for portion in portions:
        place, base = "/".join([*parts, name]), portion.parents[len(parts) - 1]
        if (portion / name / _INIT).is_file():
            return CodeUnit(place, portion / name, base)
        if (portion / f"{name}.py").is_file():
            return CodeUnit(f"{place}.py", portion / f"{name}.py", base)
    inner = [portion / name for portion in portions if (portion / name).is_dir()]
    return _in_namespace(inner, [*parts, name], rest[1:])


def _read_on(files: dict[str, Path], name: str) -> Iterator[tuple[str, Path]]:
    """Yield the modules whose imports count: those on the way to a name, and all that are no tests."""
    parts = name.split(".")
    ways = ["/".join(parts[:end]) for end in range(1, len(parts) + 1)]
    named = {f"{way}{ending}" for way in ways for ending in (".py", f"/{_INIT}")}
    for place, file in files.items():
        if place.endswith(".py") and (place in named or not NOT_IMPORTED_AT_TOP.intersection(place.split("/")[:-1])):
            yield place, file


def _names_in(place: str, file: Path) -> frozenset[str]:
    """Return what a module imports; one that cannot be read or parsed imports nothing."""
    try:
        return _parsed(place, file.read_bytes())
    except (OSError, InputError):
        return frozenset()


@lru_cache(maxsize=2048)  # a run asks again after each of its steps
def _parsed(place: str, content: bytes) -> frozenset[str]:
    return frozenset(imported_names(place, content))


def _base(path: str, node: ast.ImportFrom) -> str:
    package = path.split("/")[:-1]
    above = package[: len(package) - node.level + 1] if node.level else []
    return ".".join([*above, *([node.module] if node.module else [])])


def _dynamic(call: ast.Call) -> Iterator[str]:
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    first = call.args[0] if call.args else None
    if name in _DYNAMIC and isinstance(first, ast.Constant) and isinstance(first.value, str):
        yield first.value
