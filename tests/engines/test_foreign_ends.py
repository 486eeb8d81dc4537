"""However a step, its server or their driver is ended, nothing half-written is kept and nothing lives on."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pytest

from ctr_pipeline.engines import foreign
from ctr_pipeline.engines.attempt import StepProgress
from ctr_pipeline.engines.foreign import ForeignEngine
from ctr_pipeline.engines.interrupt import Interrupt
from ctr_pipeline.pipeline import StepSpec
from tests.engines.foreign_steps import Attempt, drop, require_end
from tests.house.project import ROOT
from tracking.errors import JobError


def test_an_interrupt_ends_the_step_and_removes_what_it_wrote(engine: ForeignEngine, attempt: Attempt) -> None:
    job, processes = attempt("wait"), list[int]()

    def interrupt(progress: StepProgress) -> None:
        processes.append(os.pidfd_open(progress.done))
        assert (progress.step, progress.doing, progress.total) == ("own", "waiting", None)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        engine.run_step(job, interrupt)
    require_end(processes[0])
    assert not job.partial.exists()
    assert not job.output.exists()


def test_an_interrupt_that_was_written_down_ends_the_step_at_the_next_look(
    light: None, code: Path, attempt: Attempt, tmp_path: Path
) -> None:
    job, interrupt, processes = attempt("wait"), Interrupt(), list[int]()

    def ask(progress: StepProgress) -> None:
        if not processes:
            processes.append(os.pidfd_open(progress.done))
            signal.raise_signal(signal.SIGINT)

    with ForeignEngine(Path(sys.executable), tmp_path / "log", interrupt=interrupt) as engine:
        engine.use_code([code, ROOT])
        with interrupt.listening(), interrupt.deferred(), pytest.raises(KeyboardInterrupt):
            engine.run_step(job, ask)
        require_end(processes[0])
    assert not job.partial.exists()


class _Impatient(Interrupt):
    """Asks for the end at the first look."""

    def check(self) -> None:
        raise KeyboardInterrupt


class _ReleasedByKill(ForeignEngine):
    """Lets an import that waits go on, once the step behind it was told to end."""

    held: Path

    def _order(self, values: Mapping[str, Any]) -> None:
        super()._order(values)
        if "kill" in values:
            self.held.write_text("go on", encoding="utf-8")


def _hold_imports(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make the server wait in its first import for somebody to write into a FIFO."""
    os.mkfifo(folder / "held")
    (folder / "slow").mkdir()
    (folder / "slow" / "slow.py").write_text(f"open({str(folder / 'held')!r}).read()\n", encoding="utf-8")
    monkeypatch.setattr(foreign, "_LIBRARIES", ())
    monkeypatch.setattr(foreign, "PIPELINE", [StepSpec("slow", "slow", {})])
    return folder / "held"


def test_an_interrupt_while_libraries_are_imported_ends_the_step_that_waits_for_them(
    code: Path, attempt: Attempt, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held, job = _hold_imports(tmp_path, monkeypatch), attempt("wait")
    with _ReleasedByKill(Path(sys.executable), tmp_path / "log", interrupt=_Impatient()) as engine:
        engine.held = held
        engine.use_code([tmp_path / "slow", code, ROOT])
        with pytest.raises(KeyboardInterrupt):
            engine.run_step(job, drop)
    assert not job.partial.exists()


def test_a_server_that_does_not_end_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _hold_imports(tmp_path, monkeypatch)
    monkeypatch.setattr(foreign, "_GRACE_S", 0.05)
    with ForeignEngine(Path(sys.executable), tmp_path / "log") as engine:
        engine.use_code([tmp_path / "slow"])
        server = os.pidfd_open(engine._server.pid)
    require_end(server)
    assert engine._server.returncode == -signal.SIGKILL


@pytest.mark.parametrize("when", ["before", "meanwhile"])
def test_a_server_that_was_killed_is_told_with_its_log(
    light: None, code: Path, attempt: Attempt, tmp_path: Path, when: str
) -> None:
    with ForeignEngine(Path(sys.executable), tmp_path / "server.log") as engine:
        engine.use_code([code, ROOT])
        steps: list[int] = []

        def kill(progress: StepProgress) -> None:
            if not steps:
                steps.append(os.pidfd_open(progress.done))
                engine._server.kill()

        if when == "before":
            engine._server.kill()
            engine._server.wait()
        told = r"is gone; see .*server\.log$" if when == "before" else r"ended \(exit code -9\); see .*server\.log$"
        with pytest.raises(JobError, match=r"^the process that runs the steps " + told):
            engine.run_step(attempt("wait"), kill)
        for step in steps:
            require_end(step)
    assert not attempt("wait").partial.exists()


def test_an_interpreter_that_is_not_there_is_told(tmp_path: Path) -> None:
    python = tmp_path / "bin" / "python"
    with pytest.raises(JobError, match=r"bin/python cannot be started: No such file or directory; restore it again$"):
        ForeignEngine(python, tmp_path / "log")


def test_an_interpreter_that_is_no_python_is_told(attempt: Attempt, tmp_path: Path) -> None:
    lines = "#!/bin/sh\necho no such library >&2\nread line\nexit 3\n"
    (tmp_path / "python").write_text(lines, encoding="utf-8")
    (tmp_path / "python").chmod(0o755)
    with ForeignEngine(tmp_path / "python", tmp_path / "server.log") as engine:
        engine._server.wait()
        with pytest.raises(JobError, match=r"^the process that runs the steps is gone; see .*server\.log$"):
            engine.run_step(attempt("end"), drop)
    assert (tmp_path / "server.log").read_text(encoding="utf-8") == "no such library\n"


def test_an_interpreter_that_ends_before_it_is_asked_leaves_no_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[ForeignEngine] = []

    def order(engine: ForeignEngine, values: Mapping[str, Any]) -> None:
        started.append(engine)
        raise JobError("the process that runs the steps is gone")

    monkeypatch.setattr(ForeignEngine, "_order", order)
    with pytest.raises(JobError, match=r"is gone$"):
        ForeignEngine(Path(sys.executable), tmp_path / "log")
    assert started[0]._server.returncode == 0


_DRIVER: Final = """
import sys
from pathlib import Path
from ctr_pipeline.engines import foreign
from ctr_pipeline.engines.attempt import StepJob
from ctr_pipeline.pipeline import StepSpec

foreign._LIBRARIES, foreign.PIPELINE = (), ()
folder = Path(sys.argv[1])
spec = StepSpec("own", "own_step", {"way": "way"})
job = StepJob(spec, folder / "settings.json", {"way": folder / "way"}, folder / "own")
engine = foreign.ForeignEngine(Path(sys.executable), folder / "log")
engine.use_code([Path(path) for path in sys.argv[2:]])
engine.run_step(job, lambda progress: print(engine._server.pid, progress.done, flush=True))
"""


def test_server_and_step_end_when_the_driver_is_killed(attempt: Attempt, code: Path, tmp_path: Path) -> None:
    job = attempt("wait")
    (tmp_path / "driver.py").write_text(_DRIVER, encoding="utf-8")
    command = [sys.executable, str(tmp_path / "driver.py"), str(tmp_path), str(code), str(ROOT)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as driver:
        assert driver.stdout is not None
        processes = [os.pidfd_open(int(number)) for number in driver.stdout.readline().split()]
        driver.send_signal(signal.SIGKILL)
        driver.wait(timeout=60)
        assert len(processes) == 2
        for process in processes:
            require_end(process)
    assert job.partial.exists()
    assert not job.output.exists()
