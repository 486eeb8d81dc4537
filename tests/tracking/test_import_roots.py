"""The folders that a restored snapshot puts on Python's path lie in it, and follow from the code."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from tracking.archive import ArchiveWriter, DamagedSnapshotError, SourceFile, restore_snapshot
from tracking.canonical import sha256_hex
from tracking.code import SourceTree, code_digest, code_files
from tracking.named_code import named_files
from tracking.snapshot import import_roots


def archive(folder: Path, roots: Sequence[str]) -> Path:
    """Write an archive of a module, a link to the tree's root and a package from elsewhere."""
    path = folder / "source.tar.gz"
    members = (("tree", "sub/mod.py", "file", b""), ("tree", "up", "link", b"sub/.."), ("site", "p/a.py", "file", b""))
    with path.open("wb") as raw:
        writer = ArchiveWriter(raw)
        for part, place, kind, content in members:
            writer.add(SourceFile(part, place, kind, sha256_hex(content), len(content)), content)
        writer.finish(roots)
    return path


def test_folders_of_the_snapshot_come_back_in_their_order(tmp_path: Path) -> None:
    restored = restore_snapshot(archive(tmp_path, ["tree/sub", "tree", "site"]), tmp_path / "into")
    assert [root.relative_to(restored.root).as_posix() for root in restored.import_roots] == [
        "tree/sub",
        "tree",
        "site",
    ]


@pytest.mark.parametrize("root", ["/etc", "..", "tree/../..", "tree/..", "other", "", ".", "./tree", "tree/", "tree\0"])
def test_a_root_that_leads_out_is_refused(tmp_path: Path, root: str) -> None:
    with pytest.raises(
        DamagedSnapshotError, match=r"its import root '.*' leads out of its folder; nothing was restored"
    ):
        restore_snapshot(archive(tmp_path, [root]), tmp_path / "into")
    assert not (tmp_path / "into").exists()


@pytest.mark.parametrize("root", ["tree/gone", "tree/sub/mod.py", "site/q"])
def test_a_root_that_is_no_folder_is_refused(tmp_path: Path, root: str) -> None:
    with pytest.raises(DamagedSnapshotError, match=r"its import root '.*' is no folder that it holds; nothing was"):
        restore_snapshot(archive(tmp_path, [root]), tmp_path / "into")


def test_a_root_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DamagedSnapshotError, match="one of its import roots is there twice"):
        restore_snapshot(archive(tmp_path, ["tree", "tree"]), tmp_path / "into")


def test_a_part_that_holds_nothing_may_be_a_root(tmp_path: Path) -> None:
    path = tmp_path / "source.tar.gz"
    with path.open("wb") as raw:
        ArchiveWriter(raw).finish(["tree", "site"])
    assert len(restore_snapshot(path, tmp_path / "into").import_roots) == len(["tree", "site"])


@pytest.fixture
def tree(tmp_path: Path) -> SourceTree:
    """A project in which two folders have a module of one name."""
    (tmp_path / "sub").mkdir()
    for name, content in {"mod.py": "import shared", "shared.py": "x = 1", "sub/mod.py": "y = 1"}.items():
        (tmp_path / name).write_text(content)
    return SourceTree(tmp_path.resolve(), is_git=False)


def code_of(tree: SourceTree) -> tuple[str, tuple[str, ...], dict[str, Path]]:
    named = named_files(["mod"], tree.root, [], start=tree.start)
    files = code_files([], project=tree.root, named=named)
    return code_digest(files), import_roots(tree, files), {file.module_path: file.path for file in files}


def test_the_start_folder_goes_first_and_its_modules_are_the_ones_that_count(tree: SourceTree) -> None:
    started = tree.started_in(tree.root / "sub") if tree.root else tree
    digest, roots, files = code_of(started)
    assert tree.root is not None
    assert roots == ("tree/sub", "tree")
    assert files == {
        "mod.py": tree.root / "sub/mod.py",
        "project:mod.py": tree.root / "mod.py",
        "project:shared.py": tree.root / "shared.py",
    }
    assert digest != code_of(tree)[0]


def test_a_start_folder_without_modules_changes_nothing(tree: SourceTree) -> None:
    assert tree.root is not None
    (tree.root / "configs").mkdir()
    (tree.root / "configs" / "run.yaml").write_text("")
    assert code_of(tree.started_in(tree.root / "configs")) == code_of(tree)


def test_the_root_and_folders_outside_the_tree_are_no_start_folders(tree: SourceTree) -> None:
    assert tree.root is not None
    assert [tree.started_in(folder).start for folder in (tree.root, tree.root.parent)] == [None, None]
    assert SourceTree.of_package([]).started_in(tree.root).start is None
