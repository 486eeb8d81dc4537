"""The closure of a step's imports holds whatever a step can load, and nothing that it cannot."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from ctr_pipeline.pipeline import PIPELINE, StepSpec
from ctr_pipeline.reuse.imports import Sources
from ctr_pipeline.workflows.reuse_surroundings import read_sources
from tests.small_log import data_folder, impressions, small_settings
from tracking.errors import InputError

ROOT: Final = Path(__file__).resolve().parents[2]
# Prints the files of our packages that a step has loaded by its end.
_LOADED: Final = """
import json, runpy, sys
sys.argv = [sys.argv[1], *sys.argv[2:]]
try:
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
except SystemExit as ended:
    assert not ended.code, ended.code
files = {getattr(module, "__file__", None) for module in list(sys.modules.values())}
print(json.dumps(sorted(file for file in files if file)))
"""


def _closure(module: str = "a.step", **files: str) -> tuple[str, ...]:
    named = {path.replace("__", "/").replace("/init/", "/__init__") + ".py": text for path, text in files.items()}
    return (
        Sources({"a/__init__.py": b"", **{path: text.encode() for path, text in named.items()}}).closure([module]).files
    )


@pytest.mark.parametrize(
    "line",
    [
        "import a.helper",
        "from a import helper",
        "from a.helper import *",
        "from . import helper",
        "from .helper import value as other",
        "def late():\n    from a import helper",
        "if TYPE_CHECKING:\n    import a.helper as short",
        "import importlib\nimportlib.import_module('a.helper')",
        "__import__('a.helper')",
        "try:\n    import a.helper\nexcept ImportError:\n    raise",
    ],
)
def test_every_way_of_importing_counts(line: str) -> None:
    assert _closure(a__step=line, a__helper="", a__other="") == ("a/__init__.py", "a/helper.py", "a/step.py")


def test_the_closure_goes_through_other_modules_and_packages_and_ends_in_circles() -> None:
    sources = Sources(
        {
            "a/__init__.py": b"from a.b import c",
            "a/b/__init__.py": b"from .. import d",
            "a/b/c.py": b"from ..d import e\nfrom ...a import step\nimport a.nowhere",
            "a/d.py": b"import a.step",
            "a/step.py": b"",
            "a/alone.py": b"import a.step",
        }
    )
    expected = {"a/__init__.py", "a/b/__init__.py", "a/b/c.py", "a/d.py", "a/step.py"}
    assert set(sources.closure(["a.step"]).files) == expected


def test_data_files_count_with_their_package_and_other_libraries_by_name() -> None:
    sources = Sources(
        {
            "a/__init__.py": b"",
            "a/step.py": b"import os, numpy.linalg\nimport a.b.c",
            "a/b/__init__.py": b"",
            "a/b/c.py": b"from xgboost import train",
            "a/b/table.csv": b"1",
            "a/b/deeper/page.html": b"",
            "a/z/__init__.py": b"",
            "a/z/other.csv": b"2",
        }
    )
    closure = sources.closure(["a.step"])
    assert {"a/b/table.csv", "a/b/deeper/page.html"} <= set(closure.files)
    assert "a/z/other.csv" not in closure.files
    assert closure.others == ("numpy", "xgboost")


def test_a_module_that_is_nowhere_is_refused_and_one_that_is_no_python_too() -> None:
    with pytest.raises(InputError, match=r"^module a\.steps is in no file of its package, must be; correct its name$"):
        _closure("a.steps", a__step="")
    with pytest.raises(InputError, match=r"^a/step\.py cannot be parsed \(.*\); mend it, then run again$"):
        _closure(a__step="def")
    with pytest.raises(InputError, match=r"^package no_such_package is in no folder on Python's path; install it"):
        Sources.read(["no_such_package"])


@pytest.mark.parametrize("spec", PIPELINE, ids=lambda spec: spec.name)
def test_no_step_imports_what_only_the_driver_needs(spec: StepSpec) -> None:
    files = read_sources().closure([spec.module]).files
    apart = ("cli", "workflows", "engines", "report", "reproduce", "reuse", "data/samples")
    assert not [path for path in files if path.startswith(tuple(f"ctr_pipeline/{folder}" for folder in apart))]
    assert not [path for path in files if "mlflow" in path]


def test_everything_that_a_real_step_has_loaded_is_in_its_closure(tmp_path: Path) -> None:
    settings = tmp_path / "settings.json"
    settings.write_text(small_settings(train={"rounds": 2}).to_json(), encoding="utf-8")
    data = data_folder({"log.parquet": impressions(600, days=6)}, tmp_path)
    sources = read_sources()
    for spec in PIPELINE:
        inputs = {channel: data if source == "data" else tmp_path / source for channel, source in spec.inputs.items()}
        channels = [word for channel, folder in inputs.items() for word in ("--input", f"{channel}={folder}")]
        told = [spec.module, "--settings", str(settings), *channels, "--output", str(tmp_path / spec.name)]
        done = subprocess.run(
            [sys.executable, "-c", _LOADED, *told], cwd=ROOT, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        files = [Path(file) for file in json.loads(done.stdout.splitlines()[-1])]
        ours = {
            file.relative_to(ROOT).as_posix()
            for file in files
            if file.is_relative_to(ROOT / "ctr_pipeline") or file.is_relative_to(ROOT / "tracking")
        }
        assert len(ours) > 10
        assert ours <= set(sources.closure([spec.module]).files)
