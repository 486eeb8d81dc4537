"""Patches between two source archives: what is read, what is only named."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from ctr_pipeline.workflows.diff_code import UnreadableSnapshotError, as_text, patches
from ctr_pipeline.workflows.diff_parts import FilePatch
from tracking.archive import ArchiveWriter, SourceFile
from tracking.canonical import sha256_hex


def archive(path: Path, files: Mapping[str, bytes], kinds: Mapping[str, str] | None = None) -> Path:
    with path.open("wb") as file:
        writer = ArchiveWriter(file)
        for name, content in files.items():
            part, _, place = name.partition("/")
            kind = (kinds or {}).get(name, "file")
            writer.add(SourceFile(part, place, kind, sha256_hex(content), len(content)), content)
        writer.finish(["tree"])
    return path


def compared(
    tmp_path: Path,
    before: Mapping[str, bytes],
    after: Mapping[str, bytes],
    *,
    kinds_before: Mapping[str, str] | None = None,
    kinds_after: Mapping[str, str] | None = None,
) -> dict[str, FilePatch]:
    old = archive(tmp_path / "old.tar.gz", before, kinds_before)
    new = archive(tmp_path / "new.tar.gz", after, kinds_after)
    return {patch.path: patch for patch in patches(old, new)}


def test_equal_files_are_not_named(tmp_path: Path) -> None:
    assert compared(tmp_path, {"tree/a.py": b"1\n"}, {"tree/a.py": b"1\n"}) == {}


def test_added_and_removed_files_are_patches_from_and_to_nothing(tmp_path: Path) -> None:
    found = compared(tmp_path, {"tree/old.py": b"1\n"}, {"site/new.py": b"2\n"})
    assert found["old.py"].lines[:2] == ("--- a/old.py", "+++ /dev/null")
    assert found["site/new.py"].lines[:2] == ("--- /dev/null", "+++ b/site/new.py")
    assert (found["site/new.py"].change, found["site/new.py"].added) == ("added", 1)


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"\0\1", "binary"), (b"\xff", "binary"), (b"x" * 300_000, "too large"), (b"x\n" * 3_000, "too long")],
    ids=["nul", "no-utf-8", "large", "long"],
)
def test_what_cannot_be_shown_is_named_with_the_reason(tmp_path: Path, content: bytes, reason: str) -> None:
    patch = compared(tmp_path, {"tree/a": b"a\n"}, {"tree/a": content})["a"]
    assert patch.lines == ()
    assert str(patch.reason).startswith(reason)


def test_a_text_that_became_binary_is_named(tmp_path: Path) -> None:
    assert compared(tmp_path, {"tree/a": b"\0"}, {"tree/a": b"a\n"})["a"].reason == "binary"


def test_a_changed_permission_is_said(tmp_path: Path) -> None:
    after = {"tree/a": "executable"}
    patch = compared(tmp_path, {"tree/a": b"a\n"}, {"tree/a": b"a\n"}, kinds_after=after)["a"]
    assert "permission" in str(patch.reason)


def test_an_added_empty_file_is_said_to_be_empty(tmp_path: Path) -> None:
    patch = compared(tmp_path, {}, {"tree/__init__.py": b""})["__init__.py"]
    assert (patch.change, patch.reason) == ("added", "empty")


def test_a_link_is_shown_by_its_target(tmp_path: Path) -> None:
    links = {"tree/a": "link"}
    patch = compared(tmp_path, {"tree/a": b"b"}, {"tree/a": b"c"}, kinds_before=links, kinds_after=links)["a"]
    assert "+link to c" in patch.lines


def test_a_line_without_an_end_is_a_difference(tmp_path: Path) -> None:
    patch = compared(tmp_path, {"tree/a": b"a\n"}, {"tree/a": b"a"})["a"]
    assert patch.lines[-3:] == ("-a", "+a", "\\ No newline at end of file")


def test_a_truncated_archive_is_refused(tmp_path: Path) -> None:
    whole = archive(tmp_path / "whole.tar.gz", {"tree/a.py": b"1\n"})
    broken = tmp_path / "broken.tar.gz"
    broken.write_bytes(whole.read_bytes()[:90])
    with pytest.raises(UnreadableSnapshotError, match=r"broken\.tar\.gz cannot be read"):
        patches(whole, broken)


def test_a_member_that_is_listed_and_missing_is_refused(tmp_path: Path) -> None:
    whole = archive(tmp_path / "whole.tar.gz", {"tree/a.py": b"1\n"})
    with (tmp_path / "lying.tar.gz").open("wb") as file:
        writer = ArchiveWriter(file)
        writer._files.append(SourceFile("tree", "b.py", "file", "0" * 64, 2))
        writer.finish(["tree"])
    with pytest.raises(UnreadableSnapshotError, match=r"tree/b\.py cannot be read"):
        patches(whole, tmp_path / "lying.tar.gz")


def test_the_text_names_what_has_no_patch(tmp_path: Path) -> None:
    found = compared(tmp_path, {"tree/a": b"\0", "tree/b": b"1\n"}, {"tree/a": b"\1\0", "tree/b": b"2\n"})
    assert list(as_text(tuple(found.values()))) == [
        "changed a: binary",
        "--- a/b",
        "+++ b/b",
        "@@ -1 +1 @@",
        "-1",
        "+2",
    ]
