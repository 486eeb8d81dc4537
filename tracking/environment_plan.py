"""What a virtual environment must hold to be what a run had: from its lock and the list of what was installed."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tracking.canonical import canonical_json, sha256_hex
from tracking.environment import IN_TREE, normalised
from tracking.lock_file import LockedPackage, locked_packages
from tracking.secrets import redact_url

_PUBLIC_INDEX: Final = "https://pypi.org/simple"


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
        carried: names of packages whose code the source snapshot holds.
        unobtainable: needed packages that came from no index and are kept nowhere, in words: an index is never asked
            for them, as what it has under such a name is another's.
        lost_tools: the same of packages that the lock does not name; they are left out.
    """

    python_version: str
    locked: tuple[str, ...]
    other: tuple[str, ...]
    tools: tuple[str, ...]
    indexes: tuple[str, ...]
    carried: tuple[str, ...] = ()
    unobtainable: tuple[str, ...] = ()
    lost_tools: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """The digest of what is to be installed, 64 hexadecimal digits."""
        parts = (self.locked, self.other, self.tools, self.indexes, self.unobtainable)
        return sha256_hex(canonical_json([self.python_version, *parts]))

    @property
    def required(self) -> Mapping[str, str]:
        """Version by name of the packages that the environment must have; those from a URL are left out."""
        lines = (line.partition(" ")[0] for line in (*self.locked, *self.other) if " @ " not in line)
        return dict(line.split("==", 1) for line in lines)


def plan_environment(
    python_version: str,
    packages: Mapping[str, str],
    lock: Path | None,
    *,
    carried: Collection[str] = (),
    origins: Mapping[str, str] | None = None,
) -> EnvironmentPlan:
    """Say what an environment must hold to be what a run had.

    Args:
        python_version: that ran it.
        packages: name to version of what was installed.
        lock: its lock file; None where there was none, and then every installed package counts.
        carried: packages whose code the source snapshot holds: they are not installed.
        origins: by name, where a package came from that no index gave (`Package.origin`).

    Raises:
        InputError: the lock file cannot be read.
    """
    entries = locked_packages(lock) if lock is not None else ()
    sorting = _Sorting(entries, frozenset(carried), has_lock=lock is not None)
    found: dict[str, list[str]] = {}
    indexes: set[str] = set()
    for name, version in sorted(packages.items()):
        kind, line, index = sorting.place(name, version, (origins or {}).get(name))
        found.setdefault(kind, []).append(line)
        indexes |= {index} if index is not None else set()
    by_kind = {kind: tuple(lines) for kind, lines in found.items()}
    return EnvironmentPlan(
        python_version,
        locked=by_kind.get("locked", ()),
        other=by_kind.get("other", ()),
        tools=by_kind.get("tools", ()),
        indexes=tuple(sorted(indexes - {_PUBLIC_INDEX})),
        carried=by_kind.get("carried", ()),
        unobtainable=by_kind.get("unobtainable", ()),
        lost_tools=by_kind.get("lost_tools", ()),
    )


class _Sorting:
    """Which field of a plan an installed package belongs to."""

    def __init__(self, entries: Collection[LockedPackage], carried: Collection[str], *, has_lock: bool) -> None:
        self._by_place = {(normalised(entry.name), entry.version): entry for entry in entries}
        self._names = {name for name, _ in self._by_place}
        self._archives = {normalised(entry.name) for entry in entries if entry.is_archive}
        local = {normalised(entry.name) for entry in entries if entry.is_local}
        self._carried = (local | set(carried)) - self._archives
        self._has_lock = has_lock

    def place(self, name: str, version: str, origin: str | None) -> tuple[str, str, str | None]:
        """Return the field, the line in it, and the index that has it."""
        entry = self._by_place.get((name, version))
        is_needed = name in self._names or not self._has_lock
        if name in self._carried or (origin or "").startswith(IN_TREE):
            return "carried", name, None
        if name in self._archives:
            return "unobtainable", f"{name}=={version} (from a file beside the project)", None
        if entry is not None and _is_as_locked(entry, origin):
            return "locked" if entry.url is None else "other", entry.requirement, entry.index
        if origin is not None:
            return "unobtainable" if is_needed else "lost_tools", f"{name}=={version} (from {origin})", None
        return "other" if is_needed else "tools", f"{name}=={version}", None


def _is_as_locked(entry: LockedPackage, origin: str | None) -> bool:
    """Whether a package that is there in the locked version came from where the lock says."""
    if origin is None:
        return True  # from an index, or of a run that did not look
    place, _, digest = origin.partition("#sha256=")
    if digest and f"sha256:{digest}" in entry.hashes:
        return True  # the very file, fetched by hand
    if entry.url is None:
        return False
    if entry.url.startswith("git+"):
        commit = entry.url.partition("#")[0].rpartition("@")[2]
        return place.startswith("git+") and f"@{commit}" in place
    return place.partition("#")[0] == redact_url(entry.url).partition("#")[0]
