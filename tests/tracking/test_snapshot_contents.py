import json
from pathlib import Path

import pytest

from ctr_pipeline.workflows.execution import Home
from tests.tracking.repository import Repository, snap, statuses
from tracking.code import SourceTree, code_files
from tracking.secrets import SecretFoundError, SecretScanner
from tracking.snapshot import take_snapshot
from tracking.source_files import SnapshotLimits

KEY = "AKIA" + "QWERTYUIOPASDFGH"


class TestWhatIsMissing:
    """What the grade names."""

    def test_a_clean_tree_misses_nothing(self, repository: Repository, out: Path) -> None:
        repository.commit(a="")
        snapshot = snap(repository, out)
        assert (snapshot.uncommitted, snapshot.recorded, snapshot.unknown) == ((), (), ())

    def test_changed_deleted_and_new_source_is_uncommitted(self, repository: Repository, out: Path) -> None:
        repository.commit(a="", b="", c="")
        repository.write("a.py", "x = 1\n")
        (repository.root / "b.py").unlink()
        repository.write("new.py", "")
        assert snap(repository, out).uncommitted == ("a.py", "b.py", "new.py")

    def test_an_ignored_module_that_can_be_imported_is_uncommitted(self, repository: Repository, out: Path) -> None:
        repository.write(".gitignore", "local.py\n")
        repository.commit()
        repository.write("local.py", "")
        tree = SourceTree.find(repository.root)
        assert take_snapshot(tree, out, code=code_files([], project=repository.root)).uncommitted == ("local.py",)

    def test_files_beside_the_source_are_recorded(self, repository: Repository, out: Path) -> None:
        repository.write("clicks.csv", "1")
        repository.write(".env", "X=1")
        assert snap(repository, out).recorded == (".env", "clicks.csv")

    def test_files_without_a_digest_are_unknown(self, repository: Repository, out: Path) -> None:
        repository.write("clicks.csv", "1" * 10)
        assert snap(repository, out, SnapshotLimits(digested_total=5)).unknown == (
            "clicks.csv (untracked, and no source file of at most 1 MB)",
        )


class TestPackages:
    @pytest.fixture
    def package(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        folder = tmp_path / "site-packages" / "demo_snap"
        folder.mkdir(parents=True)
        (folder / "__init__.py").write_text("x = 1\n")
        (folder / "table.csv").write_text("a\n")
        monkeypatch.syspath_prepend(folder.parent)
        return folder

    @pytest.mark.usefixtures("package")
    def test_an_installed_package_alone_is_the_snapshot(self, out: Path) -> None:
        snapshot = take_snapshot(SourceTree.of_package(["demo_snap"]), out)
        assert [(file.part, file.path) for file in snapshot.files] == [
            ("site", "demo_snap/__init__.py"),
            ("site", "demo_snap/table.csv"),
        ]
        assert snapshot.import_roots == ("site",)
        assert snapshot.note == "the code was installed as a package"

    @pytest.mark.usefixtures("package")
    def test_beside_a_users_own_tree_the_package_goes_under_site(self, repository: Repository, out: Path) -> None:
        repository.commit(features="f = 1\n")
        snapshot = take_snapshot(SourceTree.find(repository.root, ["demo_snap"]), out)
        assert [file.member for file in snapshot.files] == [
            "site/demo_snap/__init__.py",
            "site/demo_snap/table.csv",
            "tree/features.py",
        ]
        assert snapshot.import_roots == ("tree", "site")

    def test_a_package_inside_the_tree_is_there_once_with_its_data(
        self, repository: Repository, out: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        repository.commit(src__demo_inner__a="")
        repository.write("src/demo_inner/__init__.py", "")
        repository.write("src/demo_inner/table.csv", "a\n")
        monkeypatch.syspath_prepend(repository.root / "src")
        snapshot = take_snapshot(SourceTree.find(repository.root, ["demo_inner"]), out)
        assert statuses(snapshot) == {
            "src/demo_inner/__init__.py": "untracked",
            "src/demo_inner/a.py": "tracked",
            "src/demo_inner/table.csv": "untracked",
        }
        assert snapshot.import_roots == ("tree", "tree/src")

    def test_an_ignored_module_that_steps_import_is_kept_in_its_place(self, repository: Repository, out: Path) -> None:
        repository.write(".gitignore", "local.py\n")
        repository.commit(features="")
        repository.write("local.py", "x = 1\n")
        tree = SourceTree.find(repository.root)
        snapshot = take_snapshot(tree, out, code=code_files([], project=repository.root))
        assert statuses(snapshot)["local.py"] == "ignored"

    def test_a_package_in_a_virtual_environment_inside_the_tree_goes_under_site(
        self, repository: Repository, out: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        repository.write(".gitignore", "env/\n")
        repository.write("env/pyvenv.cfg", "")
        repository.write("env/lib/demo_env.py", "")
        repository.commit()
        monkeypatch.syspath_prepend(repository.root / "env" / "lib")
        snapshot = take_snapshot(SourceTree.find(repository.root, ["demo_env"]), out)
        assert [file.member for file in snapshot.files] == ["site/demo_env.py", "tree/.gitignore"]


class TestSecrets:
    def test_a_secret_stops_the_snapshot_and_nothing_is_left(self, repository: Repository, out: Path) -> None:
        repository.commit(a=f"x = 1\nkey = '{KEY}'\n")
        with pytest.raises(SecretFoundError, match=r"^a\.py, line 2: AWS access key: a secret must not be kept"):
            snap(repository, out)
        assert list(out.iterdir()) == []

    def test_a_secret_removed_but_not_committed_is_still_found(self, repository: Repository, out: Path) -> None:
        repository.commit(a=f"x = 1\ny = 2\nkey = '{KEY}'\nz = 1\n")
        repository.write("a.py", "x = 2\ny = 2\nz = 1\n-- not a header\n")
        with pytest.raises(SecretFoundError, match=r"^a\.py \(removed, not yet committed\), line 3: AWS access key"):
            snap(repository, out)

    def test_a_secret_that_only_the_patch_has_room_for_is_found(self, repository: Repository, out: Path) -> None:
        repository.commit(a="x = 1\n")
        repository.write("new file.py", f"# first\nkey = '{KEY}'\n")
        with pytest.raises(SecretFoundError, match=r"^new file\.py, line 2: AWS access key"):
            snap(repository, out, SnapshotLimits(untracked_total=0))

    def test_an_excuse_above_an_added_line_counts_and_a_committed_neighbour_is_let_be(
        self, repository: Repository, out: Path
    ) -> None:
        repository.commit(a=f"# pragma: allowlist nextline secret\nkey = '{KEY}'\nx = 1\n")
        repository.write("a.py", f"# pragma: allowlist nextline secret\nkey = '{KEY}'\nx = 2\n")
        assert statuses(snap(repository, out)) == {"a.py": "modified"}

    @pytest.mark.parametrize("name", [".env", ".env.yaml", ".env.toml", "conf/.env.json"])
    def test_an_untracked_env_file_is_neither_in_the_archive_nor_in_the_patch(
        self, repository: Repository, out: Path, name: str
    ) -> None:
        repository.commit(a="x = 1\n")
        repository.write(name, "MODE: hidden\n")
        snapshot = snap(repository, out)
        assert snapshot.git is not None
        assert (snapshot.git.patch, list(statuses(snapshot)), snapshot.recorded) == (b"", ["a.py"], (name,))

    def test_results_are_kept_in_the_scanners_cache(self, repository: Repository, out: Path, tmp_path: Path) -> None:
        repository.commit(a="x = 1\n")
        cache = tmp_path / "cache.json"
        take_snapshot(SourceTree.find(repository.root), out, scanner=SecretScanner(cache))
        assert json.loads(cache.read_bytes())["results"]


@pytest.mark.parametrize("in_git", [True, False])
def test_a_runs_home_of_any_name_is_no_source(tmp_path: Path, out: Path, *, in_git: bool) -> None:
    repository = Repository(tmp_path / "repo")
    repository.commit(a="x = 1\n")
    if not in_git:
        (repository.root / ".git").rename(tmp_path / "gone")
    home = Home(repository.root / "kept")
    home.make()
    (home.path / "runs").mkdir()
    repository.write("kept/runs/settings.json", "{}")
    snapshot = snap(repository, out)
    assert list(statuses(snapshot)) == ["a.py"]
    assert snapshot.git is None or not snapshot.git.dirty


def test_a_home_that_is_another_folder_too_is_not_hidden(tmp_path: Path) -> None:
    (tmp_path / "notes.md").write_text("mine")
    Home(tmp_path).make()
    assert [path.name for path in tmp_path.iterdir()] == ["notes.md"]
