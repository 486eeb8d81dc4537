"""S3 for tests: one moto server on loopback for the session, and fresh buckets on it."""

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final
from uuid import uuid4

import pytest
from moto.backends import get_backend
from moto.server import ThreadedMotoServer

from tracking.s3_client import s3_client

# Nothing of the machine's own configuration counts, and no role is asked for at an address outside loopback.
_NEUTRAL: Final = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "AWS_MAX_ATTEMPTS": "1",
}
# moto's, whoever asks.
_ACCOUNT: Final = "123456789012"


@dataclass(frozen=True, slots=True)
class Bucket:
    """A bucket of its own for one test."""

    name: str
    client: Any

    @property
    def uri(self) -> str:
        """`s3://NAME`."""
        return f"s3://{self.name}"

    def put(self, key: str, content: bytes, **arguments: str) -> str:
        """Write an object; returns its version id, or `null`."""
        return str(self.client.put_object(Bucket=self.name, Key=key, Body=content, **arguments).get("VersionId"))

    def put_many(self, keys: Iterable[str], content: bytes) -> None:
        """Write many objects past HTTP, at once: the server lives in this process."""
        backend = get_backend("s3")[_ACCOUNT]["aws"]
        for key in keys:
            backend.put_object(self.name, key, content)

    def expire(self, key: str, version_id: str) -> None:
        """Remove one version for good, as a lifecycle rule does."""
        self.client.delete_object(Bucket=self.name, Key=key, VersionId=version_id)

    def listed(self) -> list[str]:
        """The keys of all objects, as S3 lists them."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.name)
        return [item["Key"] for page in pages for item in page.get("Contents", ())]


@pytest.fixture(scope="session")
def s3_variables() -> Iterator[Mapping[str, str]]:
    """The environment variables that lead to the session's server; children of a test need them too."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield {**_NEUTRAL, "AWS_ENDPOINT_URL": f"http://{host}:{port}"}
    server.stop()


@pytest.fixture
def s3_server(s3_variables: Mapping[str, str], monkeypatch: pytest.MonkeyPatch) -> str:
    """The server's URL, with the environment set so that it is used."""
    for name, value in s3_variables.items():
        monkeypatch.setenv(name, value)
    return s3_variables["AWS_ENDPOINT_URL"]


@pytest.fixture
def s3_bucket(s3_server: str) -> Bucket:
    """A fresh bucket that keeps no versions."""
    return _fresh("plain")


@pytest.fixture
def versioned_bucket(s3_server: str) -> Bucket:
    """A fresh bucket that keeps every version."""
    bucket = _fresh("versioned")
    bucket.client.put_bucket_versioning(Bucket=bucket.name, VersioningConfiguration={"Status": "Enabled"})
    return bucket


def _fresh(kind: str) -> Bucket:
    client = s3_client()
    name = f"{kind}-{uuid4().hex[:12]}"
    client.create_bucket(Bucket=name)
    return Bucket(name, client)
