"""Virtual environments rebuilt from what a run recorded: its lock, its Python, the packages that were installed.

Each is kept under the digest of exactly that, is built once, and is checked each time before it is used. The files of
locked packages must have the digests that the lock names.
"""

import json
import platform
import re
import shutil
import sys
import sysconfig
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import filelock

from tracking.aside import replace_whole
from tracking.canonical import canonical_json, sha256_hex
from tracking.environment import installed_packages, normalised
from tracking.errors import TrackingError
from tracking.lock_file import LockedPackage, locked_packages
from tracking.uv import UvError, find_uv, run_uv

FORMAT: Final = 1
STAMP_FILE: Final = "environment.json"
_VENV: Final = "venv"
_PUBLIC_INDEX: Final = "https://pypi.org/simple"
_NAMED: Final = re.compile(r"\b([A-Za-z0-9][\w.-]*)(?:==| @ )")
_CHANGED: Final = re.compile(r"Hash mismatch for `([A-Za-z0-9][\w.-]*)")
_INSTALL: Final = ("pip", "install", "--no-deps")


@dataclass(frozen=True, slots=True)
class EnvironmentPlan:
    """An environment to be rebuilt.

    Attributes:
        python_version: such as "3.12.1".
        locked: requirement lines with digests.
        other: requirement lines of packages that were installed in a version that is not the locked one, or that no
            lock knew.
        tools: requirement lines of packages that the lock does not name: wanted, but not at all costs.
        indexes: URLs of package indexes beside the public one.
    """

    python_version: str
    locked: tuple[str, ...]
    other: tuple[str, ...]
    tools: tuple[str, ...]
    indexes: tuple[str, ...]

    @property
    def key(self) -> str:
        """The digest of all of it, 64 hexadecimal digits."""
        return sha256_hex(
            canonical_json([FORMAT, self.python_version, self.locked, self.other, self.tools, self.indexes])
        )

    @property
    def required(self) -> Mapping[str, str]:
        """Version by name of the packages that the environment must have; those from a URL are left out."""
        lines = (line.partition(" ")[0] for line in (*self.locked, *self.other) if " @ " not in line)
        return dict(line.split("==", 1) for line in lines)


class MissingPackagesError(TrackingError):
    """Packages of an environment can be had nowhere any more."""

    def __init__(self, names: Sequence[str], said: str) -> None:
        named = ", ".join(names) or said
        super().__init__(
            f"packages of the recorded environment cannot be installed: {named}; give an index that has them "
            "(UV_DEFAULT_INDEX), or use the current environment explicitly with --use-current-env."
        )
        self.names = tuple(names)


class MissingPythonError(TrackingError):
    """The Python of an environment can be had nowhere."""

    def __init__(self, version: str, cause: UvError) -> None:
        super().__init__(
            f"Python {version} is not on this machine and cannot be fetched: install it, or use the current one "
            f"explicitly with --use-current-env ({cause})."
        )


def plan_environment(
    python_version: str, packages: Mapping[str, str], lock: Path | None, *, carried: Collection[str] = ()
) -> EnvironmentPlan:
    """Say what an environment must hold to be what a run had.

    Args:
        python_version: that ran it.
        packages: name to version of what was installed.
        lock: its lock file; None where there was none, and then every installed package counts.
        carried: packages whose code the source snapshot holds: they are not installed.

    Raises:
        InputError: the lock file cannot be read.
    """
    entries = locked_packages(lock) if lock is not None else ()
    by_place = {(normalised(entry.name), entry.version): entry for entry in entries}
    names = {name for name, _ in by_place}
    locked: list[str] = []
    other: list[str] = []
    tools: list[str] = []
    used: set[LockedPackage] = set()
    local = {normalised(entry.name) for entry in entries if entry.is_local}
    for name, version in sorted(packages.items()):
        entry = by_place.get((name, version))
        if name in local or name in carried:
            continue  # the source snapshot holds it
        if entry is not None and entry.url is None:
            locked.append(entry.requirement)
            used.add(entry)
        elif entry is not None:
            other.append(entry.requirement)
        else:
            (other if name in names or lock is None else tools).append(f"{name}=={version}")
    indexes = sorted({entry.index for entry in used if entry.index is not None} - {_PUBLIC_INDEX})
    return EnvironmentPlan(python_version, tuple(locked), tuple(other), tuple(tools), tuple(indexes))


@dataclass(frozen=True, slots=True)
class RebuiltEnvironment:
    """An environment that is there.

    Attributes:
        folder: the virtual environment.
        missing_tools: packages that the lock does not name and that could not be installed.
    """

    folder: Path
    missing_tools: tuple[str, ...]

    @property
    def python(self) -> Path:
        """The interpreter."""
        return self.folder / "bin" / "python"

    @property
    def site_packages(self) -> Path:
        """Folder of the packages."""
        return _site_packages(self.folder)

    @property
    def packages(self) -> dict[str, str]:
        """Version by name of what is installed now."""
        return {package.name: package.version for package in installed_packages([str(self.site_packages)])}


def find_environment(plan: EnvironmentPlan, cache: Path) -> RebuiltEnvironment | None:
    """Return the environment where it was built before and still holds what it must; else None."""
    folder = cache / plan.key[:32]
    try:
        stamp = json.loads((folder / STAMP_FILE).read_bytes())
        if stamp["format"] != FORMAT or stamp["key"] != plan.key:
            return None
        found = RebuiltEnvironment(folder / _VENV, tuple(stamp["missing_tools"]))
    except (OSError, ValueError, LookupError, TypeError):
        return None
    return found if found.python.exists() and not _lacking(plan, found) else None


def has_python(version: str) -> bool:
    """Whether the Python of a version is on this machine, or uv can bring it.

    Raises:
        UvError: uv is not installed.
    """
    if _own_python(version):
        return True
    with TemporaryDirectory(prefix="ctr-python-") as folder, suppress(UvError):
        run_uv(["python", "find", version], cwd=_stand_in(Path(folder), version))
        return True
    try:
        return bool(run_uv(["python", "list", "--only-downloads", "--all-versions", version], cwd=Path("/")).strip())
    except UvError:
        if find_uv() is None:
            raise
        return False  # a version that uv has never heard of, such as one built by hand


def check_packages(plan: EnvironmentPlan) -> None:
    """Look every package up without installing it.

    Raises:
        MissingPackagesError: naming those that are gone.
        MissingPythonError: the Python can be had nowhere.
        UvError: uv is not installed.
    """
    with TemporaryDirectory(prefix="ctr-environment-") as folder:
        _make(plan, Path(folder))
        _install(plan, Path(folder), "--dry-run")


def rebuild_environment(plan: EnvironmentPlan, cache: Path) -> RebuiltEnvironment:
    """Return the environment, built first where it is not there; of several builders one works and the others wait.

    Args:
        plan: what it must hold.
        cache: folder of all such environments.

    Raises:
        MissingPackagesError: naming packages that can be had nowhere.
        MissingPythonError: the Python can be had nowhere.
        UvError: uv is not installed.
        TrackingError: what was installed is not what was asked for.
    """
    cache.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(cache / f"{plan.key[:32]}.lock"):
        return find_environment(plan, cache) or _build(plan, cache / plan.key[:32])


def _build(plan: EnvironmentPlan, folder: Path) -> RebuiltEnvironment:
    # Without its stamp a folder is half-built, and begun anew.
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    _make(plan, folder)
    _install(plan, folder)
    missing = _install_tools(plan, folder)
    built = RebuiltEnvironment(folder / _VENV, missing)
    lacking = _lacking(plan, built)
    if lacking:
        raise TrackingError(f"the rebuilt environment {folder} lacks {', '.join(lacking)}; delete it and try again.")
    stamp = {"format": FORMAT, "key": plan.key, "python_version": plan.python_version, "missing_tools": missing}
    replace_whole(folder / STAMP_FILE, canonical_json(stamp))
    return built


def _make(plan: EnvironmentPlan, folder: Path) -> None:
    version = plan.python_version
    try:
        python = _own_python(version) or version
        run_uv(["venv", "--python", python, "--no-project", _VENV], cwd=_stand_in(folder, version))
    except UvError as error:
        if find_uv() is None:
            raise
        raise MissingPythonError(version, error) from error


def _own_python(version: str) -> str | None:
    """Return the Python that this environment was made from, where it has the version."""
    return getattr(sys, "_base_executable", sys.executable) if platform.python_version() == version else None


def _stand_in(folder: Path, version: str) -> Path:
    """Return the folder, in which version managers know which Python is meant."""
    (folder / ".python-version").write_text(f"{version}\n", encoding="utf-8")
    return folder


def _install(plan: EnvironmentPlan, folder: Path, *more: str) -> None:
    gone: list[str] = []
    said: list[UvError] = []
    for lines, rules in ((plan.locked, ("--require-hashes",)), (plan.other, ())):
        for error, names in _failures(plan, lines, folder, *rules, *more):
            said.append(error)
            gone += names
    if said:
        raise MissingPackagesError(gone, str(said[0])) from said[0]


def _install_tools(plan: EnvironmentPlan, folder: Path) -> tuple[str, ...]:
    """Install what the lock does not name, as far as it can be had, and return the rest."""
    gone: set[str] = set()
    for _, names in _failures(plan, plan.tools, folder):
        gone.update(names or plan.tools)
    return tuple(tool for tool in plan.tools if tool in gone)


def _failures(
    plan: EnvironmentPlan, lines: Sequence[str], folder: Path, *rules: str
) -> Iterator[tuple[UvError, tuple[str, ...]]]:
    """Install requirements; yield each failure with those that it names, and go on without them.

    uv names the first one that cannot be had: the others are found by asking again.
    """
    while lines:
        try:
            _pip(plan, lines, folder, *rules)
        except UvError as error:
            gone = _gone(error.said, lines)
            yield error, tuple(gone.values())
            lines = [line for line in lines if gone and _name(line) not in gone]
        else:
            return


def _pip(plan: EnvironmentPlan, lines: Iterable[str], folder: Path, *rules: str) -> None:
    requirements = folder / "requirements.txt"
    requirements.write_text("\n".join(lines) + "\n", encoding="utf-8")
    indexes = [word for index in plan.indexes for word in ("--index", index)]
    python = ["--python", f"{_VENV}/bin/python"]
    run_uv([*_INSTALL, *python, *indexes, *rules, "-r", requirements.name], cwd=folder)


def _gone(said: str, lines: Sequence[str]) -> dict[str, str]:
    """Return those of the requirements that an error of uv names, by their names."""
    wanted = {_name(line): line.partition(" --hash=")[0] for line in lines}
    named = {normalised(match[1]) for match in _NAMED.finditer(said)}
    changed = {normalised(match[1]) for match in _CHANGED.finditer(said)}
    # Where a file is not the locked one, the others that are named are merely beside it.
    return {
        name: f"{wanted[name]} (the index has another file than the lock: hash mismatch)" if changed else wanted[name]
        for name in sorted(wanted.keys() & (changed or named))
    }


def _name(line: str) -> str:
    return normalised(line.partition(" @ ")[0].partition("==")[0])


def _lacking(plan: EnvironmentPlan, built: RebuiltEnvironment) -> tuple[str, ...]:
    found = built.packages
    return tuple(f"{name}=={version}" for name, version in plan.required.items() if found.get(name) != version)


def _site_packages(folder: Path) -> Path:
    layout = sysconfig.get_path("purelib", "venv", vars={"base": str(folder), "platbase": str(folder)})
    own = Path(layout)
    # Of another Python than this one the folder has another name.
    return own if own.is_dir() else next(iter(sorted(folder.glob("lib/python*/site-packages"))), own)
