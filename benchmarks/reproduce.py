"""What does proving a run again cost, against the run itself?

The bundled run and its reproduction, each as a process of its own, in turn, in a copy of this checkout with a home of
its own. The rebuilt environment is cached first (what that cost is told apart). Run it on an otherwise idle machine:

    uv run python benchmarks/reproduce.py [--rounds 5]
"""

import argparse
import importlib.util
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import xgboost

ROOT: Final = Path(__file__).resolve().parent.parent
_AIM: Final = 1.3


def main() -> None:
    """Measure and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory(prefix="ctr-bench-") as folder:
        project = _copy_checkout(Path(folder) / "project")
        print(json.dumps(_measured(project, Path(folder), rounds), indent=1))


def _measured(project: Path, folder: Path, rounds: int) -> dict[str, Any]:
    variables = {**os.environ, "CTR_HOME": str(folder / "home"), "CTR_CACHE": str(folder / "cache")}
    run, _ = _timed(["run", "--no-reuse"], project, variables)
    redo = ["reproduce", "--run-id", run["run_id"]]
    _, first_s = _timed(redo, project, variables)
    runs: list[float] = []
    redone: list[float] = []
    for _ in range(rounds):
        runs.append(_timed(["run", "--no-reuse"], project, variables)[1])
        judged, wall_s = _timed(redo, project, variables)
        assert judged["verdict"] == "IDENTICAL", judged["reason"]
        redone.append(wall_s)
    ratio = statistics.median(redone) / statistics.median(runs)
    return {
        "first_reproduction_s": round(first_s, 2),
        "run_s": [round(wall_s, 2) for wall_s in runs],
        "reproduce_s": [round(wall_s, 2) for wall_s in redone],
        "median_run_s": round(statistics.median(runs), 2),
        "median_reproduce_s": round(statistics.median(redone), 2),
        "ratio": round(ratio, 2),
        "aim": _AIM,
        "bytecode": Path(importlib.util.cache_from_source(xgboost.__file__)).exists(),
    }


def _timed(arguments: list[str], project: Path, variables: dict[str, str]) -> tuple[dict[str, Any], float]:
    command = [sys.executable, "-m", "ctr_pipeline", *arguments, "--json"]
    began = time.perf_counter()
    done = subprocess.run(command, cwd=project, env=variables, capture_output=True, text=True, check=False)
    wall_s = time.perf_counter() - began
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr}")
    return json.loads(done.stdout), wall_s


def _copy_checkout(into: Path) -> Path:
    listed = _git(ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    for path in filter(None, listed.split("\0")):
        if (ROOT / path).is_file():
            (into / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / path, into / path)
    _git(into, "init", "--quiet", "--initial-branch=main")
    _git(into, "add", "--all")
    _git(into, "-c", "user.name=bench", "-c", "user.email=bench@localhost", "commit", "--quiet", "--message=a copy")
    return into


def _git(folder: Path, *arguments: str) -> str:
    return subprocess.run(("git", *arguments), cwd=folder, check=True, capture_output=True, text=True).stdout


if __name__ == "__main__":
    main()
