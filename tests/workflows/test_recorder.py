"""What a tracker would refuse is made into what it takes, and never keeps a run from being logged."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctr_pipeline.config import flatten
from ctr_pipeline.steps.job import ITEMS_FILE
from ctr_pipeline.workflows.execution import Execution, ExecutionFolder, Process, StepState
from ctr_pipeline.workflows.recorder import Recorder
from tracking.canonical import sha256_hex
from tracking.items import write_items
from tracking.records import Item, LogResult, Param, RunStatus
from tracking.tracker import Tracker


class _Tracker:
    """Remembers the params of each run."""

    def __init__(self) -> None:
        self.params: dict[str, dict[str, str]] = {}
        self.tags: dict[str, dict[str, str]] = {}

    def create_run(self, *, name: str, **_: object) -> str:
        self.params[name] = {}
        return name

    def log(self, run_id: str, items: Iterable[Item], **_: object) -> LogResult:
        self.params[run_id].update({item.key: item.value for item in items if isinstance(item, Param)})
        return LogResult(None)

    def set_tags(self, run_id: str, tags: dict[str, str]) -> None:
        self.tags.setdefault(run_id, {}).update(tags)

    def finish(self, run_id: str, status: RunStatus, end_ms: int) -> None:
        """End nothing."""


def _recorded(folder: Path, settings: dict[str, Any], items: tuple[Item, ...] = ()) -> dict[str, dict[str, str]]:
    (folder / "provenance").mkdir()
    (folder / "train").mkdir()
    (folder / "settings.json").write_text(json.dumps(settings), encoding="utf-8")
    write_items(folder / "train" / ITEMS_FILE, items)
    state = StepState("train", RunStatus.FINISHED, 1, 2)
    execution = Execution("id", "run", "ctr", "memory", 1, Process("host", 1, 0.0), steps=(state,))
    tracker = _Tracker()
    recorder = Recorder(cast("Tracker", tracker), ExecutionFolder(folder))
    recorder.begin(execution)
    recorder.begin_step(execution, state)
    recorder.end_step(execution, state)
    return tracker.params


def test_a_list_too_long_for_a_tracker_is_told_by_its_digest(tmp_path: Path) -> None:
    columns = [f"column_{number}" for number in range(1_000)]
    text = json.dumps(columns, separators=(",", ":"))
    short = f"sha256:{sha256_hex(text.encode())[:16]} (in settings.json)"
    params = _recorded(
        tmp_path, {"data": {"columns": {"numeric": columns}}}, (Param("numeric", text), Param("kept", "x" * 6_000))
    )
    assert params["run"] == {"data.columns.numeric": short}
    assert params["run/train"] == {"numeric": short, "kept": "x" * 6_000}


def test_columns_with_any_name_are_logged(tmp_path: Path) -> None:
    settings = {"features": {"clip": {"a:b": 1, "a[b]": 2, "c/../d": 3, "plain_x1 name": 4}}}
    assert _recorded(tmp_path, settings)["run"] == {
        "features.clip.a_x3a_b": "1",
        "features.clip.a_x5b_b_x5d_": "2",
        "features.clip.c_x2f_.._x2f_d": "3",
        "features.clip.plain_x1 name": "4",
    }


@given(st.lists(st.text("_x5bf[/:a", max_size=8) | st.text(max_size=8), unique=True))
def test_different_names_have_different_keys_that_trackers_take(names: list[str]) -> None:
    keys = flatten({"clip": dict.fromkeys(names, 1)} if names else {})
    assert len(keys) == len(names)
    assert [Param(key, value).key for key, value in keys.items()] == list(keys)


@pytest.mark.parametrize(
    ("run_id", "tags"),
    [
        ("b" * 32, {"ctr.reused_from": "first", "ctr.reused_run_id": "b" * 32}),
        (None, {"ctr.reused_from": "first"}),
    ],
    ids=["known", "unknown"],
)
def test_a_reused_steps_run_names_who_made_its_output_and_no_other_run_does(
    tmp_path: Path, run_id: str | None, tags: dict[str, str]
) -> None:
    (tmp_path / "provenance").mkdir()
    (tmp_path / "train").mkdir()
    (tmp_path / "settings.json").write_text("{}", encoding="utf-8")
    write_items(tmp_path / "train" / ITEMS_FILE, ())
    state = StepState("train", RunStatus.FINISHED, 1, 2, "first", run_id)
    execution = Execution("id", "run", "ctr", "memory", 1, Process("host", 1, 0.0), steps=(state,))
    tracker = _Tracker()
    recorder = Recorder(cast("Tracker", tracker), ExecutionFolder(tmp_path))
    recorder.begin(execution)
    recorder.begin_step(execution, state)
    recorder.end_step(execution, state)
    assert tracker.tags == {"run/train": tags}
