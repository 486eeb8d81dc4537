"""The rules of the house hold, and each of them would notice an offence."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.house.project import ROOT, pyproject, run_tool

_IGNORED = shutil.ignore_patterns("__pycache__", "*.parquet")


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """A copy of both packages and their rules, to build an offence into."""
    for package in ("ctr_pipeline", "tracking"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=_IGNORED)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def _check_layers(folder: Path) -> subprocess.CompletedProcess[str]:
    code = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    return run_tool([sys.executable, "-c", code, "--no-cache"], folder)


def test_every_import_keeps_to_the_layers() -> None:
    checked = _check_layers(ROOT)
    assert checked.returncode == 0, checked.stdout


@pytest.mark.parametrize(
    ("module", "offence", "contract"),
    [
        ("ctr_pipeline/config.py", "import ctr_pipeline.data.hashing", "layers"),
        ("ctr_pipeline/nowhere.py", "", "layers"),
        ("tracking/errors.py", "import ctr_pipeline.config", "tracking-alone"),
        ("ctr_pipeline/data/hashing.py", "import click", "pure-core"),
        ("ctr_pipeline/features/__init__.py", "import sagemaker", "pure-core"),
        ("ctr_pipeline/config.py", "import mlflow.pyfunc", "mlflow-only-in-its-adapter"),
        ("ctr_pipeline/config.py", "import sagemaker.core", "sagemaker-only-in-its-engine"),
    ],
)
def test_an_offence_breaks_its_contract(house: Path, module: str, offence: str, contract: str) -> None:
    with (house / module).open("a", encoding="utf-8") as file:
        file.write(f"\n{offence}\n")
    names = {item["id"]: item["name"] for item in pyproject()["tool"]["importlinter"]["contracts"]}
    # The tool wraps its lines at the terminal's width.
    assert f"{names[contract]} BROKEN" in " ".join(_check_layers(house).stdout.split())


def test_reaching_mlflow_through_a_third_module_breaks_the_pure_core(house: Path) -> None:
    (house / "tracking" / "mlflow_detour.py").write_text("import mlflow\n", encoding="utf-8")
    with (house / "ctr_pipeline" / "data" / "hashing.py").open("a", encoding="utf-8") as file:
        file.write("\nimport tracking.mlflow_detour\n")
    assert "tracking.mlflow_detour -> mlflow" in _check_layers(house).stdout


@pytest.mark.parametrize(("name", "allowed"), [("tracking/mlflow_new.py", True), ("tracking/store.py", False)])
def test_ruff_leaves_mlflow_to_its_adapter(name: str, *, allowed: bool) -> None:
    command = [sys.executable, "-m", "ruff", "check", "--select=TID251", f"--stdin-filename={name}", "-"]
    checked = run_tool(command, ROOT, text="import mlflow.pyfunc\n")
    assert (checked.returncode == 0) is allowed
    assert ("Only tracking/mlflow_*.py imports mlflow" in checked.stdout) is not allowed
