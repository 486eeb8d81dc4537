"""Equal settings and equal rows give the same model to the byte, wherever and however they are run."""

import importlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.e2e.click_log import make_log, scatter, write_config
from tests.e2e.workplace import ROOT, Workplace

pytestmark = pytest.mark.slow

# The one place where numpy tells which CPU features it chooses by.
_NUMPY: Final = importlib.import_module("numpy._core._multiarray_umath")
_BUNDLED: Final = ROOT / "ctr_pipeline" / "data" / "samples" / "open_bandit.parquet"


@dataclass(frozen=True, slots=True)
class Result:
    """What must not change: the versions of data and model, and every digest that the steps reported."""

    data_version: str
    model_digest: str
    metrics: dict[str, float]
    outputs: dict[str, str]

    @classmethod
    def of(cls, place: Workplace, *arguments: str, **variables: str) -> "Result":
        report: dict[str, Any] = place.run("run", "--json", "--no-reuse", *arguments, **variables).report
        execution = Path(report["outputs"])
        outputs = _read_outputs(execution)
        return cls(report["data_version"], report["model_digest"], report["metrics"], outputs)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    return Workplace.small(tmp_path_factory.mktemp("determinism"))


@pytest.fixture(scope="module")
def first(place: Workplace) -> Result:
    return Result.of(place, "--config", "small.yaml", TZ="UTC", PYTHONHASHSEED="0")


def test_running_twice_gives_the_same_model_and_data_version(place: Workplace, first: Result) -> None:
    assert Result.of(place, "--config", "small.yaml", TZ="UTC", PYTHONHASHSEED="0") == first


def test_the_order_of_rows_and_the_names_and_number_of_files_change_nothing(
    place: Workplace, first: Result, tmp_path: Path
) -> None:
    folder = scatter(make_log(), tmp_path / "scattered", n_parts=7, seed=11)
    config = write_config(tmp_path / "scattered.yaml", folder)
    assert Result.of(place, "--config", str(config)) == first


@pytest.mark.parametrize(
    ("variables", "settings"),
    [
        pytest.param(
            {"TZ": "Pacific/Kiritimati", "LANG": "tr_TR.UTF-8", "LC_ALL": "tr_TR.UTF-8", "PYTHONHASHSEED": "4711"},
            (),
            id="time zone, language, hash seed",
        ),
        pytest.param({}, ("runtime.threads=1",), id="one thread"),
        pytest.param(
            {"OMP_NUM_THREADS": "3"}, ("runtime.threads=5", "runtime.batch_rows=333"), id="more threads, small batches"
        ),
    ],
)
def test_the_machines_settings_change_nothing(
    place: Workplace, first: Result, variables: dict[str, str], settings: tuple[str, ...]
) -> None:
    laid_over = [word for setting in settings for word in ("--set", setting)]
    assert Result.of(place, "--config", "small.yaml", *laid_over, **variables) == first


def test_a_cpu_with_fewer_features_changes_nothing(place: Workplace, first: Result) -> None:
    features = [name for name in _NUMPY.__cpu_dispatch__ if _NUMPY.__cpu_features__.get(name)]
    if not features:
        pytest.skip("numpy dispatches on no feature of this CPU, so there is none to switch off")
    limited = Result.of(place, "--config", "small.yaml", NPY_DISABLE_CPU_FEATURES=" ".join(features))
    # exp() of a margin may differ in its last bit between CPUs; what is trained and what the trees say may not.
    assert (limited.data_version, limited.model_digest) == (first.data_version, first.model_digest)
    assert limited.outputs["margins"] == first.outputs["margins"]
    assert limited.metrics == pytest.approx(first.metrics, rel=1e-9)


def test_another_row_gives_another_data_version_and_model(place: Workplace, first: Result, tmp_path: Path) -> None:
    log = make_log()
    clicks = log.column("click").to_numpy().copy()
    clicks[17] = 1 - clicks[17]
    changed = log.set_column(log.schema.get_field_index("click"), "click", pa.array(clicks))
    folder = scatter(changed, tmp_path / "changed", n_parts=1, seed=1)
    other = Result.of(place, "--config", str(write_config(tmp_path / "changed.yaml", folder)))
    assert other.data_version != first.data_version
    assert other.model_digest != first.model_digest


def test_the_bundled_clicks_shuffled_elsewhere_and_with_one_thread_give_the_same_model(
    place: Workplace, tmp_path: Path
) -> None:
    as_bundled = Result.of(place)
    folder = scatter(pq.read_table(_BUNDLED), tmp_path / "bandit", n_parts=5, seed=3)
    shuffled = Result.of(
        place, "--set", f"data.uri={folder}", "--set", "runtime.threads=1", TZ="Asia/Kathmandu", PYTHONHASHSEED="99"
    )
    assert shuffled == as_bundled


def _read_outputs(execution: Path) -> dict[str, str]:
    layers: dict[str, str] = json.loads((execution / "recipe.json").read_bytes())["outputs"]["layers"]
    return layers
