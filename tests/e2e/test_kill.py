"""Whatever is killed whenever: nothing half-written is read, the next run works, and what was left is told."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psutil
import pytest

from tests.e2e.workplace import Workplace, runs_of, wait_for

pytestmark = pytest.mark.slow

INTERRUPTED: Final = 130
STEPS: Final = ("preprocess", "train", "evaluate")
# A team's own code, at which a step stands still until somebody writes to the pipe that HOLD_... names.
_HOLD: Final = """\
import os

import pyarrow as pa


def _hold(name):
    if name in os.environ:
        with open(os.environ[name]) as pipe:
            pipe.read()


def columns(batch: pa.RecordBatch) -> pa.RecordBatch:
    _hold("HOLD_COLUMNS")
    return batch


def metric(label, probability, weight) -> float:
    _hold("HOLD_METRIC")
    return 1.0
"""


@dataclass(frozen=True, slots=True)
class Driver:
    """A running driver that stands still in a step, and that step's process."""

    process: "subprocess.Popen[str]"
    step: psutil.Process


@pytest.fixture
def place(tmp_path: Path) -> Workplace:
    place = Workplace.small(tmp_path)
    (place.folder / "hold.py").write_text(_HOLD, encoding="utf-8")
    config = (place.folder / "small.yaml").read_text(encoding="utf-8")
    config = config.replace("hour]", "hour], custom: hold:columns").replace(
        "[device]}", "[device], metrics: {own: hold:metric}}"
    )
    (place.folder / "small.yaml").write_text(config, encoding="utf-8")
    os.mkfifo(tmp_path / "pipe")
    return place


@pytest.mark.parametrize("step", STEPS)
def test_after_a_driver_killed_with_9_its_step_ends_the_next_run_works_and_doctor_tells_what_was_left(
    place: Workplace, step: str
) -> None:
    with standing_in(place, step) as driver:
        driver.process.kill()
        driver.process.wait()
        # A step that goes on would write into a folder that nobody will ever read.
        driver.step.wait(timeout=20)
    left = place.execution()
    assert not (left / step).exists()
    assert (left / f"{step}.partial").is_dir()
    assert _record(left)["status"] == "RUNNING"

    # The next run reads nothing of it.
    report = place.run("run", "--json", "--config", "small.yaml").report
    assert report["status"] == "FINISHED"
    assert Path(report["outputs"]) != left

    told = place.run("doctor", "--json")
    assert told.exit_code == 1
    assert {"execution-dead", "half-written"} <= _kinds(json.loads(told.stdout), left.name)
    assert "Traceback" not in told.stderr


def test_doctor_marks_a_killed_execution_and_removes_what_nobody_finished(place: Workplace) -> None:
    with standing_in(place, "train") as driver:
        left = place.execution()
        wait_for("the train step's run in MLflow", lambda: "train@" in _text(left / "logged.json"))
        driver.process.kill()
        driver.process.wait()
        driver.step.wait(timeout=20)
    assert "RUNNING" in _statuses(place, left.name)
    mended = place.run("doctor", "--fix", "--json")
    assert {"execution-dead", "half-written"} <= _kinds(json.loads(mended.stdout), left.name)
    assert _record(left)["status"] == "KILLED"
    assert not list(left.glob("*.partial"))
    assert (left / "preprocess" / "step.json").is_file()
    assert _statuses(place, left.name) == {"KILLED", "FINISHED"}
    again = place.run("doctor", "--json")
    assert _kinds(json.loads(again.stdout), left.name) <= {"not-logged"}


@pytest.mark.parametrize("step", ["train", "evaluate"])
def test_a_step_killed_with_9_fails_the_run_and_the_message_names_step_and_signal(place: Workplace, step: str) -> None:
    with standing_in(place, step) as driver:
        driver.step.kill()
        _, stderr = driver.process.communicate(timeout=60)
    errors = [line for line in stderr.splitlines() if line.startswith("error:")]
    assert len(errors) == 1, stderr
    assert f"step {step} was killed by SIGKILL" in errors[0]
    assert "run again" in errors[0]
    assert "Traceback" not in stderr
    assert driver.process.returncode == 1
    execution = place.execution()
    assert _record(execution)["status"] == "FAILED"
    assert not (execution / step).exists()
    assert not list(execution.glob("*.partial"))
    assert _statuses(place, execution.name) == {"FINISHED", "FAILED"}
    assert _parent_tags(place, execution.name)["ctr.failure"] in errors[0]


@pytest.mark.parametrize(
    ("step", "kind"),
    [
        pytest.param("preprocess", signal.SIGINT, id="ctrl-c"),
        pytest.param("train", signal.SIGTERM, id="terminate"),
        pytest.param("train", signal.SIGINT, id="ctrl-c while training"),
    ],
)
def test_an_interrupted_run_is_marked_killed_in_mlflow_and_leaves_no_half_written_output(
    place: Workplace, step: str, kind: signal.Signals
) -> None:
    with standing_in(place, step) as driver:
        if kind is signal.SIGINT:
            # A terminal tells its whole foreground group.
            os.killpg(driver.process.pid, kind)
        else:
            driver.process.send_signal(kind)
        stdout, stderr = driver.process.communicate(timeout=60)
        driver.step.wait(timeout=10)
    assert driver.process.returncode == INTERRUPTED, stderr
    assert stdout == ""
    assert "Traceback" not in stderr
    assert stderr.splitlines()[-1] == "interrupted"
    execution = place.execution()
    assert _record(execution)["status"] == "KILLED"
    assert not list(execution.glob("*.partial"))
    assert not (execution / step).exists()
    assert not list((execution / "data").glob("files"))
    expected = {"KILLED"} if step == "preprocess" else {"KILLED", "FINISHED"}
    assert _statuses(place, execution.name) == expected


@contextmanager
def standing_in(place: Workplace, step: str) -> Iterator[Driver]:
    """Start a run and yield it when it stands still in a step; nothing of it survives the block."""
    words, variables = _holding(place, step)
    process = place.start("run", "--json", "--no-reuse", "--config", "small.yaml", *words, **variables)
    try:
        wait_for(f"progress of {step}", lambda: _said(place, process, step))
        yield Driver(process, wait_for("the step's process", lambda: _step_process(process)))
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()


def _holding(place: Workplace, step: str) -> tuple[tuple[str, ...], Mapping[str, str]]:
    """Return settings and variables with which a step never ends by itself."""
    pipe = str(place.folder.parent / "pipe")
    if step == "preprocess":
        return (), {"HOLD_COLUMNS": pipe}
    if step == "evaluate":
        return (), {"HOLD_METRIC": pipe}
    return ("--set", "train.rounds=10000000", "--set", "train.early_stopping_rounds=null"), {}


def _said(place: Workplace, process: "subprocess.Popen[str]", step: str) -> dict[str, Any] | None:
    """Return what a step says of its progress, once it says so from within its own folder."""
    assert process.poll() is None, process.communicate()
    for path in place.home.glob(f"runs/*/{step}.partial/progress.json"):
        said: dict[str, Any] = json.loads(path.read_bytes())
        # Preprocessing has read all, evaluation has scored all: what comes next is the team's own code.
        ready = {"preprocess": "reading", "train": "boosting", "evaluate": "measuring"}[step]
        if said["doing"] == ready and (step != "preprocess" or said["done"] == said["total"]):
            return said
    return None


def _step_process(driver: "subprocess.Popen[str]") -> psutil.Process | None:
    """Return the process of the step: a child of the fork server, which is a child of the driver."""
    children = psutil.Process(driver.pid).children()
    return next((step for child in children for step in child.children()), None)


def _record(execution: Path) -> dict[str, Any]:
    values: dict[str, Any] = json.loads((execution / "execution.json").read_bytes())
    return values


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""


def _kinds(diagnosis: Mapping[str, Any], execution_id: str) -> set[str]:
    """Return the kinds of findings about an execution."""
    return {finding["kind"] for finding in diagnosis["findings"] if finding["subject"].startswith(execution_id)}


def _statuses(place: Workplace, execution_id: str) -> set[str]:
    return {run.info.status for run in runs_of(place.client, execution_id)}


def _parent_tags(place: Workplace, execution_id: str) -> Mapping[str, str]:
    parent = next(run for run in runs_of(place.client, execution_id) if "ctr.step" not in run.data.tags)
    tags: Mapping[str, str] = parent.data.tags
    return tags
