"""Objects on S3, or on a service that speaks its protocol with conditional writes."""

import base64
import hashlib
import io
import secrets
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, Final

from tracking.aside import StoreError
from tracking.canonical import sha256_file, sha256_hex
from tracking.errors import InputError
from tracking.objects import (
    MAX_KEY,
    ObjectChangedError,
    ObjectMissingError,
    check_digest,
    check_key,
    check_prefix,
    is_key,
)
from tracking.s3_client import MISSING, S3Uri, code_of, s3_client, s3_problems
from tracking.s3_reading import S3Object, S3ObjectMissingError, list_objects, look_up, open_object, require_bucket

# S3's own limits: one upload, the parts of one in parts, a key.
_MAX_PUT_BYTES: Final = 5 << 30
_MAX_PARTS: Final = 10_000
_MAX_S3_KEY: Final = 1_024
_PART_BYTES: Final = 64 << 20
# Worth a question before so much is sent in vain.
_ASK_FIRST_BYTES: Final = 1 << 20
_TAKEN: Final = frozenset({"412", "PreconditionFailed"})
_CONFLICT: Final = frozenset({"409", "ConditionalRequestConflict", "OperationAborted"})
_REFUSED: Final = frozenset({"BadDigest", "XAmzContentChecksumMismatch", "InvalidDigest", "IncompleteBody"})
_ROUNDS: Final = 6
_FIRST_PAUSE_S: Final = 0.05
_TOKEN: Final = "ctr-put"  # noqa: S105 - the name of an object's metadata, no secret

type _Body = io.BufferedReader | io.BytesIO
type _Upload = Callable[[_Body], object]


class S3Objects:
    """Objects under a prefix of a bucket; see `tracking.objects.Objects` for the contract.

    An upload carries `If-None-Match: *`, so that of many writers S3 lets exactly one win, and the content's sha256,
    which S3 verifies before the object appears. Requests are repeated a bounded number of times. An answer that was
    lost makes no difference: each upload carries a token of its own, by which the winner knows its object.

    Args:
        uri: `s3://bucket` or `s3://bucket/prefix`.
        max_put_bytes: larger files are sent in parts.
        part_bytes: a part's size; S3 wants at least 5 MiB.

    Raises:
        InputError: the URI is none, or its prefix leaves too little room for keys.
    """

    def __init__(self, uri: str, *, max_put_bytes: int = _MAX_PUT_BYTES, part_bytes: int = _PART_BYTES) -> None:
        place = S3Uri.parse(uri)
        prefix = place.key.rstrip("/")
        if prefix and (not is_key(prefix) or len(prefix) + 1 + MAX_KEY > _MAX_S3_KEY):
            raise InputError(
                f"store == {uri!r}, must have a prefix of segments of letters, digits and `._=-` joined by `/`, at "
                f"most {_MAX_S3_KEY - MAX_KEY - 1} in all; choose another"
            )
        self._base = place.with_key(prefix)
        self._start = f"{prefix}/" if prefix else ""
        self._max_put_bytes = max_put_bytes
        self._part_bytes = part_bytes
        self._bucket_is_there = False

    @property
    def uri(self) -> str:
        """The bucket and the prefix."""
        return str(self._base).rstrip("/")

    def put_if_absent(self, key: str, content: Path | bytes, *, sha256: str | None = None) -> bool:
        """See `Objects`."""
        place = self._place(key)
        digest, size = _digest_and_size(content)
        check_digest(key, sha256, digest)
        if size > _ASK_FIRST_BYTES and self.exists(key):
            return False
        token = secrets.token_hex(16)

        def put_whole(body: _Body) -> None:
            s3_client().put_object(
                **place.request,
                Body=body,
                ContentLength=size,
                IfNoneMatch="*",
                Metadata={_TOKEN: token},
                **_checksum(digest),
            )

        def put_parts(body: _Body) -> None:
            part_bytes = max(self._part_bytes, -(-size // _MAX_PARTS))
            _PartsUpload(key, place, token).send(body, digest, part_bytes)

        upload = put_whole if size <= self._max_put_bytes else put_parts
        with s3_problems(place, verb="write to"), _opened(content) as body:
            return self._uploaded(upload, body, key, digest, token)

    def open(self, key: str) -> BinaryIO:
        """See `Objects`."""
        try:
            return open_object(self._require(key))
        except S3ObjectMissingError as error:
            raise ObjectMissingError(self.uri, key) from error

    def read(self, key: str) -> bytes:
        """See `Objects`."""
        with self.open(key) as file:
            return file.read()

    def size(self, key: str) -> int:
        """See `Objects`."""
        return self._require(key).size

    def vouched_sha256(self, key: str) -> str | None:
        """See `Objects`."""
        return self._require(key).sha256

    def exists(self, key: str) -> bool:
        """See `Objects`."""
        return self._find(key) is not None

    def list(self, prefix: str = "") -> Iterator[str]:
        """See `Objects`."""
        check_prefix(prefix)
        listed = list_objects(self._base.with_key(f"{self._start}{prefix}"))
        keys = (found.place.key.removeprefix(self._start) for found in listed)
        # Others may keep things there too; not every kind of bucket lists in order.
        return iter(sorted(key for key in keys if is_key(key)))

    def delete(self, key: str) -> bool:
        """See `Objects`."""
        place = self._place(key)
        if self._find(key) is None:
            return False
        client = s3_client()
        with s3_problems(place, verb="delete"):
            client.delete_object(**place.request)
        return True

    def _place(self, key: str) -> S3Uri:
        check_key(key)
        return self._base.with_key(f"{self._start}{key}")

    def _find(self, key: str) -> S3Object | None:
        found = look_up(self._place(key))
        if found is None and not self._bucket_is_there:
            # S3 answers a question for one object of a missing bucket as for a missing object.
            require_bucket(self._base)
        self._bucket_is_there = True
        return found

    def _require(self, key: str) -> S3Object:
        found = self._find(key)
        if found is None:
            raise ObjectMissingError(self.uri, key)
        return found

    def _uploaded(self, upload: _Upload, body: _Body, key: str, digest: str, token: str) -> bool:
        from botocore.exceptions import ClientError  # noqa: PLC0415 - loaded by those who use S3 only

        for attempt in range(_ROUNDS):
            body.seek(0)
            try:
                upload(body)
            except ClientError as error:
                code = code_of(error)
                if code in _TAKEN:
                    return self._is_ours(error, attempt, key, token)
                if code in _REFUSED:
                    raise ObjectChangedError(key, digest, _digest_of(body)) from error
                if code not in _CONFLICT:
                    raise
                # Another one writes it at this very moment; S3 asks to try again.
                time.sleep(_FIRST_PAUSE_S * 2**attempt)
            else:
                return True
        raise StoreError(
            f"cannot write to {self._place(key)}: others were writing it at the same moment {_ROUNDS} times; try again."
        )

    def _is_ours(self, error: Exception, attempt: int, key: str, token: str) -> bool:
        """Whether a taken key was taken by this very upload, whose answer was lost."""
        retried = getattr(error, "response", {}).get("ResponseMetadata", {}).get("RetryAttempts", 0)
        if not attempt and not retried:
            return False
        found = s3_client().head_object(**self._place(key).request)
        return bool(found["Metadata"].get(_TOKEN) == token)


class _PartsUpload:
    """One upload in parts; nothing appears before it is complete."""

    def __init__(self, key: str, place: S3Uri, token: str) -> None:
        self._key = key
        self._place = place
        self._client = s3_client()
        made = self._client.create_multipart_upload(
            **place.request, Metadata={_TOKEN: token}, ChecksumAlgorithm="SHA256"
        )
        self._upload = {**place.request, "UploadId": made["UploadId"]}

    def send(self, body: _Body, digest: str, part_bytes: int) -> None:
        """Send all parts and complete the upload, or leave nothing."""
        try:
            found = hashlib.sha256()
            parts: list[dict[str, object]] = []
            while block := body.read(part_bytes):
                found.update(block)
                parts.append(self._part(len(parts) + 1, block))
            check_digest(self._key, digest, found.hexdigest())
            self._client.complete_multipart_upload(**self._upload, MultipartUpload={"Parts": parts}, IfNoneMatch="*")
        except BaseException:
            self._abort()
            raise

    def _part(self, number: int, block: bytes) -> dict[str, object]:
        checksum = _checksum(sha256_hex(block))
        sent = self._client.upload_part(**self._upload, PartNumber=number, Body=block, **checksum)
        return {"PartNumber": number, "ETag": sent["ETag"], "ChecksumSHA256": checksum["ChecksumSHA256"]}

    def _abort(self) -> None:
        from botocore.exceptions import ClientError  # noqa: PLC0415 - loaded by those who use S3 only

        try:
            self._client.abort_multipart_upload(**self._upload)
        except ClientError as error:
            # It was completed although the answer was lost, or cleaned up by a lifecycle rule.
            if code_of(error) not in {*MISSING, "NoSuchUpload"}:
                raise


def _checksum(sha256: str) -> dict[str, str]:
    return {"ChecksumAlgorithm": "SHA256", "ChecksumSHA256": base64.b64encode(bytes.fromhex(sha256)).decode()}


def _digest_and_size(content: Path | bytes) -> tuple[str, int]:
    if isinstance(content, bytes):
        return sha256_hex(content), len(content)
    return sha256_file(content), content.stat().st_size


def _digest_of(body: _Body) -> str:
    body.seek(0)
    return hashlib.file_digest(body, "sha256").hexdigest()


def _opened(content: Path | bytes) -> _Body:
    return content.open("rb") if isinstance(content, Path) else io.BytesIO(content)
