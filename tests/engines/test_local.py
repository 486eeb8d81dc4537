"""The local engine: a step's output appears whole or not at all, however the step and its driver end."""

import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from textwrap import dedent

import pytest

from ctr_pipeline.engines.attempt import StepJob, StepProgress
from ctr_pipeline.engines.interrupt import Interrupt
from ctr_pipeline.engines.local import LocalEngine
from ctr_pipeline.pipeline import PIPELINE, StepSpec
from tests.house.project import ROOT
from tests.small_log import data_folder, impressions, run_steps, small_settings
from tracking.errors import InputError, JobError

OWN_STEPS = """
    import os, pathlib, signal, sys
    import own_neighbour
    from ctr_pipeline.steps.job import StepResult
    from tracking.errors import InputError, JobError

    NAME = "own"

    def run(job):
        (job.output / "result.txt").write_text("half")
        print("to the log")
        print("to the log too", file=sys.stderr, flush=True)
        WAYS[(job.input("way") / "way").read_text()](job)
        held_back = [str(number) for number in signal.pthread_sigmask(signal.SIG_BLOCK, [])]
        return StepResult({"result": "ab"}, {"neighbour": own_neighbour.VALUE, "held back": held_back}, ())

    def refuse(job):
        raise InputError("no clicks; bring some")

    def fail(job):
        raise JobError("went wrong")

    def crash(job):
        raise ZeroDivisionError("odd")

    def kill(job):
        os.kill(os.getpid(), signal.SIGKILL)

    def fault(job):
        os.kill(os.getpid(), signal.SIGSEGV)

    def leave(job):
        os.write(2, b"first\\nlast words\\n")
        os._exit(7)

    def leave_in_silence(job):
        open(1, "w", closefd=False).truncate(0)
        os._exit(7)

    def remove_log(job):
        job.output.with_name("own.log").unlink()
        kill(job)

    def leave_well(job):
        os._exit(0)

    def wait(job):
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        job.progress.report("waiting", os.getpid(), None)
        forever(job)

    def ignore(job):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        job.progress.report("waiting", os.getpid(), None)
        forever(job)

    def forever(job):
        # Nobody ever opens the other end.
        (job.input("way") / "fifo").read_text()

    WAYS = {name: value for name, value in list(globals().items()) if callable(value)} | {"end": lambda job: None}
"""


@pytest.fixture(scope="module")
def engine() -> LocalEngine:
    return LocalEngine()


@pytest.fixture
def attempt(tmp_path: Path) -> Callable[[str], StepJob]:
    """A job of a step of our own that ends in the way asked for."""
    root = tmp_path / "root"
    root.mkdir()
    (root / "own_step.py").write_text(dedent(OWN_STEPS), encoding="utf-8")
    (root / "own_neighbour.py").write_text("VALUE = 42\n", encoding="utf-8")
    (tmp_path / "settings.json").write_text(small_settings().to_json(), encoding="utf-8")
    (tmp_path / "way").mkdir()
    os.mkfifo(tmp_path / "way" / "fifo")

    def job(way: str) -> StepJob:
        (tmp_path / "way" / "way").write_text(way, encoding="utf-8")
        spec = StepSpec("own", "own_step", {"way": "way"})
        return StepJob(spec, tmp_path / "settings.json", {"way": tmp_path / "way"}, tmp_path / "own", (root,))

    return job


def _drop(progress: StepProgress) -> None:
    del progress


def test_a_finished_steps_output_is_moved_into_place(engine: LocalEngine, attempt: Callable[[str], StepJob]) -> None:
    job = attempt("end")
    record = engine.run_step(job, _drop)
    assert (record.step, record.outputs) == ("own", {"result": "ab"})
    assert (job.output / "result.txt").read_text(encoding="utf-8") == "half"
    assert not job.partial.exists()
    assert sorted(job.log.read_text(encoding="utf-8").splitlines()) == ["to the log", "to the log too"]


def test_modules_beside_the_config_are_imported(engine: LocalEngine, attempt: Callable[[str], StepJob]) -> None:
    assert engine.run_step(attempt("end"), _drop).facts["neighbour"] == 42
    assert "own_neighbour" not in sys.modules


def test_what_a_step_starts_can_be_interrupted(engine: LocalEngine, attempt: Callable[[str], StepJob]) -> None:
    assert engine.run_step(attempt("end"), _drop).facts["held back"] == []


def test_the_fork_server_outlives_ctrl_c_while_it_imports() -> None:
    shown = subprocess.run([sys.executable, "-c", _HELD_BACK], cwd=ROOT, capture_output=True, text=True, check=True)
    held_back = int(shown.stdout, 16)
    assert held_back & 1 << signal.SIGINT - 1


def test_the_first_of_the_code_folders_wins(
    engine: LocalEngine, attempt: Callable[[str], StepJob], tmp_path: Path
) -> None:
    (tmp_path / "start").mkdir()
    (tmp_path / "start" / "own_neighbour.py").write_text("VALUE = 43\n", encoding="utf-8")
    job = attempt("end")
    job = replace(job, code_folders=(tmp_path / "start", *job.code_folders))
    assert engine.run_step(job, _drop).facts["neighbour"] == 43


def test_what_a_killed_driver_left_is_written_anew(engine: LocalEngine, attempt: Callable[[str], StepJob]) -> None:
    job = attempt("end")
    job.partial.mkdir()
    (job.partial / "stale.txt").write_text("stale", encoding="utf-8")
    engine.run_step(job, _drop)
    assert not (job.output / "stale.txt").exists()


@pytest.mark.parametrize(
    ("way", "error", "message"),
    [
        ("refuse", InputError, r"^no clicks; bring some$"),
        ("fail", JobError, r"^step own failed with exit code 1: went wrong\. Its log is .*own\.log$"),
        ("crash", JobError, r"^step own failed with exit code 1: ZeroDivisionError: odd\. Its log is .*own\.log$"),
        (
            "kill",
            JobError,
            r"^step own was killed by SIGKILL \(was the memory exhausted\?\): .*to the log too.*; nothing half-writ",
        ),
        (
            "fault",
            JobError,
            r"^step own was killed by SIGSEGV: .*Fatal Python error: Segmentation fault.*; nothing half-w",
        ),
        ("leave", JobError, r"^step own failed with exit code 7: .*first \| last words\. Its log is .*own\.log$"),
        ("leave_in_silence", JobError, r"^step own failed with exit code 7: it said nothing\. Its log is .*own\.log$"),
        ("leave_well", InputError, r"own\.partial holds no step\.json: the step did not finish; run it again$"),
    ],
)
def test_a_step_that_does_not_finish_leaves_nothing_and_is_explained(
    engine: LocalEngine, attempt: Callable[[str], StepJob], way: str, error: type[Exception], message: str
) -> None:
    job = attempt(way)
    with pytest.raises(error, match=message) as caught:
        engine.run_step(job, _drop)
    assert "\n" not in str(caught.value)
    assert not job.partial.exists()
    assert not job.output.exists()


def test_a_step_that_ends_in_silence_on_a_full_disk_is_explained(
    engine: LocalEngine, attempt: Callable[[str], StepJob], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ctr_pipeline.engines.attempt._TOO_LITTLE_BYTES", 1 << 62)
    with pytest.raises(
        JobError, match=r"exit code 7: no space left in .*own\.partial; free some space there, or set CTR"
    ):
        engine.run_step(attempt("leave_in_silence"), _drop)


def test_a_step_that_is_killed_before_it_has_a_log_is_explained(
    engine: LocalEngine, attempt: Callable[[str], StepJob]
) -> None:
    job = attempt("remove_log")
    with pytest.raises(
        JobError, match=r"^step own was killed by SIGKILL \(was the memory exhausted\?\); nothing half-wr"
    ):
        engine.run_step(job, _drop)


def test_after_a_failure_the_next_attempt_works(engine: LocalEngine, attempt: Callable[[str], StepJob]) -> None:
    with pytest.raises(JobError, match=r"^step own was killed by SIGKILL"):
        engine.run_step(attempt("kill"), _drop)
    assert engine.run_step(attempt("end"), _drop).step == "own"


@pytest.mark.parametrize("way", ["wait", "ignore"])
def test_an_interrupt_ends_the_step_and_removes_what_it_wrote(
    engine: LocalEngine, attempt: Callable[[str], StepJob], monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    monkeypatch.setattr("ctr_pipeline.engines.local._GRACE_S", 0.05)
    job = attempt(way)
    processes: list[int] = []

    def interrupt(progress: StepProgress) -> None:
        processes.append(os.pidfd_open(progress.done))
        assert (progress.step, progress.doing, progress.total) == ("own", "waiting", None)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        engine.run_step(job, interrupt)
    _require_end(processes[0])
    assert not job.partial.exists()
    assert not job.output.exists()


def test_an_interrupt_that_was_written_down_ends_the_step_at_the_next_look(
    attempt: Callable[[str], StepJob],
) -> None:
    job, interrupt, processes = attempt("wait"), Interrupt(), list[int]()

    def ask(progress: StepProgress) -> None:
        if not processes:
            processes.append(os.pidfd_open(progress.done))
            signal.raise_signal(signal.SIGINT)

    with interrupt.listening(), interrupt.deferred(), pytest.raises(KeyboardInterrupt):
        LocalEngine(interrupt).run_step(job, ask)
    _require_end(processes[0])
    assert not job.partial.exists()


def test_an_interrupt_while_the_step_starts_leaves_nothing(
    engine: LocalEngine, attempt: Callable[[str], StepJob], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(process: ForkServerProcess) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(ForkServerProcess, "start", interrupted)
    job = attempt("end")
    with pytest.raises(KeyboardInterrupt):
        engine.run_step(job, _drop)
    assert not job.partial.exists()


def _require_end(process: int, timeout_s: float = 30.0) -> None:
    """Wait for a process of any parent, by its descriptor; fail where it lives on."""
    try:
        assert select.select([process], [], [], timeout_s)[0], "the process lives on"
    finally:
        os.close(process)


_HELD_BACK = """
import psutil
from ctr_pipeline.engines.local import LocalEngine

LocalEngine()
(server,) = [child for child in psutil.Process().children() if "forkserver" in " ".join(child.cmdline())]
status = open(f"/proc/{server.pid}/status").read()
print(status.partition("SigBlk:")[2].split()[0])
"""
_DRIVER = """
import sys
from pathlib import Path
from ctr_pipeline.engines.attempt import StepJob
from ctr_pipeline.engines.local import LocalEngine
from ctr_pipeline.pipeline import StepSpec

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    spec = StepSpec("own", "own_step", {"way": "way"})
    job = StepJob(spec, folder / "settings.json", {"way": folder / "way"}, folder / "own", (folder / "root",))
    LocalEngine().run_step(job, lambda progress: print(progress.done, flush=True))
"""


def test_a_step_ends_when_its_driver_is_killed(attempt: Callable[[str], StepJob], tmp_path: Path) -> None:
    job = attempt("wait")
    (tmp_path / "driver.py").write_text(_DRIVER, encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(tmp_path / "driver.py"), str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as driver:
        assert driver.stdout is not None
        step = os.pidfd_open(int(driver.stdout.readline()))
        driver.send_signal(signal.SIGKILL)
        driver.wait(timeout=30)
        _require_end(step)
    assert job.partial.exists()
    assert not job.output.exists()


def test_the_pipelines_steps_run_as_they_do_in_one_process(engine: LocalEngine, tmp_path: Path) -> None:
    settings = small_settings()
    (tmp_path / "settings.json").write_text(settings.to_json(), encoding="utf-8")
    data = data_folder({"a.parquet": impressions(1_000)}, tmp_path)
    expected = run_steps(settings, data, tmp_path / "here")
    told: list[StepProgress] = []
    for spec in PIPELINE:
        inputs: Mapping[str, Path] = {channel: tmp_path / source for channel, source in spec.inputs.items()}
        job = StepJob(spec, tmp_path / "settings.json", inputs, tmp_path / spec.name)
        record = engine.run_step(job, told.append)
        assert record.outputs == expected[spec.name].outputs
        assert job.log.read_text(encoding="utf-8") == ""
