"""The machine and the libraries a run was made with.

What decides about results is small: the Python version and the versions of the libraries, as the lock file fixes
them. Everything else is recorded, so that a difference can be named, and never digested.
"""

import getpass
import importlib.metadata
import json
import os
import platform
import re
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from tracking.canonical import canonical_json, sha256_hex
from tracking.cores import usable_cores
from tracking.secrets import redact, redact_url

LOCK_NAME = "uv.lock"
# How the origin of an editable package begins whose folder is part of the source tree.
IN_TREE = "-e ./"
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)
# Variables that can change a result or its spelling.
CHANCE_VARIABLES = (
    "PYTHONHASHSEED",
    "TZ",
    "LANG",
    "LC_ALL",
    "LC_NUMERIC",
    "NPY_DISABLE_CPU_FEATURES",
    "CUDA_VISIBLE_DEVICES",
    "PYTHONPATH",
)

_LOCKED_PACKAGE = re.compile(r'^\[\[package\]\]\nname = "([^"]+)"\nversion = "([^"]+)"', re.MULTILINE)

_METADATA_FOLDER = re.compile(r"(?P<name>[^-]+)(?:-(?P<version>[^-]+))?(?:-py[\d.]+)?\.(?:dist|egg)-info$")


@dataclass(frozen=True, slots=True)
class Package:
    """An installed distribution.

    Attributes:
        name: Normalised (`scikit-learn`).
        version: Such as "1.7.2".
        origin: Where it came from if from no package index, as in a requirements file, without credentials:
            "git+https://host/repo@commit", "https://host/x.whl#sha256=...", "file:///folder", "-e file:///folder";
            "-e ./folder" inside the source tree. None of an index.
    """

    name: str
    version: str
    origin: str | None = None


@dataclass(frozen=True, slots=True)
class Lock:
    """A lock file and how far the installed packages agree with it.

    Attributes:
        path: The lock file.
        sha256: Of its content.
        drift: Each installed package whose version it does not have, in words; empty when all agree.
    """

    path: Path
    sha256: str
    drift: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Environment:
    """What a run was made with.

    Attributes:
        python_version: Such as "3.12.1".
        implementation: Such as "CPython".
        platform: The operating system, its release and the machine's architecture.
        cpu: The processor's model.
        n_cores: Processor cores that this process may use.
        gpus: The GPUs' models; empty without one.
        host: The machine's name.
        user: Who runs it.
        timezone: The time zone's name in force.
        variables: Those of `THREAD_VARIABLES` and `CHANCE_VARIABLES` that are set.
        argv: The command's arguments, secrets redacted.
        packages: Installed distributions, sorted by name.
        lock: The nearest lock file; None without one.
    """

    python_version: str
    implementation: str
    platform: str
    cpu: str
    n_cores: int
    gpus: tuple[str, ...]
    host: str
    user: str
    timezone: str
    variables: Mapping[str, str]
    argv: tuple[str, ...]
    packages: tuple[Package, ...]
    lock: Lock | None

    @property
    def is_locked(self) -> bool:
        """Whether a lock file fixes the installed versions, all of them."""
        return self.lock is not None and not self.lock.drift

    @property
    def lock_digest(self) -> str:
        """What the libraries are, as 64 hexadecimal digits: part of a run's identity.

        The lock file's own digest where the installed packages agree with it, so that an environment rebuilt from
        it has the same. Where some differ, they count too; without a lock file all installed packages do.
        """
        return lock_digest(self.lock, self.packages)


def lock_digest(lock: Lock | None, packages: Sequence[Package]) -> str:
    """What the libraries are; see `Environment.lock_digest`."""
    if lock is None:
        return sha256_hex(canonical_json([[package.name, package.version] for package in packages]))
    return sha256_hex(canonical_json([lock.sha256, lock.drift])) if lock.drift else lock.sha256


def capture_environment(root: Path, *, argv: Sequence[str], must_be_locked: Sequence[str] = ()) -> Environment:
    """Look at this process's machine and libraries.

    Args:
        root: The source tree's root: the lock file is looked for here and above.
        argv: The command's arguments.
        must_be_locked: Distributions whose absence from the lock file counts as drift. Others may be missing from
            it: a virtual environment also holds tools.
    """
    packages = installed_packages(root=root)
    return Environment(
        python_version=platform.python_version(),
        implementation=platform.python_implementation(),
        platform=f"{platform.system()} {platform.release()} {platform.machine()}",
        cpu=_cpu_model(Path("/proc/cpuinfo")),
        n_cores=usable_cores(),
        gpus=gpu_models(),
        host=platform.node(),
        user=_user(),
        timezone="/".join(time.tzname),
        variables={name: os.environ[name] for name in (*THREAD_VARIABLES, *CHANCE_VARIABLES) if name in os.environ},
        argv=redact(argv),
        packages=packages,
        lock=find_lock(root, packages, must_be_locked=must_be_locked),
    )


def installed_packages(path: Sequence[str] | None = None, *, root: Path | None = None) -> tuple[Package, ...]:
    """The distributions on Python's path, sorted by name; of two with one name the first, which is imported.

    The names of their metadata folders tell name and version; parsing the metadata would cost ten times as much.

    Args:
        path: Folders to look in; None for this process's own.
        root: The source tree's root: editable packages inside it are told apart from those elsewhere.
    """
    found: dict[str, Package] = {}
    for entry in sys.path if path is None else path:
        folder = Path(entry)
        for child in sorted(folder.glob("*-info")) if folder.is_dir() else ():
            if (match := _METADATA_FOLDER.match(child.name)) and normalised(match["name"]) not in found:
                name, version = normalised(match["name"]), match["version"] or _written_version(child)
                found[name] = Package(name, version, _origin(child, root))
    return tuple(package for _, package in sorted(found.items()))


def find_lock(root: Path, packages: Sequence[Package], *, must_be_locked: Sequence[str] = ()) -> Lock | None:
    """The nearest `uv.lock` at or above a folder, compared with the installed packages."""
    for folder in (root, *root.parents):
        path = folder / LOCK_NAME
        if path.is_file():
            return read_lock(path, packages, must_be_locked=must_be_locked)
    return None


def read_lock(path: Path, packages: Sequence[Package], *, must_be_locked: Sequence[str] = ()) -> Lock:
    """A lock file, compared with installed packages."""
    content = path.read_bytes()
    return Lock(path, sha256_hex(content), _drift(content.decode(errors="replace"), packages, must_be_locked))


def normalised(name: str) -> str:
    """A distribution's name in the packaging index's spelling."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _drift(lock: str, packages: Sequence[Package], must_be_locked: Sequence[str]) -> tuple[str, ...]:
    locked: dict[str, set[str]] = {}
    for name, version in _LOCKED_PACKAGE.findall(lock.replace("\r\n", "\n")):
        locked.setdefault(name, set()).add(version)
    needed = {normalised(name) for name in must_be_locked}
    return tuple(
        f"{package.name} {package.version} ({LOCK_NAME}: {', '.join(sorted(locked.get(package.name, {'none'})))})"
        for package in packages
        if (package.name in locked or package.name in needed) and package.version not in locked.get(package.name, ())
    )


def _origin(metadata: Path, root: Path | None) -> str | None:
    """Where a package came from by its `direct_url.json` (PEP 610), which only those that no index gave have."""
    try:
        told = json.loads((metadata / "direct_url.json").read_bytes())
        url = redact_url(told["url"])
    except OSError:
        return None
    except (ValueError, LookupError, TypeError):
        return "unknown: direct_url.json cannot be read"
    return _as_required(told, url, root)


def _as_required(told: Mapping[str, Any], url: str, root: Path | None) -> str:
    if told.get("dir_info", {}).get("editable"):
        folder, tree = Path(unquote(urlsplit(url).path)), root.resolve() if root else None
        if tree is None or not folder.is_relative_to(tree):
            return f"-e {url}"
        return f"{IN_TREE}{folder.relative_to(tree).as_posix()}"
    if version := told.get("vcs_info"):
        url = f"{version.get('vcs', 'vcs')}+{url}@{version.get('commit_id', 'unknown')}"
    archive = told.get("archive_info", {})
    digest = archive.get("hashes", {}).get("sha256") or archive.get("hash", "").removeprefix("sha256=")
    place = f"{url}#subdirectory={told['subdirectory']}" if told.get("subdirectory") else url
    return f"{place}#sha256={digest}" if digest else place


def _written_version(folder: Path) -> str:
    return importlib.metadata.Distribution.at(folder).metadata["Version"] or "unknown"


def _cpu_model(cpuinfo: Path) -> str:
    try:
        text = cpuinfo.read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    match = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return match[1].strip() if match else platform.processor() or platform.machine()


def gpu_models(gpus: Path = Path("/proc/driver/nvidia/gpus")) -> tuple[str, ...]:
    """The models of the machine's GPUs; empty without one."""
    found = sorted(gpus.glob("*/information"))
    texts = (file.read_text(encoding="utf-8", errors="replace") for file in found)
    return tuple(match[1].strip() for text in texts if (match := re.search(r"^Model:\s*(.+)$", text, re.MULTILINE)))


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user number without a name
        return f"uid {os.getuid()}"
