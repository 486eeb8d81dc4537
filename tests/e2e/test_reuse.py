"""Step reuse with real steps and real edits: edited helpers, changed data, damaged outputs."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.click_log import make_log, write_log
from tests.e2e.workplace import ROOT, Workplace

pytestmark = pytest.mark.slow

_HELPER = "ctr_pipeline/features/statistics.py"
_RATE = "(counts.impressions + smoothing)"
_OTHER_RATE = "(counts.impressions + 3 * smoothing)"


def _reused(place: Workplace, *words: str) -> tuple[dict[str, str], dict[str, Any]]:
    report = place.run("run", "--json", "--config", "small.yaml", *words).report
    return report["reused"], report


def test_edited_helpers_changed_data_and_damaged_outputs_never_come_back_stale(tmp_path: Path) -> None:
    place = Workplace.small(tmp_path)
    for package in ("ctr_pipeline", "tracking"):
        # Where commands are run from goes first on Python's path.
        shutil.copytree(ROOT / package, place.folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    _, first = _reused(place)
    again, second = _reused(place)
    assert again == dict.fromkeys(("preprocess", "train", "evaluate"), first["execution_id"])
    assert (second["metrics"], second["model_digest"]) == (first["metrics"], first["model_digest"])
    assert second["run_id"] != first["run_id"]

    helper = place.folder / _HELPER
    text = helper.read_text(encoding="utf-8")
    assert _RATE in text
    helper.write_text(text.replace(_RATE, _OTHER_RATE), encoding="utf-8")
    why = place.run("explain-reuse", "--json", "--config", "small.yaml").report["steps"]["preprocess"]["why"]
    assert why == [f"code {_HELPER} changed"]
    reused, third = _reused(place)
    assert reused == {}
    assert third["model_digest"] != first["model_digest"]

    screen = place.folder / "ctr_pipeline" / "cli" / "run_screen.py"
    screen.write_text(screen.read_text(encoding="utf-8") + "\n# edited\n", encoding="utf-8")
    assert len(_reused(place)[0]) == 3

    write_log(place.folder / "data", make_log(seed=99))
    reused, fourth = _reused(place)
    assert reused == {}
    assert fourth["data_version"] != first["data_version"]
    assert fourth["model_digest"] != third["model_digest"]

    booster = place.execution() / "train" / "model" / "booster.ubj"
    booster.write_bytes(booster.read_bytes()[:-1] + b"?")
    reused, fifth = _reused(place)
    assert set(reused) == {"preprocess", "evaluate"}
    assert fifth["model_digest"] == fourth["model_digest"]
    (warning,) = fifth["warnings"]
    assert "booster.ubj was changed after the step had written it" in warning
