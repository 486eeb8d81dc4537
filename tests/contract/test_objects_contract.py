"""What every adapter of `tracking.objects.Objects` does."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracking.canonical import sha256_hex
from tracking.errors import InputError
from tracking.folder_objects import FolderObjects
from tracking.location import open_objects
from tracking.objects import MemoryObjects, ObjectChangedError, ObjectMissingError, Objects, check_key

ADAPTERS: dict[str, Callable[[pytest.FixtureRequest], Objects]] = {
    "memory": lambda _: MemoryObjects(),
    "folder": lambda request: FolderObjects(request.getfixturevalue("tmp_path") / "objects"),
    "s3": lambda request: open_objects(f"{request.getfixturevalue('s3_bucket').uri}/objects"),
}


@pytest.fixture(params=ADAPTERS)
def objects(request: pytest.FixtureRequest) -> Objects:
    return ADAPTERS[request.param](request)


def test_what_was_put_is_read_back(objects: Objects) -> None:
    assert objects.put_if_absent("a/b.json", b"content")
    assert objects.read("a/b.json") == b"content"
    with objects.open("a/b.json") as file:
        assert (file.read(3), file.read()) == (b"con", b"tent")
    assert objects.size("a/b.json") == 7
    assert objects.exists("a/b.json")


def test_a_files_content_can_be_put(objects: Objects, tmp_path: Path) -> None:
    content = bytes(range(256)) * 10_000
    (tmp_path / "f").write_bytes(content)
    assert objects.put_if_absent("f", tmp_path / "f")
    assert objects.read("f") == content


def test_an_empty_object_is_an_object(objects: Objects) -> None:
    objects.put_if_absent("empty", b"")
    assert (objects.exists("empty"), objects.read("empty"), objects.size("empty")) == (True, b"", 0)


def test_who_puts_a_key_first_wins(objects: Objects) -> None:
    assert objects.put_if_absent("k", b"first")
    assert not objects.put_if_absent("k", b"second")
    assert objects.read("k") == b"first"


def test_of_many_at_once_exactly_one_wins(objects: Objects) -> None:
    contents = [bytes([65 + index]) * 100_000 for index in range(50)]
    barrier = Barrier(len(contents))

    def put(content: bytes) -> bool:
        barrier.wait()
        return objects.put_if_absent("k", content)

    with ThreadPoolExecutor(len(contents)) as pool:
        won = list(pool.map(put, contents))
    assert won.count(True) == 1
    assert objects.read("k") == contents[won.index(True)]


def test_content_that_is_not_what_was_announced_is_not_stored(objects: Objects) -> None:
    with pytest.raises(ObjectChangedError, match=r"^object k: its content has the sha256 [0-9a-f]{64}, must be 00:"):
        objects.put_if_absent("k", b"content", sha256="00")
    assert not objects.exists("k")
    assert objects.put_if_absent("k", b"content", sha256=sha256_hex(b"content"))


def test_a_missing_file_stores_nothing(objects: Objects, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        objects.put_if_absent("k", tmp_path / "none")
    assert not objects.exists("k")


@pytest.mark.parametrize("ask", [Objects.read, Objects.open, Objects.size, Objects.vouched_sha256])
def test_a_missing_object_is_named_with_the_remedy(objects: Objects, ask: Callable[..., object]) -> None:
    with pytest.raises(ObjectMissingError, match=r"^object a/k is not in .+: it was deleted, or never stored there"):
        getattr(objects, ask.__name__)("a/k")
    assert not objects.exists("a/k")


def test_keys_are_listed_sorted_by_their_beginning(objects: Objects) -> None:
    for key in ("b/2", "b/10", "a/1", "bc", "b/sub/3"):
        objects.put_if_absent(key, b"")
    assert list(objects.list()) == ["a/1", "b/10", "b/2", "b/sub/3", "bc"]
    assert list(objects.list("b/")) == ["b/10", "b/2", "b/sub/3"]
    assert list(objects.list("b")) == ["b/10", "b/2", "b/sub/3", "bc"]
    assert list(objects.list("b/1")) == ["b/10"]
    assert list(objects.list("nothing/")) == []


def test_a_place_vouches_for_nothing_but_the_content(objects: Objects) -> None:
    objects.put_if_absent("k", b"content")
    assert objects.vouched_sha256("k") in {None, sha256_hex(b"content")}


def test_a_folder_is_no_object(objects: Objects) -> None:
    objects.put_if_absent("a/b", b"")
    assert not objects.exists("a")
    assert not objects.delete("a")
    with pytest.raises(ObjectMissingError):
        objects.read("a")


def test_a_deleted_object_is_gone_and_can_be_put_again(objects: Objects) -> None:
    objects.put_if_absent("k", b"1")
    assert objects.delete("k")
    assert not objects.delete("k")
    assert list(objects.list()) == []
    assert objects.put_if_absent("k", b"2")
    assert objects.read("k") == b"2"


@pytest.mark.parametrize(
    "key", ["", "/a", "a/", "a//b", "../a", "a/../b", ".tmp/a", "a/.b", "-a", "a b", "é", "a\n", "a" * 201]
)
def test_a_key_that_some_adapter_could_not_hold_is_refused(objects: Objects, key: str) -> None:
    for call in (objects.read, objects.open, objects.size, objects.exists, objects.delete):
        with pytest.raises(InputError, match=r"^object key '.*' must be segments of letters, digits and `\._=-`"):
            call(key)
    with pytest.raises(InputError, match="choose another key"):
        objects.put_if_absent(key, b"")


@pytest.mark.parametrize("prefix", ["../", "/", "a/../", ".tmp/"])
def test_a_beginning_that_no_key_can_have_is_refused(objects: Objects, prefix: str) -> None:
    with pytest.raises(InputError, match="must be segments of letters"):
        objects.list(prefix)


def test_it_says_where_it_is(objects: Objects) -> None:
    assert objects.uri


@given(st.from_regex(r"[A-Za-z0-9_=][A-Za-z0-9._=-]{0,20}(/[A-Za-z0-9_=][A-Za-z0-9._=-]{0,20}){0,3}", fullmatch=True))
def test_keys_of_the_stated_form_are_valid(key: str) -> None:
    check_key(key)
