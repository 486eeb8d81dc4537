"""Objects on S3 as others wrote them: looked up, listed, and read whole although connections break."""

import base64
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from tracking.aside import StoreError
from tracking.s3_client import BLOCK_BYTES, MISSING, S3Uri, code_of, s3_client, s3_problems

# How often one reading goes on after a broken connection.
_RESUMES: Final = 5
_CHANGED: Final = frozenset({"412", "PreconditionFailed"})
# What an object without a version is called in a bucket that got versions later; it can be overwritten.
_NO_VERSION: Final = "null"


class S3ObjectMissingError(StoreError):
    """There is no such object, or no such version of it."""


class S3ObjectChangedError(StoreError):
    """An object was overwritten since it was looked up."""


@dataclass(frozen=True, slots=True)
class S3Object:
    """An object as it is at one moment.

    Attributes:
        place: where it is.
        size: bytes.
        etag: what S3 calls its content.
        version_id: names this content for ever; None where the bucket keeps no versions.
        sha256: of the whole content, 64 hex digits, as S3 verified it when it was stored; None where S3 has none.
    """

    place: S3Uri
    size: int
    etag: str
    version_id: str | None = None
    sha256: str | None = None

    @property
    def request(self) -> dict[str, str]:
        """The arguments that get this content and no other."""
        version = {} if self.version_id is None else {"VersionId": self.version_id}
        return {**self.place.request, **version, "IfMatch": self.etag}

    def __str__(self) -> str:
        return str(self.place) if self.version_id is None else f"{self.place} (version {self.version_id})"


def look_up(place: S3Uri, version_id: str | None = None) -> S3Object | None:
    """Return what an object is now, or was in one version; None where there is none.

    Raises:
        StoreError: S3 cannot be asked; a missing bucket is not told from a missing object.
    """
    from botocore.exceptions import ClientError  # noqa: PLC0415 - loaded by those who use S3 only

    version = {} if version_id is None else {"VersionId": version_id}
    client = s3_client()
    with s3_problems(place):
        try:
            found = client.head_object(**place.request, **version, ChecksumMode="ENABLED")
        except ClientError as error:
            # 405: that version marks a deletion.
            if code_of(error) in MISSING or (version and code_of(error) == "405"):
                return None
            raise
    return _object(place, found)


def list_objects(beginning: S3Uri) -> Iterator[S3Object]:
    """Yield the objects whose key begins so, sorted by S3; their versions and checksums are not known yet.

    Raises:
        MissingBucketError: there is no such bucket.
        StoreError: it cannot be listed.
    """
    pages = s3_client().get_paginator("list_objects_v2")
    with s3_problems(beginning, verb="list"):
        for page in pages.paginate(Bucket=beginning.bucket, Prefix=beginning.key):
            for item in page.get("Contents", ()):
                yield S3Object(beginning.with_key(item["Key"]), item["Size"], item["ETag"])


def require_bucket(place: S3Uri) -> None:
    """Refuse a bucket that does not exist.

    Raises:
        MissingBucketError: there is no such bucket.
        StoreError: it cannot be asked for.
    """
    client = s3_client()
    with s3_problems(place, verb="list"):
        client.list_objects_v2(Bucket=place.bucket, Prefix=place.key, MaxKeys=1)


def open_object(found: S3Object) -> io.BufferedReader:
    """Open exactly the content that was looked up; the caller closes it.

    A broken connection is taken up where it broke. S3's own checksum is verified at the end of a reading that never
    broke; whoever knows the sha256 verifies that.

    Raises:
        S3ObjectMissingError: it is gone.
        S3ObjectChangedError: it was overwritten, and the bucket keeps no versions.
        StoreError: it cannot be read; also while it is read.
    """
    return io.BufferedReader(_Content(found), BLOCK_BYTES)


class _Content(io.RawIOBase):
    """An object's bytes, in order."""

    def __init__(self, found: S3Object) -> None:
        self._object = found
        self._place = 0
        self._resumes = 0
        self._body: Any = None  # there to be closed where it cannot be opened
        self._body = self._opened()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:  # noqa: ANN401 - any writable buffer, as the base class has it
        view = memoryview(buffer)
        data = self._read(len(view))
        view[: len(data)] = data
        self._place += len(data)
        return len(data)

    def close(self) -> None:
        if self._body is not None:
            self._body.close()
        super().close()

    def _read(self, n_bytes: int) -> bytes:
        from botocore.exceptions import HTTPClientError, IncompleteReadError  # noqa: PLC0415 - for users of S3 only

        with s3_problems(self._object):
            while True:
                try:
                    data: bytes = self._body.read(n_bytes)
                except (HTTPClientError, IncompleteReadError):
                    if self._resumes == _RESUMES or self._place >= self._object.size:
                        raise
                else:
                    return data
                self._resumes += 1
                self._body.close()
                self._body = self._opened()

    def _opened(self) -> Any:  # noqa: ANN401 - botocore's stream, which has no types
        from botocore.exceptions import ClientError  # noqa: PLC0415 - for users of S3 only

        # A part of the content has no checksum of its own.
        rest = {"Range": f"bytes={self._place}-"} if self._place else {"ChecksumMode": "ENABLED"}
        client = s3_client()
        with s3_problems(self._object):
            try:
                return client.get_object(**self._object.request, **rest)["Body"]
            except ClientError as error:
                if code_of(error) in MISSING:
                    raise S3ObjectMissingError(f"object {self._object} is gone: it was deleted, or expired.") from error
                if code_of(error) in _CHANGED:
                    raise S3ObjectChangedError(f"object {self._object} was overwritten meanwhile.") from error
                raise


def _object(place: S3Uri, found: Mapping[str, Any]) -> S3Object:
    version_id = found.get("VersionId")
    return S3Object(
        place,
        size=found["ContentLength"],
        etag=found["ETag"],
        version_id=None if version_id == _NO_VERSION else version_id,
        sha256=_whole_sha256(found),
    )


def _whole_sha256(found: Mapping[str, Any]) -> str | None:
    checksum = found.get("ChecksumSHA256")
    # An upload in parts has a checksum of its parts' checksums; that, the ETag or both end with their number, `-3`.
    if checksum is None or "-" in checksum or "-" in found["ETag"]:
        return None
    return base64.b64decode(checksum).hex()
