"""The way to S3: URIs, and what is said where there are no credentials or nobody answers."""

import os
import subprocess
import sys

import pytest
from botocore import exceptions as known

from tests.plugins.mlflow_fixtures import free_port
from tests.plugins.s3_fixtures import Bucket
from tracking.aside import StoreError
from tracking.errors import InputError
from tracking.s3_client import S3Uri, s3_client, s3_problems
from tracking.s3_reading import list_objects, look_up

PLACE = S3Uri("bucket", "a/b")


def test_a_uri_is_read_and_written() -> None:
    assert S3Uri.parse("s3://bucket/a/b?*.csv") == S3Uri("bucket", "a/b?*.csv")
    assert S3Uri.parse("s3://bucket") == S3Uri("bucket", "")
    assert str(PLACE.with_key("c")) == "s3://bucket/c"


@pytest.mark.parametrize("uri", ["s3:/bucket/x", "s3:///x", "s3://a_b/x", "gs://bucket/x", "s3://.bucket"])
def test_what_is_no_uri_is_refused(uri: str) -> None:
    with pytest.raises(InputError, match=r"^S3 URI == '.*', must be s3://BUCKET/KEY .*; correct it$"):
        S3Uri.parse(uri)


def test_one_client_serves_the_process_until_the_environment_changes(
    s3_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = s3_client()
    assert s3_client() is first
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    assert s3_client() is not first


def test_requests_are_repeated_a_bounded_number_of_times_unless_the_user_says_otherwise(
    s3_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert s3_client().meta.config.retries["total_max_attempts"] == 1
    monkeypatch.delenv("AWS_MAX_ATTEMPTS")
    config = s3_client().meta.config
    assert config.retries["total_max_attempts"] == 5
    assert (config.connect_timeout, config.read_timeout) == (10.0, 60.0)


def test_without_credentials_the_remedy_is_named(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(StoreError, match=r"^cannot read s3://bucket/a/b: no AWS credentials were found; set AWS_PROF"):
        look_up(PLACE)


def test_a_profile_that_is_not_there_is_named(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(StoreError, match=r"^cannot use S3: .*\(nobody\) could not be found; correct AWS_PROFILE"):
        s3_client()


def test_an_endpoint_where_nobody_answers_is_named_without_its_credentials(
    s3_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
    with pytest.raises(StoreError, match=rf"the service at http://127.0.0.1:{port} does not answer .*AWS_ENDPOINT_URL"):
        list(list_objects(PLACE))


def test_an_endpoint_that_is_none_is_refused(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "nonsense")
    with pytest.raises(StoreError, match=r"^cannot use S3: Invalid endpoint: nonsense; correct the AWS settings"):
        s3_client()


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (known.CredentialRetrievalError(provider="sso", error_msg="x"), "the AWS credentials cannot be had; sign in"),
        (known.FlexibleChecksumError(error_msg="x"), "its content is not what its checksum says; read it again"),
        (known.HTTPClientError(error="x"), r"the service does not answer \(HTTPClientError\)"),
        (known.NoRegionError(), "You must specify a region; check the AWS settings"),
    ],
    ids=["credentials", "checksum", "network", "other"],
)
def test_what_goes_wrong_is_said_in_words(error: Exception, message: str) -> None:
    with pytest.raises(StoreError, match=message), s3_problems(PLACE):
        raise error


def test_a_wrong_access_key_is_not_shown(s3_bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    refused = known.ClientError({"Error": {"Code": "InvalidAccessKeyId", "Message": "key AKIA1"}}, "GetObject")
    with pytest.raises(StoreError, match="the credentials are not known there") as caught, s3_problems(PLACE):
        raise refused
    assert "AKIA1" not in str(caught.value)


def test_who_uses_no_s3_does_not_load_boto3() -> None:
    code = (
        "import sys, ctr_pipeline.workflows.preparation, ctr_pipeline.workflows.data, tracking.location\n"
        "tracking.location.open_objects('folder'); tracking.location.open_objects('s3://bucket/x')\n"
        "assert not {'boto3', 'botocore'} & set(sys.modules), 'loaded'"
    )
    shown = subprocess.run([sys.executable, "-c", code], env=os.environ, capture_output=True, text=True, check=False)
    assert shown.returncode == 0, shown.stderr
