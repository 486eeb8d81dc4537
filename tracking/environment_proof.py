"""Whether a virtual environment holds what its packages' wheels list, and whether it is still as it was then.

When an environment is built, every file is held against the digest that its wheel's RECORD has of it: the files come by
hard link out of uv's cache, so an edit in place in any other environment changes them too, and uv does not look. Later
uses trust the modification times: the fingerprint has each file's place, size and time, not its content. Somebody who
edits a file and sets its time back is not noticed, nor is who changes a file and its RECORD in uv's cache before the
environment is built. Bytecode in `__pycache__` counts nowhere: steps are started so that they read and write none here.
"""

import base64
import csv
import hashlib
import os
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tracking.environment import normalised
from tracking.errors import TrackingError
from tracking.parallel import in_parallel

_BYTECODE: Final = "__pycache__"
# The algorithms that a RECORD may use; what has another digest, or none, cannot be checked.
_ALGORITHMS: Final = frozenset({"sha256", "sha384", "sha512"})


class DamagedPackageError(TrackingError):
    """A file of a freshly installed package is not what its wheel lists, or no wheel lists it.

    Attributes:
        package: its name; None where no package can be named.
        file: relative to the folder of the packages.
    """

    def __init__(self, package: str | None, file: str, problem: str, n_more: int) -> None:
        more = f" (and {n_more} more files)" if n_more else ""
        of = f"package {package}" if package else "the rebuilt environment"
        clean = f"uv cache clean {package}" if package else "uv cache clean"
        super().__init__(f"{of}: {file} {problem}{more}; run `{clean}`, then again.")
        self.package = package
        self.file = file


def fingerprint(folder: Path, site_packages: Path) -> str:
    """Return the digest over place, size and time of every file of an environment's packages, and of its interpreter.

    Args:
        folder: the virtual environment.
        site_packages: its packages; `.pth` files count, bytecode does not.

    Raises:
        OSError: it has no interpreter or no packages' folder.
    """
    lines = [f"{name}\0{size}\0{time}" for name, size, time in _entries(str(site_packages))]
    lines.sort()
    python = folder / "bin" / "python"
    for path in (python, python.resolve(), folder / "pyvenv.cfg"):
        found = path.stat()
        lines.append(f"{path}\0{found.st_size}\0{found.st_mtime_ns}")
    return hashlib.sha256("\n".join(lines).encode(errors="surrogateescape")).hexdigest()


def installed_files(site_packages: Path) -> frozenset[str]:
    """Return every file below the folder of the packages, relative to it, but bytecode."""
    return frozenset(name for name, _, _ in _entries(str(site_packages)))


def prove_packages(site_packages: Path, *, beside: Collection[str] = ()) -> None:
    """Hold every file of every package against the digest that its RECORD has of it.

    Args:
        site_packages: folder of the packages.
        beside: files there that belong to no package, such as what uv itself puts into a new environment.

    Raises:
        DamagedPackageError: a file is another one or is gone, or no RECORD lists it.
    """
    listed = _listed(site_packages)
    by_file: dict[str, list[_Listed]] = {}
    for entry in listed:
        by_file.setdefault(entry.file, []).append(entry)
    # Two packages may bring the same file: it is right where it is what one of them lists.
    changed = [entries[0] for entries, right in zip(by_file.values(), _checked(site_packages, by_file), strict=True)
               if not right]  # fmt: skip
    if changed:
        first, gone = changed[0], not (site_packages / changed[0].file).exists()
        problem = (
            "is gone" if gone else "is not the file that its wheel lists (edited in uv's cache, which others share)"
        )
        raise DamagedPackageError(first.package, first.file, problem, len(changed) - 1)
    strangers = sorted(installed_files(site_packages) - by_file.keys() - set(beside))
    if strangers:
        problem = "is in no wheel's list of files"
        raise DamagedPackageError(_neighbour(strangers[0], listed), strangers[0], problem, len(strangers) - 1)


@dataclass(frozen=True, slots=True)
class _Listed:
    package: str
    file: str
    algorithm: str
    digest: str = field(repr=False)


def _entries(top: str) -> Iterator[tuple[str, int, int]]:
    """Yield each file's place below a folder, its size and its time in nanoseconds; a link is not followed."""
    waiting = [""]
    while waiting:
        inner = waiting.pop()
        with os.scandir(f"{top}/{inner}") as found:
            for entry in found:
                if entry.is_dir(follow_symlinks=False):
                    if entry.name != _BYTECODE:
                        waiting.append(f"{inner}{entry.name}/")
                else:
                    status = entry.stat(follow_symlinks=False)
                    yield f"{inner}{entry.name}", status.st_size, status.st_mtime_ns


def _listed(site_packages: Path) -> list[_Listed]:
    entries: list[_Listed] = []
    for record in sorted(site_packages.glob("*.dist-info/RECORD")):
        package = normalised(record.parent.name.partition("-")[0])
        with record.open(newline="", encoding="utf-8") as lines:
            for row in csv.reader(lines):
                algorithm, _, digest = row[1].partition("=") if len(row) > 1 else ("", "", "")
                file = os.path.normpath(row[0]) if row else ""
                if file and _BYTECODE not in file.split("/"):
                    entries.append(_Listed(package, file, algorithm, digest))
    return entries


def _checked(site_packages: Path, by_file: Mapping[str, list[_Listed]]) -> list[bool]:
    def is_right(entries: list[_Listed]) -> bool:
        path = site_packages / entries[0].file
        return any(_agrees(path, entry) for entry in entries)

    return in_parallel(is_right, by_file.values())


def _agrees(path: Path, entry: _Listed) -> bool:
    try:
        with path.open("rb") as file:
            if entry.algorithm not in _ALGORITHMS:
                return True
            found = hashlib.file_digest(file, entry.algorithm).digest()
    except OSError:
        return False
    return base64.urlsafe_b64encode(found).rstrip(b"=").decode() == entry.digest


def _neighbour(file: str, listed: Collection[_Listed]) -> str | None:
    """Return the package among whose files a stranger lies; None for one at the top."""
    top, slash, _ = file.partition("/")
    if top.endswith(".dist-info"):
        return normalised(top.partition("-")[0])
    return next((entry.package for entry in listed if slash and entry.file.startswith(f"{top}/")), None)
