import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracking.canonical import sha256_hex
from tracking.errors import InputError
from tracking.folder_objects import FolderObjects
from tracking.objects import MemoryObjects, ObjectChangedError, ObjectMissingError
from tracking.store import DamagedObjectError, Store

ABSENT = sha256_hex(b"never stored")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def store(root: Path) -> Store:
    return Store(FolderObjects(root))


def put(store: Store, content: bytes) -> str:
    with tempfile.NamedTemporaryFile() as file:
        file.write(content)
        file.flush()
        return store.put_file(Path(file.name))


def stored_file(root: Path, sha256: str) -> Path:
    return root / "sha256" / sha256[:2] / sha256[2:]


@given(st.lists(st.binary(max_size=20)))
def test_content_is_found_by_its_digest_and_kept_once(contents: list[bytes]) -> None:
    store = Store(MemoryObjects())
    digests = [put(store, content) for content in contents]
    assert digests == [sha256_hex(content) for content in contents]
    assert [store.read(digest) for digest in digests] == contents
    assert list(store.digests()) == sorted(set(digests))


def test_a_file_comes_back_byte_for_byte(store: Store, tmp_path: Path) -> None:
    content = bytes(range(256)) * 10_000
    (tmp_path / "f").write_bytes(content)
    sha256 = store.put_file(tmp_path / "f")
    assert store.has(sha256)
    assert store.size(sha256) == len(content)
    assert store.materialize(sha256, tmp_path / "deep" / "g").read_bytes() == content


def test_an_older_file_at_the_destination_is_replaced(store: Store, tmp_path: Path) -> None:
    (tmp_path / "g").write_text("old")
    store.materialize(put(store, b"new"), tmp_path / "g")
    assert (tmp_path / "g").read_bytes() == b"new"


def test_a_stored_file_does_not_follow_its_original(store: Store, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"original")
    sha256 = store.put_file(tmp_path / "f")
    (tmp_path / "f").write_bytes(b"changed!")
    assert store.read(sha256) == b"original"


def test_damage_is_found_while_reading_and_reaches_no_file(store: Store, root: Path, tmp_path: Path) -> None:
    sha256 = put(store, b"content")
    assert store.is_intact(sha256)
    stored_file(root, sha256).write_bytes(b"c0ntent")
    assert not store.is_intact(sha256)
    message = rf"^object {sha256} in {root} is damaged \(its content has the sha256 [0-9a-f]{{64}}\): restore that file"
    with pytest.raises(DamagedObjectError, match=message):
        store.read(sha256)
    with pytest.raises(DamagedObjectError, match=message):
        store.materialize(sha256, tmp_path / "out" / "g")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_truncated_object_is_mended_by_putting_it_again(store: Store, root: Path) -> None:
    sha256 = put(store, b"content")
    stored_file(root, sha256).write_bytes(b"")
    assert put(store, b"content") == sha256
    assert store.read(sha256) == b"content"


def test_a_file_that_changes_while_it_is_stored_is_refused(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "f").write_bytes(b"content")
    monkeypatch.setattr("tracking.store.sha256_file", lambda _: ABSENT)
    with pytest.raises(ObjectChangedError, match="it changed while it was stored; store it again when nothing writes"):
        store.put_file(tmp_path / "f")
    assert list(store.digests()) == []


def test_a_file_that_cannot_be_read_is_named(store: Store, tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"^file .*/none cannot be read \(No such file or directory\): correct the path"
    ):
        store.put_file(tmp_path / "none")


def test_a_missing_object_is_named(store: Store, tmp_path: Path) -> None:
    for ask in (store.read, store.size, lambda sha256: store.materialize(sha256, tmp_path / "g")):
        with pytest.raises(ObjectMissingError, match=ABSENT[2:]):
            ask(ABSENT)
    assert not store.has(ABSENT)
    assert not store.is_intact(ABSENT)
    assert not (tmp_path / "g").exists()


def test_a_removed_object_is_gone(store: Store) -> None:
    sha256 = put(store, b"x")
    assert store.remove(sha256)
    assert not store.remove(sha256)
    assert list(store.digests()) == []


@pytest.mark.parametrize("digest", ["", "abc", "../../etc/passwd", ABSENT.upper(), ABSENT + "0"])
def test_what_is_no_digest_is_refused(store: Store, digest: str) -> None:
    with pytest.raises(InputError, match="must be 64 hexadecimal digits, lower case: copy it whole"):
        store.has(digest)


def test_it_says_where_it_is(store: Store, root: Path) -> None:
    assert store.uri == str(root)
