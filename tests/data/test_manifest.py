"""Manifests: the golden file, canonical bytes, what is refused; and what differs between two of them."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from ctr_pipeline.data.difference import ManifestDiff, TypeChange, diff
from ctr_pipeline.data.formats import DataFormat
from ctr_pipeline.data.manifest import DatasetManifest, PinnedFile, TimeRange, read_manifest
from ctr_pipeline.data.version import ColumnDigest
from tracking.errors import InputError

GOLDEN = Path(__file__).parent.parent / "golden" / "manifest-1.json"


def a_manifest() -> DatasetManifest:
    return DatasetManifest(
        name="clicks",
        digest="ab" * 32,
        n_rows=3,
        columns=(ColumnDigest("click", "integer", "1" * 32), ColumnDigest("größe", "text", "2" * 32)),
        files=(
            PinnedFile("day=1/a.csv.gz", 120, "c" * 64, 1, "3" * 32),
            PinnedFile("day=2/b.csv.gz", 220, "d" * 64, 2, "4" * 32, s3_version_id="v1"),
        ),
        data_format=DataFormat("csv", delimiter=";", header=False, column_names=("click", "größe")),
        time_range=TimeRange(1_574_553_634_762_830, 1_575_158_400_000_000),
    )


def test_the_golden_manifest_is_read_and_written_byte_by_byte() -> None:
    assert read_manifest(GOLDEN) == a_manifest()
    assert a_manifest().to_json() == GOLDEN.read_bytes()


def test_a_manifest_without_a_time_range_survives_the_round_trip() -> None:
    manifest = replace(a_manifest(), time_range=None)
    assert DatasetManifest.from_json(manifest.to_json(), origin="here") == manifest


def test_the_data_version_is_the_digests_start_and_the_key_names_both() -> None:
    manifest = a_manifest()
    assert manifest.data_version == "ab" * 16
    assert manifest.key == f"manifests/{'ab' * 16}-{manifest.sha256[:16]}.json"
    assert manifest.key != replace(manifest, name="other").key


def test_a_newer_format_is_refused() -> None:
    content = json.dumps({**json.loads(GOLDEN.read_bytes()), "format": 2}).encode()
    with pytest.raises(
        InputError, match=r"manifest 'm.json' has format 2, must be at most 1; use a newer ctr-pipeline"
    ):
        DatasetManifest.from_json(content, origin="m.json")


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"format":1}', b"\xff"])
def test_a_broken_manifest_is_refused(content: bytes) -> None:
    with pytest.raises(InputError, match=r"manifest 'm.json' cannot be read .*; restore it, or pin the data again"):
        DatasetManifest.from_json(content, origin="m.json")


def test_a_manifest_whose_version_is_not_its_digests_is_refused() -> None:
    content = GOLDEN.read_bytes().replace(b'"data_version":"ab', b'"data_version":"00')
    with pytest.raises(InputError, match=rf"has data_version 00.*, must be {'ab' * 16} by its digest"):
        DatasetManifest.from_json(content, origin="m.json")


def test_a_manifest_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"manifest '.*gone.json' cannot be read: No such file or directory; pin the data"
    ):
        read_manifest(tmp_path / "gone.json")


@pytest.mark.parametrize("path", ["", "/etc/passwd", "../a.csv", "a/../../b.csv"])
def test_a_file_outside_its_folder_is_refused(path: str) -> None:
    with pytest.raises(InputError, match=r"must stay inside its folder"):
        PinnedFile(path, 1, "c" * 64, 1, "3" * 32)


NOTHING = ManifestDiff(3, 3, True, (), (), (), (), (), (), (), (), (), association_changed=False)


def test_a_manifest_does_not_differ_from_itself() -> None:
    assert diff(a_manifest(), a_manifest()) == NOTHING


def test_files_added_removed_and_renamed_are_told_apart() -> None:
    before = a_manifest()
    copy = replace(before.files[0], path="copy.csv.gz")
    new = PinnedFile("new.csv", 1, "e" * 64, 1, "5" * 32)
    after = replace(before, files=(copy, new))
    found = diff(before, after)
    assert (found.files_added, found.files_removed) == (("new.csv",), ("day=2/b.csv.gz",))
    assert found.files_renamed == (("day=1/a.csv.gz", "copy.csv.gz"),)


def test_of_two_equal_files_each_is_paired_once() -> None:
    twins = (PinnedFile("a", 1, "e" * 64, 1, "5" * 32), PinnedFile("b", 1, "e" * 64, 1, "5" * 32))
    before = replace(a_manifest(), files=twins)
    found = diff(before, replace(before, files=(replace(twins[0], path="c"),)))
    assert (found.files_renamed, found.files_removed, found.files_added) == ((("a", "c"),), ("b",), ())


@pytest.mark.parametrize("path", ["day=1/a.csv.gz", "day=1/a.csv.zst", "day=1/a.csv"])
def test_other_bytes_with_the_same_rows_are_a_rewritten_file(path: str) -> None:
    before = a_manifest()
    after = replace(before, files=(replace(before.files[0], path=path, sha256="e" * 64), before.files[1]))
    assert diff(before, after) == replace(NOTHING, files_rewritten=(path,))


def test_other_rows_are_a_changed_file() -> None:
    before = a_manifest()
    after = replace(before, files=(replace(before.files[0], sha256="e" * 64, content="6" * 32), before.files[1]))
    assert diff(before, after).files_changed == ("day=1/a.csv.gz",)


def test_a_file_beside_its_compressed_copy_is_one_more_file() -> None:
    before = replace(a_manifest(), files=(PinnedFile("a.csv", 1, "c" * 64, 1, "3" * 32),))
    after = replace(before, files=(*before.files, PinnedFile("a.csv.gz", 1, "e" * 64, 1, "3" * 32)))
    assert diff(before, after).files_added == ("a.csv.gz",)


def test_columns_are_told_apart_by_what_happened_to_them() -> None:
    before = a_manifest()
    columns = (ColumnDigest("click", "real", "7" * 32), ColumnDigest("new", "text", "2" * 32))
    found = diff(before, replace(before, columns=columns, digest="cd" * 32, n_rows=5))
    assert (found.columns_added, found.columns_removed) == (("new",), ("größe",))
    assert found.type_changes == (TypeChange("click", "integer", "real"),)
    assert (found.columns_changed, found.association_changed, found.same_rows) == ((), False, False)
    assert (found.n_rows_before, found.n_rows_after) == (3, 5)


def test_a_changed_column_is_named() -> None:
    before = a_manifest()
    columns = (replace(before.columns[0], digest="7" * 32), before.columns[1])
    found = diff(before, replace(before, columns=columns, digest="cd" * 32))
    assert (found.columns_changed, found.association_changed) == (("click",), False)


def test_equal_columns_under_another_digest_mean_another_association() -> None:
    found = diff(a_manifest(), replace(a_manifest(), digest="cd" * 32))
    assert (found.association_changed, found.columns_changed, found.same_rows) == (True, (), False)
