"""What went into two runs and is not the same is named: files, packages, columns, settings, the machine."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest

from ctr_pipeline.data.manifest import DatasetManifest
from ctr_pipeline.data.version import ColumnDigest
from ctr_pipeline.reproduce.defaults import changed_defaults
from ctr_pipeline.reproduce.differences import (
    circumstance_differences,
    code_differences,
    data_differences,
    identity_differences,
    package_differences,
)
from ctr_pipeline.reproduce.verdict import Circumstance
from tests.data.test_manifest import a_manifest
from tracking.canonical import sha256_file
from tracking.code import CodeFile
from tracking.recipe import Circumstances, Identity, Recipe

_MANIFEST: Final[DatasetManifest] = a_manifest()
_ME: Final = Identity("c", "d", {"train": {"rounds": 5}}, "l", "3.12.1", 1, "2026-01-01")


def _file(path: Path, content: bytes) -> CodeFile:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    return CodeFile(path.name, path, sha256_file(path))


def test_files_that_were_edited_added_or_removed_are_named_with_their_patch(tmp_path: Path) -> None:
    before = [_file(tmp_path / "a" / name, b"x = 1\n") for name in ("same.py", "edited.py", "gone.py", "raw.py")]
    after = [_file(tmp_path / "b" / "same.py", b"x = 1\n"), _file(tmp_path / "b" / "edited.py", b"x = 2\n")]
    after += [_file(tmp_path / "b" / "new.py", b""), _file(tmp_path / "b" / "raw.py", b"\xff\xfe")]
    found = list(code_differences(before, after))
    assert [item.what for item in found] == ["edited.py edited", "gone.py removed", "new.py added", "raw.py edited"]
    assert found[0].detail.splitlines()[:2] == ["--- original/edited.py", "+++ now/edited.py"]
    assert "-x = 1\n+x = 2\n" in found[0].detail
    assert found[3].detail == ""
    assert {item.layer for item in found} == {"code"}


def test_without_the_originals_snapshot_nobody_can_say_where_the_code_differs() -> None:
    (found,) = code_differences(None, [])
    assert found.what == "the code differs; the original's snapshot is gone, so nobody can say where"


def test_packages_that_compute_are_named_first_and_packages_of_one_side_are_no_upgrade() -> None:
    before = {"attrs": "1", "xgboost": "3.4.1", "same": "1", "gone": "1"}
    after = {"attrs": "2", "xgboost": "3.5.0", "same": "1", "new": "1"}
    assert [item.what for item in package_differences(before, after)] == ["xgboost 3.4.1 -> 3.5.0", "attrs 1 -> 2"]


def test_python_settings_and_clock_are_told() -> None:
    other = replace(_ME, python_version="3.12.2", settings={"train": {"rounds": 6}}, as_of=None)
    told = [(item.layer, item.what) for item in identity_differences(_ME, other)]
    assert told == [
        ("environment", "Python 3.12.1 -> 3.12.2"),
        ("settings", "train.rounds 5 -> 6"),
        ("clock", "as_of 2026-01-01 -> None"),
    ]
    assert list(identity_differences(_ME, _ME)) == []


def test_data_are_told_apart_by_rows_and_by_column() -> None:
    columns = (
        *_MANIFEST.columns[2:],
        replace(_MANIFEST.columns[1], digest="0" * 32),
        ColumnDigest("zz_new", "string", "1" * 32),
    )
    other = replace(_MANIFEST, digest="e" * 64, n_rows=_MANIFEST.n_rows + 1, columns=columns)
    (found,), by_column = data_differences(_MANIFEST, other)
    gone, changed = _MANIFEST.columns[0].name, _MANIFEST.columns[1].name
    assert {(item.column, item.change) for item in by_column} >= {
        (gone, "removed"),
        ("zz_new", "added"),
        (changed, "values"),
    }
    for words in (
        f"{_MANIFEST.n_rows:,} -> {_MANIFEST.n_rows + 1:,} rows",
        f"column {gone} removed",
        "column zz_new added",
        f"column {changed} holds other values",
    ):
        assert words in found.what


def test_another_type_and_another_association_are_told() -> None:
    first, *rest = _MANIFEST.columns
    retyped = replace(_MANIFEST, digest="e" * 64, columns=(replace(first, type="other", digest="0" * 32), *rest))
    (found,), _ = data_differences(_MANIFEST, retyped)
    assert f"column {first.name} is other instead of {first.type}" in found.what
    (found,), by_column = data_differences(_MANIFEST, replace(_MANIFEST, digest="e" * 64))
    assert found.what == "every column holds the same values, but between other rows"
    assert [(item.column, item.change) for item in by_column] == [("(all)", "association")]


def test_equal_data_have_no_difference() -> None:
    assert data_differences(_MANIFEST, _MANIFEST) == ((), ())


def test_circumstances_are_told_by_key_and_what_always_differs_is_not() -> None:
    before = Recipe(
        _ME, Circumstances(host="a", n_cores=2, gpus=("x",), variables={"TZ": "UTC", "LANG": "C"}, argv=("a",))
    )
    after = Recipe(_ME, Circumstances(n_cores=4, variables={"TZ": "UTC"}, argv=("b",), started_utc="now"))
    assert circumstance_differences(before, after) == (
        Circumstance("host", "a", "(none)"),
        Circumstance("n_cores", "2", "4"),
        Circumstance("gpus", '["x"]', "[]"),
        Circumstance("variables.LANG", "C", "(none)"),
    )


@pytest.mark.parametrize("lock", ["l", "other"])
def test_packages_are_circumstances_only_where_they_do_not_decide(lock: str) -> None:
    before = Recipe(_ME, Circumstances(packages={"tool": "1"}))
    after = Recipe(replace(_ME, lock_digest=lock), Circumstances(packages={"tool": "2"}))
    told = circumstance_differences(before, after)
    assert told == ((Circumstance("package tool", "1", "2"),) if lock == "l" else ())


def _version_of_config(folder: Path, default: str) -> Path:
    (folder / "ctr_pipeline").mkdir(parents=True)
    (folder / "ctr_pipeline" / "__init__.py").write_text("", encoding="utf-8")
    made = "    @classmethod\n    def model_construct(cls): return cls()\n"
    text = f"class Settings:\n{made}    def model_dump_json(self): {default}\n"
    (folder / "ctr_pipeline" / "config.py").write_text(text, encoding="utf-8")
    return folder


def test_defaults_that_changed_are_named(tmp_path: Path) -> None:
    python = Path(sys.executable)
    old = _version_of_config(tmp_path / "old", """return '{"train": {"max_depth": 6}}'""")
    new = _version_of_config(tmp_path / "new", """return '{"train": {"max_depth": 8}}'""")
    assert changed_defaults(python, [old], [new]) == ("train.max_depth 6 -> 8",)
    for place, nonsense in enumerate(("return '[1]'", "return 'x'", "raise LookupError")):
        silent = _version_of_config(tmp_path / f"silent-{place}", nonsense)
        assert changed_defaults(python, [old], [silent]) == ()
    assert changed_defaults(tmp_path / "no-python", [old], [new]) == ()
