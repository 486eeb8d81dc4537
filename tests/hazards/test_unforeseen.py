"""Ways that no list has: what cannot be named must not come out as IDENTICAL."""

import json
import os
import py_compile
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ctr_pipeline.reproduce.verdict import Judgement, Verdict
from tests.hazards.laboratory import ROOT, Workbench

_UNRECORDED = "nothing that is recorded differs: chance that no seed governs, or something unrecorded"


def test_a_library_that_was_edited_in_place_never_passes_for_the_recorded_one(
    bench: Workbench, redone: Judgement, tmp_path: Path, shared_environments: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert redone.verdict is Verdict.IDENTICAL
    copied = tmp_path / "cache"
    shutil.copytree(shared_environments / "environments", copied / "environments", symlinks=True, copy_function=os.link)
    computes = list(copied.glob("environments/*/venv/lib/python*/site-packages/pyarrow/compute.py"))
    for compute in computes:
        text = compute.read_text(encoding="utf-8")
        compute.unlink()  # the copy is linked with the one that other tests use
        compute.write_text(f"{text}\n\ndef subtract(x, y):\n    return add(x, multiply(y, -1.5))\n", encoding="utf-8")
    monkeypatch.setenv("CTR_CACHE", str(copied))
    found = bench.reproduce()
    # It is not what was built, so it is built anew, and then the run is what it was.
    assert found.verdict is Verdict.IDENTICAL
    # Other tests may have built environments of other locks beside it: nobody asked for those, so they stay as edited.
    rebuilt = [compute for compute in computes if "multiply(y, -1.5)" not in compute.read_text(encoding="utf-8")]
    assert len(rebuilt) == 1


def test_bytecode_that_is_older_than_its_source_never_passes_for_it(bench: Workbench) -> None:
    costs = bench.write("team/costs.py", "COST_RATE = 0.75\n")
    py_compile.compile(str(costs))
    times = costs.stat()
    bench.write("team/costs.py", "COST_RATE = 0.25\n")
    os.utime(costs, ns=(times.st_atime_ns, times.st_mtime_ns))
    found = bench.of(bench.run(reuse=False)).reproduce()
    assert found.verdict is Verdict.DIVERGED
    assert _UNRECORDED in str(found.cause)


def test_a_module_behind_a_link_out_of_the_tree_comes_back_as_it_was(bench: Workbench, tmp_path: Path) -> None:
    shared = tmp_path / "shared.py"
    shared.write_text("COST_RATE = 0.3\n", encoding="utf-8")
    (bench.project / "team/costs.py").unlink()
    (bench.project / "team/costs.py").symlink_to(shared)
    made = bench.of(bench.run(reuse=False))
    shared.write_text("COST_RATE = 0.6\n", encoding="utf-8")
    assert made.reproduce().verdict is Verdict.IDENTICAL
    current = made.reproduce(use_current_code=True)
    assert current.verdict is Verdict.DIVERGED
    assert "team/costs.py edited" in str(current.cause)


def test_modules_of_the_project_named_like_libraries_change_nothing_unsaid(bench: Workbench) -> None:
    for name in ("xgboost", "numpy", "json", "statistics"):
        bench.write(f"{name}.py", "raise ImportError('this is no library')\n")
    made = bench.of(bench.run(reuse=False))
    for name in ("xgboost", "numpy", "json", "statistics"):
        (bench.project / f"{name}.py").unlink()
    assert made.reproduce().verdict is Verdict.IDENTICAL
    current = made.reproduce(use_current_code=True)
    assert current.verdict is Verdict.EQUIVALENT
    assert "json.py removed" in str(current.cause)


def test_what_a_sitecustomize_did_to_a_run_is_named_by_the_path_that_brought_it(bench: Workbench) -> None:
    bench.write("hooks/sitecustomize.py", "import os\n\nos.environ['SHOP_RATE'] = '0.75'\n")
    bench.write("team/costs.py", 'import os\n\nCOST_RATE = float(os.environ.get("SHOP_RATE", "0.25"))\n')
    path = os.pathsep.join([str(bench.project / "hooks"), str(ROOT)])
    done = subprocess.run(
        [sys.executable, "-m", "ctr_pipeline", "run", "--no-reuse", "--json"],
        cwd=bench.project,
        env={**os.environ, "CTR_HOME": str(bench.home.path), "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    made = Workbench(bench.project, bench.home, json.loads(done.stdout)["run_id"])
    found = made.reproduce()
    assert found.verdict is Verdict.DIVERGED
    assert "variables.PYTHONPATH" in str(found.cause)
