"""What a `uv.lock` says of each package: version, where it comes from, and the digests of its files."""

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs

from tracking.errors import InputError

_LOCAL: Final = ("editable", "virtual", "directory", "path")


@dataclass(frozen=True, slots=True)
class LockedPackage:
    """A package of a lock file.

    Attributes:
        name: normalised (`scikit-learn`).
        version: "" where the lock has none (a project whose version is computed).
        index: URL of the package index; None where it comes from elsewhere.
        url: of a file or a repository with its commit; None where it comes from an index.
        is_local: whether it lies beside the project; of a folder the source snapshot holds the files.
        hashes: `sha256:...` of each of its files.
        is_archive: whether it is a wheel or an archive beside the project, which no source snapshot keeps.
    """

    name: str
    version: str
    index: str | None
    url: str | None
    is_local: bool
    hashes: tuple[str, ...]
    is_archive: bool = False

    @property
    def requirement(self) -> str:
        """The package as a line of a requirements file, its digests included."""
        place = f"{self.name}=={self.version}" if self.url is None else f"{self.name} @ {self.url}"
        return " ".join([place, *(f"--hash={digest}" for digest in self.hashes)])


def locked_packages(path: Path) -> tuple[LockedPackage, ...]:
    """Read a lock file; a package that is locked in several versions comes once for each.

    Raises:
        InputError: it is no lock file.
    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
        return tuple(_package(entry) for entry in values.get("package", ()))
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise InputError(f"lock file {path} cannot be read ({error}); restore it from the run's provenance") from error


def _package(entry: Mapping[str, Any]) -> LockedPackage:
    source = entry.get("source", {})
    return LockedPackage(
        name=entry["name"],
        version=entry.get("version", ""),
        index=source.get("registry"),
        url=_url(source),
        is_local=any(kind in source for kind in _LOCAL),
        hashes=tuple(sorted(set(_hashes(entry)))),
        is_archive="path" in source,
    )


def _url(source: Mapping[str, str]) -> str | None:
    if "git" in source:
        asked, _, commit = source["git"].partition("#")
        place, _, query = asked.partition("?")
        folder = parse_qs(query).get("subdirectory", [])
        return f"git+{place}@{commit}" + "".join(f"#subdirectory={name}" for name in folder)
    return source.get("url")


def _hashes(entry: Mapping[str, Any]) -> Iterator[str]:
    for file in (entry.get("sdist", {}), *entry.get("wheels", ())):
        if "hash" in file:
            yield file["hash"]
