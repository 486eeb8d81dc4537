"""Reading objects on S3: what is looked up is what is read, also over broken connections."""

import io
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError, FlexibleChecksumError, ResponseStreamingError

from tests.plugins.s3_fixtures import Bucket
from tracking import s3_reading
from tracking.aside import StoreError
from tracking.canonical import sha256_hex
from tracking.s3_client import S3Uri, s3_client
from tracking.s3_reading import (
    S3Object,
    S3ObjectChangedError,
    S3ObjectMissingError,
    list_objects,
    look_up,
    open_object,
)

CONTENT = bytes(range(256)) * 4_096


def looked_up(bucket: Bucket, key: str, version_id: str | None = None) -> S3Object:
    found = look_up(S3Uri(bucket.name, key), version_id)
    assert found is not None
    return found


class Breaking:
    """A body whose connection breaks after some bytes; `n_breaks` of them in all."""

    def __init__(self, body: io.RawIOBase, after: int, error: Exception) -> None:
        self._body, self._left, self._error = body, after, error

    def read(self, n_bytes: int) -> bytes:
        if not self._left:
            raise self._error
        data = bytes(self._body.read(min(n_bytes, self._left)) or b"")
        self._left -= len(data)
        return data

    def close(self) -> None:
        self._body.close()


def breaking(
    monkeypatch: pytest.MonkeyPatch, *, after: int, n_breaks: int, error: Exception, meanwhile: Callable[[], object]
) -> list[str]:
    """Break each reading's connection; returns the ranges that were asked for."""
    ranges: list[str] = []
    get_object, left = s3_client().get_object, [n_breaks]

    def get(**request: Any) -> dict[str, Any]:  # noqa: ANN401 - boto3 has no types
        ranges.append(request.get("Range", "all"))
        answer: dict[str, Any] = get_object(**request)
        if left[0]:
            left[0] -= 1
            answer["Body"] = Breaking(answer["Body"], after, error)
            meanwhile()
        return answer

    monkeypatch.setattr(s3_client(), "get_object", get)
    return ranges


BROKEN = ResponseStreamingError(error="connection reset")


def test_an_object_is_told_by_size_version_and_sha256(versioned_bucket: Bucket) -> None:
    first = versioned_bucket.put("k", b"one", ChecksumAlgorithm="SHA256")
    second = versioned_bucket.put("k", b"second")
    assert looked_up(versioned_bucket, "k").version_id == second
    old = looked_up(versioned_bucket, "k", first)
    assert (old.size, old.sha256, old.version_id) == (3, sha256_hex(b"one"), first)
    assert str(old) == f"s3://{versioned_bucket.name}/k (version {first})"
    with open_object(old) as content:
        assert content.read() == b"one"


def test_an_object_without_versions_has_none(s3_bucket: Bucket) -> None:
    s3_bucket.put("k", b"one")
    assert looked_up(s3_bucket, "k").version_id is None


def test_what_was_there_before_versions_were_kept_has_none(s3_bucket: Bucket) -> None:
    s3_bucket.put("k", b"one")
    s3_bucket.client.put_bucket_versioning(Bucket=s3_bucket.name, VersioningConfiguration={"Status": "Enabled"})
    assert looked_up(s3_bucket, "k").version_id is None


def test_a_checksum_of_parts_is_not_the_contents(s3_bucket: Bucket) -> None:
    request = {"Bucket": s3_bucket.name, "Key": "k"}
    upload = s3_bucket.client.create_multipart_upload(**request, ChecksumAlgorithm="SHA256")["UploadId"]
    part = s3_bucket.client.upload_part(
        **request, UploadId=upload, PartNumber=1, Body=b"one", ChecksumAlgorithm="SHA256"
    )
    parts = [{"PartNumber": 1, "ETag": part["ETag"], "ChecksumSHA256": part["ChecksumSHA256"]}]
    s3_bucket.client.complete_multipart_upload(**request, UploadId=upload, MultipartUpload={"Parts": parts})
    assert looked_up(s3_bucket, "k").sha256 is None


def test_a_version_that_marks_a_deletion_is_no_object(versioned_bucket: Bucket) -> None:
    versioned_bucket.put("k", b"one")
    marker = versioned_bucket.client.delete_object(Bucket=versioned_bucket.name, Key="k")["VersionId"]
    assert look_up(S3Uri(versioned_bucket.name, "k")) is None
    assert look_up(S3Uri(versioned_bucket.name, "k"), marker) is None


def test_more_than_a_page_is_listed(s3_bucket: Bucket) -> None:
    keys = [f"p/{number:04d}" for number in range(1_005)]
    s3_bucket.put_many([*keys, "q"], b"12")
    found = list(list_objects(S3Uri(s3_bucket.name, "p/")))
    assert [item.place.key for item in found] == keys
    assert {item.size for item in found} == {2}


def test_an_object_overwritten_since_it_was_looked_up_is_not_read(s3_bucket: Bucket) -> None:
    s3_bucket.put("k", b"one")
    found = looked_up(s3_bucket, "k")
    s3_bucket.put("k", b"two")
    with pytest.raises(S3ObjectChangedError, match=r"^object s3://.*/k was overwritten meanwhile"):
        open_object(found)


def test_an_object_deleted_since_it_was_looked_up_is_missing(s3_bucket: Bucket) -> None:
    s3_bucket.put("k", b"one")
    found = looked_up(s3_bucket, "k")
    s3_bucket.client.delete_object(Bucket=s3_bucket.name, Key="k")
    with pytest.raises(S3ObjectMissingError, match=r"^object s3://.*/k is gone: it was deleted, or expired"):
        open_object(found)


@pytest.mark.parametrize("request_name", ["head_object", "get_object"])
def test_an_object_that_may_not_be_read_is_named(
    s3_bucket: Bucket, monkeypatch: pytest.MonkeyPatch, request_name: str
) -> None:
    def denied(**_: object) -> None:
        raise ClientError({"Error": {"Code": "403", "Message": "Forbidden"}}, request_name)

    s3_bucket.put("k", b"one")
    monkeypatch.setattr(s3_client(), request_name, denied)
    with pytest.raises(StoreError, match=r"^cannot read s3://.*/k: access is denied; let these credentials do it"):
        open_object(looked_up(s3_bucket, "k"))


def test_a_broken_connection_is_taken_up_where_it_broke(s3_bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    s3_bucket.put("k", CONTENT)
    found = looked_up(s3_bucket, "k")
    monkeypatch.setattr(s3_reading, "BLOCK_BYTES", 1 << 16)
    ranges = breaking(monkeypatch, after=100_000, n_breaks=2, error=BROKEN, meanwhile=lambda: None)
    with open_object(found) as content:
        assert content.read() == CONTENT
    assert ranges == ["all", "bytes=100000-", "bytes=200000-"]


def test_a_connection_that_always_breaks_is_an_error(s3_bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    s3_bucket.put("k", CONTENT)
    found = looked_up(s3_bucket, "k")
    ranges = breaking(monkeypatch, after=1, n_breaks=100, error=BROKEN, meanwhile=lambda: None)
    with pytest.raises(StoreError, match=r"does not answer \(ResponseStreamingError\)"), open_object(found) as content:
        content.read()
    assert len(ranges) == 6


def test_an_object_overwritten_while_it_is_read_is_not_mixed(
    s3_bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    s3_bucket.put("k", CONTENT)
    found = looked_up(s3_bucket, "k")
    breaking(
        monkeypatch,
        after=100_000,
        n_breaks=1,
        error=BROKEN,
        meanwhile=lambda: s3_bucket.put("k", CONTENT[::-1]),
    )
    with pytest.raises(S3ObjectChangedError, match="was overwritten meanwhile"), open_object(found) as content:
        content.read()


def test_content_that_s3s_checksum_contradicts_is_an_error(s3_bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    s3_bucket.put("k", CONTENT)
    found = looked_up(s3_bucket, "k")
    wrong = FlexibleChecksumError(error_msg="Expected x did not match y")
    breaking(monkeypatch, after=len(CONTENT), n_breaks=1, error=wrong, meanwhile=lambda: None)
    with pytest.raises(StoreError, match="its content is not what its checksum says"), open_object(found) as content:
        content.read()
