"""The code that a step imports: the static closure of its module's imports within given packages, nothing run.

Every `import` counts, wherever it stands: in a function, under `TYPE_CHECKING`, relative, of a submodule by `from`, or
through `importlib.import_module` with a constant name. The `__init__` of each package on the way counts too, and the
data files that lie in such a package. The closure may hold more than a step loads, never less.
"""

import importlib.util
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

from tracking.code import is_noise, walk
from tracking.errors import InputError
from tracking.imported_code import imported_names

_INIT: Final = "__init__.py"
_LEFTOVERS: Final = (".pyc", ".pyo", "~", ".swp", ".orig", ".rej")


@dataclass(frozen=True, slots=True)
class Closure:
    """What a step's module imports.

    Attributes:
        files: module paths (`ctr_pipeline/model.py`) within the packages, sorted.
        others: top-level names of everything else but the standard library, sorted.
    """

    files: tuple[str, ...]
    others: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Sources:
    """The files of packages as they were at one moment.

    Attributes:
        files: content by module path, such as `ctr_pipeline/model.py`.
    """

    files: Mapping[str, bytes]
    _imports: dict[str, frozenset[str]] = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def read(cls, packages: Iterable[str], leave_out: tuple[str, ...] = ()) -> Self:
        """Read the packages' files.

        Args:
            packages: import names.
            leave_out: folders that no result depends on, such as bundled samples.

        Raises:
            InputError: a package is in no folder.
        """
        found = (pair for name in packages for pair in _files_of(name))
        return cls({path: content.read_bytes() for path, content in found if not path.startswith(leave_out)})

    def closure(self, modules: Iterable[str]) -> Closure:
        """Return what modules import, directly and through others; themselves included.

        Raises:
            InputError: a module is not among the files, or cannot be parsed.
        """
        roots = tuple(modules)
        for name in roots:
            if self._path(name.split(".")) is None:
                raise InputError(f"module {name} is in no file of its package, must be; correct its name")
        reached: set[str] = set()
        waiting, seen = list(roots), set(roots)
        while waiting:
            for path in self._paths(waiting.pop()):
                if path not in reached:
                    reached.add(path)
                    new = self._imported(path) - seen
                    seen |= new
                    waiting += new
        ours = {path.partition("/")[0] for path in self.files}
        others = {name.partition(".")[0] for name in seen} - ours - set(sys.stdlib_module_names)
        return Closure(tuple(sorted(reached | self._data_files(reached))), tuple(sorted(others)))

    def has(self, module: str) -> bool:
        """Return whether a dotted name is one of the files' modules."""
        return self._path(module.split(".")) is not None

    def _paths(self, name: str) -> Iterator[str]:
        """Yield a module's file and those of the packages around it; nothing for one that is not ours."""
        parts = name.split(".")
        for end in range(1, len(parts) + 1):
            path = self._path(parts[:end])
            if path is not None:
                yield path

    def _path(self, parts: list[str]) -> str | None:
        place = "/".join(parts)
        return next((path for path in (f"{place}/{_INIT}", f"{place}.py") if path in self.files), None)

    def _imported(self, path: str) -> frozenset[str]:
        if path not in self._imports:
            self._imports[path] = frozenset(imported_names(path, self.files[path]))
        return self._imports[path]

    def _data_files(self, reached: set[str]) -> set[str]:
        """Return files that are no modules, of packages that are reached."""
        data = (path for path in self.files if not path.endswith(".py"))
        return {path for path in data if self._package_of(path) in reached}

    def _package_of(self, path: str) -> str | None:
        folders = (f"{folder.as_posix()}/{_INIT}" for folder in Path(path).parents)
        return next((init for init in folders if init in self.files), None)


def _files_of(package: str) -> Iterator[tuple[str, Path]]:
    spec = importlib.util.find_spec(package)
    folders = [Path(place) for place in (spec.submodule_search_locations or ())] if spec else []
    if not folders:
        raise InputError(f"package {package} is in no folder on Python's path; install it unzipped")
    for path in walk(folders[0]):
        if not path.endswith(_LEFTOVERS) and not is_noise(path):
            yield f"{package.replace('.', '/')}/{path}", folders[0] / path
