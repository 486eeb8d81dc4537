"""``ctr-pipeline diff`` as it is typed."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from ctr_pipeline.cli import main as entry
from ctr_pipeline.cli.diff_tables import print_diff
from ctr_pipeline.workflows.diff_parts import FilePatch
from tests.plugins.diff_fixtures import ComparedRuns


@pytest.fixture
def runs(compared: ComparedRuns, monkeypatch: pytest.MonkeyPatch) -> ComparedRuns:
    """The runs, in whose home and project commands are typed."""
    monkeypatch.setenv("CTR_HOME", str(compared.first.home.path))
    monkeypatch.chdir(compared.first.project)
    return compared


def typed(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    capsys.readouterr()
    assert entry._exit_code(["diff", *words]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("columns", [40, 80, 140])
def test_the_terminal_shows_what_differs_at_any_width(
    runs: ComparedRuns, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    for other in (runs.b, runs.other):
        out = typed(capsys, runs.a, other)
        assert max(len(line) for line in out.splitlines()) <= columns
        assert "metrics" in out
        assert "circumstances" in out


def test_the_terminal_shows_patch_values_and_findings(
    runs: ComparedRuns, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "140")
    out = typed(capsys, runs.a[:8], runs.b[:8])
    assert "+FLOOR = 30" in out
    assert "added logo.py: binary" in out
    assert "paired bootstrap over" in out
    assert "seed" not in out
    assert "seed" in typed(capsys, runs.a, runs.b, "--all")


def test_json_is_one_object_of_differences(runs: ComparedRuns, capsys: pytest.CaptureFixture[str]) -> None:
    record = json.loads(typed(capsys, runs.a, runs.b, "--json"))
    assert {change["name"] for change in record["settings"]} >= {"train.rounds", "train.max_depth"}
    assert record["packages"] == []
    everything = json.loads(typed(capsys, runs.a, runs.b, "--json", "--all"))
    assert "xgboost" in {change["name"] for change in everything["packages"]}


def test_markdown_is_printed_for_a_pull_request(runs: ComparedRuns, capsys: pytest.CaptureFixture[str]) -> None:
    assert typed(capsys, runs.a, runs.b, "--markdown").startswith("## tiny")


def test_a_page_is_written_and_its_place_told_on_standard_error(
    runs: ComparedRuns, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    page = tmp_path / "new" / "diff.html"
    assert entry._exit_code(["diff", runs.a, runs.b, "--html", str(page), "--json"]) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out)["format"] == 1
    assert printed.err == f"wrote {page}\n"
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert typed(capsys, runs.a, runs.b, "--html", str(page)) == ""


def test_two_ways_of_printing_are_refused(runs: ComparedRuns, capsys: pytest.CaptureFixture[str]) -> None:
    assert entry._exit_code(["diff", runs.a, runs.b, "--json", "--markdown"]) == 2
    assert "give one of them" in capsys.readouterr().err


def test_the_terminal_says_what_is_not_available(compared: ComparedRuns) -> None:
    diff = compared.diff(compared.a, compared.other)
    long = FilePatch("long.py", "changed", ("--- a", "+++ b", *["+x"] * 600), 600, 0)
    diff = replace(
        diff,
        notes=("A: shown from this machine alone",),
        metrics=replace(diff.metrics, metrics=(), unavailable="no metrics of B"),
        data=replace(diff.data, unavailable="no manifest of B", association_changed=True),
        code=replace(diff.code, unavailable="no source snapshot", same_code=True, patches=(long,)),
        preprocessing=replace(diff.preprocessing, unavailable="no fitted preprocessing"),
        training=replace(diff.training, unavailable="no training of B"),
        b=replace(diff.b, status="FAILED"),
    )
    screen = Console(width=120, record=True, quiet=False, file=None, force_terminal=False)
    with screen.capture() as captured:
        print_diff(screen, diff)
    out = captured.get()
    for told in (
        "no metrics of B",
        "no manifest of B",
        "no source snapshot",
        "no fitted",
        "no training of B",
        "FAILED",
    ):
        assert told in out
    assert "but between other rows" in out
    assert "too long for here" in out
    assert "steps import none of these files" in out
