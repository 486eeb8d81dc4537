"""Defaults of settings that an edited `config.py` changes, asked of both versions of the code."""

import json
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from ctr_pipeline.reproduce.settings import setting_differences

# The modules in which defaults are written.
MODULES: Final = ("ctr_pipeline/config.py", "ctr_pipeline/columns.py")
_ASK: Final = """
import sys
sys.path[:0] = sys.argv[1:]
from ctr_pipeline.config import Settings
print(Settings.model_construct().model_dump_json())
"""
_LONGEST_S: Final = 60


def changed_defaults(python: Path, before: Sequence[Path], after: Sequence[Path]) -> tuple[str, ...]:
    """Return the defaults that differ between two versions of the code, such as "train.max_depth 6 -> 8".

    Args:
        python: an interpreter that has the libraries of both.
        before: folders of the one version, to be put before Python's path.
        after: those of the other.
    """
    old, new = _defaults(python, before), _defaults(python, after)
    if old is None or new is None:
        return ()
    return tuple(difference.what for difference in setting_differences(old, new))


def _defaults(python: Path, roots: Sequence[Path]) -> Mapping[str, Any] | None:
    """Return all defaults of a version; None where it does not tell them."""
    command = [str(python), "-I", "-c", _ASK, *(str(root) for root in roots)]
    try:
        done = subprocess.run(command, capture_output=True, check=False, timeout=_LONGEST_S)
        values = json.loads(done.stdout)
    except (ValueError, OSError, subprocess.TimeoutExpired):
        return None
    return values if isinstance(values, Mapping) else None
