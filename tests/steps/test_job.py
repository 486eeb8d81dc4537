"""Job contract v1 within a process: what a step leaves behind when it ends well, badly, or before it began."""

import errno
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ctr_pipeline.steps import job as job_module
from ctr_pipeline.steps.job import (
    FAILURE_FILE,
    ITEMS_FILE,
    PROGRESS_FILE,
    STEP_FILE,
    Job,
    OutputFile,
    Progress,
    StepFunction,
    StepResult,
    main,
    perform,
    read_step,
)
from tests.small_log import small_settings
from tracking.errors import InputError, JobError, TrackingError
from tracking.items import read_items
from tracking.records import Metric

RESULT = StepResult({"model": "ab"}, {"n": 3}, (Metric("loss", 0.5),))


@pytest.fixture
def arguments(tmp_path: Path) -> list[str]:
    """A step's command line, without channels."""
    (tmp_path / "settings.json").write_text(small_settings().to_json(), encoding="utf-8")
    return ["--settings", str(tmp_path / "settings.json"), "--output", str(tmp_path / "output")]


def _raising(error: BaseException) -> StepFunction:
    def step(job: Job) -> StepResult:
        raise error

    return step


def test_a_step_that_ends_well_leaves_its_record_and_items(arguments: list[str], tmp_path: Path) -> None:
    assert main("small", lambda _: RESULT, arguments) == 0
    record = read_step(tmp_path / "output")
    assert (record.step, record.outputs, record.facts) == ("small", {"model": "ab"}, {"n": 3})
    assert record.wall_s >= 0
    assert record.peak_memory_bytes > 1_000_000
    assert read_items(tmp_path / "output" / ITEMS_FILE) == RESULT.items
    assert {path.name for path in (tmp_path / "output").iterdir()} == {STEP_FILE, ITEMS_FILE}


def test_the_record_is_written_last(arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_items(path: Path, items: object) -> None:
        assert not (path.parent / STEP_FILE).exists()
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(job_module, "write_items", no_items)
    assert main("small", lambda _: RESULT, arguments) == 1
    assert not (tmp_path / "output" / STEP_FILE).exists()


def test_what_an_earlier_attempt_left_does_not_make_this_one_look_finished(
    arguments: list[str], tmp_path: Path
) -> None:
    assert main("small", lambda _: RESULT, arguments) == 0
    assert main("small", _raising(InputError("no clicks")), arguments) == 2
    with pytest.raises(InputError, match=r"output holds no step\.json: the step did not finish; run it again$"):
        read_step(tmp_path / "output")
    assert main("small", lambda _: RESULT, arguments) == 0
    assert not (tmp_path / "output" / FAILURE_FILE).exists()


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (InputError("no clicks; bring some"), 2, "no clicks; bring some"),
        (JobError("went wrong"), 1, "went wrong"),
        (TrackingError("store is full"), 1, "store is full"),
        (ValueError("odd"), 1, "ValueError: odd"),
        (MemoryError(), 1, "MemoryError: "),
        (OSError("odd"), 1, "OSError: odd"),
        (
            PermissionError(errno.EACCES, "x", "/data/a"),
            1,
            "/data/a: Permission denied; mend the file or folder, then run again",
        ),
        (OSError(errno.ENOSPC, "x", "/out/a"), 1, "/out/a: no space is left; free some there, then run again"),
    ],
)
def test_a_failure_is_one_line_in_its_file_and_on_standard_error(
    arguments: list[str], capsys: pytest.CaptureFixture[str], error: Exception, code: int, message: str
) -> None:
    assert main("small", _raising(error), arguments) == code
    assert (Path(arguments[-1]) / FAILURE_FILE).read_text(encoding="utf-8") == message
    printed = capsys.readouterr()
    assert printed.err.splitlines()[-1] == message
    assert printed.out == ""


def test_a_full_disk_without_a_file_name_names_the_output(arguments: list[str], tmp_path: Path) -> None:
    main("small", _raising(OSError(errno.ENOSPC, "Error writing bytes")), arguments)
    said = (tmp_path / "output" / FAILURE_FILE).read_text(encoding="utf-8")
    assert said == f"{tmp_path / 'output'}: no space is left; free some there, then run again"


def test_only_the_unforeseen_has_a_traceback(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    main("small", _raising(InputError("no clicks")), arguments)
    assert "Traceback" not in capsys.readouterr().err
    main("small", _raising(ValueError("odd")), arguments)
    assert "Traceback" in capsys.readouterr().err


def test_an_output_that_cannot_be_written_is_told_on_standard_error(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "output").write_text("a file", encoding="utf-8")
    assert main("small", lambda _: RESULT, arguments) == 1
    assert f"{tmp_path / 'output'}: File exists; mend the file or folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda told: [*told, "--input", "data"], "--input data must be CHANNEL=FOLDER"),
        (
            lambda told: ["--settings", "nowhere.json", *told[2:]],
            "nowhere.json cannot be read (No such file or directory)",
        ),
        (lambda told: [*told, "--colour", "red"], "unrecognized arguments: --colour red"),
    ],
)
def test_wrong_arguments_leave_with_2_and_say_why(
    arguments: list[str],
    capsys: pytest.CaptureFixture[str],
    change: Callable[[list[str]], list[str]],
    message: str,
) -> None:
    with pytest.raises(SystemExit, match=r"^2$"):
        main("small", lambda _: RESULT, change(arguments))
    assert message in capsys.readouterr().err


def test_settings_that_are_none_leave_with_2(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "settings.json").write_text('{"sed": 1}', encoding="utf-8")
    with pytest.raises(SystemExit, match=r"^2$"):
        main("small", lambda _: RESULT, arguments)
    assert "Extra inputs are not permitted at ('sed',)" in capsys.readouterr().err


def test_channels_come_by_name(arguments: list[str], tmp_path: Path) -> None:
    seen: dict[str, Any] = {}

    def step(job: Job) -> StepResult:
        seen["folder"] = job.input("data")
        job.input("model")
        return RESULT

    assert main("small", step, [*arguments, "--input", f"data={tmp_path}=x"]) == 2
    assert seen["folder"] == Path(f"{tmp_path}=x")
    said = (tmp_path / "output" / FAILURE_FILE).read_text(encoding="utf-8")
    assert said == "input 'model' is missing, must be given as --input model=FOLDER"


def test_without_flags_the_folders_are_those_of_sagemaker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_module, "OPT_ML", tmp_path)
    for folder in ("input/config", "input/data/splits", "input/data/data"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "input/config/settings.json").write_text(small_settings().to_json(), encoding="utf-8")
    seen: dict[str, Any] = {}

    def step(job: Job) -> StepResult:
        seen.update(job.inputs)
        return RESULT

    assert main("small", step, []) == 0
    assert seen == {name: tmp_path / "input/data" / name for name in ("data", "splits")}
    assert (tmp_path / "output/data" / STEP_FILE).exists()


def test_a_newer_contract_is_refused_by_its_number(tmp_path: Path) -> None:
    perform("small", lambda _: RESULT, Job(small_settings(), {}, tmp_path, Progress(tmp_path / PROGRESS_FILE)))
    values = json.loads((tmp_path / STEP_FILE).read_bytes())
    (tmp_path / STEP_FILE).write_text(json.dumps(values | {"contract": 2}), encoding="utf-8")
    with pytest.raises(InputError, match=r"step\.json: contract == 2, must be 1; update ctr-pipeline$"):
        read_step(tmp_path)


def test_progress_is_told_at_most_ten_times_a_second_and_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter([0.0, 0.05, 0.11, 0.12])
    monkeypatch.setattr("ctr_pipeline.steps.job.time.monotonic", lambda: next(clock))
    progress = Progress(tmp_path / PROGRESS_FILE)
    told = []
    for done in (1, 2, 3, 9):
        progress.report("reading", done, 9)
        told.append(json.loads((tmp_path / PROGRESS_FILE).read_bytes())["done"])
    assert told == [1, 1, 3, 9]
    assert json.loads((tmp_path / PROGRESS_FILE).read_bytes()) == {"doing": "reading", "done": 9, "total": 9}


def test_threads_are_those_of_the_settings_or_all() -> None:
    def threads(count: int | None) -> int:
        return Job(small_settings(runtime={"threads": count}), {}, Path(), Progress(Path())).threads

    assert threads(3) == 3
    assert threads(None) >= 1


@pytest.mark.parametrize(("system", "size"), [("linux", 3 * 1024), ("darwin", 3)])
def test_the_peak_of_memory_is_told_in_bytes_on_every_system(
    monkeypatch: pytest.MonkeyPatch, system: str, size: int
) -> None:
    monkeypatch.setattr("sys.platform", system)
    monkeypatch.setattr("resource.getrusage", lambda _: SimpleNamespace(ru_maxrss=3))
    assert job_module._peak_memory_bytes() == size


def test_the_record_lists_every_other_file_with_its_digest(tmp_path: Path) -> None:
    def step(job: Job) -> StepResult:
        (job.output / "deep").mkdir()
        (job.output / "deep" / "rows").write_bytes(b"abc")
        job.progress.report("writing", 1, 1)
        return StepResult({}, {}, ())

    perform("own", step, Job(small_settings(), {}, tmp_path, Progress(tmp_path / "progress.json")))
    files = read_step(tmp_path).files
    assert files is not None
    assert set(files) == {"deep/rows", "items.jsonl"}
    assert files["deep/rows"] == OutputFile("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", 3)
