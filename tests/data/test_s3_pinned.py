"""Data pinned on S3: by version where there are versions, else as a copy; what comes back, and what is gone."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ctr_pipeline.data.data_store import DataStore
from ctr_pipeline.data.digest_cache import DigestCache
from ctr_pipeline.data.formats import DataFormat
from ctr_pipeline.data.manifest import DatasetManifest, PinnedFile, read_manifest
from ctr_pipeline.data.pin import find, missing_files, open_pinned, pin, restore
from ctr_pipeline.data.pinned import PinnedProblem, verify_pinned
from ctr_pipeline.data.s3_fetched import FetchFolder
from ctr_pipeline.data.source import Source
from ctr_pipeline.data.version import ColumnDigest
from tests.plugins.s3_fixtures import Bucket
from tracking import s3_reading
from tracking.aside import StoreError
from tracking.errors import InputError
from tracking.folder_objects import FolderObjects
from tracking.location import open_objects
from tracking.objects import MemoryObjects

GOLDEN = Path(__file__).parent.parent / "golden" / "manifest-s3-1.json"
A, B = b"click,ad\n0,x\n1,y\n", b"click,ad\n0,z\n"


@pytest.fixture
def store(tmp_path: Path) -> DataStore:
    return DataStore(FolderObjects(tmp_path / "store"), FetchFolder(tmp_path / "fetched"))


def pinned(uri: str, store: DataStore, folder: Path) -> DatasetManifest:
    source = Source.open(uri, fetched=store.fetched)
    return pin(source, store, DigestCache(folder / "digests"), name="clicks")


def problems(manifest: DatasetManifest, store: DataStore) -> list[str]:
    return [found.problem for found in verify_pinned(manifest, store)]


def test_a_versioned_object_is_pinned_without_a_copy(
    versioned_bucket: Bucket, store: DataStore, tmp_path: Path
) -> None:
    version = versioned_bucket.put("logs/a.csv", A)
    manifest = pinned(f"{versioned_bucket.uri}/logs/", store, tmp_path)
    (file,) = manifest.files
    assert (file.path, file.uri, file.s3_version_id) == ("a.csv", f"{versioned_bucket.uri}/logs/a.csv", version)
    assert list(store.files.digests()) == []
    assert find("", store) == (manifest,)
    assert verify_pinned(manifest, store) == ()


def test_an_object_without_versions_is_copied(s3_bucket: Bucket, store: DataStore, tmp_path: Path) -> None:
    s3_bucket.put("a.csv", A)
    manifest = pinned(f"{s3_bucket.uri}/a.csv", store, tmp_path)
    (file,) = manifest.files
    assert (file.uri, file.s3_version_id) == (None, None)
    s3_bucket.client.delete_object(Bucket=s3_bucket.name, Key="a.csv")
    assert verify_pinned(manifest, store) == ()
    restore(manifest.data_version, tmp_path / "back", store)
    assert (tmp_path / "back" / "a.csv").read_bytes() == A


def test_equal_data_have_one_data_version_wherever_they_lie(
    versioned_bucket: Bucket, s3_bucket: Bucket, store: DataStore, tmp_path: Path
) -> None:
    (tmp_path / "a.csv").write_bytes(A)
    versioned_bucket.put("a.csv", A)
    s3_bucket.put("a.csv", A)
    local = pinned(str(tmp_path / "a.csv"), store, tmp_path)
    copied = pinned(f"{s3_bucket.uri}/a.csv", store, tmp_path)
    versioned = pinned(f"{versioned_bucket.uri}/a.csv", store, tmp_path)
    assert local == copied
    assert versioned.data_version == local.data_version
    assert versioned.key != local.key
    assert pinned(str(tmp_path / "a.csv"), store, tmp_path) == local


@pytest.mark.parametrize("is_fetched", [True, False])
def test_a_version_comes_back_after_it_was_overwritten_and_deleted(
    versioned_bucket: Bucket, store: DataStore, tmp_path: Path, *, is_fetched: bool
) -> None:
    versioned_bucket.put("a.csv", A)
    old = pinned(f"{versioned_bucket.uri}/a.csv", store, tmp_path)
    versioned_bucket.put("a.csv", B)
    new = pinned(f"{versioned_bucket.uri}/a.csv", store, tmp_path)
    versioned_bucket.client.delete_object(Bucket=versioned_bucket.name, Key="a.csv")
    if not is_fetched:
        shutil.rmtree(tmp_path / "fetched")
    assert old.data_version != new.data_version
    for manifest, content in ((old, A), (new, B)):
        into = tmp_path / manifest.data_version
        assert restore(manifest.data_version, into, store) == manifest
        assert (into / "a.csv").read_bytes() == content
        opened = open_pinned(manifest, store, tmp_path / "work" / manifest.data_version)
        assert sum(batch.num_rows for batch in opened.batches()) == manifest.n_rows
        assert verify_pinned(manifest, store) == ()


def test_a_prefix_that_lost_and_gained_files_is_another_version(
    versioned_bucket: Bucket, store: DataStore, tmp_path: Path
) -> None:
    versioned_bucket.put("logs/a.csv", A)
    before = pinned(f"{versioned_bucket.uri}/logs/", store, tmp_path)
    versioned_bucket.client.delete_object(Bucket=versioned_bucket.name, Key="logs/a.csv")
    versioned_bucket.put("logs/b.csv", B)
    after = pinned(f"{versioned_bucket.uri}/logs/", store, tmp_path)
    assert [file.path for file in after.files] == ["b.csv"]
    restore(before.data_version, tmp_path / "back", store)
    assert (tmp_path / "back" / "a.csv").read_bytes() == A


def test_an_expired_version_is_named_with_the_remedy(
    versioned_bucket: Bucket, store: DataStore, tmp_path: Path
) -> None:
    version = versioned_bucket.put("a.csv", A)
    manifest = pinned(f"{versioned_bucket.uri}/a.csv", store, tmp_path)
    versioned_bucket.expire("a.csv", version)
    assert missing_files(manifest, store) == manifest.files
    gone = (
        rf"^object s3://.*/a.csv version {version} .* is gone: deleted, or expired by a lifecycle rule, and the store"
    )
    with pytest.raises(InputError, match=gone + r" .* has no copy; give a store that has one, or put the same file"):
        restore(manifest.data_version, tmp_path / "back", store)
    with pytest.raises(InputError, match=gone):
        open_pinned(manifest, store, tmp_path / "work")
    with pytest.raises(InputError, match=gone):
        store.materialize(manifest.files[0], tmp_path / "file")
    (problem,) = verify_pinned(manifest, store)
    assert problem.path == "a.csv"
    assert "is gone: deleted, or expired" in problem.problem
    assert problem.remedy.startswith("give a store that has one, or put the same file back")


def test_a_copy_in_the_store_stands_in_for_an_expired_version(
    versioned_bucket: Bucket, store: DataStore, tmp_path: Path
) -> None:
    version = versioned_bucket.put("a.csv", A)
    manifest = pinned(f"{versioned_bucket.uri}/a.csv", store, tmp_path)
    versioned_bucket.expire("a.csv", version)
    (tmp_path / "backup.csv").write_bytes(A)
    store.files.put_file(tmp_path / "backup.csv")
    assert (missing_files(manifest, store), verify_pinned(manifest, store)) == ((), ())
    restore(manifest.data_version, tmp_path / "back", store)
    assert (tmp_path / "back" / "a.csv").read_bytes() == A


def test_a_copy_in_the_store_stands_in_for_s3_out_of_reach(
    versioned_bucket: Bucket, store: DataStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    versioned_bucket.put("a.csv", A)
    manifest = pinned(f"{versioned_bucket.uri}/a.csv", store, tmp_path)
    (file,) = manifest.files
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    assert "does not answer" in problems(manifest, store)[0]
    for call in (lambda: store.holds(file), lambda: store.materialize(file, tmp_path / "file")):
        with pytest.raises(StoreError, match="does not answer"):
            call()
    (tmp_path / "backup.csv").write_bytes(A)
    store.files.put_file(tmp_path / "backup.csv")
    store.materialize(file, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == A
    assert (store.holds(file), verify_pinned(manifest, store)) == (True, ())


def test_a_version_with_another_content_is_not_restored(
    versioned_bucket: Bucket, store: DataStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    versioned_bucket.put("a.csv", A)
    manifest = pinned(f"{versioned_bucket.uri}/a.csv", store, tmp_path)
    forged = replace(manifest, files=(replace(manifest.files[0], sha256="0" * 64),))
    with pytest.raises(StoreError, match=r"/a.csv version .* has the sha256 [0-9a-f]{64}, must be 0{64} as pinned"):
        open_pinned(forged, store, tmp_path / "work")
    assert problems(forged, store)[0].endswith(f"must be {'0' * 64}")
    assert not (tmp_path / "work" / "a.csv").exists()


def test_s3s_word_is_taken_for_a_checksum_that_it_verified(
    versioned_bucket: Bucket, store: DataStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    versioned_bucket.put("a.csv", A, ChecksumAlgorithm="SHA256")
    versioned_bucket.put("b.csv", B)
    manifest = pinned(versioned_bucket.uri, store, tmp_path)
    read: list[str] = []
    opened = s3_reading._Content._opened

    def noted(self: Any) -> Any:  # noqa: ANN401 - botocore's stream has no type
        read.append(self._object.place.key)
        return opened(self)

    monkeypatch.setattr(s3_reading._Content, "_opened", noted)
    assert verify_pinned(manifest, store) == ()
    assert read == ["b.csv"]


def test_a_store_on_s3_keeps_copies_and_manifests(s3_bucket: Bucket, tmp_path: Path) -> None:
    store = DataStore(open_objects(f"{s3_bucket.uri}/store"))
    (tmp_path / "a.csv").write_bytes(A)
    manifest = pinned(str(tmp_path / "a.csv"), store, tmp_path)
    assert len(s3_bucket.listed()) == 2
    elsewhere = DataStore(open_objects(f"{s3_bucket.uri}/store/"))
    assert verify_pinned(manifest, elsewhere) == ()
    restore(manifest.data_version, tmp_path / "back", elsewhere)
    assert (tmp_path / "back" / "a.csv").read_bytes() == A


def test_a_damaged_copy_and_a_missing_one_are_told_apart(tmp_path: Path) -> None:
    store = DataStore(FolderObjects(tmp_path / "store"))
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "a.csv").write_bytes(A)
    (tmp_path / "logs" / "b.csv").write_bytes(B)
    manifest = pinned(str(tmp_path / "logs"), store, tmp_path)
    first, second = manifest.files
    (kept,) = (tmp_path / "store").rglob(first.sha256[2:])
    kept.write_bytes(A.replace(b"1,y", b"0,y"))
    store.files.remove(second.sha256)
    damaged, lost = verify_pinned(manifest, store)
    assert damaged == PinnedProblem(
        "a.csv",
        f"object {first.sha256} in {tmp_path / 'store'} is damaged: its content is not what its digest says",
        "remove it, then pin the same data again with `ctr-pipeline data pin`, or give a store that holds them",
    )
    assert (lost.path, lost.problem) == ("b.csv", f"the store {tmp_path / 'store'} lacks it (sha256 {second.sha256})")


def test_a_store_that_cannot_be_asked_is_a_problem_of_every_file(s3_server: str, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(A)
    manifest = pinned(str(tmp_path / "a.csv"), DataStore(MemoryObjects()), tmp_path)
    (problem,) = verify_pinned(manifest, DataStore(open_objects("s3://no-such-bucket/store")))
    assert "there is no such bucket" in problem.problem
    assert problem.remedy == "see the message"


def test_the_golden_manifest_of_s3_is_read_and_written_byte_by_byte() -> None:
    manifest = DatasetManifest(
        name="clicks",
        digest="ab" * 32,
        n_rows=3,
        columns=(ColumnDigest("click", "integer", "1" * 32),),
        files=(
            PinnedFile("day=1/a.parquet", 120, "c" * 64, 1, "3" * 32, "v1", "s3://bucket/logs/day=1/a.parquet"),
            PinnedFile("day=2/b.parquet", 220, "d" * 64, 2, "4" * 32),
        ),
        data_format=DataFormat(),
    )
    assert read_manifest(GOLDEN) == manifest
    assert manifest.to_json() == GOLDEN.read_bytes()
