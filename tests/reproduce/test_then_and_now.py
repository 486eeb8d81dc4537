"""What is told beside a run on other data, where a log has no time, is gone, or is too large to be read whole."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final, cast

import pyarrow.parquet as pq
import pytest

from ctr_pipeline.data.manifest import DatasetManifest, read_manifest
from ctr_pipeline.reproduce import then_and_now
from ctr_pipeline.reproduce.identity import Materials
from ctr_pipeline.reproduce.pinned_data import FoundData
from ctr_pipeline.reproduce.plan import Plan
from ctr_pipeline.reproduce.verdict import Ingredient
from ctr_pipeline.workflows.driver import DrivenRun
from tests.house.project import ROOT
from tests.small_log import data_folder, impressions, small_settings
from tracking.aside import StoreError

_DAY: Final = 86_400_000_000
_WINDOWS: Final = {"test_start": "1970-01-03", "test_end": "1970-01-04", "validation_end": "1970-01-03"}


def _driven(facts: dict[str, Any]) -> DrivenRun:
    return cast("DrivenRun", SimpleNamespace(records={"preprocess": SimpleNamespace(facts=facts)}))


def _notes(by: str, then: dict[str, Any], now: dict[str, Any], folder: Path, *, frozen: bool = True) -> list[str]:
    (folder / "step.json").write_text(json.dumps({"facts": then}), encoding="utf-8")
    documents = SimpleNamespace(step_copies=lambda *_: iter([folder / "step.json"]))
    plan = cast("Plan", SimpleNamespace(original=SimpleNamespace(documents=documents)))
    materials = cast("Materials", SimpleNamespace(is_frozen=frozen, settings={"split": {"by": by}}))
    return list(then_and_now._frozen_notes(plan, materials, _driven(now)))


def test_half_of_the_test_rows_time_is_told_as_half(tmp_path: Path) -> None:
    then = {"windows": {**_WINDOWS, "validation_end": "1970-01-03T12:00:00Z"}, "time_range_us": [0, 9 * _DAY]}
    now = {"windows": _WINDOWS, "time_range_us": [0, 9 * _DAY]}
    assert "warning: 50% of the test rows' time, until 1970-01-03T12:00:00Z" in _notes("time", then, now, tmp_path)[1]


def test_a_later_test_window_is_no_overlap(tmp_path: Path) -> None:
    now = {"windows": _WINDOWS, "time_range_us": [2 * _DAY, 3 * _DAY]}
    assert len(_notes("time", {"windows": _WINDOWS, "time_range_us": [0, 3 * _DAY]}, now, tmp_path)) == 1


def test_named_files_are_held_against_the_whole_time_of_the_log(tmp_path: Path) -> None:
    found = _notes(
        "files", {"windows": None, "time_range_us": [0, 9]}, {"windows": None, "time_range_us": [0, 9]}, tmp_path
    )
    assert found[1].startswith("warning: 100%")


def test_without_times_nobody_knows(tmp_path: Path) -> None:
    found = _notes("files", {"windows": None, "time_range_us": None}, {"time_range_us": None}, tmp_path)
    assert found[1].endswith("is not known: a log has no time")


def test_users_of_the_test_split_were_never_trained_on(tmp_path: Path) -> None:
    assert len(_notes("user", {}, {}, tmp_path)) == 1


def test_a_refitted_model_has_nothing_to_be_warned_of(tmp_path: Path) -> None:
    assert len(_notes("time", {}, {}, tmp_path, frozen=False)) == 1


def _materials(manifest: DatasetManifest) -> Materials:
    data = FoundData(manifest, cast("Any", None))
    return cast("Materials", SimpleNamespace(settings=small_settings().resolved(), data=data))


def _manifest() -> DatasetManifest:
    return read_manifest(ROOT / "tests" / "golden" / "manifest-1.json")


def test_lost_data_of_the_original_cost_the_drift_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    gone = Ingredient("data", ready=False, wanted="", found="the store lacks it")
    monkeypatch.setattr(then_and_now, "look_up_data", lambda *_: (None, gone))
    plan = cast("Plan", SimpleNamespace(original=None, recipe=None, request=None))
    drift, notes = then_and_now._drift(plan, _materials(_manifest()), tmp_path)
    assert (drift, notes) == ((), ("no data drift: the original's data cannot be had (the store lacks it)",))


def test_data_that_cannot_be_read_now_cost_the_drift_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def fail(*_: object) -> None:
        raise StoreError("the store is away")

    materials = _materials(_manifest())
    monkeypatch.setattr(then_and_now, "look_up_data", lambda *_: (materials.data, None))
    monkeypatch.setattr(then_and_now, "open_pinned", fail)
    plan = cast("Plan", SimpleNamespace(original=None, recipe=None, request=None))
    drift, notes = then_and_now._drift(plan, materials, tmp_path)
    assert (drift, notes) == ((), ("no data drift: the store is away",))


def test_of_large_data_evenly_spread_files_and_every_kth_row_are_read(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    log = impressions(400)
    folder = data_folder({f"{part}.parquet": log.slice(part * 100, 100) for part in range(4)}, tmp_path)
    manifest = read_manifest(folder / "manifest.json")
    opened: list[str] = []

    def opens(given: DatasetManifest, *_: object) -> Any:  # noqa: ANN401 - a stand-in
        opened.extend(file.path for file in given.files)
        batches = [batch for file in given.files for batch in _rows(folder / "files" / file.path)]
        names = [column.name for column in manifest.columns]
        return SimpleNamespace(
            schema=SimpleNamespace(names=names), batches=lambda wanted: (b.select(wanted) for b in batches)
        )

    monkeypatch.setattr(then_and_now, "_MOST_READ", 200)
    monkeypatch.setattr(then_and_now, "_MOST_KEPT", 50)
    monkeypatch.setattr(then_and_now, "open_pinned", opens)
    materials = _materials(manifest)
    found, note = then_and_now._sample(materials.data, materials, tmp_path, "the new")
    assert opened == ["0.parquet", "2.parquet"]
    assert len(found["price"].present) == 50
    assert note == "the drift of the new data is measured on every row number 4 of 2 of 4 files"
    whole = replace(manifest, files=manifest.files[:1], n_rows=100)
    assert then_and_now._chosen(whole) == whole.files


def _rows(path: Path) -> Any:  # noqa: ANN401 - Arrow's batches
    return pq.read_table(path).to_batches()


def test_a_half_written_record_says_nothing(tmp_path: Path) -> None:
    (tmp_path / "step.json").write_text("{", encoding="utf-8")
    assert then_and_now._facts(tmp_path / "step.json") == {}
