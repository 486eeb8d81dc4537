"""The logged model alone, in an environment made from its own requirements, scores as the evaluate step did."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ctr_pipeline.data.order import ROW_HASH
from ctr_pipeline.model_folder import MARGIN, PROBABILITY
from tests.e2e.workplace import ROOT, Workplace, uv_command

pytestmark = pytest.mark.slow

# xgboost asks for it, but only several GPUs use it; the project leaves it out in the same words.
_OVERRIDE: Final = "nvidia-nccl-cu12; sys_platform == 'never'\n"
# Runs in the fresh environment: raw rows in, probabilities out, and where the code that scored them came from.
_SCORE: Final = """\
import json, sys
from pathlib import Path

import mlflow
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

model_path, folder = sys.argv[1], Path(sys.argv[2])
assert not any("ctr_pipeline" in name for name in sys.modules)
try:
    import ctr_pipeline
    raise SystemExit("ctr_pipeline is installed: this proves nothing")
except ImportError:
    pass
model = mlflow.pyfunc.load_model(model_path)
found = {}
for name in ("test", "check"):
    rows = pq.read_table(folder / f"{name}.parquet").to_pandas()
    scores = model.predict(rows)
    pq.write_table(pa.table({"probability": pa.array(scores)}), folder / f"{name}-scored.parquet")
import ctr_pipeline
print(json.dumps({"code": ctr_pipeline.__file__, "dtype": str(scores.dtype)}))
"""


@dataclass(frozen=True, slots=True)
class Scored:
    """What the fresh environment answered: probabilities of the test split and of the check rows."""

    execution: Path
    test: pa.ChunkedArray
    check: pa.ChunkedArray
    told: Mapping[str, Any]


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> Scored:
    folder = tmp_path_factory.mktemp("logged-model")
    (folder / "project").mkdir()
    place = Workplace(folder / "project", folder / "home")
    report = place.run("run", "--json").report
    execution = Path(report["outputs"])
    model = _only_model(place, report["run_id"])
    # Moved away from where it was logged: nothing may depend on the place.
    shutil.copytree(model, folder / "model")
    work = folder / "elsewhere"
    work.mkdir()
    _copy_raw_rows(execution, work)
    python = _fresh_environment(folder / "environment", folder / "model" / "requirements.txt")
    (work / "score.py").write_text(_SCORE, encoding="utf-8")
    isolated = {"PATH": os.defpath, "HOME": str(work), "MLFLOW_DISABLE_TELEMETRY": "true"}
    command = [str(python), "-I", "score.py", str(folder / "model"), str(work)]
    done = subprocess.run(command, cwd=work, env=isolated, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    scores = (pq.read_table(work / f"{name}-scored.parquet").column("probability") for name in ("test", "check"))
    test, check = scores
    return Scored(execution, test, check, json.loads(done.stdout.splitlines()[-1]))


def test_the_model_scores_the_raw_rows_of_the_test_split_exactly_as_the_evaluate_step_did(scored: Scored) -> None:
    raw = pq.read_table(scored.execution / "preprocess" / "test.parquet")
    evaluated = pq.read_table(scored.execution / "evaluate" / "predictions.parquet")
    assert raw.column(ROW_HASH).equals(evaluated.column(ROW_HASH))
    assert scored.test.type == pa.float64()
    assert scored.test.to_numpy().tobytes() == evaluated.column("probability").to_numpy().tobytes()


def test_the_model_scores_its_own_check_rows_exactly_as_when_it_was_made(scored: Scored) -> None:
    check = pq.read_table(scored.execution / "train" / "model" / "check.parquet")
    assert check.num_rows == 100
    assert scored.check.to_numpy().tobytes() == check.column(PROBABILITY).to_numpy().tobytes()


def test_the_code_that_scored_is_the_one_that_the_model_carries(scored: Scored) -> None:
    code = Path(scored.told["code"])
    assert not code.is_relative_to(ROOT)
    assert code.parts[-4:-1] == ("model", "code", "ctr_pipeline")
    assert scored.told["dtype"] == "float64"


def _only_model(place: Workplace, run_id: str) -> Path:
    client = place.client
    experiment = client.get_run(run_id).info.experiment_id
    models = client.search_logged_models([experiment], f"source_run_id = '{run_id}'")
    assert len(models) == 1
    return Path(models[0].artifact_location.removeprefix("file://"))


def _copy_raw_rows(execution: Path, into: Path) -> None:
    """Write the rows that are to be scored as a serving team has them: no labels, no scores, plain texts and times."""
    ours = {"click", ROW_HASH, MARGIN, PROBABILITY}
    for name, source in (("test", execution / "preprocess"), ("check", execution / "train" / "model")):
        rows = pq.read_table(source / f"{name}.parquet")
        rows = rows.select([column for column in rows.schema.names if column not in ours])
        pq.write_table(
            rows.cast(pa.schema([(field.name, _plain(field.type)) for field in rows.schema])), into / f"{name}.parquet"
        )


def _plain(kind: pa.DataType) -> pa.DataType:
    # What pandas makes of the others, categories and times with a zone, MLflow's signatures refuse.
    if pa.types.is_dictionary(kind):
        return kind.value_type
    return pa.timestamp("us") if pa.types.is_timestamp(kind) else kind


def _fresh_environment(folder: Path, requirements: Path) -> Path:
    """Install a model's requirements, and what they need, into a new environment; return its Python."""
    uv = uv_command()
    python = folder / "bin" / "python"
    subprocess.run([*uv, "venv", "--quiet", "--python", sys.executable, str(folder)], check=True, capture_output=True)
    override, constraints = folder / "override.txt", folder / "constraints.txt"
    override.write_text(_OVERRIDE, encoding="utf-8")
    # The versions of the lock, which uv has in its cache because the tests' own environment was made of them.
    export = [*uv, "export", "--frozen", "--quiet", "--no-hashes", "--no-emit-project", "--no-annotate"]
    exported = subprocess.run(export, cwd=ROOT, check=True, capture_output=True, text=True)
    constraints.write_text(exported.stdout, encoding="utf-8")
    install = [*uv, "pip", "install", "--quiet", "--python", str(python), "--requirements", str(requirements)]
    install += ["--overrides", str(override), "--constraints", str(constraints)]
    if subprocess.run([*install, "--offline"], cwd=folder, capture_output=True, check=False).returncode:
        online = subprocess.run(install, cwd=folder, capture_output=True, text=True, check=False)
        if online.returncode:
            pytest.skip(f"uv has not got the model's packages: {online.stderr.strip().splitlines()[-1]}")
    return python
