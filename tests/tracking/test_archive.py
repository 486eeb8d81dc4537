import gzip
import io
import tarfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from tracking.archive import ArchiveWriter, DamagedSnapshotError, SourceFile, restore_snapshot, snapshot_digest
from tracking.canonical import canonical_json, sha256_hex
from tracking.errors import InputError


def source(path: str, content: bytes, kind: str = "file", part: str = "tree") -> tuple[SourceFile, bytes]:
    return SourceFile(part, path, kind, sha256_hex(content), len(content)), content


def archive_of(folder: Path, *files: tuple[SourceFile, bytes], roots: Sequence[str] = ("tree",)) -> Path:
    path = folder / "source.tar.gz"
    with path.open("wb") as raw:
        writer = ArchiveWriter(raw)
        for file, content in files:
            writer.add(file, content)
        writer.finish(roots)
    return path


def forged(folder: Path, members: Sequence[tuple[tarfile.TarInfo, bytes]]) -> Path:
    """An archive with any members at all, whose manifest agrees with each of them."""
    path = folder / "forged.tar.gz"
    files = []
    with tarfile.open(path, "w:gz") as archive:
        for member, content in members:
            member.size = 0 if member.issym() else len(content)
            archive.addfile(member, io.BytesIO(content))
            part, _, name = member.name.partition("/")
            kind = "link" if member.issym() else "file"
            data = member.linkname.encode() if member.issym() else content
            files.append(SourceFile(part, name, kind, sha256_hex(data), len(data)))
        manifest = canonical_json(
            {
                "format": 1,
                "digest": snapshot_digest(files),
                "import_roots": [],
                "files": [[file.part, file.path, file.kind, file.sha256, file.size] for file in files],
            }
        )
        last = tarfile.TarInfo("snapshot.json")
        last.size = len(manifest)
        archive.addfile(last, io.BytesIO(manifest))
    return path


def link(name: str, target: str) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = tarfile.SYMTYPE, target
    return member


def test_a_snapshot_comes_back_whole(tmp_path: Path) -> None:
    files = (source("a.py", b"x = 1\n"), source("p/b.py", b"", part="site"), source("run.sh", b"", "executable"))
    restored = restore_snapshot(archive_of(tmp_path, *files, roots=("tree", "site")), tmp_path / "into")
    assert restored.files == tuple(file for file, _ in files)
    assert restored.import_roots == (tmp_path / "into" / "tree", tmp_path / "into" / "site")
    assert (tmp_path / "into" / "tree" / "a.py").read_bytes() == b"x = 1\n"


def test_an_empty_folder_is_taken_and_any_other_is_refused(tmp_path: Path) -> None:
    archive = archive_of(tmp_path, source("a.py", b""))
    (tmp_path / "empty").mkdir()
    restore_snapshot(archive, tmp_path / "empty")
    with pytest.raises(InputError, match=r"^folder .*empty holds something, must be empty or new: give another"):
        restore_snapshot(archive, tmp_path / "empty")
    with pytest.raises(InputError, match="holds something"):
        restore_snapshot(archive, archive)


def test_another_digest_than_the_expected_is_refused(tmp_path: Path) -> None:
    archive = archive_of(tmp_path, source("a.py", b""))
    with pytest.raises(DamagedSnapshotError, match=r"its digest is [0-9a-f]{64}, must be 00; nothing was restored"):
        restore_snapshot(archive, tmp_path / "into", digest="00")
    assert not (tmp_path / "into").exists()


@pytest.mark.parametrize("where", [0.1, 0.5, 0.95])
def test_a_damaged_archive_restores_nothing(tmp_path: Path, where: float) -> None:
    archive = archive_of(tmp_path, source("a.py", bytes(range(256)) * 20), source("b.py", b"y = 1\n"))
    data = bytearray(archive.read_bytes())
    data[int(len(data) * where)] ^= 0xFF
    archive.write_bytes(data)
    with pytest.raises(DamagedSnapshotError, match="nothing was restored: fetch the archive again"):
        restore_snapshot(archive, tmp_path / "into")
    assert [path.name for path in tmp_path.iterdir()] == ["source.tar.gz"]


def test_a_truncated_or_missing_archive_restores_nothing(tmp_path: Path) -> None:
    archive = archive_of(tmp_path, source("a.py", b"x" * 10_000))
    archive.write_bytes(archive.read_bytes()[:40])
    with pytest.raises(DamagedSnapshotError, match="it cannot be unpacked"):
        restore_snapshot(archive, tmp_path / "into")
    with pytest.raises(DamagedSnapshotError, match="No such file"):
        restore_snapshot(tmp_path / "none.tar.gz", tmp_path / "into")


def test_an_archive_without_its_manifest_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        archive.addfile(tarfile.TarInfo("tree/a.py"), io.BytesIO(b""))
    with pytest.raises(DamagedSnapshotError, match=r"it has no snapshot\.json"):
        restore_snapshot(path, tmp_path / "into")


@pytest.mark.parametrize(
    ("manifest", "message"),
    [
        (b"{", r"its snapshot\.json cannot be read"),
        (b"[]", r"its snapshot\.json cannot be read"),
        (b'{"format":2,"digest":"","files":[],"import_roots":[]}', "its format is 2, this version reads 1"),
        (b'{"format":1,"digest":"","files":[],"import_roots":[]}', "tree/a.py is not the file that was written"),
        (
            canonical_json(
                {
                    "format": 1,
                    "digest": "0",
                    "import_roots": [],
                    "files": [["tree", "a.py", "file", sha256_hex(b""), 0]],
                }
            ),
            "its digest is [0-9a-f]{64}, must be 0;",
        ),
    ],
)
def test_a_manifest_that_does_not_fit_is_refused(tmp_path: Path, manifest: bytes, message: str) -> None:
    path = tmp_path / "a.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        archive.addfile(tarfile.TarInfo("tree/a.py"), io.BytesIO(b""))
        member = tarfile.TarInfo("snapshot.json")
        member.size = len(manifest)
        archive.addfile(member, io.BytesIO(manifest))
    with pytest.raises(DamagedSnapshotError, match=message):
        restore_snapshot(path, tmp_path / "into")


@pytest.mark.parametrize(
    "name", ["../evil.py", "tree/../../evil.py", "/etc/evil", "tree//a", "other/a.py", "tree", "./tree/a", "tree/a/.."]
)
def test_a_path_out_of_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    archive = forged(tmp_path, [(tarfile.TarInfo(name), b"x")])
    with pytest.raises(DamagedSnapshotError, match="leads out of its folder; nothing was restored"):
        restore_snapshot(archive, tmp_path / "deep" / "into")
    assert list((tmp_path / "deep").iterdir()) == []
    assert not (tmp_path / "evil.py").exists()


@pytest.mark.parametrize("target", ["/etc/passwd", "../../outside", "../site/a", "a/../../.."])
def test_a_link_out_of_the_folder_is_refused(tmp_path: Path, target: str) -> None:
    archive = forged(tmp_path, [(link("tree/l", target), b"")])
    with pytest.raises(DamagedSnapshotError, match="the link tree/l leads out of its folder"):
        restore_snapshot(archive, tmp_path / "into")


def test_a_link_that_leads_out_through_another_link_is_refused(tmp_path: Path) -> None:
    members = [(link("tree/a/b/up", "../.."), b""), (link("tree/a/b/out", "up/../../x"), b"")]
    with pytest.raises(DamagedSnapshotError, match="the link tree/a/b/out leads out of its folder"):
        restore_snapshot(forged(tmp_path, members), tmp_path / "into")


def test_a_file_through_a_link_is_refused(tmp_path: Path) -> None:
    members = [(link("tree/l", "sub"), b""), (tarfile.TarInfo("tree/l/a.py"), b"x")]
    with pytest.raises(DamagedSnapshotError, match=r"tree/l/a\.py is there twice"):
        restore_snapshot(forged(tmp_path, members), tmp_path / "into")


def test_a_file_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    members = [(tarfile.TarInfo("tree/a.py"), b"x"), (tarfile.TarInfo("tree/a.py"), b"y")]
    with pytest.raises(DamagedSnapshotError, match=r"tree/a\.py is there twice"):
        restore_snapshot(forged(tmp_path, members), tmp_path / "into")


def test_anything_but_files_and_links_is_refused(tmp_path: Path) -> None:
    device = tarfile.TarInfo("tree/null")
    device.type = tarfile.CHRTYPE
    with pytest.raises(DamagedSnapshotError, match="tree/null is neither a file nor a link"):
        restore_snapshot(forged(tmp_path, [(device, b"")]), tmp_path / "into")


def test_the_archives_own_header_carries_no_time_and_no_name(tmp_path: Path) -> None:
    header = archive_of(tmp_path, source("a.py", b"")).read_bytes()[:10]
    assert header[3:8] == bytes(5)
    assert gzip.decompress(archive_of(tmp_path).read_bytes())
