"""The settings that judge the tests do so: children are counted, our own warnings are errors, the network is closed."""

import json
import shutil
import socket
import sys
from pathlib import Path
from typing import Final

import pytest

from scripts.check_branch_coverage import main as check_branches
from tests.house.project import ROOT, run_tool

_STEP: Final = """
import signal, sys, time

def work(wide):
    if wide:
        return "wide"
    return "narrow"

def wait(started):
    started.set() or signal.pause()
    return "never"

if __name__ == "__main__":
    print(work(sys.argv[-1] == "wide"))
"""
_STARTER: Final = """
import multiprocessing, os, subprocess, sys, tempfile
from ctr_pipeline import step

if __name__ == "__main__":
    context = multiprocessing.get_context("forkserver")
    child = context.Process(target=step.work, args=(True,))
    child.start()
    child.join()
    started = context.Event()
    waiting = context.Process(target=step.wait, args=(started,))
    waiting.start()
    started.wait()
    waiting.terminate()
    waiting.join()
    environment = {**os.environ, "PYTHONPATH": os.getcwd()}
    subprocess.run([sys.executable, "-m", "ctr_pipeline.step"], cwd=tempfile.gettempdir(), env=environment)
"""


def test_coverage_counts_what_children_run(tmp_path: Path) -> None:
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for package in ("ctr_pipeline", "tracking"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").touch()
    (tmp_path / "ctr_pipeline" / "step.py").write_text(_STEP, encoding="utf-8")
    (tmp_path / "start.py").write_text(_STARTER, encoding="utf-8")
    coverage = [sys.executable, "-m", "coverage"]
    started = run_tool([*coverage, "run", "start.py"], tmp_path)
    assert started.returncode == 0, started.stderr
    run_tool([*coverage, "combine"], tmp_path)
    run_tool([*coverage, "json", "-o", "counted.json", "--fail-under=0"], tmp_path)
    counted = json.loads((tmp_path / "counted.json").read_text(encoding="utf-8"))["files"]["ctr_pipeline/step.py"]
    lines = _STEP.splitlines()
    # "wide" ran in a child of the fork server, `wait` in a terminated one, "narrow" and the last line in `python -m`.
    assert [lines[number - 1].strip() for number in counted["missing_lines"]] == ['return "never"']
    assert counted["missing_branches"] == []


@pytest.mark.parametrize(("covered", "code"), [(94.9, 1), (95.0, 0)])
def test_branches_are_held_to_the_figure_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], covered: float, code: int
) -> None:
    report = tmp_path / "coverage.json"
    report.write_text(json.dumps({"totals": {"percent_branches_covered": covered}}), encoding="utf-8")
    assert check_branches(report) == code
    assert capsys.readouterr().out == f"branches covered: {covered:.1f} %, must be >= 95 %\n"


@pytest.mark.parametrize(
    ("module", "outcome"), [("ctr_pipeline.data.rows", "failed"), ("tracking", "failed"), ("somebody.elses", "passed")]
)
def test_a_warning_of_our_own_is_an_error(tmp_path: Path, module: str, outcome: str) -> None:
    (tmp_path / "test_warns.py").write_text(
        "import warnings\n\n\ndef test_warns():\n"
        f"    warnings.warn_explicit('old', DeprecationWarning, 'file.py', 1, module={module!r})\n",
        encoding="utf-8",
    )
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        f"--config-file={ROOT / 'pyproject.toml'}",
        "-p",
        "no:cacheprovider",
    ]
    tested = run_tool([*command, f"--rootdir={tmp_path}", str(tmp_path)], tmp_path)
    assert f"1 {outcome}" in tested.stdout


@pytest.mark.parametrize("address", [("192.0.2.1", 80), ("registry.example", 443)])
def test_a_test_cannot_leave_this_machine(address: tuple[str, int]) -> None:
    with (
        socket.socket() as leaving,
        pytest.raises(pytest.fail.Exception, match=r"a test connected to .*, must stay on loopback"),
    ):
        leaving.connect(address)


def test_a_test_may_speak_to_this_machine() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as client:
        assert client.connect_ex(server.getsockname()) == 0
