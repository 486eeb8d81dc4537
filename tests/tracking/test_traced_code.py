"""What own code imports from other folders on Python's path is part of it; what it does not import is not."""

from pathlib import Path

import pytest

from tracking import imported_code
from tracking.code import SourceTree, code_digest, code_files
from tracking.errors import InputError
from tracking.imported_code import has_module
from tracking.named_code import named_files, search_on
from tracking.snapshot import take_snapshot


def lay(folder: Path, **files: str) -> Path:
    """Write modules; keyword `a__b` is `a/b.py`, and `a__init` is `a/__init__.py`."""
    for name, content in files.items():
        ending = "/__init__.py" if name.endswith("__init") else ".py"
        file = folder / (name.removesuffix("__init").replace("__", "/") + ending)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
    return folder


def traced(tmp_path: Path, *modules: str) -> dict[str, str]:
    """The files behind modules of `one`, with `two` behind it on the path: the folder of each by place."""
    path = [str(tmp_path / "one"), str(tmp_path / "two"), str(tmp_path / "site-packages")]
    found = named_files(modules or ["mod"], tmp_path / "tree", path, leave_out=["ours"])
    return {place: file.relative_to(tmp_path).parts[0] for place, file in found.items()}


@pytest.mark.parametrize(
    "statement",
    [
        "import helper",
        "from helper import RATE",
        "def late():\n    import helper",
        "try:\n    import helper\nexcept ImportError:\n    helper = None",
        "import importlib\nhelper = importlib.import_module('helper')",
    ],
)
def test_a_module_of_another_folder_counts_however_it_is_imported(tmp_path: Path, statement: str) -> None:
    lay(tmp_path / "one", mod=statement)
    lay(tmp_path / "two", helper="RATE = 1", stranger="")
    assert traced(tmp_path) == {"mod.py": "one", "helper.py": "two"}


def test_imports_are_followed_through_cycles_packages_and_relative_names(tmp_path: Path) -> None:
    lay(tmp_path / "one", mod="import pack.inner")
    lay(
        tmp_path / "two",
        pack__init="",
        pack__inner="from . import cousin",
        pack__cousin="from .deep.last import x",
        pack__deep__init="",
        pack__deep__last="import farther, mod",
        pack__tests__test_inner="import pytest_only",
        farther="import pack",
        pytest_only="",
    )
    assert {place for place, part in traced(tmp_path).items() if part == "two"} == {
        "pack/__init__.py",
        "pack/inner.py",
        "pack/cousin.py",
        "pack/deep/__init__.py",
        "pack/deep/last.py",
        "pack/tests/test_inner.py",
        "farther.py",
    }


def test_a_namespace_brings_only_what_is_imported_of_it(tmp_path: Path) -> None:
    lay(tmp_path / "one", mod="from corp import prices, text\nimport corp.deep.inner.rates", corp__text="")
    lay(tmp_path / "two", corp__prices="", corp__other="", corp__deep__inner__rates="", corp__pack__init="")
    assert traced(tmp_path) == {
        "mod.py": "one",
        "corp/text.py": "one",
        "corp/prices.py": "two",
        "corp/deep/inner/rates.py": "two",
    }


def test_the_first_folder_on_the_path_has_the_module_that_counts(tmp_path: Path) -> None:
    lay(tmp_path / "one", helper="")
    lay(tmp_path / "two", mod="import helper", helper="")
    assert traced(tmp_path) == {"mod.py": "two", "helper.py": "one"}


def test_a_data_file_that_an_imported_module_names_counts(tmp_path: Path) -> None:
    lay(tmp_path / "one", mod="import helper")
    lay(tmp_path / "two", helper="RATES = open('rates.csv')")
    (tmp_path / "two" / "rates.csv").write_text("ad,rate")
    assert traced(tmp_path) == {"mod.py": "one", "helper.py": "two", "rates.csv": "two"}


def test_libraries_and_what_is_left_out_do_not_count(tmp_path: Path) -> None:
    lay(tmp_path / "one", mod="import json, sys, installed, ours.x, gone")
    lay(tmp_path / "site-packages", installed="import helper")
    lay(tmp_path / "two", helper="", ours__init="", ours__x="")
    assert traced(tmp_path) == {"mod.py": "one"}
    assert named_files(["mod"], tmp_path / "one").keys() == {"mod.py"}


def test_a_module_of_the_project_keeps_its_name_and_one_of_its_tests_counts_if_imported(tmp_path: Path) -> None:
    lay(tmp_path / "tree", mod="import scripts.gen, tests.shared", scripts__gen="", tests__shared="", tests__other="")
    (tmp_path / "tree" / "scripts" / "notes.txt").write_text("")
    assert traced(tmp_path) == {"mod.py": "tree", "tests/shared.py": "tree"}


def test_a_folder_of_the_project_on_the_path_is_an_import_root_of_the_snapshot(tmp_path: Path) -> None:
    tree = SourceTree(lay(tmp_path / "tree", mod="import helper", lib__helper=""), is_git=False)
    named = named_files(["mod"], tree.root, [str(tmp_path / "tree" / "lib")])
    snapshot = take_snapshot(tree, tmp_path, code=code_files([], project=tree.root, named=named))
    assert snapshot.import_roots == ("tree", "tree/lib")


def test_an_edit_of_a_helper_changes_the_digest_and_the_snapshot_holds_it(tmp_path: Path) -> None:
    tree = SourceTree(lay(tmp_path / "tree", mod="import helper"), is_git=False)
    helper = lay(tmp_path / "two", helper="RATE = 1") / "helper.py"

    def code() -> tuple[str, list[str]]:
        named = named_files(["mod"], tree.root, [str(tmp_path / "two")])
        files = code_files([], project=tree.root, named=named)
        return code_digest(files), [file.member for file in take_snapshot(tree, tmp_path, code=files).files]

    before, members = code()
    helper.write_text("RATE = 2")
    assert members == ["site/helper.py", "tree/mod.py"]
    assert code()[0] != before


def test_a_module_that_cannot_be_parsed_imports_nothing(tmp_path: Path) -> None:
    lay(tmp_path / "one", mod="import helper, x.")
    lay(tmp_path / "two", helper="")
    assert traced(tmp_path) == {"mod.py": "one"}


def test_more_modules_than_a_team_writes_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imported_code, "MODULE_LIMIT", 1)
    lay(tmp_path / "one", mod="import helper")
    lay(tmp_path / "two", helper="")
    with pytest.raises(InputError, match=r"^own code imports 2 modules or more, must be at most 1: take folders .*\.$"):
        traced(tmp_path)


@pytest.mark.parametrize(
    ("name", "is_there"),
    [
        ("math", True),
        ("single", True),
        ("single.deeper", False),
        ("pack", True),
        ("pack.inner", True),
        ("pack.gone", False),
        ("corp.rates", True),
        ("corp", False),
        ("gone", False),
        ("", False),
    ],
)
def test_a_module_is_found_or_not(tmp_path: Path, name: str, *, is_there: bool) -> None:
    lay(tmp_path, single="", pack__init="", pack__inner="", corp__rates="")
    assert has_module(name, search_on([tmp_path], [])) is is_there
