"""A reproduction whose own modules no step would find ends before it begins."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import pytest

from ctr_pipeline.reproduce import environment, plan
from ctr_pipeline.reproduce.code import StepCode, restore_code
from ctr_pipeline.reproduce.environment import StepEnvironment
from ctr_pipeline.reproduce.original import find_original
from ctr_pipeline.reproduce.plan import make_plan
from ctr_pipeline.reproduce.request import Request
from ctr_pipeline.reproduce.verdict import Ingredient
from tests.plugins.run_fixtures import FinishedRun

_FEATURES: Final = "demo_team.features:add"


def _source(run: FinishedRun, tmp_path: Path, **asked: Any) -> tuple[Ingredient, StepCode | None]:  # noqa: ANN401 - of any field of a request
    original = find_original(run.run_id, run.place, tmp_path / "fetched")
    assert original.recipe is not None
    request = Request(**{"run_id": run.run_id, "start": run.project, "use_current_env": True, **asked})
    made = make_plan(original, original.recipe, request, tmp_path / "source")
    return next(item for item in made.ingredients if item.name == "source"), made.code


@pytest.mark.parametrize("is_current", [True, False])
def test_a_module_that_is_nowhere_is_named_before_anything_runs(
    finished_run: FinishedRun, tmp_path: Path, *, is_current: bool
) -> None:
    custom = f"features.custom={_FEATURES}"
    found, code = _source(finished_run, tmp_path, overrides=(custom,), use_current_code=is_current)
    where = "the current code" if is_current else "provenance/source.tar.gz"
    assert (found.ready, found.found, code) == (False, f"no module demo_team.features in {where}", None)
    assert found.remedy.startswith("put demo_team.features into the project and use the current code explicitly")


def test_a_librarys_module_and_pythons_own_are_found(finished_run: FinishedRun, tmp_path: Path) -> None:
    functions = ("features.custom=pyarrow.compute:add", "evaluate.metrics={mean: 'statistics:mean'}")
    found, code = _source(finished_run, tmp_path, overrides=functions)
    assert found.ready
    assert code is not None


def test_before_the_environment_is_built_another_functions_library_is_not_asked_for(
    finished_run: FinishedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(StepEnvironment, "libraries", ())
    found, _ = _source(finished_run, tmp_path, overrides=(f"features.custom={_FEATURES}",))
    assert found.ready


def test_import_roots_that_the_files_do_not_imply_are_refused(
    finished_run: FinishedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def other_roots(*arguments: Any) -> StepCode | None:  # noqa: ANN401 - whatever the plan gives
        code = restore_code(*arguments)
        return None if code is None else replace(code, proves_roots=False)

    monkeypatch.setattr(plan, "restore_code", other_roots)
    found, code = _source(finished_run, tmp_path)
    assert (found.ready, code) == (False, None)
    assert found.found.endswith("its import roots are not those that its files imply")


@pytest.mark.parametrize(("built", "libraries"), [(None, ()), (SimpleNamespace(site_packages=Path("l")), (Path("l"),))])
def test_the_libraries_of_an_environment_are_known_once_it_is_built(
    monkeypatch: pytest.MonkeyPatch, built: object, libraries: tuple[Path, ...]
) -> None:
    monkeypatch.setattr(environment, "find_environment", lambda *_: built)
    some: Any = SimpleNamespace()
    assert StepEnvironment(some, None).libraries == libraries
    assert any(folder.name == "site-packages" for folder in StepEnvironment(None, None).libraries)
