import errno
import multiprocessing
import os
import signal
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest

from tracking.aside import StoreError, _is_abandoned, abandoned, written_aside
from tracking.folder_objects import FolderObjects

NOW_S = 2_000_000_000.0
BARRIER: Barrier


def put_numbered(root: str, number: int, *, has_links: bool) -> bool:
    with pytest.MonkeyPatch.context() as patch:
        if not has_links:
            without_links(patch)
        BARRIER.wait()
        return FolderObjects(Path(root)).put_if_absent("shared/key", f"{number:04d}".encode() * 50_000)


def use_barrier(barrier: Barrier) -> None:
    global BARRIER  # noqa: PLW0603 - a pool hands such a thing to its processes in no other way
    BARRIER = barrier


@pytest.mark.parametrize("has_links", [True, False])
def test_of_fifty_processes_exactly_one_wins_and_the_content_is_whole(tmp_path: Path, *, has_links: bool) -> None:
    context = multiprocessing.get_context("forkserver")
    barrier = context.Barrier(50)
    with ProcessPoolExecutor(50, context, initializer=use_barrier, initargs=(barrier,)) as pool:
        won = list(pool.map(partial(put_numbered, str(tmp_path), has_links=has_links), range(50)))
    assert won.count(True) == 1
    assert FolderObjects(tmp_path).read("shared/key") == f"{won.index(True):04d}".encode() * 50_000
    assert abandoned(tmp_path, now_s=NOW_S) == ()


def test_without_hard_links_a_taken_key_stays_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_links(monkeypatch)
    objects = FolderObjects(tmp_path)
    assert objects.put_if_absent("k", b"1")
    assert not objects.put_if_absent("k", b"2")
    assert objects.read("k") == b"1"
    assert list(objects.list()) == ["k"]


def test_a_key_taken_while_it_is_written_is_not_won(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    objects, other = FolderObjects(tmp_path), FolderObjects(tmp_path)
    fsync = os.fsync

    def overtaken(descriptor: int) -> None:
        monkeypatch.setattr(os, "fsync", fsync)
        other.put_if_absent("k", b"other")
        fsync(descriptor)

    for has_links in (True, False):
        if not has_links:
            without_links(monkeypatch)
        other.delete("k")
        monkeypatch.setattr(os, "fsync", overtaken)
        assert not objects.put_if_absent("k", b"mine")
        assert objects.read("k") == b"other"


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_one_line_with_the_remedy_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", full)
    objects = FolderObjects(tmp_path)
    with pytest.raises(
        StoreError, match=rf"^cannot write to {tmp_path}/\.tmp: no space left; free some space there, or give another"
    ):
        objects.put_if_absent("k", b"content")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(
        StoreError, match=r"^cannot write to .*/file/objects/\.tmp: Not a directory; check that the place"
    ):
        FolderObjects(tmp_path / "file" / "objects").put_if_absent("k", b"")


def test_an_unexpected_error_while_publishing_is_not_mistaken_for_missing_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(source: object, target: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "link", broken)
    with pytest.raises(StoreError, match="Input/output error"):
        FolderObjects(tmp_path).put_if_absent("k", b"")


def test_a_file_that_cannot_be_opened_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    objects = FolderObjects(tmp_path)
    objects.put_if_absent("k", b"")

    def refused(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(Path, "open", refused)
    with pytest.raises(StoreError, match=rf"^cannot read {tmp_path}/k: Permission denied; check"):
        objects.read("k")


def test_what_a_killed_writer_left_is_found_and_is_no_object(tmp_path: Path) -> None:
    root = tmp_path / "objects"
    (tmp_path / "source").mkdir()
    os.mkfifo(tmp_path / "source" / "pipe")
    context = multiprocessing.get_context("forkserver")
    process = context.Process(target=FolderObjects(root).put_if_absent, args=("k", tmp_path / "source" / "pipe"))
    process.start()
    with (tmp_path / "source" / "pipe").open("wb") as pipe:  # opens once the writer reads, and keeps it waiting
        pipe.write(b"half of it")
        pipe.flush()
        while not list(root.rglob(".*.tmp")):
            assert process.is_alive()
        assert FolderObjects(root).stale_temporaries(now_s=0) == ()
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)
        process.join()
    (left,) = FolderObjects(root).stale_temporaries(now_s=0)
    assert left.parent == root / ".tmp"
    assert list(FolderObjects(root).list()) == []
    assert FolderObjects(root).put_if_absent("k", b"whole")


def test_another_machines_unfinished_file_is_stale_after_its_time(tmp_path: Path) -> None:
    objects = FolderObjects(tmp_path)
    objects.put_if_absent("k", b"")
    file = tmp_path / ".tmp" / ".other.host.123.abcdef.tmp"
    file.write_text("")
    os.utime(file, (1000, 1000))
    assert objects.stale_temporaries(now_s=1500) == ()
    assert objects.stale_temporaries(now_s=10_000) == (file,)


def test_a_file_of_another_users_process_is_not_stale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(process: int, number: int) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    objects = FolderObjects(tmp_path)
    with written_aside(tmp_path / ".tmp", lambda _: None):
        (file,) = (tmp_path / ".tmp").iterdir()
        monkeypatch.setattr(os, "kill", refused)
        assert objects.stale_temporaries(now_s=0) == ()
        assert objects.stale_temporaries(now_s=NOW_S * 2) == (file,)


def test_a_file_that_is_published_while_one_looks_is_not_stale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def published(path: Path) -> os.stat_result:
        raise FileNotFoundError(path)

    with written_aside(tmp_path, lambda _: None), monkeypatch.context() as patch:
        patch.setattr(Path, "stat", published)
        assert _is_abandoned(next(tmp_path.iterdir()), NOW_S) is False


def test_files_of_other_programs_are_not_called_stale(tmp_path: Path) -> None:
    (tmp_path / ".tmp").mkdir()
    (tmp_path / ".tmp" / ".editor.tmp").write_text("")
    assert FolderObjects(tmp_path).stale_temporaries(now_s=NOW_S) == ()


def test_objects_are_readable_as_the_umask_says(tmp_path: Path) -> None:
    FolderObjects(tmp_path).put_if_absent("k", b"")
    (tmp_path / "plain").write_text("")
    assert (tmp_path / "k").stat().st_mode == (tmp_path / "plain").stat().st_mode


def without_links(monkeypatch: pytest.MonkeyPatch) -> None:
    def unsupported(source: object, target: object) -> None:
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    monkeypatch.setattr(os, "link", unsupported)
