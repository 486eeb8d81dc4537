"""Objects on S3: lost answers, conflicts, parts, and what S3 refuses. The contract has a suite of its own."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.plugins.s3_fixtures import Bucket
from tracking import s3_objects
from tracking.aside import StoreError
from tracking.canonical import sha256_hex
from tracking.errors import InputError
from tracking.objects import ObjectChangedError, ObjectMissingError
from tracking.s3_client import MissingBucketError, s3_client
from tracking.s3_objects import S3Objects
from tracking.store import Store

PART = 5 << 20


class Between:
    """S3's client with some of its requests replaced."""

    def __init__(self, **requests: Callable[..., object]) -> None:
        self._requests = requests

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the client has
        return self._requests.get(name) or getattr(s3_client(), name)


def refusal(code: str, *, retries: int = 0) -> ClientError:
    answer = {"Error": {"Code": code, "Message": code}, "ResponseMetadata": {"RetryAttempts": retries}}
    return ClientError(answer, "PutObject")


@pytest.fixture
def objects(s3_bucket: Bucket) -> S3Objects:
    return S3Objects(f"{s3_bucket.uri}/team/store/")


def replaced(monkeypatch: pytest.MonkeyPatch, **requests: Callable[..., object]) -> None:
    monkeypatch.setattr(s3_objects, "s3_client", lambda: Between(**requests))


def test_objects_lie_under_the_prefix_with_a_checksum_that_s3_verified(objects: S3Objects, s3_bucket: Bucket) -> None:
    objects.put_if_absent("a/b", b"content")
    assert s3_bucket.listed() == ["team/store/a/b"]
    assert objects.uri == f"{s3_bucket.uri}/team/store"
    assert objects.vouched_sha256("a/b") == sha256_hex(b"content")


def test_a_whole_bucket_can_be_a_store(s3_bucket: Bucket) -> None:
    objects = S3Objects(s3_bucket.uri)
    assert objects.put_if_absent("a/b", b"1")
    assert (objects.uri, s3_bucket.listed(), list(objects.list())) == (s3_bucket.uri, ["a/b"], ["a/b"])


def test_more_keys_than_one_page_holds_are_listed(objects: S3Objects, s3_bucket: Bucket) -> None:
    keys = [f"many/{number:04d}" for number in range(1_005)]
    s3_bucket.put_many([f"team/store/{key}" for key in keys], b"x")
    assert list(objects.list("many/")) == keys
    assert list(objects.list()) == keys


def test_what_others_keep_beside_is_passed_over(objects: S3Objects, s3_bucket: Bucket) -> None:
    objects.put_if_absent("a", b"1")
    s3_bucket.put("team/store/not a key", b"")
    s3_bucket.put("team/store/folder/", b"")
    s3_bucket.put("team/storehouse", b"")
    assert list(objects.list()) == ["a"]


def test_an_upload_whose_answer_was_lost_is_known_as_ours(objects: S3Objects, monkeypatch: pytest.MonkeyPatch) -> None:
    def lost(**request: object) -> None:
        s3_client().put_object(**request)
        raise refusal("PreconditionFailed", retries=1)

    replaced(monkeypatch, put_object=lost)
    assert objects.put_if_absent("k", b"content")
    assert not objects.put_if_absent("k", b"content")


def test_a_conflict_is_tried_again(objects: S3Objects, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = [refusal("ConditionalRequestConflict"), refusal("409")]
    pauses: list[float] = []

    def busy(**request: object) -> object:
        if answers:
            raise answers.pop()
        return s3_client().put_object(**request)

    replaced(monkeypatch, put_object=busy)
    monkeypatch.setattr("tracking.s3_objects.time.sleep", pauses.append)
    assert objects.put_if_absent("k", b"content")
    assert (objects.read("k"), pauses) == (b"content", [0.05, 0.1])


def test_of_a_conflict_another_writer_can_come_out_as_the_winner(
    objects: S3Objects, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = S3Objects(objects.uri)

    def beaten(**request: object) -> object:
        if other.put_if_absent("k", b"theirs"):
            raise refusal("ConditionalRequestConflict")
        return s3_client().put_object(**request)

    monkeypatch.setattr("tracking.s3_objects.time.sleep", lambda _: None)
    monkeypatch.setattr(s3_objects, "s3_client", Client(beaten))
    assert not objects.put_if_absent("k", b"ours")
    assert objects.read("k") == b"theirs"


class Client:
    """Gives the first caller a client that is beaten, and all others the real one."""

    def __init__(self, put_object: Callable[..., object]) -> None:
        self._answers = [Between(put_object=put_object)]

    def __call__(self) -> Any:  # noqa: ANN401 - boto3's client has no type
        return self._answers.pop() if self._answers else s3_client()


def test_a_conflict_without_end_is_an_error(objects: S3Objects, monkeypatch: pytest.MonkeyPatch) -> None:
    def busy(**_: object) -> None:
        raise refusal("ConditionalRequestConflict")

    replaced(monkeypatch, put_object=busy)
    monkeypatch.setattr("tracking.s3_objects.time.sleep", lambda _: None)
    with pytest.raises(StoreError, match=r"^cannot write to s3://.*/k: others were writing it .* 6 times; try again"):
        objects.put_if_absent("k", b"content")


def test_content_that_s3_got_otherwise_is_refused(objects: S3Objects, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(**_: object) -> None:
        raise refusal("BadDigest")

    replaced(monkeypatch, put_object=refused)
    with pytest.raises(ObjectChangedError, match=r"^object k: its content has the sha256"):
        objects.put_if_absent("k", b"content")


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("AccessDenied", r"^cannot write to s3://.*/k: access is denied; let these credentials do it \(docs/s3.md"),
        ("403", "access is denied"),
        ("ExpiredToken", "the credentials have expired; sign in again"),
        ("SlowDown", "the service is too busy; try again later"),
        ("NotImplemented", "use a service with conditional writes"),
        ("PermanentRedirect", "the bucket lies in another region; set AWS_REGION"),
        ("Odd", r"An error occurred \(Odd\) when calling the PutObject operation: Odd; see the message"),
    ],
)
def test_what_s3_refuses_is_said_in_words(
    objects: S3Objects, monkeypatch: pytest.MonkeyPatch, code: str, message: str
) -> None:
    def refused(**_: object) -> None:
        raise refusal(code)

    replaced(monkeypatch, put_object=refused)
    with pytest.raises(StoreError, match=message):
        objects.put_if_absent("k", b"content")


def test_a_large_file_is_sent_in_parts_and_only_once(s3_bucket: Bucket, tmp_path: Path) -> None:
    objects = S3Objects(s3_bucket.uri, max_put_bytes=PART, part_bytes=PART)
    content = bytes(range(256)) * (2 * PART // 256) + b"rest"
    (tmp_path / "large").write_bytes(content)
    store = Store(objects)
    sha256 = store.put_file(tmp_path / "large")
    assert store.read(sha256) == content
    assert not store.is_vouched(sha256)
    assert store.is_intact(sha256)
    assert not objects.put_if_absent(f"sha256/{sha256[:2]}/{sha256[2:]}", tmp_path / "large")
    assert "Uploads" not in s3_bucket.client.list_multipart_uploads(Bucket=s3_bucket.name)


def test_of_two_uploads_in_parts_the_first_completed_wins(
    s3_bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    objects = S3Objects(s3_bucket.uri, max_put_bytes=PART, part_bytes=PART)
    (tmp_path / "large").write_bytes(b"x" * (PART + 1))

    def late(**request: object) -> object:
        s3_bucket.put("k", b"theirs")
        return s3_client().complete_multipart_upload(**request)

    replaced(monkeypatch, complete_multipart_upload=late)
    assert not objects.put_if_absent("k", tmp_path / "large")
    assert objects.read("k") == b"theirs"
    assert "Uploads" not in s3_bucket.client.list_multipart_uploads(Bucket=s3_bucket.name)


def test_a_large_file_that_changes_while_it_is_sent_is_not_stored(
    s3_bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    objects = S3Objects(s3_bucket.uri, max_put_bytes=PART, part_bytes=PART)
    large = tmp_path / "large"
    large.write_bytes(b"x" * (2 * PART))

    def meanwhile(**request: object) -> object:
        with large.open("r+b") as file:
            file.seek(2 * PART - 1)
            file.write(b"y")
        return s3_client().create_multipart_upload(**request)

    replaced(monkeypatch, create_multipart_upload=meanwhile)
    with pytest.raises(ObjectChangedError, match="it changed while it was stored"):
        objects.put_if_absent("k", large)
    assert s3_bucket.listed() == []
    assert "Uploads" not in s3_bucket.client.list_multipart_uploads(Bucket=s3_bucket.name)


def test_an_upload_that_cannot_be_taken_back_says_why(
    s3_bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    objects = S3Objects(s3_bucket.uri, max_put_bytes=PART, part_bytes=PART)
    (tmp_path / "large").write_bytes(b"x" * (PART + 1))

    def denied(**_: object) -> None:
        raise refusal("AccessDenied")

    replaced(monkeypatch, upload_part=denied, abort_multipart_upload=denied)
    with pytest.raises(StoreError, match="access is denied"):
        objects.put_if_absent("k", tmp_path / "large")


def test_an_object_deleted_between_question_and_answer_is_missing(
    objects: S3Objects, s3_bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    objects.put_if_absent("k", b"1")
    require = S3Objects._require

    def late(self: S3Objects, key: str) -> object:
        found = require(self, key)
        objects.delete(key)
        return found

    monkeypatch.setattr(S3Objects, "_require", late)
    with pytest.raises(ObjectMissingError, match=r"^object k is not in s3://"):
        objects.read("k")


_CALLS: dict[str, Callable[[S3Objects], object]] = {
    "read": lambda objects: objects.read("k"),
    "exists": lambda objects: objects.exists("k"),
    "delete": lambda objects: objects.delete("k"),
    "size": lambda objects: objects.size("k"),
    "list": lambda objects: list(objects.list()),
    "put": lambda objects: objects.put_if_absent("k", b""),
}


@pytest.mark.parametrize("call", _CALLS)
def test_a_missing_bucket_is_named(s3_server: str, call: str) -> None:
    with pytest.raises(MissingBucketError, match=r"s3://no-such-bucket/store.*: there is no such bucket; correct"):
        _CALLS[call](S3Objects("s3://no-such-bucket/store"))


@pytest.mark.parametrize(
    "uri", ["s3://", "s3://UPPER/x", "s3://ab", "bucket/x", "s3://bucket/a b", "s3://bucket/../x", "s3://bucket//x"]
)
def test_a_place_that_is_none_is_refused(uri: str) -> None:
    with pytest.raises(InputError, match=r"must (be s3://BUCKET/KEY|have a prefix of segments)"):
        S3Objects(uri)


def test_a_prefix_that_leaves_no_room_for_keys_is_refused() -> None:
    with pytest.raises(InputError, match=r"must have a prefix of segments .* at most 123 in all; choose another"):
        S3Objects("s3://bucket/" + "x" * 124)
    assert S3Objects("s3://bucket/" + "x" * 123).uri.endswith("x")
