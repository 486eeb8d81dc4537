import dataclasses
import json
import os
import tarfile
from pathlib import Path

import pytest

from tests.tracking.repository import Repository, snap, statuses
from tracking import code as code_module
from tracking.archive import restore_snapshot
from tracking.aside import StoreError
from tracking.canonical import canonical_json, sha256_hex
from tracking.code import SourceTree, code_digest, code_files
from tracking.snapshot import SourceSnapshot, take_snapshot
from tracking.source_files import SnapshotLimits

KEY = "AKIA" + "QWERTYUIOPASDFGH"


def reasons(snapshot: SourceSnapshot) -> dict[str, str]:
    return {file.path: file.reason for file in snapshot.left_out}


def test_tracked_files_are_kept_as_they_are_with_untracked_source(repository: Repository, out: Path) -> None:
    repository.commit(a="x = 1\n", b="y = 1\n", gone="z = 1\n")
    repository.write("a.py", "x = 2\n")
    repository.git("add", "a.py")
    repository.write("a.py", "x = 3\n")
    repository.write("new.py", "n = 1\n")
    (repository.root / "gone.py").unlink()
    snapshot = snap(repository, out)
    assert statuses(snapshot) == {"a.py": "modified", "b.py": "tracked", "new.py": "untracked"}
    assert (restore_snapshot(snapshot.archive, out / "r").root / "tree" / "a.py").read_text() == "x = 3\n"


def test_other_untracked_files_are_recorded_by_name_and_digest(repository: Repository, out: Path) -> None:
    repository.commit(a="")
    repository.write("data.parquet", b"PAR1")
    repository.write("big.json", b" " * 1_000_001)
    snapshot = snap(repository, out)
    assert list(statuses(snapshot)) == ["a.py"]
    left = {file.path: file for file in snapshot.left_out}
    assert left["data.parquet"].sha256 == sha256_hex(b"PAR1")
    assert (left["data.parquet"].size, left["big.json"].size) == (4, 1_000_001)
    assert reasons(snapshot)["big.json"] == "untracked, and no source file of at most 1 MB"


def test_ignored_files_caches_and_environments_are_not_looked_at(repository: Repository, out: Path) -> None:
    repository.write(".gitignore", "secret.py\n")
    repository.commit(a="")
    for name in ("secret.py", "__pycache__/a.json", ".ctr/x.json", "env/pyvenv.cfg", "env/lib/x.py"):
        repository.write(name, "x")
    snapshot = snap(repository, out)
    assert sorted(statuses(snapshot)) == [".gitignore", "a.py"]
    assert snapshot.left_out == ()


def test_an_untracked_env_file_is_named_without_a_digest(repository: Repository, out: Path) -> None:
    repository.commit(a="")
    repository.write(".env", "X=1")
    (left,) = snap(repository, out).left_out
    assert (left.path, left.sha256) == (".env", None)


def test_the_same_files_give_the_same_archive_and_digest(repository: Repository, out: Path, tmp_path: Path) -> None:
    repository.commit(a="x = 1\n", sub__b="")
    first = snap(repository, out).archive.read_bytes()
    other = Repository(tmp_path / "deep" / "copy")
    other.write("sub/b.py", "")
    other.write("a.py", "x = 1\n")
    os.utime(other.root / "a.py", (1, 1))
    second = snap(other, out)
    assert second.archive.read_bytes() == first


@pytest.mark.parametrize("change", ["content", "name", "mode", "new"])
def test_any_difference_in_the_files_changes_the_digest(repository: Repository, out: Path, change: str) -> None:
    repository.commit(a="x = 1\n")
    before = snap(repository, out).digest
    match change:
        case "content":
            repository.write("a.py", "x = 2\n")
        case "name":
            (repository.root / "a.py").rename(repository.root / "b.py")
        case "mode":
            (repository.root / "a.py").chmod(0o755)
        case _:
            repository.write("new.py", "")
    assert snap(repository, out).digest != before


def test_a_snapshot_restores_to_the_same_files(repository: Repository, out: Path) -> None:
    repository.commit(a="x = 1\n", sub__b="y = 1\n")
    repository.write("日本 é.py", "z = 1\n")
    repository.write("run.sh", "#!/bin/sh\n").chmod(0o755)
    (repository.root / "link.py").symlink_to("sub/b.py")
    repository.git("add", "--all")
    snapshot = snap(repository, out)
    restored = restore_snapshot(snapshot.archive, out / "r", digest=snapshot.digest)
    assert restored.digest == snapshot.digest
    assert restored.import_roots == (out / "r" / "tree",)
    assert (restored.root / "tree" / "link.py").read_text() == "y = 1\n"
    assert (restored.root / "tree" / "run.sh").stat().st_mode & 0o100
    assert (restored.root / "tree" / "日本 é.py").read_text() == "z = 1\n"
    again = take_snapshot(SourceTree.find(restored.root / "tree"), out)
    assert again.digest == snapshot.digest


def test_the_archive_is_readable_with_ordinary_tools(repository: Repository, out: Path) -> None:
    repository.commit(a="x = 1\n")
    with tarfile.open(snap(repository, out).archive) as archive:
        assert archive.getnames() == ["tree/a.py", "snapshot.json"]
        assert {(member.mtime, member.uid, member.gid, member.uname) for member in archive} == {(0, 0, 0, "")}


def test_links_out_of_the_tree_are_left_out(repository: Repository, out: Path, tmp_path: Path) -> None:
    (tmp_path / "outside.py").write_text("x = 1\n")
    (repository.root / "up.py").symlink_to("../outside.py")
    (repository.root / "absolute.py").symlink_to(tmp_path / "outside.py")
    repository.commit()
    assert reasons(snap(repository, out)) == {
        "absolute.py": "the link leads out of the tree",
        "up.py": "the link leads out of the tree",
    }


def test_of_a_link_out_of_the_tree_that_steps_import_the_content_is_kept(
    repository: Repository, out: Path, tmp_path: Path
) -> None:
    (tmp_path / "outside.py").write_text("x = 1\n")
    repository.write("team/__init__.py", "")
    (repository.root / "team" / "costs.py").symlink_to(tmp_path / "outside.py")
    repository.commit()
    code = code_files(["team"], path=[str(repository.root)])
    snapshot = take_snapshot(SourceTree.find(repository.root), out, code=code)
    assert [(file.path, file.kind) for file in snapshot.files] == [
        ("team/__init__.py", "file"),
        ("team/costs.py", "file"),
    ]
    assert snapshot.left_out == ()
    restored = restore_snapshot(snapshot.archive, out / "r", digest=snapshot.digest)
    assert code_digest(code_files(["team"], path=[str(restored.root / "tree")])) == code_digest(code)


def test_outside_git_a_link_is_kept_and_a_pipe_is_not(tmp_path: Path, out: Path) -> None:
    folder = tmp_path / "plain"
    folder.mkdir()
    (folder / "a.py").write_text("")
    (folder / "link.py").symlink_to("a.py")
    os.mkfifo(folder / "pipe.py")
    snapshot = take_snapshot(SourceTree.find(folder), out)
    assert [(file.path, file.kind) for file in snapshot.files] == [("a.py", "file"), ("link.py", "link")]
    assert reasons(snapshot) == {"pipe.py": "it is no regular file"}


def test_a_name_that_is_not_utf8_is_left_out_by_an_escaped_name(repository: Repository, out: Path) -> None:
    (repository.root / os.fsdecode(b"\xff.py")).write_text("")
    snapshot = snap(repository, out)
    assert reasons(snapshot) == {"\\udcff.py": "its name is not UTF-8"}
    canonical_json(snapshot.to_record())


def test_a_large_tracked_file_is_recorded_by_digest_and_blob(repository: Repository, out: Path) -> None:
    repository.write("model.bin", b"x" * 2000)
    repository.commit(a="")
    (left,) = snap(repository, out, SnapshotLimits(kept_file=1000)).left_out
    assert left.reason == "larger than 1,000 bytes"
    assert left.blob == repository.git("rev-parse", "HEAD:model.bin")
    assert left.sha256 is not None


def test_source_goes_first_where_the_files_exceed_the_limit_in_all(repository: Repository, out: Path) -> None:
    repository.write("a.bin", b"x" * 900)
    repository.commit(z="y" * 900)
    snapshot = snap(repository, out, SnapshotLimits(kept_total=1000))
    assert list(statuses(snapshot)) == ["z.py"]
    assert reasons(snapshot) == {"a.bin": "the files exceed their limit in all"}


def test_untracked_source_beyond_its_limit_in_all_is_left_out(repository: Repository, out: Path) -> None:
    repository.write("a.py", "x" * 900)
    repository.write("b.py", "y" * 900)
    snapshot = snap(repository, out, SnapshotLimits(untracked_total=1000))
    assert list(statuses(snapshot)) == ["a.py"]
    assert reasons(snapshot) == {"b.py": "untracked source files exceed their limit in all"}


def test_much_that_is_left_out_is_counted_not_listed(repository: Repository, out: Path) -> None:
    for index in range(4):
        repository.write(f"{index}.bin", b"x" * 10)
    snapshot = snap(repository, out, SnapshotLimits(n_recorded=2, digested_total=15))
    assert [(file.path, file.size, file.sha256 is not None) for file in snapshot.left_out] == [
        ("0.bin", 10, True),
        ("1.bin", 10, False),
        ("2 more files", 20, False),
    ]


def test_outside_git_the_folders_source_is_the_snapshot(tmp_path: Path, out: Path) -> None:
    folder = tmp_path / "plain"
    for name in ("config.yaml", "features.py", ".hidden/x.py", "data.csv"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("x: 1\n")
    snapshot = take_snapshot(SourceTree.find(folder), out)
    assert statuses(snapshot) == {"config.yaml": "untracked", "features.py": "untracked"}
    assert list(reasons(snapshot)) == ["data.csv"]
    assert snapshot.git is None
    assert "is not in a git working tree" in snapshot.note


def test_a_walk_that_ends_early_says_so(tmp_path: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tracking.source_files.WALK_LIMIT", 2)
    monkeypatch.setattr("tracking.snapshot.WALK_LIMIT", 2)
    folder = tmp_path / "plain"
    folder.mkdir()
    for name in "abc":
        (folder / f"{name}.py").write_text("")
    assert reasons(take_snapshot(SourceTree.find(folder), out)) == {
        "the rest of the folder": "only its first 2 files were looked at"
    }


def test_a_file_that_cannot_be_read_is_named(
    repository: Repository, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository.commit(a="", b="")
    read = Path.read_bytes

    def refuse(path: Path) -> bytes:
        if path.name == "b.py":
            raise PermissionError(13, "Permission denied")
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", refuse)
    snapshot = snap(repository, out)
    assert list(statuses(snapshot)) == ["a.py"]
    assert reasons(snapshot) == {"b.py": "it cannot be read (Permission denied)"}


def test_a_recorded_file_that_cannot_be_read_has_no_digest(
    repository: Repository, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(path: Path) -> str:
        raise PermissionError(13, "Permission denied")

    repository.write("data.bin", b"1")
    monkeypatch.setattr("tracking.source_files.sha256_file", refused)
    (left,) = snap(repository, out).left_out
    assert (left.path, left.sha256) == ("data.bin", None)


def test_a_file_that_vanishes_is_named(repository: Repository, out: Path) -> None:
    repository.commit(a="", b="")
    tree = SourceTree.find(repository.root)
    state = code_module.git_state(tree)
    (repository.root / "b.py").unlink()
    assert reasons(take_snapshot(tree, out, state=state)) == {"b.py": "it vanished"}


def test_the_record_is_canonical_and_names_no_machine_path(repository: Repository, out: Path) -> None:
    repository.commit(a="x = 1\n")
    repository.write("data.bin", b"1")
    record = snap(repository, out).to_record()
    text = canonical_json(record)
    assert str(repository.root).encode() not in text
    assert json.loads(text)["files"][0]["path"] == "a.py"
    assert record["format"] == 1


def test_a_full_disk_is_one_line_and_leaves_nothing(
    repository: Repository, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository.commit(a="")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match=rf"^cannot write to {out}: no space left; free some space there"):
        snap(repository, out)
    assert list(out.iterdir()) == []


def test_a_snapshot_is_a_frozen_value(repository: Repository, out: Path) -> None:
    snapshot = snap(repository, out)
    with pytest.raises(dataclasses.FrozenInstanceError):
        snapshot.note = ""  # type: ignore[misc] # what the test is about
