from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.tracking.repository import Repository
from tracking.code import SourceTree, code_files
from tracking.environment import Environment, Lock, Package
from tracking.grade import Letter, grade
from tracking.provenance import evidence_of, surroundings
from tracking.snapshot import SourceSnapshot, take_snapshot
from tracking.source_files import SnapshotLimits

LOCKED = Environment(
    python_version="3.12.1",
    implementation="CPython",
    platform="Linux",
    cpu="Fast CPU",
    n_cores=2,
    gpus=(),
    host="laptop",
    user="tests",
    timezone="UTC/UTC",
    variables={"TZ": "UTC"},
    argv=("run",),
    packages=(Package("numpy", "2.3.0"),),
    lock=Lock(Path("/anywhere/uv.lock"), "0" * 64, ()),
)
type Snap = Callable[..., SourceSnapshot]


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    found = Repository(tmp_path / "repo")
    found.commit(a="x = 1\n")
    return found


@pytest.fixture
def snap(repository: Repository, tmp_path: Path) -> Snap:
    def take(limits: SnapshotLimits | None = None) -> SourceSnapshot:
        tree = SourceTree.find(repository.root)
        code = code_files([], project=repository.root)
        return take_snapshot(tree, tmp_path, code=code, limits=limits)

    return take


def graded(snapshot: SourceSnapshot, environment: Environment = LOCKED) -> tuple[str, tuple[str, ...]]:
    found = grade(evidence_of(snapshot, environment, data_pinned=True))
    return found.letter, found.missing


def test_a_clean_locked_run_is_an_a(snap: Snap) -> None:
    assert graded(snap()) == ("A", ())


@pytest.mark.parametrize("name", ["a.py", "new.py"])
def test_what_is_not_committed_is_named(snap: Snap, repository: Repository, name: str) -> None:
    repository.write(name, "x = 2\n")
    assert graded(snap()) == ("B", (f"not committed: {name}",))


def test_a_deleted_file_is_named(snap: Snap, repository: Repository) -> None:
    (repository.root / "a.py").unlink()
    assert graded(snap()) == ("B", ("not committed: a.py",))


def test_an_ignored_module_that_can_be_imported_is_named(snap: Snap, repository: Repository) -> None:
    repository.write(".gitignore", "local.py\n")
    repository.commit()
    repository.write("local.py", "")
    assert graded(snap()) == ("B", ("not committed: local.py",))


def test_an_untracked_data_file_is_known_by_name_and_digest(snap: Snap, repository: Repository) -> None:
    repository.write("clicks.csv", "1")
    repository.write(".env", "X=1")
    assert graded(snap()) == ("B", ("files known by name and digest only: .env, clicks.csv",))


def test_a_file_without_a_digest_is_known_by_name_only(snap: Snap, repository: Repository) -> None:
    repository.write("clicks.csv", "1" * 10)
    letter, missing = graded(snap(SnapshotLimits(digested_total=5)))
    assert letter == "C"
    assert missing[0].startswith("files known by name only: clicks.csv (untracked, and no source file")


def test_outside_git_is_a_d(tmp_path: Path) -> None:
    folder = tmp_path / "plain"
    folder.mkdir()
    (folder / "a.py").write_text("")
    letter, missing = graded(take_snapshot(SourceTree.find(folder), tmp_path))
    assert letter is Letter.D
    assert missing == (f"no commit: {folder} is not in a git working tree",)


def test_an_installed_package_is_a_b(tmp_path: Path) -> None:
    snapshot = take_snapshot(SourceTree.of_package(["tracking"]), tmp_path)
    assert graded(snapshot) == ("B", ("no commit: the code was installed as a package",))


def test_libraries_without_a_lock_are_named(snap: Snap) -> None:
    assert graded(snap(), replace(LOCKED, lock=None))[0] == "C"


def test_circumstances_hold_commit_machine_and_packages(snap: Snap, repository: Repository) -> None:
    repository.git("remote", "add", "origin", "https://host.example/r.git")
    snapshot = snap()
    found = surroundings(snapshot, LOCKED, started_utc="2026-11-23T00:00:00Z")
    assert (found.commit, found.branch) == (repository.git("rev-parse", "HEAD"), "main")
    assert (found.remote, found.dirty, found.pushed) == ("https://host.example/r.git", False, False)
    assert found.snapshot_digest == snapshot.digest
    assert found.packages == {"numpy": "2.3.0"}
    assert (found.host, found.lock_path, found.started_utc) == ("laptop", "uv.lock", "2026-11-23T00:00:00Z")


def test_circumstances_outside_git_have_no_commit(tmp_path: Path) -> None:
    snapshot = take_snapshot(SourceTree.of_package(["tracking"]), tmp_path)
    found = surroundings(snapshot, replace(LOCKED, lock=None), started_utc="2026-11-23T00:00:00Z")
    assert (found.commit, found.lock_path, found.cpu) == (None, None, "Fast CPU")
