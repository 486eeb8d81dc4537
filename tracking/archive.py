"""The archive of a source snapshot: deterministic to write, verified while it is restored.

A `tar.gz` with the source tree under `tree/`, packages from elsewhere on Python's path under `site/`, and last
`snapshot.json`, which names every member with its digest. Owners, times and the order on disk are not in it: the
same files give the same bytes.
"""

import gzip
import hashlib
import io
import json
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, BinaryIO

from tracking.canonical import canonical_json, sha256_hex
from tracking.errors import InputError, TrackingError
from tracking.source_files import stays_inside

FORMAT = 1
PARTS = ("tree", "site")

_MANIFEST = "snapshot.json"
_LEVEL = 3  # half the time of gzip's default for a sixth more bytes
_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file of a snapshot.

    Attributes:
        part: "tree" or "site".
        path: Relative to the part, with `/`.
        kind: "file", "executable" or "link".
        sha256: Of the content; of a link, of its target's text.
        size: In bytes.
        status: Git's view when it was taken ("tracked", "modified", ...); empty where it was read from an archive.
    """

    part: str
    path: str
    kind: str
    sha256: str
    size: int
    status: str = ""

    @property
    def member(self) -> str:
        """Its name in the archive."""
        return f"{self.part}/{self.path}"


@dataclass(frozen=True, slots=True)
class RestoredSource:
    """A snapshot's files in a folder again, each verified.

    Attributes:
        root: The folder.
        files: What it holds.
        digest: The snapshot's digest.
        import_roots: The folders to put on Python's path, in order; each lies in the tree or in what was beside it.
    """

    root: Path
    files: tuple[SourceFile, ...]
    digest: str
    import_roots: tuple[Path, ...]


class DamagedSnapshotError(TrackingError):
    """A source archive is not what was written, or would write outside its folder."""

    def __init__(self, archive: Path, problem: str) -> None:
        super().__init__(
            f"source snapshot {archive}: {problem}; nothing was restored: fetch the archive again, or use another "
            "run's snapshot or the current code explicitly."
        )


def snapshot_digest(files: Iterable[SourceFile]) -> str:
    """The sha256 (hex) over the files' places, kinds and contents; independent of their order."""
    return sha256_hex(canonical_json(sorted([file.part, file.path, file.kind, file.sha256] for file in files)))


class ArchiveWriter:
    """Writes an archive into a binary file; `finish` makes it complete."""

    def __init__(self, file: BinaryIO) -> None:
        self._files: list[SourceFile] = []
        self._gzip = gzip.GzipFile(filename="", mode="wb", compresslevel=_LEVEL, fileobj=file, mtime=0)
        self._tar = tarfile.TarFile(fileobj=self._gzip, mode="w", format=tarfile.PAX_FORMAT)

    def add(self, file: SourceFile, content: bytes) -> None:
        """Add a file, or a link whose target is the content."""
        member = tarfile.TarInfo(file.member)
        member.mode = 0o755 if file.kind == "executable" else 0o644
        if file.kind == "link":
            member.type, member.linkname = tarfile.SYMTYPE, content.decode()
            self._tar.addfile(member)
        else:
            member.size = len(content)
            self._tar.addfile(member, io.BytesIO(content))
        self._files.append(file)

    def finish(self, import_roots: Sequence[str]) -> None:
        """Write the manifest and the archive's end."""
        manifest = {
            "format": FORMAT,
            "digest": snapshot_digest(self._files),
            "import_roots": list(import_roots),
            "files": [[file.part, file.path, file.kind, file.sha256, file.size] for file in self._files],
        }
        content = canonical_json(manifest)
        member = tarfile.TarInfo(_MANIFEST)
        member.size = len(content)
        self._tar.addfile(member, io.BytesIO(content))
        self._tar.close()
        self._gzip.close()


def restore_snapshot(archive: Path, into: Path, *, digest: str | None = None) -> RestoredSource:
    """Unpack a snapshot into a new folder, verifying every file; the folder appears whole or not at all.

    Args:
        archive: The `tar.gz`.
        into: Where to; it must not exist yet, or be an empty folder.
        digest: The snapshot digest that is expected; None takes the archive's own word.

    Raises:
        InputError: `into` holds something.
        DamagedSnapshotError: a file is missing, changed or not listed, a path leads outside, an import root is no
            folder of the snapshot, or another digest.
    """
    if into.exists() and (not into.is_dir() or any(into.iterdir())):
        raise InputError(f"folder {into} holds something, must be empty or new: give another folder to restore into.")
    into.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(dir=into.parent, prefix=f".{into.name}.partial-"))
    try:
        with tarfile.open(archive, "r|gz") as tar:
            unpacked = _unpack(archive, tar, scratch)
        files, roots = _verified(archive, unpacked, digest)
        _make_links(archive, unpacked.links, scratch)
        _check_roots(archive, roots, scratch)
        scratch.chmod(0o755)
        scratch.replace(into)
    except (OSError, EOFError, tarfile.TarError, zlib.error) as error:
        raise DamagedSnapshotError(archive, f"it cannot be unpacked ({error})") from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return RestoredSource(into, files, snapshot_digest(files), tuple(into / root for root in roots))


@dataclass(frozen=True, slots=True)
class _Unpacked:
    found: dict[str, tuple[str, str, int]]
    links: dict[str, str]
    manifest: bytes


def _unpack(archive: Path, tar: tarfile.TarFile, scratch: Path) -> _Unpacked:
    found: dict[str, tuple[str, str, int]] = {}
    links: dict[str, str] = {}
    for member in tar:
        if member.name == _MANIFEST and member.isreg():
            content = tar.extractfile(member)
            return _Unpacked(found, links, content.read() if content else b"")
        _check_name(archive, member.name, found)
        if member.issym():
            links[member.name] = member.linkname
            target = member.linkname.encode()
            found[member.name] = ("link", sha256_hex(target), len(target))
        elif member.isreg() and (source := tar.extractfile(member)):
            kind = "executable" if member.mode & 0o100 else "file"
            found[member.name] = (kind, *_copied(source, scratch / member.name, 0o755 if kind != "file" else 0o644))
        else:
            raise DamagedSnapshotError(archive, f"{member.name} is neither a file nor a link")
    raise DamagedSnapshotError(archive, f"it has no {_MANIFEST}")


def _check_name(archive: Path, name: str, found: dict[str, tuple[str, str, int]]) -> None:
    path = PurePosixPath(name)
    is_plain = str(path) == name and ".." not in path.parts and len(path.parts) > 1 and path.parts[0] in PARTS
    if not is_plain or "\0" in name:
        raise DamagedSnapshotError(archive, f"{name!r} leads out of its folder")
    if name in found or any(str(folder) in found for folder in path.parents):
        raise DamagedSnapshotError(archive, f"{name} is there twice")


def _copied(source: IO[bytes], target: Path, mode: int) -> tuple[str, int]:
    target.parent.mkdir(parents=True, exist_ok=True)
    digest, size = hashlib.sha256(), 0
    with target.open("xb") as file:
        while block := source.read(_BLOCK):
            digest.update(block)
            size += file.write(block)
    target.chmod(mode)
    return digest.hexdigest(), size


def _verified(archive: Path, unpacked: _Unpacked, digest: str | None) -> tuple[tuple[SourceFile, ...], tuple[str, ...]]:
    try:
        manifest = json.loads(unpacked.manifest)
        known = manifest["format"] == FORMAT
        files = tuple(SourceFile(*entry) for entry in manifest["files"]) if known else ()
        roots = tuple(str(root) for root in manifest["import_roots"]) if known else ()
        own_digest = manifest["digest"]
    except (ValueError, LookupError, TypeError) as error:
        raise DamagedSnapshotError(archive, f"its {_MANIFEST} cannot be read ({error})") from error
    if not known:
        raise DamagedSnapshotError(archive, f"its format is {manifest['format']}, this version reads {FORMAT}")
    listed = {file.member: (file.kind, file.sha256, file.size) for file in files}
    for name in sorted(listed.keys() | unpacked.found.keys()):
        if listed.get(name) != unpacked.found.get(name):
            raise DamagedSnapshotError(archive, f"{name} is not the file that was written")
    if snapshot_digest(files) != own_digest or (digest is not None and digest != own_digest):
        raise DamagedSnapshotError(archive, f"its digest is {snapshot_digest(files)}, must be {digest or own_digest}")
    return files, roots


def _check_roots(archive: Path, roots: Sequence[str], scratch: Path) -> None:
    """Refuse import roots that lead out of the snapshot, or to no folder of it; its parts may be empty."""
    for root in roots:
        path = PurePosixPath(root)
        is_plain = str(path) == root and ".." not in path.parts and root.partition("/")[0] in PARTS and "\0" not in root
        if not is_plain or not (scratch / root).resolve().is_relative_to(scratch.resolve() / path.parts[0]):
            raise DamagedSnapshotError(archive, f"its import root {root!r} leads out of its folder")
        if root not in PARTS and not (scratch / root).is_dir():
            raise DamagedSnapshotError(archive, f"its import root {root!r} is no folder that it holds")
    if len(set(roots)) != len(roots):
        raise DamagedSnapshotError(archive, "one of its import roots is there twice")


def _make_links(archive: Path, links: dict[str, str], scratch: Path) -> None:
    for name, target in links.items():
        _, _, path = name.partition("/")
        if not stays_inside(path, target):
            raise DamagedSnapshotError(archive, f"the link {name} leads out of its folder")
        link = scratch / name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(target)
    for name in links:  # a link through a link may still lead out, which only its real path shows
        if not (scratch / name).resolve().is_relative_to(scratch.resolve() / name.partition("/")[0]):
            raise DamagedSnapshotError(archive, f"the link {name} leads out of its folder")
