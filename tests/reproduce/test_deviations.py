"""What a caller asks for in place of what was recorded: refused in time, and told in few words."""

import errno
from dataclasses import replace
from pathlib import Path

import pytest

from ctr_pipeline.data.digest_cache import DigestCache
from ctr_pipeline.data.manifest import DatasetManifest
from ctr_pipeline.data.pin import DataStore, pin
from ctr_pipeline.data.source import Source
from ctr_pipeline.reproduce import workflow
from ctr_pipeline.reproduce.differences import data_differences
from ctr_pipeline.reproduce.judge import Evidence, decide
from ctr_pipeline.reproduce.layers import UNUSED, first_divergence
from ctr_pipeline.reproduce.request import Request
from ctr_pipeline.reproduce.settings import require_valid
from ctr_pipeline.reproduce.verdict import Layer, Verdict
from ctr_pipeline.reproduce.workflow import reproduce
from tests.plugins.run_fixtures import FinishedRun, SilentWatcher
from tests.small_log import small_settings
from tracking.aside import StoreError
from tracking.errors import InputError
from tracking.folder_objects import FolderObjects

_ROWS = "a,b,c,d,click\n1,2,3,4,0\n5,6,7,8,1\n"


class _Watcher(SilentWatcher):
    def doing(self, what: str) -> None:
        """See `ReproductionWatcher`."""


def test_a_value_that_breaks_its_rule_is_refused_before_anything_runs() -> None:
    settings = small_settings().resolved()
    broken = {**settings, "train": {**settings["train"], "max_depth": "deep"}}
    with pytest.raises(InputError, match=r'^--set: train\.max_depth == "deep", must be a whole number$'):
        require_valid(settings, broken)


def test_settings_of_a_version_that_is_not_known_are_left_to_its_own_steps() -> None:
    older = {**small_settings().resolved(), "a_section_of_old": {"key": 1}}
    require_valid(older, {**older, "seed": "any"})


def test_a_broken_deviation_leaves_no_run_behind(run_copy: FinishedRun) -> None:
    before = list(run_copy.home.executions())
    request = Request(run_copy.run_id, run_copy.project, overrides=("train.max_depth=deep",))
    with pytest.raises(InputError, match=r"^--set: train\.max_depth"):
        reproduce(request, run_copy.place, _Watcher())
    assert list(run_copy.home.executions()) == before


def test_a_full_disk_is_told_in_one_line(run_copy: FinishedRun, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "/full/file")

    monkeypatch.setattr(workflow, "find_original", full)
    with pytest.raises(
        StoreError, match=r"^the reproduction's files /full/file cannot be .*: No space left on device; free"
    ):
        reproduce(Request(run_copy.run_id, run_copy.project), run_copy.place, _Watcher())


def test_files_that_came_are_told_as_such_and_not_as_changed_columns(tmp_path: Path) -> None:
    before = _pinned(tmp_path / "one", {"a.csv": _ROWS})
    after = _pinned(tmp_path / "two", {"a.csv": _ROWS, "b.csv": _ROWS.replace("1,2,3,4", "9,9,9,9")})
    (difference,), columns = data_differences(before, after)
    assert difference.what == "2 -> 4 rows; files added: b.csv; the rows of the others are unchanged"
    assert len(columns) == 5


def test_many_columns_with_other_values_are_counted(tmp_path: Path) -> None:
    before = _pinned(tmp_path / "one", {"a.csv": _ROWS})
    after = _pinned(tmp_path / "two", {"a.csv": _ROWS.replace("1,2,3,4", "9,9,9,9")})
    (difference,), columns = data_differences(before, after)
    assert difference.what == "4 columns hold other values, among them a, b, c"
    assert [column.column for column in columns] == ["a", "b", "c", "d"]


def test_equal_layers_of_unequal_recipes_are_not_identical() -> None:
    evidence = Evidence((Layer("code", "identity", "a", "a"), Layer("margins", "output", "b", "b")), ())
    assert decide(evidence).verdict is Verdict.IDENTICAL
    assert decide(replace(evidence, same_recipe=False)).verdict is Verdict.EQUIVALENT


def test_a_layer_that_a_frozen_model_does_not_use_diverges_nowhere() -> None:
    unused = Layer("split.train", "output", "a", None, UNUSED)
    assert first_divergence((unused, Layer("split.test", "output", "a", "b"))) == "split.test"
    assert first_divergence((unused,)) is None


def test_rows_that_differ_without_moving_the_model_are_told_so() -> None:
    layers = (Layer("split.validation", "output", "a", "b"), Layer("booster", "output", "c", "c"))
    found = decide(Evidence(layers, ()))
    assert found.verdict is Verdict.DIVERGED
    assert found.reason.endswith("; the model, its predictions and metrics are equal nevertheless")


def _pinned(folder: Path, files: dict[str, str]) -> DatasetManifest:
    raw = folder / "raw"
    raw.mkdir(parents=True)
    for name, content in files.items():
        (raw / name).write_text(content, encoding="utf-8")
    store = DataStore(FolderObjects(folder / "store"))
    return pin(Source.open(str(raw)), store, DigestCache(folder / "cache"), name="log")
