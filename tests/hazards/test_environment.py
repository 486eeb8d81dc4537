"""Hazards 21 to 23 and 27: the libraries are others."""

import json
import os
import platform
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from ctr_pipeline.predictor import BOOSTER_FILE
from ctr_pipeline.reproduce.environment import environments_folder
from ctr_pipeline.reproduce.verdict import Judgement, Verdict
from tests.hazards.laboratory import ROOT, Baseline, Workbench, write_log
from tracking.environment import installed_packages
from tracking.environment_plan import plan_environment
from tracking.rebuilt_environment import rebuild_environment

# What the run's environment has in place of what is installed here: a library that trains, and one that merely came
# with another.
_OLD: Final = {"xgboost": "3.3.0", "pyparsing": "3.2.3"}
_CARRIED: Final = ("ctr-pipeline",)


@dataclass(frozen=True, slots=True)
class _OldRun:
    """A run of an older environment.

    Attributes:
        bench: with the run.
        now: the versions here of what the run had others of.
    """

    bench: Workbench
    now: dict[str, str]

    def change(self, name: str) -> str:
        """A package's change in words."""
        return f"{name} {_OLD[name]} -> {self.now[name]}"


@pytest.fixture(scope="module")
def old_run(baseline: Baseline, tmp_path_factory: pytest.TempPathFactory) -> _OldRun:
    """A run made by the product in an environment with an older xgboost and an older transitive package."""
    bench = baseline.workbench(tmp_path_factory.mktemp("old"))
    installed = {package.name: package.version for package in installed_packages()}
    plan = plan_environment(
        platform.python_version(), {**installed, **_OLD}, bench.project / "uv.lock", carried=_CARRIED
    )
    old = rebuild_environment(plan, environments_folder())
    done = subprocess.run(
        [old.python, "-m", "ctr_pipeline", "run", "--no-reuse", "--json"],
        cwd=bench.project,
        env={**os.environ, "CTR_HOME": str(bench.home.path), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    run_id = json.loads(done.stdout)["run_id"]
    return _OldRun(Workbench(bench.project, bench.home, run_id), {name: installed[name] for name in _OLD})


@pytest.fixture(scope="module")
def upgraded(old_run: _OldRun) -> Judgement:
    """The old run, redone with the libraries that are installed here."""
    return old_run.bench.reproduce(use_current_env=True)


@pytest.mark.slow
def test_an_upgraded_library_is_named_and_the_restored_one_gives_the_same(
    old_run: _OldRun, upgraded: Judgement
) -> None:
    assert old_run.bench.recipe.circumstances.packages["xgboost"] == _OLD["xgboost"]
    assert old_run.bench.reproduce().verdict is Verdict.IDENTICAL
    assert upgraded.verdict in {Verdict.EQUIVALENT, Verdict.DIVERGED}
    assert old_run.change("xgboost") in str(upgraded.cause)
    if upgraded.verdict is Verdict.DIVERGED:
        assert upgraded.first_divergence in {"booster", "model"}


@pytest.mark.slow
def test_a_transitive_package_that_drifted_from_the_lock_is_named(old_run: _OldRun, upgraded: Judgement) -> None:
    drift = next(text for text in upgraded.grade_missing if text.startswith("libraries other than the locked ones:"))
    assert f"pyparsing {_OLD['pyparsing']} (uv.lock: {old_run.now['pyparsing']})" in drift
    assert old_run.change("pyparsing") in str(upgraded.cause)


@pytest.mark.slow
def test_a_model_that_is_scored_by_another_version_than_trained_it_says_so(old_run: _OldRun, tmp_path: Path) -> None:
    write_log(tmp_path / "today", seed=2)
    found = old_run.bench.reproduce(use_current_env=True, data=str(tmp_path / "today"), preprocess="freeze")
    assert found.verdict is Verdict.NEW_DATA
    assert old_run.change("xgboost") in str(found.cause)


def test_a_changed_default_of_the_product_does_not_act_and_its_code_is_named(bench: Workbench, tmp_path: Path) -> None:
    product = tmp_path / "product"
    for package in ("ctr_pipeline", "tracking"):
        shutil.copytree(ROOT / package, product / package, ignore=shutil.ignore_patterns("__pycache__"))
    config = product / "ctr_pipeline/config.py"
    text = config.read_text(encoding="utf-8")
    assert "max_depth: int = Field(6," in text
    config.write_text(text.replace("max_depth: int = Field(6,", "max_depth: int = Field(2,"), encoding="utf-8")
    found = _reproduced_by(product, bench, "--use-current-code", "--use-current-env")
    assert found["verdict"] == "EQUIVALENT"
    told = [difference["what"] for difference in found["differences"]]
    assert "ctr_pipeline/config.py edited" in told
    assert "the default of train.max_depth 6 -> 2 (the run's own value is used)" in told
    assert {layer["name"]: layer["equal"] for layer in found["layers"]}["settings"]


def test_a_default_of_xgboost_cannot_act_where_its_value_is_stated(baseline: Baseline, redone: Judgement) -> None:
    xgboost = pytest.importorskip("xgboost")
    bench = Workbench(baseline.project, baseline.home, baseline.run_id)
    booster = xgboost.Booster(model_file=bench.folder.step("train") / "model" / BOOSTER_FILE)
    stated = json.loads(booster.save_config())["learner"]["learner_model_param"]
    score = float(str(stated["base_score"]).strip("[]"))
    assert 0.1 < score < 0.2
    assert redone.verdict is Verdict.IDENTICAL


def _reproduced_by(product: Path, bench: Workbench, *options: str) -> dict[str, Any]:
    """Redo a run with another version of the product, as its command does."""
    done = subprocess.run(
        [sys.executable, "-m", "ctr_pipeline", "reproduce", "--run-id", bench.run_id, *options, "--json"],
        cwd=bench.project,
        env={**os.environ, "CTR_HOME": str(bench.home.path), "PYTHONPATH": str(product)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found
