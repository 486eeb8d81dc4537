"""Every ingredient is looked up and verified: code, environment, data, device; what is not right is not ready."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest

from ctr_pipeline.reproduce import environment, plan
from ctr_pipeline.reproduce.code import current_code, restore_code
from ctr_pipeline.reproduce.environment import (
    StepEnvironment,
    current_environment,
    environments_folder,
    look_up_environment,
)
from ctr_pipeline.reproduce.original import Original, find_original
from ctr_pipeline.reproduce.pinned_data import find_manifest, look_up_data, stores
from ctr_pipeline.reproduce.plan import Plan, make_plan
from ctr_pipeline.reproduce.request import Request
from ctr_pipeline.reproduce.verdict import Ingredient
from ctr_pipeline.workflows.provenance import find_tree
from tests.house.project import ROOT
from tests.plugins.run_fixtures import FinishedRun
from tracking.code import SourceTree
from tracking.environment import installed_packages, lock_digest, read_lock
from tracking.errors import InputError, TrackingError
from tracking.rebuilt_environment import MissingPackagesError, RebuiltEnvironment
from tracking.recipe import Recipe

_MUST: Final = ("xgboost", "numpy", "pyarrow")


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take every environment for one that was built before; tests of it say otherwise."""
    built = RebuiltEnvironment(Path("venv"), ())
    monkeypatch.setattr(environment, "find_environment", lambda *_: built)


def _original(run: FinishedRun, tmp_path: Path) -> Original:
    return find_original(run.run_id, run.place, tmp_path / "fetched")


def _plan(run: FinishedRun, tmp_path: Path, **asked: Any) -> Plan:  # noqa: ANN401 - of any field of a request
    original = _original(run, tmp_path)
    assert original.recipe is not None
    request = Request(**{"run_id": run.run_id, "start": run.project, **asked})
    return make_plan(original, original.recipe, request, tmp_path / "source")


def _found(made: Plan, name: str) -> Ingredient:
    (item,) = (item for item in made.ingredients if item.name == name)
    return item


def _recipe(run: FinishedRun, change: Callable[[Recipe], Recipe]) -> None:
    """Rewrite every copy of a run's recipe, as if the run had been made so."""
    changed = change(Recipe.from_json(run.folder.recipe.read_bytes()))
    for path in run.home.path.rglob("recipe.json"):
        path.write_bytes(changed.to_json())
    execution = run.folder.load()
    run.folder.save(replace(execution, tags={**execution.tags, "recipe_digest": changed.digest}))


def test_a_plan_of_a_whole_run_misses_nothing(finished_run: FinishedRun, tmp_path: Path) -> None:
    made = _plan(finished_run, tmp_path)
    assert made.missing == ()
    assert made.code is not None
    assert made.code.digest == made.recipe.identity.code_digest
    assert [package.name for package in made.code.packages] == ["ctr_pipeline", "tracking"]
    assert all(package.is_relative_to(tmp_path / "source") for package in made.code.packages)
    assert made.data is not None
    assert made.data.pinned_uri == made.recipe.circumstances.pinned_uri


def test_a_damaged_archive_is_passed_over_for_the_next_copy(run_copy: FinishedRun, tmp_path: Path) -> None:
    archive = run_copy.folder.provenance / "source.tar.gz"
    whole = archive.read_bytes()
    archive.write_bytes(whole[: len(whole) // 2])
    original = _original(run_copy, tmp_path)
    code = restore_code(original, {}, tmp_path / "source")
    assert code is not None
    assert code.archive is not None
    assert code.archive.is_relative_to(tmp_path / "fetched")
    code.archive.write_bytes(b"")
    for path in (run_copy.home.path / "artifacts").rglob("source.tar.gz"):
        path.write_bytes(whole[: len(whole) // 2])
    made = _plan(run_copy, tmp_path / "again")
    found = _found(made, "source")
    assert (found.ready, found.found, made.code) == (False, "2 of provenance/source.tar.gz, damaged", None)
    assert "--use-current-code" in found.remedy


def test_an_archive_of_another_run_is_not_taken(run_copy: FinishedRun, tmp_path: Path) -> None:
    """It is whole by its own word, but it is not what the recipe names."""
    _recipe(
        run_copy, lambda recipe: replace(recipe, circumstances=replace(recipe.circumstances, snapshot_digest="0" * 64))
    )
    assert not _found(_plan(run_copy, tmp_path), "source").ready


def test_files_that_the_snapshot_left_out_are_told(run_copy: FinishedRun, tmp_path: Path) -> None:
    _recipe(run_copy, lambda recipe: replace(recipe, identity=replace(recipe.identity, code_digest="0" * 64)))
    found = _found(_plan(run_copy, tmp_path), "source")
    assert not found.ready
    assert "files that steps can import are not in the snapshot" in found.found


def test_the_current_code_is_taken_where_it_lies(finished_run: FinishedRun, tmp_path: Path) -> None:
    made = _plan(finished_run, tmp_path, use_current_code=True)
    assert _found(made, "source").found.endswith("(asked for)")
    assert made.code is not None
    assert (made.code.archive, not (tmp_path / "source").exists()) == (None, True)
    assert [package.parent for package in made.code.packages] == [ROOT, ROOT]
    settings = dict(made.settings or {})
    tree = find_tree(finished_run.project, settings)
    assert current_code(tree, finished_run.project, settings).roots[0] == finished_run.project.resolve()
    assert current_code(SourceTree.of_package(["tracking"]), finished_run.project, settings).digest == made.code.digest


def test_a_recipe_without_outputs_is_not_ready(run_copy: FinishedRun, tmp_path: Path) -> None:
    _recipe(run_copy, lambda recipe: replace(recipe, outputs=type(recipe.outputs)({})))
    found = _found(_plan(run_copy, tmp_path), "recipe")
    assert (found.ready, found.found) == (False, "no outputs to compare with")


@pytest.mark.parametrize("gpus", [(), ("A GPU",)])
def test_a_run_on_a_gpu_needs_one(
    finished_run: FinishedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gpus: tuple[str, ...]
) -> None:
    monkeypatch.setattr(plan, "gpu_models", lambda: gpus)
    made = _plan(finished_run, tmp_path, overrides=("train.device=cuda",))
    found = _found(made, "device")
    assert (found.ready, found.wanted, found.found) == (bool(gpus), "cuda: unknown", "A GPU" if gpus else "no GPU")
    assert ("--set train.device=cpu" in found.remedy) is not bool(gpus)


def test_data_are_looked_for_where_they_were_named_then_recorded_then_here(
    run_copy: FinishedRun, finished_run: FinishedRun, tmp_path: Path
) -> None:
    original = _original(run_copy, tmp_path)
    assert original.recipe is not None
    asked = Request(run_copy.run_id, run_copy.project, store=str(tmp_path / "named"))
    places = [store.objects.uri for store in stores(original, original.recipe, asked)]
    assert places == [str(tmp_path / "named"), str(finished_run.home.store), str(run_copy.home.store)]
    by_uri = replace(asked, store=f"file://{tmp_path}/named")
    assert next(iter(stores(original, original.recipe, by_uri))).objects.uri == str(tmp_path / "named")
    with pytest.raises(InputError, match=r"^store == 'ftp://x', must be a folder"):
        list(stores(original, original.recipe, replace(asked, store="ftp://x")))


def test_the_homes_own_store_is_asked_where_another_is_configured(run_copy: FinishedRun, tmp_path: Path) -> None:
    original = find_original(run_copy.run_id, replace(run_copy.place, store_uri=str(tmp_path / "other")), tmp_path)
    assert original.recipe is not None
    lost = replace(
        original.recipe, circumstances=replace(original.recipe.circumstances, pinned_uri="/gone#manifests/x")
    )
    request = Request(run_copy.run_id, run_copy.project)
    places = [store.objects.uri for store in stores(original, lost, request)]
    assert places == [str(tmp_path / "other"), str(run_copy.home.store)]


def test_every_store_that_lacks_the_data_is_named(run_copy: FinishedRun, tmp_path: Path) -> None:
    original = _original(run_copy, tmp_path)
    assert original.recipe is not None
    key = str(original.recipe.circumstances.pinned_uri).rpartition("#")[2]
    moved = replace(original.recipe, circumstances=replace(original.recipe.circumstances, pinned_uri=f"/gone#{key}"))
    for path in run_copy.home.store.rglob("*"):
        if path.is_file():
            path.chmod(0o644)
            path.unlink()
    named = tmp_path / "named"
    found, told = look_up_data(original, moved, Request(run_copy.run_id, run_copy.project, store=str(named)))
    assert (found, told.ready) == (None, False)
    assert f"1 of 1 files cannot be had from {named}" in told.found
    assert f"1 of 1 files cannot be had from {run_copy.home.store}" in told.found
    assert "--store" in told.remedy


def test_a_manifest_that_is_not_the_recipes_is_not_taken(run_copy: FinishedRun, tmp_path: Path) -> None:
    copies = [run_copy.folder.provenance / "manifest.json"]
    copies += [path for path in (run_copy.home.path / "artifacts").rglob("manifest.json") if "provenance" in path.parts]
    original = _original(run_copy, tmp_path)
    assert original.recipe is not None
    text = copies[0].read_text(encoding="utf-8")
    for path in copies:
        path.write_text(text.replace('"name":"tiny"', '"name":"other"'), encoding="utf-8")
    manifest, problem = find_manifest(original, original.recipe)
    assert manifest is None
    assert "is not the manifest that the recipe names (manifests/" in problem
    for path in copies:
        path.write_text("{", encoding="utf-8")
    manifest, problem = find_manifest(original, original.recipe)
    assert manifest is None
    assert "manifest" in problem


def _locked(run: FinishedRun, tmp_path: Path, lock: bytes) -> tuple[Original, Recipe]:
    """Return the run as if it had been made with a lock, of which this machine has a copy."""
    (run.folder.provenance / "uv.lock").write_bytes(lock)
    right = read_lock(ROOT / "uv.lock", installed_packages(), must_be_locked=_MUST)
    digest = lock_digest(right, installed_packages())
    packages = {package.name: package.version for package in installed_packages()}
    original = _original(run, tmp_path)
    assert original.recipe is not None
    identity = replace(original.recipe.identity, lock_digest=digest)
    around = replace(original.recipe.circumstances, lock_path="uv.lock", packages=packages)
    return original, replace(original.recipe, identity=identity, circumstances=around)


def test_the_recorded_lock_is_taken_and_another_is_not(run_copy: FinishedRun, tmp_path: Path) -> None:
    lock = (ROOT / "uv.lock").read_bytes()
    found, (told, *_) = look_up_environment(*_locked(run_copy, tmp_path, lock))
    assert found is not None
    assert found.lock == run_copy.folder.provenance / "uv.lock"
    assert (told.name, told.ready) == ("lock", True)
    assert found.plan is not None
    assert found.plan.locked
    assert [package.name for package in found.carried] == ["ctr-pipeline"]
    original, recipe = _locked(run_copy, tmp_path, lock + b"\n")
    found, (told, *rest) = look_up_environment(original, recipe)
    assert (found, told.ready, rest) == (None, False, [])
    assert told.found == "1 of provenance/uv.lock, none is what was recorded"
    (run_copy.folder.provenance / "uv.lock").unlink()
    _, (told,) = look_up_environment(original, recipe)
    assert told.found == "provenance/uv.lock is gone"
    assert "--use-current-env" in told.remedy


def test_packages_that_are_not_what_was_recorded_are_told(finished_run: FinishedRun, tmp_path: Path) -> None:
    original = _original(finished_run, tmp_path)
    assert original.recipe is not None
    changed = replace(original.recipe, identity=replace(original.recipe.identity, lock_digest="0" * 64))
    found, (told,) = look_up_environment(original, changed)
    assert (found, told.ready) == (None, False)


@pytest.fixture
def nothing_built(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "find_environment", lambda *_: None)
    monkeypatch.setattr(environment, "has_python", lambda _: True)
    monkeypatch.setattr(environment, "check_packages", lambda _: None)


def _ingredients(run: FinishedRun, tmp_path: Path) -> tuple[StepEnvironment | None, dict[str, Ingredient]]:
    original = _original(run, tmp_path)
    assert original.recipe is not None
    found, told = look_up_environment(original, original.recipe)
    return found, {item.name: item for item in told}


def _fail(error: Exception) -> Callable[[object], None]:
    def fail(_: object) -> None:
        raise error

    return fail


@pytest.mark.usefixtures("nothing_built")
def test_an_environment_that_is_not_built_yet_is_looked_up(finished_run: FinishedRun, tmp_path: Path) -> None:
    found, told = _ingredients(finished_run, tmp_path)
    assert found is not None
    assert not found.is_ready
    assert (told["python"].found, told["packages"].found) == ("found", "can be installed")


@pytest.mark.usefixtures("nothing_built")
@pytest.mark.parametrize(
    ("name", "stand_in", "ingredient", "told"),
    [
        ("find_uv", lambda: None, "python", r"uv, which rebuilds it, is not here"),
        ("has_python", lambda _: False, "python", r"not here, and not to be fetched"),
        ("check_packages", _fail(MissingPackagesError(["old==1"], "")), "packages", r"gone: old==1"),
        ("check_packages", _fail(MissingPackagesError([], "no index")), "packages", r"gone: .*no index"),
        ("check_packages", _fail(TrackingError("the disk is full")), "packages", r"the disk is full"),
    ],
)
def test_what_an_environment_lacks_is_told_with_the_remedy(
    finished_run: FinishedRun,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    name: str,
    stand_in: Callable[..., object],
    ingredient: str,
    told: str,
) -> None:
    monkeypatch.setattr(environment, name, stand_in)
    found, ingredients = _ingredients(finished_run, tmp_path)
    assert found is None
    assert not ingredients[ingredient].ready
    assert re.search(told, ingredients[ingredient].found)
    assert "--use-current-env" in ingredients[ingredient].remedy


def test_the_current_environment_is_this_processs_own(finished_run: FinishedRun, tmp_path: Path) -> None:
    original = _original(finished_run, tmp_path)
    assert original.recipe is not None
    found, (told,) = current_environment(original, original.recipe)
    assert told.found.endswith("(asked for)")
    assert found.is_ready
    interpreter = found.interpreter()
    assert interpreter.packages == installed_packages()
    assert interpreter.lock_digest == original.recipe.identity.lock_digest


def test_environments_are_kept_in_the_users_cache_or_where_it_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CTR_CACHE", str(tmp_path))
    assert environments_folder() == tmp_path / "environments"
    monkeypatch.delenv("CTR_CACHE")
    assert environments_folder().parts[-2:] == ("ctr-pipeline", "environments")
