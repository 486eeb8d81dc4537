"""A recipe is not taken on its own word where the run, or another copy of it, says something else."""

import json
from dataclasses import replace
from typing import Any

import pytest

from ctr_pipeline.reproduce.original import find_original
from ctr_pipeline.reproduce.request import Request
from ctr_pipeline.reproduce.verdict import Verdict
from ctr_pipeline.reproduce.workflow import reproduce
from ctr_pipeline.workflows.execution import NOISE_FILE
from tests.plugins.run_fixtures import FinishedRun, SilentWatcher
from tracking.recipe import Outputs, Recipe


class _Watcher(SilentWatcher):
    def doing(self, what: str) -> None:
        """See `ReproductionWatcher`."""


def test_a_recipe_of_another_run_in_this_ones_place_is_passed_over(run_copy: FinishedRun) -> None:
    path = run_copy.folder.recipe
    own = Recipe.from_json(path.read_bytes())
    path.write_bytes(replace(own, identity=replace(own.identity, seed=own.identity.seed + 1)).to_json())

    original = find_original(run_copy.run_id, run_copy.place, run_copy.home.path / "scratch")

    assert original.recipe == own, "the tracker's copy is the run's own"
    assert original.contradiction().startswith("copies of recipe.json contradict each other: ")


def test_a_recipe_that_fits_the_run_nowhere_is_no_recipe(run_copy: FinishedRun) -> None:
    own = Recipe.from_json(run_copy.folder.recipe.read_bytes())
    other = replace(own, identity=replace(own.identity, seed=own.identity.seed + 1)).to_json()
    for path in (run_copy.folder.recipe, *run_copy.home.path.glob("artifacts/*/*/artifacts/recipe.json")):
        path.write_bytes(other)
    found = reproduce(Request(run_copy.run_id, run_copy.project), run_copy.place, _Watcher())
    assert found.judgement is not None
    assert found.judgement.verdict is Verdict.CANNOT
    assert "the run is tagged" in found.judgement.reason


def test_copies_that_tell_other_outputs_give_no_verdict(run_copy: FinishedRun) -> None:
    path = run_copy.folder.recipe
    own = Recipe.from_json(path.read_bytes())
    path.write_bytes(replace(own, outputs=Outputs({**own.outputs.layers, "margins": "0" * 32})).to_json())

    found = reproduce(Request(run_copy.run_id, run_copy.project), run_copy.place, _Watcher())

    assert found.judgement is not None
    assert (found.judgement.verdict, found.exit_code) == (Verdict.CANNOT, 5)
    assert "contradict each other" in found.judgement.reason
    assert not found.judgement.ingredients[0].ready


@pytest.mark.parametrize("margins", [0.0, 1e9], ids=["the same band", "a wider band here"])
def test_a_noise_band_counts_only_where_its_copies_agree(run_copy: FinishedRun, margins: float) -> None:
    def band(largest: float) -> dict[str, Any]:
        spread = {"mean": 0.0, "median": 0.0, "q99": 0.0, "largest": largest}
        return {"format": 1, "runs": 5, "chance": "seed", "metrics": {}, "margins": spread}

    (run_copy.folder.path / NOISE_FILE).write_text(json.dumps(band(margins)), encoding="utf-8")
    (artifacts,) = run_copy.home.path.glob(f"artifacts/*/{run_copy.run_id}/artifacts")
    (artifacts / NOISE_FILE).write_text(json.dumps(band(0.0)), encoding="utf-8")

    found = reproduce(
        Request(run_copy.run_id, run_copy.project, overrides=("train.max_depth=2",)), run_copy.place, _Watcher()
    )

    assert found.judgement is not None
    assert found.judgement.verdict is Verdict.DIVERGED
    assert (found.judgement.noise is None) == (margins > 0)
