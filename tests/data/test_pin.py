"""Pinning: what is kept, what it costs the second time, and what comes back after the source is gone."""

import gzip
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ctr_pipeline.data import pin as pin_module
from ctr_pipeline.data.difference import diff
from ctr_pipeline.data.digest_cache import DigestCache
from ctr_pipeline.data.formats import DataFormat
from ctr_pipeline.data.manifest import DatasetManifest, TimeRange
from ctr_pipeline.data.pin import DataStore, find, open_pinned, pin, resolve, restore
from ctr_pipeline.data.source import Source
from tracking.errors import InputError
from tracking.folder_objects import FolderObjects
from tracking.objects import MemoryObjects
from tracking.store import DamagedObjectError, Store

A, B = b"click,ad\n0,x\n1,y\n", b"click,ad\n0,z\n"


@pytest.fixture
def store() -> DataStore:
    return DataStore(MemoryObjects())


@pytest.fixture
def cache(tmp_path: Path) -> DigestCache:
    return DigestCache(tmp_path / "cache")


@pytest.fixture
def log(tmp_path: Path) -> Path:
    folder = tmp_path / "log"
    (folder / "sub").mkdir(parents=True)
    (folder / "a.csv").write_bytes(A)
    (folder / "sub" / "b.csv.gz").write_bytes(gzip.compress(B, mtime=0))
    return folder


def pinned(uri: Path | str, store: DataStore, cache: DigestCache, time_column: str | None = None) -> DatasetManifest:
    return pin(Source.open(str(uri)), store, cache, name="clicks", time_column=time_column)


def rows_of(source: Source) -> list[dict[str, Any]]:
    return [row for batch in source.batches() for row in batch.to_pylist()]


def test_the_manifest_tells_rows_and_files_and_is_kept(log: Path, store: DataStore, cache: DigestCache) -> None:
    manifest = pinned(log, store, cache)
    assert manifest.n_rows == 3
    assert [(file.path, file.n_rows, file.size) for file in manifest.files] == [
        ("a.csv", 2, len(A)),
        ("sub/b.csv.gz", 1, len(gzip.compress(B, mtime=0))),
    ]
    assert [column.name for column in manifest.columns] == ["ad", "click"]
    assert find(manifest.data_version, store) == (manifest,)
    assert all(Store(store.objects).is_intact(file.sha256) for file in manifest.files)


def test_pinning_again_changes_nothing(log: Path, store: DataStore, cache: DigestCache) -> None:
    assert pinned(log, store, cache) == pinned(log, store, cache)
    assert len(find("", store)) == 1


def test_known_files_are_not_read_for_their_rows_again(
    log: Path, store: DataStore, cache: DigestCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = pinned(log, store, cache)
    moved = log.rename(tmp_path / "moved")
    (moved / "a.csv").rename(moved / "c.csv")

    def refuse(*_: object) -> None:
        raise AssertionError("the rows were read")

    monkeypatch.setattr(pin_module, "_digested", refuse)
    again = pinned(moved, store, cache)
    assert (again.digest, again.columns) == (manifest.digest, manifest.columns)
    assert [(file.path, file.n_rows) for file in again.files] == [("c.csv", 2), ("sub/b.csv.gz", 1)]


def test_the_cache_only_saves_time(log: Path, store: DataStore, cache: DigestCache, tmp_path: Path) -> None:
    manifest = pinned(log, store, cache)
    for entry in (tmp_path / "cache").iterdir():
        entry.write_bytes(b"{")
    assert pinned(log, store, cache) == manifest
    assert pinned(log, store, DigestCache(tmp_path / "other")) == manifest


def test_the_same_bytes_read_otherwise_are_another_version(log: Path, store: DataStore, cache: DigestCache) -> None:
    headed = pinned(log / "a.csv", store, cache)
    fmt = DataFormat(header=False, column_names=("click", "ad"))
    headless = pin(Source.open(str(log / "a.csv"), fmt), store, cache, name="clicks")
    assert headless.files[0].sha256 == headed.files[0].sha256
    assert (headed.n_rows, headless.n_rows) == (2, 3)


def test_recompressed_files_have_the_same_version_and_two_manifests(
    log: Path, store: DataStore, cache: DigestCache
) -> None:
    before = pinned(log, store, cache)
    (log / "sub" / "b.csv.gz").unlink()
    (log / "sub" / "b.csv.zst").write_bytes(pa.compress(B, "zstd", asbytes=True))
    after = pinned(log, store, cache)
    assert after.data_version == before.data_version
    assert len(find(before.data_version[:8], store)) == 2
    found = diff(before, after)
    assert (found.same_rows, found.files_rewritten, found.files_changed) == (True, ("sub/b.csv.zst",), ())


def test_values_that_move_between_rows_are_an_association(log: Path, store: DataStore, cache: DigestCache) -> None:
    before = pinned(log, store, cache)
    (log / "a.csv").write_bytes(b"click,ad\n0,y\n1,x\n")
    found = diff(before, pinned(log, store, cache))
    assert (found.association_changed, found.columns_changed, found.files_changed) == (True, (), ("a.csv",))


def test_the_time_range_is_that_of_the_time_column(tmp_path: Path, store: DataStore, cache: DigestCache) -> None:
    times = pa.array([5, None, 2, 9], pa.timestamp("us"))
    pq.write_table(pa.table({"time": times, "click": [0, 1, 0, 0]}), tmp_path / "a.parquet", row_group_size=2)
    assert pinned(tmp_path / "a.parquet", store, cache, time_column="time").time_range == TimeRange(2, 9)
    assert pinned(tmp_path / "a.parquet", store, cache, time_column="click").time_range is None
    assert pinned(tmp_path / "a.parquet", store, cache).time_range is None


def test_a_time_column_of_nulls_has_no_range(tmp_path: Path, store: DataStore, cache: DigestCache) -> None:
    pq.write_table(pa.table({"time": pa.array([None], pa.timestamp("us"))}), tmp_path / "a.parquet")
    assert pinned(tmp_path / "a.parquet", store, cache, time_column="time").time_range is None


def test_pinned_bytes_come_back_after_the_source_is_gone(
    log: Path, store: DataStore, cache: DigestCache, tmp_path: Path
) -> None:
    manifest = pinned(log, store, cache)
    shutil.rmtree(log)
    assert restore(manifest.data_version[:6], tmp_path / "back", store) == manifest
    assert (tmp_path / "back" / "a.csv").read_bytes() == A
    assert pinned(tmp_path / "back", store, cache) == manifest
    assert restore(manifest.data_version, tmp_path / "back", store) == manifest


def test_restoring_overwrites_nothing(log: Path, store: DataStore, cache: DigestCache) -> None:
    manifest = pinned(log, store, cache)
    (log / "a.csv").write_bytes(B)
    with pytest.raises(
        InputError, match=r"a.csv' is not the pinned one, must be absent or equal; give an empty folder"
    ):
        restore(manifest.data_version, log, store)
    assert (log / "a.csv").read_bytes() == B


def test_pinned_files_are_opened_from_a_folder_and_used_again(
    log: Path, store: DataStore, cache: DigestCache, tmp_path: Path
) -> None:
    manifest = pinned(log, store, cache)
    expected = rows_of(Source.open(str(log)))
    shutil.rmtree(log)
    assert rows_of(open_pinned(manifest, store, tmp_path / "work")) == expected
    written = (tmp_path / "work" / "a.csv").stat().st_mtime_ns
    assert rows_of(open_pinned(manifest, store, tmp_path / "work")) == expected
    assert (tmp_path / "work" / "a.csv").stat().st_mtime_ns == written


def test_a_cut_copy_is_written_again_and_a_forged_one_is_refused(
    log: Path, store: DataStore, cache: DigestCache, tmp_path: Path
) -> None:
    manifest, work = pinned(log, store, cache), tmp_path / "work"
    open_pinned(manifest, store, work)
    (work / "a.csv").write_bytes(A[:5])
    assert len(rows_of(open_pinned(manifest, store, work))) == 3
    (work / "a.csv").write_bytes(A.replace(b"1,y", b"0,y"))
    with pytest.raises(InputError, match=r"as pinned; delete this copy so that it is restored"):
        rows_of(open_pinned(manifest, store, work))


def test_a_damaged_object_is_not_restored(log: Path, cache: DigestCache, tmp_path: Path) -> None:
    store = DataStore(FolderObjects(tmp_path / "store"))
    manifest = pinned(log, store, cache)
    sha256 = manifest.files[0].sha256
    (kept,) = (tmp_path / "store").rglob(sha256[2:])
    kept.chmod(0o644)
    kept.write_bytes(A.replace(b"1,y", b"0,y"))
    with pytest.raises(DamagedObjectError, match=r"is damaged"):
        restore(manifest.data_version, tmp_path / "back", store)


def test_a_missing_object_is_named_and_pinning_again_heals_it(
    log: Path, store: DataStore, cache: DigestCache, tmp_path: Path
) -> None:
    manifest = pinned(log, store, cache)
    store.files.remove(manifest.files[1].sha256)
    for read in (restore, lambda version, into, store: open_pinned(resolve(version, store), store, into)):
        with pytest.raises(
            InputError, match=r"lacks 1 of 2 files in the store, first 'sub/b.csv.gz' .*; pin the same data"
        ):
            read(manifest.data_version, tmp_path / "back", store)
    pinned(log, store, cache)
    restore(manifest.data_version, tmp_path / "back", store)


def test_of_two_manifests_the_one_whose_files_are_there_is_taken(
    log: Path, store: DataStore, cache: DigestCache
) -> None:
    plain = pinned(log / "a.csv", store, cache)
    (log / "a.csv.gz").write_bytes(gzip.compress(A))
    packed = pinned(log / "a.csv.gz", store, cache)
    assert packed.data_version == plain.data_version
    for gone, left in ((plain, packed), (packed, plain)):
        store.files.remove(gone.files[0].sha256)
        store.files.put_file(log / left.files[0].path)
        assert resolve(plain.data_version, store) == left
    assert resolve(packed.key.removeprefix("manifests/").removesuffix(".json"), store) == packed


def test_an_unknown_or_ambiguous_version_is_refused(log: Path, store: DataStore, cache: DigestCache) -> None:
    with pytest.raises(InputError, match=r"data version == 'abc', must be the start of a pinned one"):
        resolve("abc", store)
    with pytest.raises(InputError, match=r"data version == '', must be the start of a pinned one"):
        resolve("", store)
    versions = set()
    digit = ""
    for n in range(40):  # seventeen versions share a first digit at the latest
        (log / "a.csv").write_bytes(A + b"%d,x\n" % n)
        digit = pinned(log, store, cache).data_version[0]
        if digit in versions:
            break
        versions.add(digit)
    with pytest.raises(
        InputError, match=f"data version == '{digit}', must be the start of one version only, not of {digit}"
    ):
        resolve(digit, store)


@pytest.mark.parametrize("moment", ["before the rows are read", "before it is kept", "while it is kept"])
def test_a_source_that_changes_while_it_is_pinned_is_refused(
    log: Path, store: DataStore, cache: DigestCache, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    def overwrite() -> None:
        (log / "a.csv").write_bytes(A.replace(b"1,y", b"0,y"))

    if moment == "before the rows are read":
        digested = pin_module._digested

        def late(source: Source, sha256s: dict[str, str], name: str, time_column: str | None) -> DatasetManifest:
            overwrite()
            return digested(source, sha256s, name, time_column)

        monkeypatch.setattr(pin_module, "_digested", late)
    else:
        put, put_file = MemoryObjects.put_if_absent, Store.put_file

        def put_late(self: MemoryObjects, key: str, content: Path | bytes, *, sha256: str | None = None) -> bool:
            overwrite()
            return put(self, key, content, sha256=sha256)

        def put_file_late(self: Store, path: Path) -> str:
            overwrite()
            return put_file(self, path)

        if moment == "while it is kept":
            monkeypatch.setattr(MemoryObjects, "put_if_absent", put_late)
        else:
            monkeypatch.setattr(Store, "put_file", put_file_late)
    with pytest.raises(InputError, match=r"file 'a.csv' changed while it was read, must stay as it is"):
        pinned(log, store, cache)
    assert find("", store) == ()


def test_a_source_without_rows_can_be_pinned(tmp_path: Path, store: DataStore, cache: DigestCache) -> None:
    (tmp_path / "a.csv").write_bytes(b"click,ad\n")
    manifest = pinned(tmp_path / "a.csv", store, cache)
    assert (manifest.n_rows, len(manifest.columns)) == (0, 2)


def test_a_file_that_vanished_before_it_is_pinned_is_named(log: Path, store: DataStore, cache: DigestCache) -> None:
    source = Source.open(str(log))
    (log / "a.csv").unlink()
    with pytest.raises(InputError, match=r"file 'a.csv' cannot be read: .*No such file"):
        pin(source, store, cache, name="clicks")
