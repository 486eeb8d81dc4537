"""The commands as they are typed: what they print, what they leave with, how fast they help."""

import gzip
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ctr_pipeline.cli import main as entry
from ctr_pipeline.workflows.execution import Logged
from tests.house.project import run_tool
from tests.plugins.run_fixtures import N_ROWS, FinishedRun
from tracking.errors import InputError
from tracking.records import RunStatus

type Call = Callable[..., "Answer"]

_HEAVY: Final = {"mlflow", "xgboost", "pandas", "pyarrow", "numpy", "pydantic", "rich", "boto3", "scipy", "sklearn"}
_HELP: Final = """
import json, runpy, sys
sys.argv = ["ctr-pipeline", *json.loads(sys.argv[1])]
try:
    runpy.run_module("ctr_pipeline", run_name="__main__")
except SystemExit as leaving:
    assert not leaving.code, leaving.code
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})), file=sys.stderr)
"""
_COMMANDS: Final = (
    ["show"], ["diff"], ["data"], ["data", "pin"], ["data", "diff"], ["ui"], ["doctor"], ["sync"], ["gc"],
    ["completion"],
)  # fmt: skip


class Answer:
    """What a command printed and left with."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code = code
        self.out = out
        self.err = err

    @property
    def json(self) -> Any:  # noqa: ANN401 - JSON of any shape
        return json.loads(self.out)


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Call:
    """Run a command in a run's project; returns what it printed."""

    def run(where: FinishedRun, *words: str, columns: int = 100) -> Answer:
        monkeypatch.setenv("CTR_HOME", str(where.home.path))
        monkeypatch.setenv("COLUMNS", str(columns))
        monkeypatch.chdir(where.project)
        capsys.readouterr()
        code = entry._exit_code(list(words))
        printed = capsys.readouterr()
        return Answer(code, printed.out, printed.err)

    return run


@pytest.mark.parametrize("command", _COMMANDS, ids=" ".join)
def test_help_loads_no_heavy_module(command: Sequence[str], tmp_path: Path) -> None:
    shown = run_tool([sys.executable, "-c", _HELP, json.dumps([*command, "--help"])], tmp_path)
    assert shown.returncode == 0, shown.stderr
    assert "Usage:" in shown.stdout
    assert set(json.loads(shown.stderr.splitlines()[-1])) & _HEAVY == set()


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_show_prints_every_section_on_any_terminal(call: Call, finished_run: FinishedRun, columns: int) -> None:
    shown = call(finished_run, "show", "latest", columns=columns)
    assert shown.code == 0
    assert max(len(line) for line in shown.out.splitlines()) <= columns
    for text in ("FINISHED", "2,000", "ad-1", "train.rounds", "+FLOOR = 20", "xgboost", "logloss", "grade"):
        assert text in shown.out


def test_a_wide_terminal_has_the_slices_intervals(call: Call, finished_run: FinishedRun) -> None:
    assert " to " not in call(finished_run, "show", "latest", "-s", "slices", columns=60).out
    shown = call(finished_run, "show", "latest", "-s", "slices", columns=100).out
    assert " to " in shown
    assert "device = phone" in shown


def test_show_prints_one_section(call: Call, finished_run: FinishedRun) -> None:
    shown = call(finished_run, "show", finished_run.run_id[:8], "--section", "metrics")
    assert "logloss" in shown.out
    assert "xgboost" not in shown.out


def test_show_as_json_is_everything(call: Call, finished_run: FinishedRun) -> None:
    told = call(finished_run, "show", "latest", "--json").json
    assert told["run"]["run_id"] == finished_run.run_id
    assert told["data"]["version"] == finished_run.report.data_version
    assert told["code"]["patch"].endswith("+FLOOR = 20\n")
    assert told["preprocessing"]["statistics"][0]["most_frequent"][0]["impressions"] > 0
    assert told["environment"]["packages"]["xgboost"]
    assert told["recipe"]["missing"]
    assert told["notes"] == []
    only = call(finished_run, "show", "latest", "--json", "-s", "slices").json
    assert set(only) == {"slices", "notes"}


def test_show_of_a_failed_run_says_what_is_not_there(call: Call, run_copy: FinishedRun) -> None:
    execution = run_copy.folder.load()
    failed = replace(execution, status=RunStatus.FAILED, failure="step preprocess failed", steps=())
    run_copy.folder.save(failed)
    for step in execution.steps:
        run_copy.folder.step(step.name).rename(run_copy.home.path / step.name)
    shown = call(run_copy, "show", "latest")
    assert "step preprocess failed" in shown.out
    assert "no fitted preprocessing" in shown.out
    assert "no metrics" in shown.out
    assert "no slices" in shown.out


def test_an_unknown_run_is_one_line(call: Call, finished_run: FinishedRun) -> None:
    answer = call(finished_run, "show", "nonesuch")
    assert (answer.code, answer.out) == (2, "")
    (line,) = answer.err.splitlines()
    assert line.startswith("error: run 'nonesuch' is known neither in")
    assert finished_run.report.execution_id in line


def test_data_versions_from_pin_to_restore(call: Call, run_copy: FinishedRun, tmp_path: Path) -> None:
    log = tmp_path / "logs"
    log.mkdir()
    (log / "a.csv").write_text("click,ad\n0,x\n1,y\n", encoding="utf-8")
    (log / "b.csv").write_text("click,ad\n0,z\n", encoding="utf-8")
    before = call(run_copy, "data", "pin", str(log), "--json").json
    assert (before["name"], before["n_rows"]) == ("logs", 3)
    (log / "a.csv").write_text("click,ad,bid\n0,x,1\n1,y,2\n1,y,2\n", encoding="utf-8")
    (log / "b.csv").rename(log / "c.csv")
    (log / "c.csv").write_text("click,ad,bid\n0,z,3\n", encoding="utf-8")
    pinned = call(run_copy, "data", "pin", str(log))
    assert "4 rows, 3 columns, 2 files" in pinned.out
    listed = call(run_copy, "data", "list", "--json").json["versions"]
    assert [view["name"] for view in listed] == ["logs", "logs", "tiny"]
    after = next(view for view in listed if view["n_rows"] == 4)
    first, second = before["data_version"], after["data_version"]

    told = call(run_copy, "data", "diff", first[:8], second[:8], "--json").json
    assert (told["n_rows_before"], told["n_rows_after"], told["columns_added"]) == (3, 4, ["bid"])
    changes = [(file["path"], file["change"], file["n_rows_before"], file["n_rows_after"]) for file in told["files"]]
    assert changes == [("c.csv", "added", None, 1), ("b.csv", "removed", 1, None), ("a.csv", "changed", 2, 3)]
    shown = call(run_copy, "data", "diff", first, second).out
    assert "rows: 3 to 4 (+1)" in shown
    assert "bid" in shown

    into = tmp_path / "back"
    assert "verified" in call(run_copy, "data", "restore", first[:10], "--into", str(into)).out
    assert (into / "a.csv").read_text() == "click,ad\n0,x\n1,y\n"
    assert call(run_copy, "data", "restore", first, "--into", str(into), "--json").json["into"] == str(into)


def test_diff_tells_types_moved_values_and_files_written_anew(
    call: Call, run_copy: FinishedRun, tmp_path: Path
) -> None:
    def pinned(name: str) -> str:
        return str(call(run_copy, "data", "pin", str(tmp_path / name), "--json").json["data_version"])

    for name, columns in (
        ("one", {"ad": ["x", "y"], "bid": [1, 2]}),
        ("moved", {"ad": ["y", "x"], "bid": [1, 2]}),
        ("retyped", {"ad": ["x", "y"], "bid": ["1", "2"]}),
    ):
        (tmp_path / name).mkdir()
        pq.write_table(pa.table(columns), tmp_path / name / "log.parquet")
    one = pinned("one")
    assert "values moved between rows" in call(run_copy, "data", "diff", one, pinned("moved")).out
    assert "integer -> text" in call(run_copy, "data", "diff", one, pinned("retyped")).out
    assert "equal versions" in call(run_copy, "data", "diff", one, one).out

    for name in ("plain", "packed"):
        (tmp_path / name).mkdir()
    (tmp_path / "plain" / "a.csv").write_text("ad\nx\n", encoding="utf-8")
    (tmp_path / "packed" / "a.csv.gz").write_bytes(gzip.compress(b"ad\nx\n"))
    (tmp_path / "packed" / "b.csv.gz").write_bytes(gzip.compress(b"ad\ny\n"))
    plain, packed = pinned("plain"), pinned("packed")
    told = call(run_copy, "data", "diff", plain, packed, "--json").json
    changes = [(file["path_before"], file["path"], file["change"]) for file in told["files"]]
    assert changes == [(None, "b.csv.gz", "added"), ("a.csv", "a.csv.gz", "rewritten")]
    assert "a.csv -> a.csv.gz" in call(run_copy, "data", "diff", plain, packed).out


def test_pin_without_a_uri_takes_the_configs_data(call: Call, run_copy: FinishedRun) -> None:
    told = call(run_copy, "data", "pin", "--json").json
    assert told["data_version"] == run_copy.report.data_version
    with_config = call(run_copy, "data", "pin", str(run_copy.log), "--config", "configs/default.yaml", "--json").json
    assert with_config["manifest"] == told["manifest"]
    sample = call(run_copy, "data", "pin", "sample:simulated_users", "--json").json
    assert sample["name"] == "simulated_users"
    assert sample["time_range"]


def test_a_version_is_shown_by_its_start(call: Call, run_copy: FinishedRun) -> None:
    version = run_copy.report.data_version
    shown = call(run_copy, "data", "show", version[:8])
    assert f"{N_ROWS:,}" in shown.out
    assert "log.csv" in shown.out
    assert call(run_copy, "data", "show", version, "--json").json["columns"][0]["name"] == "ad"
    for stored in (run_copy.home.store / "sha256").rglob("*/*"):
        stored.unlink()
    assert "MISSING" in call(run_copy, "data", "show", version).out
    assert "MISSING" in call(run_copy, "data", "list").out


def test_an_unknown_version_is_one_line(call: Call, finished_run: FinishedRun) -> None:
    answer = call(finished_run, "data", "show", "ffffffff")
    assert answer.code == 2
    assert answer.err.startswith("error: data version == 'ffffffff', must be the start of a pinned one")


def test_nothing_pinned_says_how_to_pin(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CTR_HOME", str(tmp_path / ".ctr"))
    monkeypatch.chdir(tmp_path)
    assert entry._exit_code(["data", "list"]) == 0
    assert "`ctr-pipeline data pin` does" in capsys.readouterr().out


def test_doctor_leaves_with_one_until_all_is_mended(call: Call, run_copy: FinishedRun) -> None:
    assert call(run_copy, "doctor").out == "all is well\n"
    (run_copy.folder.path / "train.partial").mkdir()
    found = call(run_copy, "doctor")
    assert found.code == 1
    assert "half-written" in found.out
    told = call(run_copy, "doctor", "--json")
    assert (told.code, told.json["healthy"]) == (1, False)
    assert told.json["findings"][0]["can_be_mended"]
    mended = call(run_copy, "doctor", "--fix", "--deep")
    assert mended.code == 0
    assert "1 found, 1 mended" in mended.out
    assert call(run_copy, "doctor", "--json").json == {"healthy": True, "findings": []}


def test_sync_prints_the_runs_id(call: Call, run_copy: FinishedRun) -> None:
    assert "every execution is logged" in call(run_copy, "sync", "--all").out
    run_copy.folder.save_logged(Logged())
    told = call(run_copy, "sync", run_copy.report.execution_id, "--json").json["runs"]
    assert told[0]["state"] == "sent"
    assert told[0]["run_id"] in call(run_copy, "sync", "latest").out


def test_sync_wants_a_run_or_all(call: Call, finished_run: FinishedRun) -> None:
    for words in (("sync",), ("sync", "latest", "--all")):
        answer = call(finished_run, *words)
        assert answer.code == 2
        assert "Give RUN or --all, one of the two." in answer.err


def test_sync_to_a_tracker_that_is_away_leaves_with_one(call: Call, run_copy: FinishedRun) -> None:
    run_copy.folder.save(replace(run_copy.folder.load(), tracking_uri="http://127.0.0.1:9"))
    run_copy.folder.save_logged(Logged())
    answer = call(run_copy, "sync", "--all")
    assert answer.code == 1
    assert "1 of 1 executions could not be sent" in answer.err


def test_gc_is_a_dry_run_until_yes(call: Call, run_copy: FinishedRun) -> None:
    dry = call(run_copy, "gc", "--older-than", "0s")
    assert "step output" in dry.out
    assert "would go; --yes removes" in dry.out
    assert run_copy.folder.step("train").exists()
    told = call(run_copy, "gc", "--older-than", "0s", "--yes", "--json").json
    assert told["removed"]
    assert told["n_bytes"] > 0
    assert not run_copy.folder.step("train").exists()
    assert "0 things, 0 bytes would go" in call(run_copy, "gc").out


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_a_script_for_the_shell(call: Call, finished_run: FinishedRun, shell: str) -> None:
    answer = call(finished_run, "completion", shell)
    assert answer.code == 0
    assert f"_CTR_PIPELINE_COMPLETE={shell}_complete" in answer.out


def test_completion_knows_the_commands(tmp_path: Path) -> None:
    script = "import os, sys; os.environ.update(_CTR_PIPELINE_COMPLETE='bash_complete', COMP_CWORD='1'); "
    script += "os.environ['COMP_WORDS'] = 'ctr-pipeline do'; from ctr_pipeline.cli.main import main; main([])"
    done = run_tool([sys.executable, "-c", script], tmp_path)
    assert done.stdout.splitlines() == ["plain,doctor"]


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["rum"], "error: No such command 'rum': `ctr-pipeline --help` lists them. Did you mean run?"),
        (
            ["run", "--engine", "abacus"],
            "error: Invalid value for '--engine': 'abacus' is not 'local'. (`ctr-pipeline ",
        ),
        (["show", "--confg", "a"], "error: No such option '--confg'."),
        (["run", "--config"], "error: Option '--config' requires an argument. (`ctr-pipeline"),
    ],
)
def test_a_mistake_on_the_command_line_is_one_line_that_names_the_help(
    words: list[str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert entry._exit_code(words) == 2
    (told,) = capsys.readouterr().err.splitlines()
    assert told.startswith(line)
    assert "--help` " in told


def test_debug_shows_the_traceback_of_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="nowhere"):
        entry._exit_code(["--debug", "run", "--config", "nowhere.yaml"])


def test_debug_as_the_value_of_something_else_asks_for_no_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CTR_HOME", str(tmp_path))
    assert entry._exit_code(["show", "--", "--debug"]) == 2
    assert capsys.readouterr().err.startswith("error: ")


def test_what_an_interrupted_run_left_to_do_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        error = KeyboardInterrupt()
        error.add_note("`ctr-pipeline sync ID` sends the rest")
        raise error

    monkeypatch.setattr(entry.cli, "main", interrupted)
    assert entry._exit_code(["run"]) == 130
    assert capsys.readouterr().err == "interrupted\n       `ctr-pipeline sync ID` sends the rest\n"
