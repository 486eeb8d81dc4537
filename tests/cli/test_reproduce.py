"""`reproduce` as it is typed: its exit codes, its JSON, its help, and what it refuses in one line."""

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from ctr_pipeline.cli import main as entry
from ctr_pipeline.reproduce import workflow
from ctr_pipeline.reproduce.verdict import Judgement
from ctr_pipeline.reproduce.workflow import Reproduction
from tests.house.project import run_tool
from tests.plugins.run_fixtures import FinishedRun
from tests.reproduce.judgements import ALL, DIVERGED, IDENTICAL, INGREDIENTS
from tracking.errors import InputError, JobError, TrackingError

type Call = Callable[..., "_Answer"]

_HEAVY: Final = {"mlflow", "xgboost", "pandas", "pyarrow", "numpy", "pydantic", "rich", "boto3", "scipy", "sklearn"}
_HELP: Final = """
import json, runpy, sys
sys.argv = [sys.argv[1], *sys.argv[2:]]
try:
    runpy.run_module(sys.argv[0], run_name="__main__")
except SystemExit as leaving:
    assert not leaving.code, leaving.code
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})), file=sys.stderr)
"""


@dataclass(frozen=True, slots=True)
class _Answer:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:  # noqa: ANN401 - JSON of any shape
        return json.loads(self.out)


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Call:
    """Run the command in a run's project; returns what it printed."""

    def run(where: FinishedRun, *words: str) -> _Answer:
        monkeypatch.setenv("CTR_HOME", str(where.home.path))
        monkeypatch.setenv("COLUMNS", "160")
        monkeypatch.chdir(where.project)
        capsys.readouterr()
        code = entry._exit_code(["reproduce", *words])
        printed = capsys.readouterr()
        return _Answer(code, printed.out, printed.err)

    return run


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> Callable[[Judgement | None, TrackingError | None], None]:
    """Have the command find what the test says."""

    def stage(judgement: Judgement | None, unlogged: TrackingError | None = None) -> None:
        answer = Reproduction(judgement, "1" * 32, "B", ("no commit",), INGREDIENTS, unlogged)
        monkeypatch.setattr(workflow, "reproduce", lambda *_: answer)

    return stage


@pytest.mark.parametrize("judgement", ALL, ids=lambda judgement: str(judgement.verdict))
def test_the_exit_code_is_the_verdicts_and_json_is_all_of_standard_output(
    call: Call, found: Callable[..., None], finished_run: FinishedRun, judgement: Judgement
) -> None:
    found(judgement)
    answer = call(finished_run, "--run-id", "latest", "--json")
    assert answer.code == judgement.verdict.exit_code
    assert answer.json == judgement.to_record()
    shown = call(finished_run, "--run-id", "latest")
    assert shown.code == judgement.verdict.exit_code
    assert str(judgement.verdict).replace("_", " ") in shown.out


def test_the_plan_is_a_table_or_json(call: Call, found: Callable[..., None], finished_run: FinishedRun) -> None:
    found(None)
    answer = call(finished_run, "--run-id", "latest", "--check-only", "--json")
    assert (answer.code, answer.json["ready"], answer.json["grade"]) == (0, True, "B")
    shown = call(finished_run, "--run-id", "latest", "--check-only")
    assert shown.code == 0
    for text in (
        "recipe",
        "python",
        "3.12.8",
        "ready",
        "grade B; everything is there to redo it",
        "no grade A: no commit",
    ):
        assert text in shown.out


def test_a_verdict_that_could_not_be_logged_is_printed_all_the_same(
    call: Call, found: Callable[..., None], finished_run: FinishedRun
) -> None:
    found(IDENTICAL, TrackingError("the tracker is away."))
    answer = call(finished_run, "--run-id", "latest", "--json")
    assert (answer.code, answer.json["verdict"]) == (1, "IDENTICAL")
    assert "error: the tracker is away." in answer.err


@pytest.mark.parametrize(
    ("error", "code"),
    [(InputError("bad"), 2), (JobError("bad"), 1), (TrackingError("bad"), 1), (KeyboardInterrupt(), 130)],
)
def test_an_error_is_one_line_and_its_own_exit_code(
    call: Call, finished_run: FinishedRun, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(workflow, "reproduce", fail)
    answer = call(finished_run, "--run-id", "latest", "--json")
    assert (answer.code, answer.out) == (code, "")
    assert answer.err.strip() == ("interrupted" if code == 130 else "error: bad")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--use-current-data", "--data", "latest"], "--use-current-data and --data latest exclude each other"),
        (["--preprocess", "freeze"], "--preprocess freeze needs other data to score; give --data latest"),
        (["--preprocess", "melt"], "'melt' is not one of 'refit', 'freeze'"),
        (["--set", "train.round=1"], "the run's settings have no key train.round; the nearest is train.rounds"),
        (["--set", "train.rounds"], "train.rounds"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(
    call: Call, finished_run: FinishedRun, words: list[str], told: str
) -> None:
    answer = call(finished_run, "--run-id", finished_run.run_id, *words, "--json")
    assert (answer.code, answer.out) == (2, "")
    (line,) = [line for line in answer.err.splitlines() if not line.endswith("...")]
    assert line.startswith("error: ")
    assert told in line


def test_a_run_must_be_named_and_be_known(call: Call, finished_run: FinishedRun) -> None:
    assert "Missing option '--run-id'" in call(finished_run).err
    answer = call(finished_run, "--run-id", "ffffffffff")
    assert answer.code == 2
    assert "ffffffffff" in answer.err


def test_a_missing_ingredient_leaves_with_5_and_the_remedy(call: Call, run_copy: FinishedRun) -> None:
    for path in run_copy.home.path.rglob("settings.json"):
        path.unlink()
    answer = call(run_copy, "--run-id", run_copy.run_id, "--json")
    assert (answer.code, answer.json["verdict"], answer.json["again"]) == (5, "CANNOT", None)
    (missing,) = [item for item in answer.json["ingredients"] if not item["ready"]]
    assert (missing["name"], missing["remedy"][:28]) == ("settings", "restore the run's settings.j")
    assert "looking everything up ..." in answer.err


def test_every_flag_reaches_the_request(call: Call, finished_run: FinishedRun, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def noted(request: object, *_: object) -> Reproduction:
        asked.append(request)
        return Reproduction(DIVERGED, "1" * 32, None, (), ())

    monkeypatch.setattr(workflow, "reproduce", noted)
    words = ("--use-current-code", "--use-current-env", "--use-current-settings", "--store", "s3://b/p", "--set", "a=1")
    assert call(finished_run, "--run-id", "latest", *words, "--set", "b=2", "--check-only").code == 4
    (request,) = asked
    assert (request.use_current_code, request.use_current_env, request.use_current_data) == (True, True, False)
    assert (request.store, request.overrides, request.check_only) == ("s3://b/p", ("a=1", "b=2"), True)
    assert request.current_settings.name == "tiny"
    assert request.start.resolve() == finished_run.project.resolve()
    assert call(finished_run, "--run-id", "latest", "--data", "latest", "--preprocess", "freeze").code == 4
    assert (asked[1].data, asked[1].preprocess, asked[1].current_settings) == ("latest", "freeze", None)


@pytest.mark.parametrize("words", [["ctr_pipeline", "reproduce"], ["ctr_pipeline.reproduce"]], ids=" ".join)
def test_help_loads_no_heavy_module(words: list[str], tmp_path: Path) -> None:
    shown = run_tool([sys.executable, "-c", _HELP, *words, "--help"], tmp_path)
    assert shown.returncode == 0, shown.stderr
    assert "0 IDENTICAL" in shown.stdout
    assert set(json.loads(shown.stderr.splitlines()[-1])) & _HEAVY == set()


def test_the_module_is_the_command(tmp_path: Path) -> None:
    helps = [
        run_tool([sys.executable, "-m", *words, "--help"], tmp_path).stdout
        for words in (["ctr_pipeline", "reproduce"], ["ctr_pipeline.reproduce"])
    ]
    assert helps[0] == helps[1]
    refused = run_tool([sys.executable, "-m", "ctr_pipeline.reproduce", "--run-id", "x"], tmp_path)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr.splitlines()[-1].startswith("error: run == 'x', must have at least")
