"""Sources on S3: which objects a URI names, and that what is read is what was looked up."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ctr_pipeline.data import s3_source
from ctr_pipeline.data.s3_fetched import FetchFolder
from ctr_pipeline.data.source import Source
from tests.plugins.s3_fixtures import Bucket
from tracking import s3_reading
from tracking.aside import StoreError
from tracking.errors import InputError
from tracking.s3_client import S3Uri, s3_client
from tracking.s3_reading import S3Object, look_up

A, B = b"click,ad\n0,x\n1,y\n", b"click,ad\n0,z\n"


@pytest.fixture
def folder(tmp_path: Path) -> FetchFolder:
    return FetchFolder(tmp_path / "fetched")


def rows_of(source: Source) -> list[dict[str, Any]]:
    return [row for batch in source.batches() for row in batch.to_pylist()]


def paths(uri: str, folder: FetchFolder) -> list[str]:
    return [file.path for file in Source.open(uri, fetched=folder).files]


def fetched_files(folder: FetchFolder) -> list[Path]:
    return [path for path in folder.path.rglob("*") if path.is_file()]


def overwriting(monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]) -> None:
    """Do something after an object was looked up and before it is read."""

    def late(*arguments: Any) -> S3Object | None:  # noqa: ANN401 - passed on as they come
        found = look_up(*arguments)
        act()
        return found

    monkeypatch.setattr(s3_source, "look_up", late)


def test_one_object_is_a_source_under_its_own_name(s3_bucket: Bucket, folder: FetchFolder) -> None:
    s3_bucket.put("logs/a.csv", A)
    source = Source.open(f"{s3_bucket.uri}/logs/a.csv", fetched=folder)
    assert [(file.path, file.size) for file in source.files] == [("a.csv", len(A))]
    assert rows_of(source) == [{"click": "0", "ad": "x"}, {"click": "1", "ad": "y"}]


@pytest.mark.parametrize("end", ["logs", "logs/"])
def test_a_prefix_is_read_as_a_folder_is(s3_bucket: Bucket, folder: FetchFolder, end: str) -> None:
    for key in ("logs/day=2/b.csv", "logs/a.csv", "logsheet.csv"):
        s3_bucket.put(key, A)
    for key in ("logs/_SUCCESS", "logs/.a.csv.crc", "logs/_temporary/0/c.csv", "logs/day=2/"):
        s3_bucket.put(key, b"")
    assert paths(f"{s3_bucket.uri}/{end}", folder) == ["a.csv", "day=2/b.csv"]


def test_a_whole_bucket_is_a_folder(s3_bucket: Bucket, folder: FetchFolder) -> None:
    s3_bucket.put("x/a.csv", A)
    assert paths(s3_bucket.uri, folder) == ["x/a.csv"]


def test_files_behind_the_first_page_of_a_listing_are_found(s3_bucket: Bucket, folder: FetchFolder) -> None:
    s3_bucket.put_many([f"logs/_old/{number:04d}.csv" for number in range(1_000)], A)
    s3_bucket.put_many([f"logs/part-{number}.csv" for number in range(5)], A)
    assert paths(f"{s3_bucket.uri}/logs/", folder) == [f"part-{number}.csv" for number in range(5)]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("logs/*.csv", ["a.csv", "b.csv"]),
        ("logs/[a]*", ["a.csv"]),
        ("logs/?.csv", ["a.csv", "b.csv"]),
        ("logs/*/c.csv", ["x/c.csv"]),
        ("logs/**/*.csv", ["a.csv", "b.csv", "x/c.csv", "x/y/d.csv"]),
        ("logs/**", ["a.csv", "b.csv", "x/c.csv", "x/y/d.csv"]),
        ("lo*/a.csv", ["logs/a.csv"]),
    ],
)
def test_a_glob_matches_as_on_disk(s3_bucket: Bucket, folder: FetchFolder, pattern: str, expected: list[str]) -> None:
    for key in ("logs/a.csv", "logs/b.csv", "logs/x/c.csv", "logs/x/y/d.csv", "logs/_x.csv", "other/a.csv2"):
        s3_bucket.put(key, A)
    assert paths(f"{s3_bucket.uri}/{pattern}", folder) == expected


def test_an_object_whose_name_looks_like_a_glob_is_itself(s3_bucket: Bucket, folder: FetchFolder) -> None:
    s3_bucket.put("a[1].csv", A)
    s3_bucket.put("a1.csv", B)
    assert paths(f"{s3_bucket.uri}/a[1].csv", folder) == ["a[1].csv"]


@pytest.mark.parametrize("key", ["none.csv", "none/", "none/*.csv"])
def test_a_source_that_is_not_there_is_named(s3_bucket: Bucket, folder: FetchFolder, key: str) -> None:
    with pytest.raises(InputError, match=r"^source 's3://.*none.*' does not exist or holds no file, must be an object"):
        Source.open(f"{s3_bucket.uri}/{key}", fetched=folder)


def test_a_bucket_that_is_not_there_is_bad_input(s3_server: str, folder: FetchFolder) -> None:
    with pytest.raises(InputError, match=r"cannot list s3://no-such-bucket/logs/: there is no such bucket; correct"):
        Source.open("s3://no-such-bucket/logs", fetched=folder)


def test_kinds_sizes_and_names_are_judged_before_anything_is_fetched(s3_bucket: Bucket, folder: FetchFolder) -> None:
    s3_bucket.put("mixed/a.csv", A)
    s3_bucket.put("mixed/b.parquet", A)
    s3_bucket.put("empty/a.csv", b"")
    s3_bucket.put("odd/a.xlsx", A)
    s3_bucket.put("odd-names/x//a.csv", A)
    for prefix, message in (
        ("mixed", "mixes kinds: 'a.csv' is csv, 'b.parquet' is parquet"),
        ("empty", r"file 'a.csv' is empty \(0 bytes\)"),
        ("odd", "file 'a.xlsx' has extension '.xlsx'"),
        ("odd-names", "has an empty folder name, must have none; give it another key"),
    ):
        with pytest.raises(InputError, match=message):
            Source.open(f"{s3_bucket.uri}/{prefix}/", fetched=folder)
    assert not folder.path.exists()


def test_a_fetched_file_is_used_again_while_its_object_stays(s3_bucket: Bucket, folder: FetchFolder) -> None:
    s3_bucket.put("a.csv", A)
    first = Source.open(f"{s3_bucket.uri}/a.csv", fetched=folder).files[0].location
    written = first.stat().st_ino
    again = Source.open(f"{s3_bucket.uri}/a.csv", fetched=folder).files[0].location
    assert (again, again.stat().st_ino) == (first, written)
    s3_bucket.put("a.csv", B)
    assert Source.open(f"{s3_bucket.uri}/a.csv", fetched=folder).files[0].location.read_bytes() == B


def test_a_fetched_file_that_was_altered_is_fetched_again(s3_bucket: Bucket, folder: FetchFolder) -> None:
    s3_bucket.put("a.csv", A)
    (path,) = (file.location for file in Source.open(f"{s3_bucket.uri}/a.csv", fetched=folder).files)
    path.write_bytes(A.replace(b"1,y", b"0,y"))
    assert rows_of(Source.open(f"{s3_bucket.uri}/a.csv", fetched=folder))[1] == {"click": "1", "ad": "y"}


def test_versions_of_one_object_are_kept_apart(versioned_bucket: Bucket, folder: FetchFolder) -> None:
    versioned_bucket.put("a.csv", A)
    old = Source.open(f"{versioned_bucket.uri}/a.csv", fetched=folder).files[0]
    second = versioned_bucket.put("a.csv", A)
    new = Source.open(f"{versioned_bucket.uri}/a.csv", fetched=folder).files[0]
    assert new.origin is not None
    assert new.origin.version_id == second
    assert old.location != new.location


def test_an_object_overwritten_before_it_is_read_is_refused(
    s3_bucket: Bucket, folder: FetchFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    contents = [B + b"0,w\n", B]
    s3_bucket.put("a.csv", A)
    overwriting(monkeypatch, lambda: s3_bucket.put("a.csv", contents.pop()))
    with pytest.raises(InputError, match=r"/a.csv changed while it was read, must stay as it is; wait for its writer"):
        Source.open(f"{s3_bucket.uri}/a.csv", fetched=folder)
    assert fetched_files(folder) == []


def test_where_versions_are_kept_an_overwrite_meanwhile_does_no_harm(
    versioned_bucket: Bucket, folder: FetchFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    versioned_bucket.put("a.csv", A)
    overwriting(monkeypatch, lambda: versioned_bucket.put("a.csv", B))
    assert len(rows_of(Source.open(f"{versioned_bucket.uri}/a.csv", fetched=folder))) == 1


def test_an_object_deleted_before_it_is_read_is_named(
    s3_bucket: Bucket, folder: FetchFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def delete() -> None:
        s3_client().delete_object(Bucket=s3_bucket.name, Key="logs/a.csv")

    s3_bucket.put("logs/a.csv", A)
    overwriting(monkeypatch, delete)
    with pytest.raises(InputError, match=r"/a.csv was deleted meanwhile, must stay; put it back, then"):
        Source.open(f"{s3_bucket.uri}/logs/a.csv", fetched=folder)


def test_an_object_deleted_before_it_is_fetched_is_named(s3_bucket: Bucket, folder: FetchFolder) -> None:
    s3_bucket.put("a.csv", A)
    found = look_up(S3Uri(s3_bucket.name, "a.csv"))
    assert found is not None
    s3_bucket.client.delete_object(Bucket=s3_bucket.name, Key="a.csv")
    with pytest.raises(InputError, match=r"/a.csv was deleted while it was read, must stay; put it back, then start"):
        folder.fetch(found)


def test_content_that_is_not_what_s3_recorded_is_refused(
    s3_bucket: Bucket, folder: FetchFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    s3_bucket.put("a.csv", A, ChecksumAlgorithm="SHA256")
    monkeypatch.setattr(s3_reading, "_whole_sha256", lambda _: "0" * 64)
    with pytest.raises(StoreError, match=r"/a.csv has the sha256 [0-9a-f]{64}, must be 0{64} as S3 recorded it"):
        Source.open(f"{s3_bucket.uri}/a.csv", fetched=folder)
    assert fetched_files(folder) == []


def test_content_that_changed_on_its_way_is_refused(
    s3_bucket: Bucket, folder: FetchFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    s3_bucket.put("a.csv", A)
    get_object = s3_client().get_object

    def altered(**request: Any) -> Any:  # noqa: ANN401 - boto3 has no types
        answer = get_object(**request)
        raw = answer["Body"]._raw_stream
        read = raw.read
        monkeypatch.setattr(raw, "read", lambda *amount: read(*amount).replace(b"1,y", b"0,y"))
        return answer

    monkeypatch.setattr(s3_client(), "get_object", altered)
    with pytest.raises(StoreError, match="its content is not what its checksum says"):
        Source.open(f"{s3_bucket.uri}/a.csv", fetched=folder)


def test_a_source_on_s3_needs_a_folder_to_be_fetched_into() -> None:
    with pytest.raises(InputError, match=r"lies on S3, must be a local path here; restore a pinned version"):
        Source.open("s3://bucket/a.csv")
