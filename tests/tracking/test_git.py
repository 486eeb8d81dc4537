import os
import subprocess
from pathlib import Path

import pytest

from tests.tracking.repository import Repository
from tracking.code import SourceTree, git_state
from tracking.git import GitState, find_root
from tracking.git_command import GitError, run_git


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "repo")


def state(root: Path) -> GitState:
    found = git_state(SourceTree.find(root))
    assert found is not None
    return found


def applied(repository: Repository, patch: bytes, onto: str, into: Path) -> dict[str, bytes]:
    """The files that a commit and the patch make together."""
    repository.git("worktree", "add", "--quiet", "--detach", str(into), onto)
    subprocess.run(("git", "apply", "-"), input=patch, cwd=into, check=True)
    return {
        file.relative_to(into).as_posix(): file.read_bytes()
        for file in into.rglob("*")
        if file.is_file() and file.name != ".git"
    }


def test_a_clean_tree_has_commit_and_branch_and_no_patch(repository: Repository) -> None:
    commit = repository.commit(a="x = 1\n")
    found = state(repository.root)
    assert (found.commit, found.branch, found.dirty, found.patch, found.remote) == (commit, "main", False, b"", None)
    assert [file.path for file in found.tracked] == ["a.py"]


def test_a_modified_file_makes_the_tree_dirty(repository: Repository) -> None:
    repository.commit(a="x = 1\n", b="y = 1\n")
    repository.write("a.py", "x = 2\n")
    found = state(repository.root)
    assert found.dirty
    assert found.changed == ("a.py",)
    assert [(file.path, file.modified) for file in found.tracked] == [("a.py", True), ("b.py", False)]


def test_staged_unstaged_and_untracked_changes_are_all_in_the_patch(repository: Repository, tmp_path: Path) -> None:
    commit = repository.commit(a="x = 1\n", b="y = 1\n", gone="z = 1\n")
    repository.write("a.py", "x = 2\n")
    repository.git("add", "a.py")
    repository.write("a.py", "x = 3\n")
    repository.write("b.py", "y = 2\n")
    repository.write("new.py", "n = 1\n")
    repository.write("staged.py", "s = 1\n")
    repository.git("add", "staged.py")
    (repository.root / "gone.py").unlink()
    found = state(repository.root)
    assert applied(repository, found.patch, commit, tmp_path / "other") == {
        "a.py": b"x = 3\n",
        "b.py": b"y = 2\n",
        "new.py": b"n = 1\n",
        "staged.py": b"s = 1\n",
    }
    assert found.untracked == ("new.py",)


def test_a_binary_change_is_in_the_patch(repository: Repository, tmp_path: Path) -> None:
    repository.write("d.bin", bytes(range(256)))
    commit = repository.commit()
    repository.write("d.bin", bytes(reversed(range(256))))
    assert applied(repository, state(repository.root).patch, commit, tmp_path / "o")["d.bin"] == bytes(
        reversed(range(256))
    )


def test_asking_writes_nothing_into_the_repository(repository: Repository) -> None:
    repository.commit(a="x = 1\n")
    repository.write("a.py", "x = 2\n")
    repository.write("new.py", "")
    before = {path: path.read_bytes() for path in repository.root.rglob("*") if path.is_file()}
    state(repository.root)
    assert {path: path.read_bytes() for path in repository.root.rglob("*") if path.is_file()} == before


def test_an_untracked_data_file_alone_does_not_make_the_tree_dirty(repository: Repository) -> None:
    repository.commit(a="")
    repository.write("data.parquet", b"PAR1")
    found = state(repository.root)
    assert (found.dirty, found.untracked, found.patch) == (False, ("data.parquet",), b"")


def test_names_with_spaces_quotes_newlines_and_other_alphabets_come_through(repository: Repository) -> None:
    names = ("a b.py", 'q"uote.py', "new\nline.py", "日本.py", "é/ü.py")
    for name in names:
        repository.write(name, "x = 1\n")
    found = state(repository.root)
    assert found.untracked == tuple(sorted(names))
    repository.commit()
    for name in names:
        repository.write(name, "x = 2\n")
    assert state(repository.root).changed == tuple(sorted(names))


def test_a_repository_without_a_commit_has_everything_in_its_patch(repository: Repository) -> None:
    repository.write("a.py", "x = 1\n")
    repository.write("b.py", "y = 1\n")
    repository.git("add", "a.py")
    found = state(repository.root)
    assert (found.commit, found.branch, found.dirty, found.pushed) == (None, "main", True, False)
    assert b"+x = 1" in found.patch
    assert b"+y = 1" in found.patch


def test_a_detached_head_has_no_branch(repository: Repository) -> None:
    repository.commit(a="x = 1\n")
    repository.git("checkout", "--quiet", "--detach")
    assert state(repository.root).branch is None


def test_a_worktree_is_a_tree_of_its_own(repository: Repository, tmp_path: Path) -> None:
    commit = repository.commit(a="x = 1\n")
    repository.git("worktree", "add", "--quiet", "-b", "side", str(tmp_path / "side"))
    (tmp_path / "side" / "a.py").write_text("x = 2\n")
    found = state(tmp_path / "side")
    assert (found.commit, found.branch, found.dirty) == (commit, "side", True)
    assert not state(repository.root).dirty


def test_a_subfolder_finds_the_whole_tree(repository: Repository) -> None:
    repository.commit(a="x = 1\n", sub__b="")
    repository.write("a.py", "x = 2\n")
    tree = SourceTree.find(repository.root / "sub")
    assert tree.root == repository.root
    assert state(repository.root / "sub").changed == ("a.py",)


def test_the_users_own_git_settings_do_not_change_the_patch(repository: Repository) -> None:
    repository.commit(a="x = 1\n" * 20)
    repository.write("a.py", "x = 1\n" * 19 + "x = 2\n")
    plain = state(repository.root).patch
    settings = {"diff.noprefix": "true", "color.ui": "always", "diff.context": "9", "diff.external": "false"}
    for name, value in settings.items():
        repository.git("config", name, value)
    assert state(repository.root).patch == plain


def test_a_hooks_variables_do_not_lead_to_another_repository(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = repository.commit(a="x = 1\n")
    other = Repository(tmp_path / "other")
    monkeypatch.setenv("GIT_DIR", str(other.root / ".git"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(other.root / ".git" / "index"))
    assert state(repository.root).commit == commit


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("https://me:pw@host.example/team/repo.git", "https://host.example/team/repo.git"),
        ("https://token@host.example/repo.git", "https://host.example/repo.git"),
        ("https://me:p@ss@host.example/repo.git", "https://host.example/repo.git"),  # pragma: allowlist secret
        ("ssh://git@host.example/repo.git", "ssh://git@host.example/repo.git"),
        ("ssh://git:pw@host.example/repo.git", "ssh://git@host.example/repo.git"),
        ("git@host.example:team/repo.git", "git@host.example:team/repo.git"),
    ],
)
def test_the_remote_is_recorded_without_credentials(repository: Repository, url: str, kept: str) -> None:
    repository.git("remote", "add", "origin", url)
    assert state(repository.root).remote == kept


def test_the_remote_is_the_branchs_own(repository: Repository) -> None:
    repository.git("remote", "add", "origin", "https://a.example/r")
    repository.git("remote", "add", "fork", "https://b.example/r")
    repository.git("config", "branch.main.remote", "fork")
    assert state(repository.root).remote == "https://b.example/r"


def test_the_only_remote_counts_whatever_its_name(repository: Repository) -> None:
    repository.git("remote", "add", "upstream", "https://a.example/r")
    assert state(repository.root).remote == "https://a.example/r"


def test_a_pushed_commit_is_told_from_one_that_never_was(repository: Repository, tmp_path: Path) -> None:
    repository.commit(a="x = 1\n")
    subprocess.run(("git", "init", "--quiet", "--bare", str(tmp_path / "remote")), check=True)
    repository.git("remote", "add", "origin", str(tmp_path / "remote"))
    assert not state(repository.root).pushed
    repository.git("push", "--quiet", "origin", "main")
    assert state(repository.root).pushed
    repository.commit(a="x = 2\n")
    assert not state(repository.root).pushed


def test_a_change_that_git_was_told_not_to_see_is_seen(repository: Repository, tmp_path: Path) -> None:
    commit = repository.commit(a="x = 1\n", b="y = 1\n")
    repository.git("update-index", "--assume-unchanged", "a.py")
    repository.git("update-index", "--skip-worktree", "b.py")
    assert not state(repository.root).dirty
    repository.write("a.py", "x = 2\n")
    repository.write("b.py", "y = 2\n")
    found = state(repository.root)
    assert found.changed == ("a.py", "b.py")
    assert applied(repository, found.patch, commit, tmp_path / "o") == {"a.py": b"x = 2\n", "b.py": b"y = 2\n"}


def test_a_file_left_out_by_sparse_checkout_is_not_called_deleted(repository: Repository) -> None:
    repository.commit(a="x = 1\n", b="y = 1\n")
    repository.git("update-index", "--skip-worktree", "b.py")
    (repository.root / "b.py").unlink()
    repository.write("a.py", "x = 2\n")
    found = state(repository.root)
    assert found.changed == ("a.py",)
    assert [file.path for file in found.tracked] == ["a.py"]
    assert b"b.py" not in found.patch


def test_an_unmerged_file_counts_as_changed(repository: Repository) -> None:
    repository.commit(a="x = 1\n")
    repository.git("checkout", "--quiet", "-b", "side")
    repository.commit(a="x = 2\n")
    repository.git("checkout", "--quiet", "main")
    repository.commit(a="x = 3\n")
    with pytest.raises(subprocess.CalledProcessError):
        repository.git("merge", "--quiet", "side")
    found = state(repository.root)
    assert found.changed == ("a.py",)
    assert [(file.path, file.modified) for file in found.tracked] == [("a.py", True)]


def test_a_very_large_change_is_named_but_not_in_the_patch(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tracking.git_patch.PATCH_FILE_LIMIT", 100)
    repository.commit(a="x = 1\n", big="x = 1\n")
    repository.write("a.py", "x = 2\n")
    repository.write("big.py", "x = 2\n" * 100)
    found = state(repository.root)
    assert found.changed == ("a.py", "big.py")
    assert b"big.py" not in found.patch
    assert b"a.py" in found.patch


class TestSubmodules:
    @pytest.fixture
    def outer(self, repository: Repository, tmp_path: Path) -> Repository:
        Repository(tmp_path / "library").commit(lib="v = 1\n")
        repository.commit(a="x = 1\n")
        repository.git("submodule", "--quiet", "add", str(tmp_path / "library"), "vendored")
        repository.commit()
        return repository

    def test_a_submodules_commit_and_files_are_recorded(self, outer: Repository) -> None:
        found = state(outer.root)
        inner = Repository(outer.root / "vendored").git("rev-parse", "HEAD")
        assert [(module.path, module.recorded, module.commit) for module in found.submodules] == [
            ("vendored", inner, inner)
        ]
        assert "vendored/lib.py" in [file.path for file in found.tracked]
        assert not found.dirty

    def test_a_submodule_at_another_commit_makes_the_tree_dirty(self, outer: Repository) -> None:
        moved = Repository(outer.root / "vendored").commit(lib="v = 2\n")
        found = state(outer.root)
        assert found.dirty
        assert found.submodules[0].commit == moved
        assert found.submodules[0].recorded != moved
        assert moved.encode() in found.patch

    def test_a_change_inside_a_submodule_is_in_the_patch_with_its_whole_path(self, outer: Repository) -> None:
        outer.write("vendored/lib.py", "v = 3\n")
        outer.write("vendored/new.py", "n = 1\n")
        found = state(outer.root)
        assert found.changed == ("vendored", "vendored/lib.py")
        assert b"+++ b/vendored/lib.py" in found.patch
        assert b"+++ b/vendored/new.py" in found.patch

    def test_a_submodule_that_was_never_fetched_is_named(self, outer: Repository, tmp_path: Path) -> None:
        outer.git("clone", "--quiet", str(outer.root), str(tmp_path / "clone"))
        (module,) = state(tmp_path / "clone").submodules
        assert (module.path, module.commit) == ("vendored", None)
        assert module.recorded is not None

    def test_a_repository_that_merely_lies_inside_is_entered(self, outer: Repository) -> None:
        nested = Repository(outer.root / "nested").commit(n="n = 1\n")
        found = state(outer.root)
        assert ("nested", None, nested) in [
            (module.path, module.recorded, module.commit) for module in found.submodules
        ]
        assert "nested/n.py" in [file.path for file in found.tracked]


class TestFindRoot:
    def test_outside_a_repository_the_reason_is_given(self, tmp_path: Path) -> None:
        root, why = find_root(tmp_path)
        assert root is None
        assert why == f"{tmp_path} is not in a git working tree"

    def test_a_bare_repository_is_no_tree(self, tmp_path: Path) -> None:
        subprocess.run(("git", "init", "--quiet", "--bare", str(tmp_path)), check=True)
        assert find_root(tmp_path)[0] is None

    def test_without_the_git_command_the_reason_is_given(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATH", str(tmp_path))
        assert find_root(tmp_path) == (None, "the command `git` is not installed")

    @pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder to another user")
    def test_another_users_repository_is_named_with_the_remedy(self, repository: Repository) -> None:
        repository.commit(a="")
        for path in (repository.root, repository.root / ".git"):
            os.chown(path, 12345, 12345)
        root, why = find_root(repository.root)
        assert root is None
        assert why.endswith(f"`git config --global --add safe.directory {repository.root}`")

    def test_a_folder_that_the_repository_ignores_is_not_in_it(self, repository: Repository) -> None:
        repository.write(".gitignore", "/own/\n")
        repository.write("own/a.py", "")
        assert find_root(repository.root / "own") == (
            None,
            f"{repository.root / 'own'} is ignored by the git repository {repository.root}",
        )


def test_a_failed_command_is_one_line_with_gits_own_words(repository: Repository) -> None:
    with pytest.raises(GitError, match=r"^git cat-file failed in .*repo: fatal: Not a valid object name nothing$"):
        run_git(repository.root, "cat-file", "-p", "nothing")
    with pytest.raises(GitError, match=r"^git rev-parse failed in .*repo: exit code 1$"):
        run_git(repository.root, "rev-parse", "--quiet", "--verify", "nothing")
