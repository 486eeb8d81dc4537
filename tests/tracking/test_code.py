import sys
import zipfile
from pathlib import Path

import pytest

from tests.tracking.repository import Repository
from tracking.code import CodeFile, SourceTree, code_digest, code_files, git_state, is_source
from tracking.errors import InputError


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on Python's path with a package `demo_pkg` in it."""
    folder = tmp_path / "site"
    for name, content in {
        "demo_pkg/__init__.py": "",
        "demo_pkg/model.py": "depth = 3\n",
        "demo_pkg/data/table.csv": "a\n1\n",
        "demo_pkg/data/samples/big.csv": "b\n",
    }.items():
        write(folder, name, content)
    monkeypatch.syspath_prepend(folder)
    return folder


def write(folder: Path, name: str, content: str = "") -> Path:
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content)
    return file


def paths(files: tuple[CodeFile, ...]) -> list[str]:
    return [file.module_path for file in files]


class TestSourceTree:
    def test_outside_git_the_nearest_project_file_marks_the_root(self, tmp_path: Path) -> None:
        write(tmp_path, "pyproject.toml")
        (tmp_path / "a" / "b").mkdir(parents=True)
        tree = SourceTree.find(tmp_path / "a" / "b", ["pkg"])
        assert (tree.root, tree.is_git, tree.packages) == (tmp_path, False, ("pkg",))
        assert "is not in a git working tree" in tree.note

    def test_without_any_mark_the_folder_itself_is_the_tree(self, tmp_path: Path) -> None:
        (tmp_path / "a").mkdir()
        assert SourceTree.find(tmp_path / "a").root == tmp_path / "a"

    def test_a_missing_folder_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=r"^source tree .*/none is not a folder: give the project's folder\.$"):
            SourceTree.find(tmp_path / "none")

    def test_an_installed_package_has_no_tree_and_no_git(self) -> None:
        tree = SourceTree.of_package(["demo_pkg"])
        assert (tree.root, tree.is_git, tree.packages) == (None, False, ("demo_pkg",))
        assert git_state(tree) is None


class TestIsSource:
    @pytest.mark.parametrize("path", ["a.py", "b/c.YAML", "Dockerfile", "x/Makefile", "uv.lock", ".github/w.yml"])
    def test_files_with_a_listed_ending_or_name_are_source(self, path: str) -> None:
        assert is_source(path, 10)

    @pytest.mark.parametrize(
        "path",
        [
            "a.parquet",
            "notes",
            ".env.yaml",
            "conf/.env.toml",
            "__pycache__/a.py",
            ".ctr/runs/a.json",
            "node_modules/x.json",
        ],
    )
    def test_other_files_and_caches_are_not(self, path: str) -> None:
        assert not is_source(path, 10)

    def test_a_file_of_more_than_a_megabyte_is_not(self) -> None:
        assert is_source("a.json", 1_000_000)
        assert not is_source("a.json", 1_000_001)


class TestCodeFiles:
    @pytest.mark.usefixtures("site")
    def test_every_file_of_a_package_counts_but_what_is_left_out(self) -> None:
        found = code_files(["demo_pkg"], leave_out=["demo_pkg/data/samples"])
        assert paths(found) == ["demo_pkg/__init__.py", "demo_pkg/data/table.csv", "demo_pkg/model.py"]

    def test_a_single_module_is_a_package_of_one_file(self, site: Path) -> None:
        write(site, "demo_single.py", "x = 1\n")
        assert paths(code_files(["demo_single"])) == ["demo_single.py"]

    def test_a_project_adds_its_modules_but_no_tests_docs_or_environments_of_its_root(self, tmp_path: Path) -> None:
        project = tmp_path / "project"
        for name in ("features.py", "src/deep/x.py", "src/docs/y.py", "own/test/feat.py", "notes.md"):
            write(project, name)
        for name in ("tests/t.py", "docs/d.py", "benchmarks/b.py", ".hidden/h.py", "build/b.py"):
            write(project, name)
        write(project, "env/pyvenv.cfg")
        write(project, "env/lib/e.py")
        write(project, "__pycache__/features.py")
        assert paths(code_files([], project=project)) == [
            "project:features.py",
            "project:own/test/feat.py",
            "project:src/deep/x.py",
            "project:src/docs/y.py",
        ]

    def test_a_package_inside_the_project_counts_once(self, site: Path) -> None:
        write(site, "own.py")
        found = paths(code_files(["demo_pkg"], project=site))
        assert found == [*paths(code_files(["demo_pkg"])), "project:own.py"]

    def test_an_unknown_package_is_refused(self) -> None:
        with pytest.raises(InputError, match=r"^package no_such_pkg is in no folder on Python's path: install it"):
            code_files(["no_such_pkg"])

    def test_a_zipped_package_is_refused(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        with zipfile.ZipFile(tmp_path / "z.zip", "w") as archive:
            archive.writestr("demo_zipped/__init__.py", "")
        monkeypatch.syspath_prepend(tmp_path / "z.zip")
        with pytest.raises(InputError, match=r"^package demo_zipped is in no folder"):
            code_files(["demo_zipped"])


class TestCodeDigest:
    def test_the_place_of_the_code_does_not_matter(
        self, site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        before = code_digest(code_files(["demo_pkg"]))
        moved = tmp_path / "elsewhere" / "deeper"
        moved.parent.mkdir()
        site.rename(moved)
        monkeypatch.syspath_prepend(moved)
        assert code_digest(code_files(["demo_pkg"])) == before

    def test_caches_and_editors_leftovers_do_not_matter(self, site: Path) -> None:
        before = code_digest(code_files(["demo_pkg"]))
        for name in ("__pycache__/model.cpython-312.pyc", "model.pyc", "model.py~", ".model.py.swp"):
            write(site, f"demo_pkg/{name}", "junk")
        assert code_digest(code_files(["demo_pkg"])) == before

    def test_git_does_not_matter(self, site: Path) -> None:
        before = code_digest(code_files(["demo_pkg"]))
        Repository(site).commit()
        assert code_digest(code_files(["demo_pkg"])) == before

    @pytest.mark.parametrize("name", ["model.py", "data/table.csv", "new_helper.py"])
    def test_any_changed_or_new_file_matters(self, site: Path, name: str) -> None:
        before = code_digest(code_files(["demo_pkg"]))
        write(site, f"demo_pkg/{name}", "depth = 4\n")
        assert code_digest(code_files(["demo_pkg"])) != before

    def test_a_renamed_file_matters(self, site: Path) -> None:
        before = code_digest(code_files(["demo_pkg"]))
        (site / "demo_pkg" / "model.py").rename(site / "demo_pkg" / "other.py")
        assert code_digest(code_files(["demo_pkg"])) != before

    def test_an_ignored_module_of_the_project_matters(self, tmp_path: Path) -> None:
        repository = Repository(tmp_path / "repo")
        repository.write(".gitignore", "local.py\n")
        repository.commit(features="")
        before = code_digest(code_files([], project=repository.root))
        repository.write("local.py", "x = 1\n")
        assert code_digest(code_files([], project=repository.root)) != before

    def test_looking_for_a_package_does_not_import_it(self, site: Path) -> None:
        write(site, "demo_pkg/__init__.py", "raise RuntimeError\n")
        code_files(["demo_pkg"])
        assert "demo_pkg" not in sys.modules
