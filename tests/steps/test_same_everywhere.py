"""The same digests on another CPU, in another time zone and language, with another hash seed and number of threads."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from tests.house.project import ROOT
from tests.small_log import data_folder, impressions

_SCRIPT = """
import json, pathlib, sys
import numpy as np
from tests.small_log import run_steps, small_settings

folder = pathlib.Path(sys.argv[2])
settings = small_settings(runtime={"threads": int(sys.argv[3]), "batch_rows": 700}, train={"subsample": 0.8})
records = run_steps(settings, pathlib.Path(sys.argv[1]), folder)
print(json.dumps({
    "outputs": {name: digest for record in records.values() for name, digest in record.outputs.items()},
    "exp": np.exp(np.linspace(-5, 5, 100_000)).sum().hex(),
    "enabled": [name for name, on in np._core._multiarray_umath.__cpu_features__.items() if on],
}))
"""


def _dispatched() -> list[str]:
    """Return the CPU features that this numpy chooses at run time and can be told to leave."""
    library = np._core._multiarray_umath  # type: ignore[attr-defined] # numpy's own way to look them up
    return [name for name in library.__cpu_dispatch__ if library.__cpu_features__.get(name)]


def _run(data: Path, folder: Path, threads: int, environment: Mapping[str, str]) -> dict[str, object]:
    command = [sys.executable, "-c", _SCRIPT, str(data), str(folder), str(threads)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=ROOT, env={**os.environ, **environment}, timeout=200
    )
    assert done.returncode == 0, done.stderr
    result: dict[str, object] = json.loads(done.stdout)
    return result


@pytest.mark.slow
def test_another_cpu_zone_language_hash_seed_and_thread_count_give_the_same_digests(tmp_path: Path) -> None:
    data = data_folder({"a.parquet": impressions(3_000)}, tmp_path)
    here = _run(data, tmp_path / "here", 1, {"PYTHONHASHSEED": "1", "TZ": "UTC", "LANG": "C"})
    dispatched = _dispatched()
    elsewhere = _run(
        data,
        tmp_path / "elsewhere",
        2,
        {
            "NPY_DISABLE_CPU_FEATURES": " ".join(dispatched),
            "PYTHONHASHSEED": "2",
            "TZ": "Pacific/Chatham",
            "LANG": "tr_TR.UTF-8",
            "LC_ALL": "tr_TR.UTF-8",
            "OMP_NUM_THREADS": "2",
        },
    )
    assert not set(dispatched) & set(elsewhere["enabled"])  # type: ignore[call-overload] # JSON
    outputs = [dict(run["outputs"]) for run in (here, elsewhere)]  # type: ignore[call-overload] # JSON
    # Metrics take logarithms, whose last bits differ between CPUs: no digest that must agree is made of them.
    for found in outputs:
        del found["metrics"]
    assert set(outputs[0]) == {
        "split.train",
        "split.validation",
        "split.test",
        "encoder",
        "booster",
        "model",
        "margins",
        "predictions",
    }
    assert outputs[0] == outputs[1]
