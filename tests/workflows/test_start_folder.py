"""A run that is started in a folder of its project imports own modules from there first, and so does its redoing."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from ctr_pipeline.config import Settings
from ctr_pipeline.config_file import LoadedSettings
from ctr_pipeline.reproduce.code import current_code, restore_code
from ctr_pipeline.reproduce.original import Original
from ctr_pipeline.workflows.provenance import Provenance, capture, find_tree
from ctr_pipeline.workflows.reuse_surroundings import own_code
from tests.tracking.repository import Repository


def settings_of(custom: str | None) -> Settings:
    data = {"uri": "log.csv", "columns": {"label": "click", "time": "t", "numeric": ["price"]}}
    return Settings.model_validate({"name": "tiny", "data": data, "features": {"custom": custom}})


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """A project with a module of one name at its root and in a folder."""
    repository = Repository(tmp_path / "project")
    repository.commit(mod="STEP = 1\n", sub__mod="STEP = 2\n", shared="")
    return repository


def captured(start: Path, custom: str | None, into: Path) -> tuple[Provenance, Settings]:
    settings = settings_of(custom)
    tree = find_tree(start, settings.resolved())
    return capture(tree, LoadedSettings(settings, (), (), {}), ["run"], into, into / "cache"), settings


def kept(provenance: Provenance) -> Original:
    """The run as far as its code goes."""
    documents = SimpleNamespace(copies=lambda _: [provenance.snapshot.archive])
    recipe = SimpleNamespace(circumstances=SimpleNamespace(snapshot_digest=provenance.snapshot.digest))
    return cast("Original", cast("Any", SimpleNamespace(documents=documents, recipe=recipe)))


def test_a_restored_run_imports_the_module_of_its_start_folder(repository: Repository, tmp_path: Path) -> None:
    made, settings = captured(repository.root / "sub", "mod:add", tmp_path / "made")
    restored = restore_code(kept(made), settings.resolved(), tmp_path / "restored")
    assert restored is not None
    assert restored.roots[0].parts[-2:] == ("tree", "sub")
    assert (restored.digest, restored.proves_roots) == (made.code_digest, True)
    first = next(root / "mod.py" for root in restored.roots if (root / "mod.py").exists())
    assert first.read_text() == "STEP = 2\n"
    at_root, _ = captured(repository.root, "mod:add", tmp_path / "root")
    assert at_root.snapshot.import_roots[0] == "tree"
    assert at_root.code_digest != made.code_digest


def test_key_and_current_code_are_traced_from_the_start_folder_too(repository: Repository, tmp_path: Path) -> None:
    made, settings = captured(repository.root / "sub", "mod:add", tmp_path / "made")
    tree = made.tree
    own = {file.module_path: file.path for file in own_code(settings, tree.root, tree.start)}
    assert own["mod.py"] == repository.root / "sub" / "mod.py"
    now = current_code(tree, repository.root / "sub", settings.resolved())
    assert (now.digest, now.roots[:2]) == (made.code_digest, (repository.root / "sub", repository.root))


def test_without_own_modules_the_start_folder_changes_nothing(repository: Repository, tmp_path: Path) -> None:
    below, _ = captured(repository.root / "sub", None, tmp_path / "below")
    root, _ = captured(repository.root, None, tmp_path / "root")
    assert below.tree == root.tree
    assert (below.code_digest, below.snapshot.import_roots) == (root.code_digest, root.snapshot.import_roots)


def test_roots_in_another_order_or_more_of_them_are_not_taken(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, settings = captured(repository.root, "shared:add", tmp_path / "made")
    order = list(made.snapshot.import_roots)
    for place, roots in enumerate((order[::-1], [*order, "tree/sub"], ["tree/sub", *order])):
        with monkeypatch.context() as patch:
            patch.setattr("tracking.snapshot.import_roots", lambda *_, roots=roots: tuple(roots))
            forged, _ = captured(repository.root, "shared:add", tmp_path / f"forged-{place}")
        assert forged.snapshot.digest == made.snapshot.digest
        restored = restore_code(kept(forged), settings.resolved(), tmp_path / f"restored-{place}")
        assert restored is not None
        assert not restored.proves_roots or restored.digest != made.code_digest


def test_a_helper_of_another_folder_is_in_key_digest_and_snapshot_and_is_found_again(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository.commit(mod="import demo_far_helper\n")
    (tmp_path / "far").mkdir()
    helper = tmp_path / "far" / "demo_far_helper.py"
    helper.write_text("RATE = 1\n")
    monkeypatch.syspath_prepend(helper.parent)
    installed = tmp_path / "site-packages"
    installed.mkdir()
    (installed / "demo_installed.py").write_text("")
    made, settings = captured(repository.root, "mod:add", tmp_path / "made")
    key = {file.module_path: file.sha256 for file in own_code(settings, made.tree.root)}
    now = current_code(made.tree, repository.root, settings.resolved())
    assert helper.parent in now.roots
    assert now.digest == made.code_digest
    monkeypatch.undo()
    restored = restore_code(kept(made), settings.resolved(), tmp_path / "restored")
    assert restored is not None
    assert (restored.digest, restored.proves_roots) == (made.code_digest, True)
    assert restored.unresolved(["mod", "demo_far_helper", "math"], []) == ()
    assert restored.unresolved(["gone"], []) == ("gone",)
    assert restored.unresolved(["demo_installed"], [installed]) == ()
    monkeypatch.syspath_prepend(helper.parent)
    helper.write_text("RATE = 2\n")
    changed, _ = captured(repository.root, "mod:add", tmp_path / "changed")
    assert changed.code_digest != made.code_digest
    later = {file.module_path: file.sha256 for file in own_code(settings, made.tree.root)}
    assert {place for place in key if key[place] != later[place]} == {"demo_far_helper.py"}
