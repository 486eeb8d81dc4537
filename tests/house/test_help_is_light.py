"""`--help` answers at once: it loads nothing that takes long to load."""

import json
import sys
from pathlib import Path
from typing import Final

from tests.house.project import run_tool

_HEAVY: Final = {"mlflow", "xgboost", "pandas", "pyarrow", "numpy", "pydantic", "rich", "boto3", "scipy", "sklearn"}
_HELP: Final = """
import json, runpy, sys
sys.argv = ["ctr-pipeline", "--help"]
try:
    runpy.run_module("ctr_pipeline", run_name="__main__")
except SystemExit as leaving:
    assert not leaving.code, leaving.code
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})), file=sys.stderr)
"""


def test_help_loads_no_heavy_module(tmp_path: Path) -> None:
    shown = run_tool([sys.executable, "-c", _HELP], tmp_path)
    assert shown.returncode == 0, shown.stderr
    assert "Usage:" in shown.stdout
    loaded = set(json.loads(shown.stderr.splitlines()[-1]))
    assert loaded & _HEAVY == set()
