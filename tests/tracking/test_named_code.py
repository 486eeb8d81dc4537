"""What a module that the settings name brings along, wherever it lies."""

import sys
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_file_location
from pathlib import Path

import pytest

from tracking.code import code_digest, code_files
from tracking.named_code import named_files

FILES = {
    "demo_own/__init__.py": "raise RuntimeError",
    "demo_own/test/feat.py": "",
    "demo_own/bounds.json": "[1]",
    "demo_own/ads.csv": "ad",
    "demo_own/.env.yaml": "A: 1",
    "demo_own/big.bin": "no source",
    "demo_own/__pycache__/feat.pyc": "stale",
    "demo_shared.py": "",
    "demo_beside/__init__.py": "",
    "demo_folder/plain.py": "",
    "tests/__init__.py": "",
    "notes.md": "",
}
OWN = ["demo_own/__init__.py", "demo_own/ads.csv", "demo_own/bounds.json", "demo_own/test/feat.py"]
BESIDE = ["demo_beside/__init__.py", "demo_shared.py"]


def lay(folder: Path) -> Path:
    for name, content in FILES.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
    return folder


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on Python's path, outside every tree."""
    folder = lay(tmp_path / "elsewhere")
    monkeypatch.syspath_prepend(folder)
    return folder


@pytest.mark.usefixtures("elsewhere")
def test_a_package_comes_whole_with_what_lies_beside_it_and_is_not_run() -> None:
    assert sorted(named_files(["demo_own.test.feat"], None)) == sorted([*OWN, *BESIDE])
    assert "demo_own" not in sys.modules


@pytest.mark.usefixtures("elsewhere")
def test_a_single_module_comes_with_its_neighbours() -> None:
    assert sorted(named_files(["demo_shared"], None)) == sorted([*OWN, *BESIDE])


@pytest.mark.usefixtures("elsewhere")
def test_a_package_without_an_init_file_is_found_too() -> None:
    assert "demo_folder/plain.py" in named_files(["demo_folder.plain"], None)


def test_an_installed_package_comes_without_its_neighbours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(lay(tmp_path / "site-packages"))
    assert sorted(named_files(["demo_own"], None)) == OWN


def test_the_tree_goes_before_the_path(elsewhere: Path, tmp_path: Path) -> None:
    tree = lay(tmp_path / "tree")
    assert named_files(["demo_own"], tree)["demo_own/bounds.json"] == tree / "demo_own/bounds.json"


def test_an_editable_installs_own_finder_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = lay(tmp_path / "src")

    class Finder(MetaPathFinder):
        def find_spec(self, name: str, *_: object) -> ModuleSpec | None:
            return spec_from_file_location(name, folder / f"{name}.py") if name == "demo_shared" else None

    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path, Finder()])
    assert named_files(["demo_shared"], tmp_path)["demo_shared.py"] == folder / "demo_shared.py"


@pytest.mark.parametrize("module", ["json.tool", "no_such_module"])
def test_what_is_pythons_own_or_missing_brings_nothing(module: str) -> None:
    assert named_files([module], None) == {}


@pytest.mark.parametrize("name", ["demo_own/test/feat.py", "demo_own/bounds.json", "demo_shared.py"])
def test_a_change_outside_the_tree_changes_the_code_digest(elsewhere: Path, tmp_path: Path, name: str) -> None:
    project = tmp_path / "project"
    project.mkdir()

    def digest() -> str:
        return code_digest(code_files([], project=project, named=named_files(["demo_own.test.feat"], project)))

    before = digest()
    (elsewhere / name).write_text("changed")
    assert digest() != before


def test_code_in_the_tree_and_outside_has_the_same_digest(elsewhere: Path, tmp_path: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    outside = code_files([], project=project, named=named_files(["demo_own"], project))
    inside = code_files([], named=named_files(["demo_own"], lay(tmp_path / "tree")))
    assert code_digest(outside) == code_digest(inside)


def test_a_data_file_that_a_single_module_names_is_part_of_its_code(tmp_path: Path) -> None:
    files = {
        "views.py": 'QUERY = open("sql/view.sql").read()\nCOSTS = __file__ + "/../costs.csv"\n',
        "broken.py": "QUERY = 'other.sql",
        "sql/view.sql": "SELECT 1",
        "costs.csv": "ad,cost",
        "other.sql": "SELECT 2",
        "README.md": "view.sql",
    }
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    found = named_files(["views"], tmp_path, [])
    assert sorted(found) == ["broken.py", "costs.csv", "sql/view.sql", "views.py"]
    assert found["sql/view.sql"] == tmp_path / "sql/view.sql"
