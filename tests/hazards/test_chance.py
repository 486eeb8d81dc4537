"""Hazards 28 to 34: chance, clocks and what merely surrounds a run."""

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from ctr_pipeline.reproduce.judge import Evidence, decide
from ctr_pipeline.reproduce.verdict import Circumstance, Judgement, Layer, Verdict
from ctr_pipeline.steps.job import STEP_FILE
from tests.hazards.laboratory import Baseline, Workbench, circumstance
from tracking.environment import gpu_models

_UNRECORDED = "nothing that is recorded differs: chance that no seed governs, or something unrecorded"


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Another folder, time zone, language, hash seed, number of threads and processor."""
    library = np._core._multiarray_umath  # type: ignore[attr-defined] # numpy's own way to look them up
    dispatched = [name for name in library.__cpu_dispatch__ if library.__cpu_features__.get(name)]
    with monkeypatch.context() as patch:
        patch.chdir(tmp_path)
        patch.setenv("TZ", "Pacific/Chatham")
        patch.setenv("LANG", "tr_TR.UTF-8")
        patch.setenv("LC_ALL", "tr_TR.UTF-8")
        patch.setenv("PYTHONHASHSEED", "2")
        patch.setenv("OMP_NUM_THREADS", "2")
        patch.setenv("NPY_DISABLE_CPU_FEATURES", " ".join(dispatched))
        time.tzset()
        yield
    time.tzset()


@pytest.fixture(scope="module")
def unsampled(baseline: Baseline, tmp_path_factory: pytest.TempPathFactory) -> Workbench:
    """A run in which no row and no column is drawn."""
    bench = baseline.workbench(tmp_path_factory.mktemp("unsampled"))
    return bench.of(bench.run("train.subsample=1", reuse=False))


def test_a_seed_that_nobody_set_is_recorded_and_drawn_from_again(bench: Workbench, redone: Judgement) -> None:
    assert "seed" not in (bench.project / "configs/default.yaml").read_text(encoding="utf-8")
    identity = bench.recipe.identity
    assert (identity.seed, identity.settings["seed"], identity.settings["train"]["subsample"]) == (7, 7, 0.8)
    assert redone.verdict is Verdict.IDENTICAL


def test_another_seed_is_named_where_it_acts(bench: Workbench) -> None:
    found = bench.reproduce(overrides=["seed=8"])
    assert found.verdict is Verdict.DIVERGED
    assert str(found.cause).startswith("seed 7 -> 8")
    assert found.first_divergence == "booster"


def test_another_seed_is_named_where_nothing_heeds_it(unsampled: Workbench) -> None:
    found = unsampled.reproduce(overrides=["seed=8"])
    # The trees are the same; only the bootstrap's intervals were drawn anew.
    assert (found.verdict, found.first_divergence) == (Verdict.DIVERGED, "metrics")
    assert str(found.cause).startswith("seed 7 -> 8 (")
    assert "a deliberate deviation: seed=8" in found.notes


@pytest.mark.skipif(bool(gpu_models()), reason="this machine has a GPU")
def test_a_run_that_wants_a_gpu_cannot_be_redone_without_one(bench: Workbench) -> None:
    found = bench.plan(overrides=["train.device=cuda"]).judgement
    assert found is not None
    assert found.verdict is Verdict.CANNOT
    device = next(item for item in found.ingredients if item.name == "device")
    assert device.found == "no GPU"
    assert "--set train.device=cpu" in device.remedy


def test_another_gpu_is_named_where_its_sums_differ() -> None:
    equal = Layer("encoder", "output", "a", "a")
    booster = Layer("booster", "output", "b", "c")
    found = decide(Evidence((equal, booster), (), (Circumstance("gpus", '["A"]', '["B"]'),)))
    assert found.verdict is Verdict.DIVERGED
    assert found.cause is not None
    assert 'gpus ["A"] -> ["B"] (encoder identical)' in found.cause


@pytest.mark.usefixtures("elsewhere")
def test_another_machine_s_surroundings_change_nothing_but_what_is_told(bench: Workbench) -> None:
    found = bench.reproduce(overrides=["runtime.threads=2"])
    assert found.verdict in {Verdict.IDENTICAL, Verdict.EQUIVALENT}
    if found.verdict is Verdict.EQUIVALENT:
        assert "NPY_DISABLE_CPU_FEATURES" in str(found.cause)
    for name in ("TZ", "LANG", "LC_ALL", "PYTHONHASHSEED", "OMP_NUM_THREADS", "NPY_DISABLE_CPU_FEATURES"):
        assert circumstance(found, f"variables.{name}").original != circumstance(found, f"variables.{name}").again
    assert "+" in circumstance(found, "timezone").again
    assert "a deliberate deviation: runtime.threads=2" in found.notes


def test_a_function_that_goes_by_the_order_of_a_set_never_comes_out_identical(bench: Workbench) -> None:
    bench.write("team/costs.py", "COST_RATE = float(list({f'shop {n}' for n in range(1000)})[0].split()[1]) / 1001\n")
    found = bench.of(bench.run(reuse=False)).reproduce()
    assert found.verdict is Verdict.DIVERGED
    assert _UNRECORDED in str(found.cause)


def test_the_run_s_clock_is_the_end_of_its_data_whenever_it_is_redone(bench: Workbench, redone: Judgement) -> None:
    today = str(datetime.now(UTC).date())
    assert today not in str(bench.recipe.identity)
    assert next(layer for layer in redone.layers if layer.name == "clock").is_equal
    facts = json.loads((bench.folder.step("preprocess") / STEP_FILE).read_bytes())["facts"]
    assert "2026-01-0" in json.dumps(facts)
    assert today not in json.dumps(facts)


def test_a_function_that_reads_the_clock_never_comes_out_identical(bench: Workbench) -> None:
    bench.write("team/costs.py", "import time\n\nCOST_RATE = (time.time_ns() % 10**9) / 10**9\n")
    found = bench.of(bench.run(reuse=False)).reproduce()
    assert found.verdict is Verdict.DIVERGED
    assert _UNRECORDED in str(found.cause)


def test_a_function_that_reads_a_variable_never_comes_out_identical_under_another_value(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.write("team/costs.py", 'import os\n\nCOST_RATE = float(os.environ.get("SHOP_RATE", "0.25"))\n')
    made = bench.of(bench.run(reuse=False))
    monkeypatch.setenv("SHOP_RATE", "0.75")
    found = made.reproduce()
    assert found.verdict is Verdict.DIVERGED
    assert _UNRECORDED in str(found.cause)
