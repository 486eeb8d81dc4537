"""The foreign engine runs other code with another Python: output appears whole or not at all, however a step ends."""

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from textwrap import dedent
from typing import Any, Final, Protocol

import pytest

from ctr_pipeline.engines import foreign, step_server
from ctr_pipeline.engines.attempt import StepJob, StepProgress
from ctr_pipeline.engines.foreign import ForeignEngine, foreign_variables
from ctr_pipeline.engines.interrupt import Interrupt
from ctr_pipeline.pipeline import PIPELINE, StepSpec
from tests.house.project import ROOT
from tests.small_log import data_folder, impressions, run_steps, small_settings
from tracking.errors import InputError, JobError


class Attempt(Protocol):
    """Makes a job of a step of our own that ends in the way asked for."""

    def __call__(self, way: str, module: str = "own_step") -> StepJob: ...


OWN_STEP: Final = """
    import os, signal, sys
    import own_neighbour
    from ctr_pipeline.steps import job as contract
    from tracking.errors import InputError, JobError

    def run(job):
        (job.output / "result.txt").write_text("half")
        print("to the log")
        print("to the log too", file=sys.stderr, flush=True)
        WAYS[(job.input("way") / "way").read_text()](job)
        facts = {
            "neighbour": own_neighbour.VALUE, "place": own_neighbour.__file__, "name": __name__, "spec": __spec__.name,
            "argv": sys.argv, "variables": sorted(os.environ), "input": sys.stdin.read(), "python": sys.executable,
            "isolated": sys.flags.isolated, "imported": own_neighbour.IMPORTED,
        }
        return contract.StepResult({"result": "ab"}, facts, ())

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

    def leave_well(job):
        os._exit(0)

    def wait(job):
        job.progress.report("waiting", os.getpid(), None)
        # Nobody ever opens the other end.
        (job.input("way") / "fifo").read_text()

    WAYS = {name: value for name, value in list(globals().items()) if callable(value)} | {"end": lambda job: None}

    if __name__ == "__main__":
        sys.exit(contract.main("own", run))
    own_neighbour.IMPORTED += 1
"""
# What a module may do when it is run, and what `python -m` makes of it.
ENDS: Final = {
    "words": "import sys; sys.exit('nothing to do here')",
    "raises": "raise LookupError('lost')",
    "number": "import sys; sys.exit(9)",
    "nothing": "import sys; sys.exit()",
    "falls_through": "",
}


def _drop(progress: StepProgress) -> None:
    del progress


def _write_code(root: Path) -> Path:
    root.mkdir()
    (root / "own_step.py").write_text(dedent(OWN_STEP), encoding="utf-8")
    (root / "own_neighbour.py").write_text("VALUE = 42\nIMPORTED = 0\n", encoding="utf-8")
    for name, text in ENDS.items():
        (root / f"ends_with_{name}.py").write_text(text, encoding="utf-8")
    (root / "chatty.py").write_text("""print('{"exit": 0}', flush=True)\n""", encoding="utf-8")
    (root / "broken.py").write_text("raise LookupError('lost')\n", encoding="utf-8")
    return root


@pytest.fixture(scope="module")
def code(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of steps of our own."""
    return _write_code(tmp_path_factory.mktemp("foreign") / "code")


@contextmanager
def _lightened() -> Iterator[None]:
    """Have what our own steps need, and not xgboost, imported before a step is run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(foreign, "_LIBRARIES", ())
        modules = ("ctr_pipeline.steps.job", "own_step", "chatty", "broken")
        patch.setattr(foreign, "PIPELINE", [StepSpec(name, name, {}) for name in reversed(modules)])
        yield


@pytest.fixture
def light() -> Iterator[None]:
    """A server that starts at once."""
    with _lightened():
        yield


@pytest.fixture(scope="module")
def engine(code: Path) -> Iterator[ForeignEngine]:
    with _lightened():
        engine = ForeignEngine(Path(sys.executable), code.with_name("steps.log"))
        engine.use_code([code, ROOT])
    with engine:
        yield engine


@pytest.fixture
def attempt(tmp_path: Path) -> Attempt:
    """A job of our own step that ends in the way asked for."""
    (tmp_path / "settings.json").write_text(small_settings().to_json(), encoding="utf-8")
    (tmp_path / "way").mkdir()
    os.mkfifo(tmp_path / "way" / "fifo")

    def job(way: str, module: str = "own_step") -> StepJob:
        (tmp_path / "way" / "way").write_text(way, encoding="utf-8")
        spec = StepSpec("own", module, {"way": "way"})
        return StepJob(spec, tmp_path / "settings.json", {"way": tmp_path / "way"}, tmp_path / "own")

    return job


def _require_end(process: int, timeout_s: float = 60.0) -> None:
    """Wait for a process of any parent, by its descriptor; fail where it lives on."""
    try:
        assert select.select([process], [], [], timeout_s)[0], "the process lives on"
    finally:
        os.close(process)


def test_a_finished_steps_output_is_moved_into_place(engine: ForeignEngine, attempt: Attempt) -> None:
    job = attempt("end")
    record = engine.run_step(job, _drop)
    assert (record.step, record.outputs) == ("own", {"result": "ab"})
    assert (job.output / "result.txt").read_text(encoding="utf-8") == "half"
    assert not job.partial.exists()
    assert sorted(job.log.read_text(encoding="utf-8").splitlines()) == ["to the log", "to the log too"]


def test_a_step_is_run_as_python_m_does_although_it_was_imported_before(
    engine: ForeignEngine, attempt: Attempt
) -> None:
    job = attempt("end")
    facts = engine.run_step(job, _drop).facts
    assert (facts["name"], facts["spec"], facts["imported"]) == ("__main__", "own_step", 1)
    expected = ["--settings", str(job.settings), "--output", str(job.partial), "--input", f"way={job.inputs['way']}"]
    assert facts["argv"][1:] == expected
    assert facts["argv"][0].endswith("own_step.py")
    assert (facts["python"], facts["isolated"]) == (sys.executable, 1)


def test_a_step_does_not_read_the_drivers_orders(engine: ForeignEngine, attempt: Attempt) -> None:
    assert engine.run_step(attempt("end"), _drop).facts["input"] == ""


def test_what_an_import_prints_is_no_answer_and_what_it_raises_is_told_in_the_log(
    engine: ForeignEngine, code: Path, attempt: Attempt
) -> None:
    assert engine.run_step(attempt("end"), _drop).step == "own"
    told = code.with_name("steps.log").read_text(encoding="utf-8").splitlines()
    assert told == ['{"exit": 0}', "step server: broken cannot be imported beforehand: LookupError('lost')"]


def test_what_a_killed_driver_left_is_written_anew(engine: ForeignEngine, attempt: Attempt) -> None:
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
        ("leave_well", InputError, r"own\.partial holds no step\.json: the step did not finish; run it again$"),
    ],
)
def test_a_step_that_does_not_finish_leaves_nothing_and_is_explained(
    engine: ForeignEngine, attempt: Attempt, way: str, error: type[Exception], message: str
) -> None:
    job = attempt(way)
    with pytest.raises(error, match=message) as caught:
        engine.run_step(job, _drop)
    assert "\n" not in str(caught.value)
    assert not job.partial.exists()
    assert not job.output.exists()


@pytest.mark.parametrize(
    ("end", "error", "message"),
    [
        ("words", JobError, r"failed with exit code 1: nothing to do here\. Its log"),
        ("raises", JobError, r"failed with exit code 1: .*Traceback.*LookupError: lost\. Its log"),
        ("number", JobError, r"failed with exit code 9: it said nothing\. Its log"),
        ("nothing", InputError, r"holds no step\.json"),
        ("falls_through", InputError, r"holds no step\.json"),
        ("a_module_that_is_not_there", JobError, r"failed with exit code 1: .*No module named ends_with_a_module_that"),
    ],
)
def test_any_end_of_a_module_is_what_python_makes_of_it(
    engine: ForeignEngine, attempt: Attempt, end: str, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        engine.run_step(attempt("end", f"ends_with_{end}"), _drop)


def test_after_a_killed_step_the_next_one_gets_its_own_answer(engine: ForeignEngine, attempt: Attempt) -> None:
    with pytest.raises(JobError, match=r"^step own was killed by SIGKILL"):
        engine.run_step(attempt("kill"), _drop)

    def interrupt(_: StepProgress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        engine.run_step(attempt("wait"), interrupt)
    with pytest.raises(JobError, match=r"exit code 7"):
        engine.run_step(attempt("leave"), _drop)
    assert engine.run_step(attempt("end"), _drop).step == "own"


def test_an_interrupt_ends_the_step_and_removes_what_it_wrote(engine: ForeignEngine, attempt: Attempt) -> None:
    job, processes = attempt("wait"), list[int]()

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
        _require_end(processes[0])
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
            engine.run_step(job, _drop)
    assert not job.partial.exists()


def test_a_server_that_does_not_end_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _hold_imports(tmp_path, monkeypatch)
    monkeypatch.setattr(foreign, "_GRACE_S", 0.05)
    with ForeignEngine(Path(sys.executable), tmp_path / "log") as engine:
        engine.use_code([tmp_path / "slow"])
        server = os.pidfd_open(engine._server.pid)
    _require_end(server)
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
            _require_end(step)
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
            engine.run_step(attempt("end"), _drop)
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


def test_the_first_root_wins_over_what_is_installed_and_not_over_what_came_with_the_steps(
    light: None, code: Path, attempt: Attempt, tmp_path: Path
) -> None:
    (tmp_path / "first").mkdir()
    (tmp_path / "first" / "own_neighbour.py").write_text("VALUE = 43\nIMPORTED = 0\n", encoding="utf-8")
    (tmp_path / "first" / "platformdirs.py").write_text("", encoding="utf-8")
    (tmp_path / "first" / "shadowed.py").write_text(
        "import platformdirs, sys\nsys.exit(platformdirs.__file__)\n", encoding="utf-8"
    )
    with ForeignEngine(Path(sys.executable), tmp_path / "log") as engine:
        engine.use_code([tmp_path / "first", code, ROOT])
        facts = engine.run_step(attempt("end"), _drop).facts
        with pytest.raises(JobError, match=r"exit code 1: .*first/platformdirs\.py\. Its log"):
            engine.run_step(attempt("end", "shadowed"), _drop)
    # As in a run, what the steps import is there before a team's own folders come onto the path.
    assert (facts["neighbour"], facts["place"]) == (42, str(code / "own_neighbour.py"))


def test_neither_the_folder_of_the_server_nor_the_current_one_is_on_the_path(
    engine: ForeignEngine, attempt: Attempt
) -> None:
    with pytest.raises(JobError, match=r"No module named step_server"):
        engine.run_step(attempt("end", "step_server"), _drop)


def test_this_pythons_own_variables_are_withheld_and_others_handed_on() -> None:
    given = {
        "PATH": "/bin", "OMP_NUM_THREADS": "2", "PYTHONPATH": "/mine", "PYTHONHASHSEED": "1", "VIRTUAL_ENV": "/venv",
        "COVERAGE_PROCESS_CONFIG": "x", "COV_CORE_SOURCE": "y", "AWS_REGION": "here",
    }  # fmt: skip
    assert set(foreign_variables(given)) == {"PATH", "OMP_NUM_THREADS", "AWS_REGION"}


def test_a_step_does_not_see_this_pythons_own_variables(
    light: None, code: Path, attempt: Attempt, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    with ForeignEngine(Path(sys.executable), tmp_path / "log") as engine:
        engine.use_code([code, ROOT])
        seen = engine.run_step(attempt("end"), _drop).facts["variables"]
    assert "OMP_NUM_THREADS" in seen
    assert not [name for name in seen if name.startswith(("PYTHON", "COVERAGE_", "VIRTUAL_ENV"))]


def test_ctrl_c_does_not_reach_the_server(engine: ForeignEngine) -> None:
    server = engine._server.pid
    assert os.getpgid(server) == os.getsid(server) == server != os.getpgid(0)


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
            _require_end(process)
    assert job.partial.exists()
    assert not job.output.exists()


def _served(orders: Sequence[Mapping[str, Any] | bytes]) -> tuple[list[int], str]:
    """Serve orders that are all there at once; return the exit codes that are answered, and what else was said."""
    lines = (order if isinstance(order, bytes) else json.dumps(order).encode() + b"\n" for order in orders)
    # Without `-I` and with all variables, so that a coverage tool can look on.
    command = [sys.executable, str(step_server.__file__)]
    done = subprocess.run(command, input=b"".join(lines), capture_output=True, check=True, timeout=100)
    return [json.loads(line)["exit"] for line in done.stdout.splitlines()], done.stderr.decode()


def _order(folder: Path, text: str) -> dict[str, Any]:
    name = f"served_{len(list(folder.iterdir()))}"
    (folder / f"{name}.py").write_text(text, encoding="utf-8")
    return {"run": name, "arguments": ["an argument"], "log": str(folder / "log")}


def test_the_server_answers_each_run_in_its_order(tmp_path: Path) -> None:
    texts = ("import sys; sys.exit(sys.argv[1])", "raise SystemExit(4)", "1 / 0", "")
    runs = [_order(tmp_path, text) for text in texts]
    kill = {"kill": signal.SIGKILL}
    imported = {"path": [str(tmp_path)], "import": ["served_1", "json"]}
    codes, said = _served([imported, runs[0], kill, *(order for run in runs[1:] for order in (run, kill))])
    # Each one is killed by the order that came with it in one block, unless it has ended before.
    assert [code in {expected, -signal.SIGKILL} for code, expected in zip(codes, (1, 4, 1, 0), strict=True)] == [
        True
    ] * 4
    assert said == "step server: served_1 cannot be imported beforehand: SystemExit(4)\n"


def test_an_order_without_a_step_to_run_is_not_answered() -> None:
    assert _served([{"import": ["json"]}, {"path": []}, {"kill": signal.SIGKILL}, b'{"half an ord']) == ([], "")


def test_the_end_of_the_orders_ends_the_step(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    waits = _order(tmp_path, f"open({str(tmp_path / 'fifo')!r}).read()")
    assert _served([{"path": [str(tmp_path)], **waits}]) == ([-signal.SIGKILL], "")


def test_the_pipelines_steps_run_as_they_do_in_one_process(tmp_path: Path) -> None:
    settings = small_settings()
    (tmp_path / "settings.json").write_text(settings.to_json(), encoding="utf-8")
    data = data_folder({"a.parquet": impressions(1_000)}, tmp_path)
    expected = run_steps(settings, data, tmp_path / "here")
    with ForeignEngine(Path(sys.executable), tmp_path / "server.log") as engine:
        engine.use_code([ROOT])
        for spec in PIPELINE:
            inputs: Mapping[str, Path] = {channel: tmp_path / source for channel, source in spec.inputs.items()}
            job = StepJob(spec, tmp_path / "settings.json", inputs, tmp_path / spec.name)
            record = engine.run_step(job, _drop)
            assert record.outputs == expected[spec.name].outputs
            assert job.log.read_text(encoding="utf-8") == ""
    assert (tmp_path / "server.log").read_text(encoding="utf-8") == ""
