"""The way to S3: places written as `s3://bucket/key`, one client per process, and its errors in words.

boto3 is imported with the first request, so that whoever uses no S3 does not wait for it. It finds credentials,
region and endpoint by itself (`AWS_PROFILE`, `AWS_ENDPOINT_URL`, `AWS_CA_BUNDLE`, ...); none of them is ever shown.
"""

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, Self
from urllib.parse import urlsplit

from tracking.aside import StoreError
from tracking.errors import InputError

SCHEME: Final = "s3://"
BLOCK_BYTES: Final = 8 << 20
# As many connections as files are transferred at once, and some for look-ups beside them.
MAX_CONNECTIONS: Final = 16
MISSING: Final = frozenset({"404", "NoSuchKey", "NoSuchVersion"})

_BUCKET: Final = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_CONNECT_S: Final = 10.0
_READ_S: Final = 60.0
_ATTEMPTS: Final = 5
_RETRIES_SET: Final = ("AWS_MAX_ATTEMPTS", "AWS_RETRY_MODE")

# What botocore has no types for.
type S3Client = Any

_CREDENTIALS: Final = "set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give this machine a role"
_REASONS: Final[Mapping[str, tuple[str, str]]] = {
    "NoSuchBucket": ("there is no such bucket", "correct the name, or create the bucket"),
    "AccessDenied": ("access is denied", "let these credentials do it (docs/s3.md lists the actions), or use others"),
    "InvalidAccessKeyId": ("the credentials are not known there", _CREDENTIALS),
    "SignatureDoesNotMatch": ("the secret key is wrong", _CREDENTIALS),
    "ExpiredToken": ("the credentials have expired", "sign in again"),
    "InvalidToken": ("the session token is not valid", "sign in again"),
    "RequestTimeTooSkewed": ("this machine's clock is wrong", "set the clock"),
    "PermanentRedirect": ("the bucket lies in another region", "set AWS_REGION to the bucket's"),
    "AuthorizationHeaderMalformed": ("the bucket lies in another region", "set AWS_REGION to the bucket's"),
    "InvalidObjectState": ("the object is archived", "restore it from its archive class in S3 first"),
    "SlowDown": ("the service is too busy", "try again later"),
    "NotImplemented": ("the service does not know such a request", "use a service with conditional writes"),
}
_SYNONYMS: Final = {
    "403": "AccessDenied",
    "301": "PermanentRedirect",
    "503": "SlowDown",
    "AllAccessDisabled": "AccessDenied",
}


class MissingBucketError(StoreError):
    """There is no such bucket."""


@dataclass(frozen=True, slots=True)
class S3Uri:
    """A place on S3: an object's key, or the beginning of many; empty for a whole bucket."""

    bucket: str
    key: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `s3://bucket/key`.

        Raises:
            InputError: it is none, or no bucket can be called so.
        """
        bucket, _, key = text.removeprefix(SCHEME).partition("/")
        if not text.startswith(SCHEME) or not _BUCKET.fullmatch(bucket):
            raise InputError(
                f"S3 URI == {text!r}, must be s3://BUCKET/KEY with a bucket of 3 to 63 lower-case letters, digits, "
                "dots and hyphens; correct it"
            )
        return cls(bucket, key)

    def __str__(self) -> str:
        return f"{SCHEME}{self.bucket}/{self.key}"

    def with_key(self, key: str) -> "S3Uri":
        """Return another key of the same bucket."""
        return S3Uri(self.bucket, key)

    @property
    def request(self) -> dict[str, str]:
        """The arguments that name the object in a request."""
        return {"Bucket": self.bucket, "Key": self.key}


def s3_client() -> S3Client:
    """Return this process's client for the environment's endpoint and credentials; threads may share it.

    Raises:
        StoreError: the AWS configuration is broken.
    """
    settings = tuple(sorted(item for item in os.environ.items() if item[0].startswith("AWS_")))
    with s3_problems("S3", verb="use"):
        # A child of a fork must not use its parent's connections.
        return _client(os.getpid(), settings)


@contextmanager
def s3_problems(place: object, *, verb: str = "read") -> Iterator[None]:
    """Turn what botocore raises into one line that names the place and the remedy.

    Args:
        place: what the request was about.
        verb: what was done there: "read", "write to".

    Raises:
        MissingBucketError: there is no such bucket.
        StoreError: in place of any other error of botocore.
    """
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - loaded by those who use S3 only

    try:
        yield
    except ClientError as error:
        code = code_of(error)
        reason, remedy = _REASONS.get(code) or (_plain(error), "see the message")
        kind = MissingBucketError if code == "NoSuchBucket" else StoreError
        raise kind(f"cannot {verb} {place}: {reason}; {remedy}.") from error
    except BotoCoreError as error:
        reason, remedy = _explained(error)
        raise StoreError(f"cannot {verb} {place}: {reason}; {remedy}.") from error
    except ValueError as error:  # an endpoint or an ARN that is none
        raise StoreError(f"cannot {verb} {place}: {error}; correct the AWS settings.") from error


def code_of(error: Exception) -> str:
    """Return the code of a service's error, such as `NoSuchKey`; a HEAD request has the status instead: `404`."""
    response: Mapping[str, Any] = getattr(error, "response", {})
    code = str(response.get("Error", {}).get("Code", ""))
    return _SYNONYMS.get(code, code)


@lru_cache(maxsize=4)
def _client(_process: int, _settings: tuple[tuple[str, str], ...]) -> S3Client:
    import boto3.session  # noqa: PLC0415 - half a second that only those pay who use S3
    from botocore.config import Config  # noqa: PLC0415 - see above

    bounded = {} if any(name in os.environ for name in _RETRIES_SET) else {"retries": _retries()}
    config = Config(connect_timeout=_CONNECT_S, read_timeout=_READ_S, max_pool_connections=MAX_CONNECTIONS, **bounded)
    return boto3.session.Session().client("s3", config=config)


def _retries() -> dict[str, Any]:
    return {"mode": "standard", "total_max_attempts": _ATTEMPTS}


def _explained(error: Exception) -> tuple[str, str]:
    from botocore import exceptions as known  # noqa: PLC0415 - loaded by those who use S3 only

    if isinstance(error, known.NoCredentialsError | known.PartialCredentialsError):
        return "no AWS credentials were found", _CREDENTIALS
    if isinstance(error, known.CredentialRetrievalError | known.SSOError | known.UnauthorizedSSOTokenError):
        return "the AWS credentials cannot be had", "sign in again"
    if isinstance(error, known.ProfileNotFound):
        return _plain(error), "correct AWS_PROFILE"
    if isinstance(error, known.FlexibleChecksumError):
        return "its content is not what its checksum says", "read it again; restore it from a backup if that fails"
    if isinstance(error, known.HTTPClientError | known.ConnectionError):
        where = urlsplit(str(getattr(error, "kwargs", {}).get("endpoint_url", "")))
        host = f" at {where.scheme}://{where.hostname}" + (f":{where.port}" if where.port else "")
        return (
            f"the service{host if where.hostname else ''} does not answer ({type(error).__name__})",
            "check the network and AWS_ENDPOINT_URL, then try again",
        )
    return _plain(error), "check the AWS settings"


def _plain(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".")
