"""Virtual environments rebuilt from what a run recorded: its lock, its Python, the packages that were installed.

Each is kept under the digest of exactly that, and is built once. The wheels of locked packages must have the digests
that the lock names, and the installed files those that the wheels list. Before each use the places, sizes and
modification times of all files are compared with what they were when it was built; where one differs, it is built anew.
Contents are not read again: the modification times are trusted (see `tracking.environment_proof`).
"""

import json
import platform
import re
import shutil
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import filelock

from tracking.aside import replace_whole
from tracking.canonical import canonical_json
from tracking.environment import installed_packages, normalised
from tracking.environment_plan import EnvironmentPlan
from tracking.environment_proof import fingerprint, installed_files, prove_packages
from tracking.errors import TrackingError
from tracking.uv import UvError, find_uv, run_uv

FORMAT: Final = 2
STAMP_FILE: Final = "environment.json"
_VENV: Final = "venv"
# Longer than a build takes, whose every command of uv ends within half an hour.
_LONGEST_WAIT_S: Final = 1_800
_NAMED: Final = re.compile(r"\b([A-Za-z0-9][\w.-]*)(?:==| @ )")
_CHANGED: Final = re.compile(r"Hash mismatch for `([A-Za-z0-9][\w.-]*)")
INDEX_REMEDY: Final = "give an index that has them (UV_DEFAULT_INDEX)"
ORIGIN_REMEDY: Final = "they came from no index and are kept nowhere: install them here from where they came"
_INSTALL: Final = ("pip", "install", "--no-deps")


class MissingPackagesError(TrackingError):
    """Packages of an environment can be had nowhere any more."""

    def __init__(self, names: Sequence[str], said: str, *, remedy: str = INDEX_REMEDY) -> None:
        named = ", ".join(names) or said
        super().__init__(
            f"packages of the recorded environment cannot be installed: {named}; {remedy}, or use the current "
            "environment explicitly with --use-current-env."
        )
        self.names = tuple(names)


class MissingPythonError(TrackingError):
    """The Python of an environment can be had nowhere."""

    def __init__(self, version: str, cause: UvError) -> None:
        super().__init__(
            f"Python {version} is not on this machine and cannot be fetched: install it, or use the current one "
            f"explicitly with --use-current-env ({cause})."
        )


@dataclass(frozen=True, slots=True)
class RebuiltEnvironment:
    """An environment that is there.

    Attributes:
        folder: the virtual environment.
        missing_tools: packages that the lock does not name and that could not be installed, or came from no index.
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
    """Return the environment where it was built before and no file of it was touched since; else None."""
    folder = cache / plan.key[:32]
    try:
        stamp = json.loads((folder / STAMP_FILE).read_bytes())
        if stamp["format"] != FORMAT or stamp["key"] != plan.key:
            return None
        found = RebuiltEnvironment(folder / _VENV, (*stamp["missing_tools"], *plan.lost_tools))
        is_same = stamp["fingerprint"] == fingerprint(found.folder, found.site_packages)
    except (OSError, ValueError, LookupError, TypeError):
        return None
    return found if is_same else None


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
    _refuse_unobtainable(plan)
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
        DamagedPackageError: an installed file is not what its wheel lists.
        TrackingError: what was installed is not what was asked for, or another process builds for too long.
    """
    _refuse_unobtainable(plan)
    cache.mkdir(parents=True, exist_ok=True)
    folder = cache / plan.key[:32]
    lock = filelock.FileLock(cache / f"{folder.name}.lock", timeout=_LONGEST_WAIT_S)
    try:
        with lock:
            return find_environment(plan, cache) or _build(plan, folder)
    except filelock.Timeout as error:
        raise TrackingError(
            f"environment {folder} has been locked by another process for {_LONGEST_WAIT_S} s, the most that is "
            "waited: let that process finish or end it, then try again."
        ) from error


def _refuse_unobtainable(plan: EnvironmentPlan) -> None:
    if plan.unobtainable:
        raise MissingPackagesError(plan.unobtainable, "", remedy=ORIGIN_REMEDY)


def _build(plan: EnvironmentPlan, folder: Path) -> RebuiltEnvironment:
    # Without its stamp a folder is half-built, and begun anew.
    (folder / STAMP_FILE).unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    _make(plan, folder)
    beside = installed_files(_site_packages(folder / _VENV))
    _install(plan, folder)
    missing = _install_tools(plan, folder)
    built = RebuiltEnvironment(folder / _VENV, (*missing, *plan.lost_tools))
    lacking = _lacking(plan, built)
    if lacking:
        raise TrackingError(f"the rebuilt environment {folder} lacks {', '.join(lacking)}; delete it and try again.")
    # Taken before the files are read, so that a change while they are is noticed at the next use.
    taken = fingerprint(built.folder, built.site_packages)
    prove_packages(built.site_packages, beside=beside)
    stamp = {"format": FORMAT, "key": plan.key, "python_version": plan.python_version, "fingerprint": taken}
    replace_whole(folder / STAMP_FILE, canonical_json({**stamp, "missing_tools": missing}))
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
