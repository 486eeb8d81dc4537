"""A verdict on the terminal."""

import json

import pytest

from ctr_pipeline.cli.verdict_screen import show_judgement
from ctr_pipeline.reproduce.verdict import Judgement
from tests.reproduce.judgements import ALL, CANNOT, DIVERGED, EQUIVALENT, IDENTICAL


@pytest.mark.parametrize("columns", [40, 80, 140])
@pytest.mark.parametrize("judgement", ALL, ids=[judgement.verdict.value for judgement in ALL])
def test_every_verdict_fits_any_terminal(
    judgement: Judgement, columns: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    show_judgement(judgement, as_json=False)
    out = capsys.readouterr().out
    assert out.startswith(judgement.verdict.value.replace("_", " "))
    assert max(len(line) for line in out.splitlines()) <= columns


def shown(judgement: Judgement, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("COLUMNS", "140")
    show_judgement(judgement, as_json=False)
    return capsys.readouterr().out


def test_the_first_divergence_and_its_causes_are_told(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = shown(DIVERGED, capsys, monkeypatch)
    assert "booster           differs first" in out
    assert "xgboost 3.4.1 -> 3.5.0 (on purpose)" in out
    assert "+FLOOR = 20" in out
    assert "... 20 more lines" in out
    assert "590 of 600 predictions moved" in out
    assert "ingredient" not in out


def test_an_identical_run_shows_no_differences(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = shown(IDENTICAL, capsys, monkeypatch)
    assert "differs" not in out
    assert "moved" not in out
    assert "build-7" in out


def test_what_is_missing_is_told_with_its_remedy(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = shown(CANNOT, capsys, monkeypatch)
    assert "nothing ran" in out
    assert "restore it" in out
    assert "not known" in out


def test_json_is_the_verdicts_record(capsys: pytest.CaptureFixture[str]) -> None:
    show_judgement(EQUIVALENT, as_json=True)
    record = json.loads(capsys.readouterr().out)
    assert (record["verdict"], record["exit_code"]) == ("EQUIVALENT", 3)
