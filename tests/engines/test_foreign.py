"""The foreign engine runs other code with another Python: output appears whole or not at all, however a step ends."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from ctr_pipeline.engines.attempt import StepJob, StepProgress
from ctr_pipeline.engines.foreign import ForeignEngine, foreign_variables
from ctr_pipeline.pipeline import PIPELINE
from tests.engines.foreign_steps import Attempt, drop
from tests.house.project import ROOT
from tests.small_log import data_folder, impressions, run_steps, small_settings
from tracking.errors import InputError, JobError


def test_a_finished_steps_output_is_moved_into_place(engine: ForeignEngine, attempt: Attempt) -> None:
    job = attempt("end")
    record = engine.run_step(job, drop)
    assert (record.step, record.outputs) == ("own", {"result": "ab"})
    assert (job.output / "result.txt").read_text(encoding="utf-8") == "half"
    assert not job.partial.exists()
    assert sorted(job.log.read_text(encoding="utf-8").splitlines()) == ["to the log", "to the log too"]


def test_a_step_is_run_as_python_m_does_although_it_was_imported_before(
    engine: ForeignEngine, attempt: Attempt
) -> None:
    job = attempt("end")
    facts = engine.run_step(job, drop).facts
    assert (facts["name"], facts["spec"], facts["imported"]) == ("__main__", "own_step", 1)
    expected = ["--settings", str(job.settings), "--output", str(job.partial), "--input", f"way={job.inputs['way']}"]
    assert facts["argv"][1:] == expected
    assert facts["argv"][0].endswith("own_step.py")
    assert (facts["python"], facts["isolated"]) == (sys.executable, 1)


def test_a_step_does_not_read_the_drivers_orders(engine: ForeignEngine, attempt: Attempt) -> None:
    assert engine.run_step(attempt("end"), drop).facts["input"] == ""


def test_what_an_import_prints_is_no_answer_and_what_it_raises_is_told_in_the_log(
    engine: ForeignEngine, code: Path, attempt: Attempt
) -> None:
    assert engine.run_step(attempt("end"), drop).step == "own"
    told = code.with_name("steps.log").read_text(encoding="utf-8").splitlines()
    assert told == ['{"exit": 0}', "step server: broken cannot be imported beforehand: LookupError('lost')"]


def test_what_a_killed_driver_left_is_written_anew(engine: ForeignEngine, attempt: Attempt) -> None:
    job = attempt("end")
    job.partial.mkdir()
    (job.partial / "stale.txt").write_text("stale", encoding="utf-8")
    engine.run_step(job, drop)
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
        engine.run_step(job, drop)
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
        engine.run_step(attempt("end", f"ends_with_{end}"), drop)


def test_after_a_killed_step_the_next_one_gets_its_own_answer(engine: ForeignEngine, attempt: Attempt) -> None:
    with pytest.raises(JobError, match=r"^step own was killed by SIGKILL"):
        engine.run_step(attempt("kill"), drop)

    def interrupt(_: StepProgress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        engine.run_step(attempt("wait"), interrupt)
    with pytest.raises(JobError, match=r"exit code 7"):
        engine.run_step(attempt("leave"), drop)
    assert engine.run_step(attempt("end"), drop).step == "own"


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
        facts = engine.run_step(attempt("end"), drop).facts
        with pytest.raises(JobError, match=r"exit code 1: .*first/platformdirs\.py\. Its log"):
            engine.run_step(attempt("end", "shadowed"), drop)
    # As in a run, what the steps import is there before a team's own folders come onto the path.
    assert (facts["neighbour"], facts["place"]) == (42, str(code / "own_neighbour.py"))


def test_neither_the_folder_of_the_server_nor_the_current_one_is_on_the_path(
    engine: ForeignEngine, attempt: Attempt
) -> None:
    with pytest.raises(JobError, match=r"No module named step_server"):
        engine.run_step(attempt("end", "step_server"), drop)


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
        seen = engine.run_step(attempt("end"), drop).facts["variables"]
    assert "OMP_NUM_THREADS" in seen
    assert not [name for name in seen if name.startswith(("PYTHON", "COVERAGE_", "VIRTUAL_ENV"))]


def test_ctrl_c_does_not_reach_the_server(engine: ForeignEngine) -> None:
    server = engine._server.pid
    assert os.getpgid(server) == os.getsid(server) == server != os.getpgid(0)


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
            record = engine.run_step(job, drop)
            assert record.outputs == expected[spec.name].outputs
            assert job.log.read_text(encoding="utf-8") == ""
    assert (tmp_path / "server.log").read_text(encoding="utf-8") == ""
