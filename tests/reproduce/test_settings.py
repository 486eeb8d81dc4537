"""The settings of a reproduction: what the recipe proves, and what is deliberately laid over them."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

import hypothesis.strategies as st
import pytest
from hypothesis import given

from ctr_pipeline.reproduce.original import Original
from ctr_pipeline.reproduce.settings import (
    current_settings,
    laid_over,
    leaves,
    look_up_settings,
    setting_differences,
)
from tests.small_log import small_settings
from tracking.errors import InputError
from tracking.recipe import Circumstances, Identity, Recipe

_SETTINGS: Final[dict[str, Any]] = {
    "name": "a", "seed": 1, "train": {"rounds": 5, "eta": 0.1, "device": "cpu"},
    "features": {"clip": {}, "cross": [["a"]]}, "split": {"end": None},
}  # fmt: skip
_VALUES: Final = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", min_size=1, max_size=2), inner, max_size=3)
    ),
    max_leaves=8,
)
_TREES: Final = st.dictionaries(st.text("abc", min_size=1, max_size=2), _VALUES, max_size=4)


@dataclass
class _Documents:
    paths: list[Path]

    def verified(self, artifact: str, is_right: Callable[[Path], bool]) -> Path | None:
        assert artifact == "settings.json"
        return next((path for path in self.paths if is_right(path)), None)


def _original(*paths: Path) -> Original:
    return Original(cast("Any", _Documents(list(paths))), None)


def _recipe(settings: dict[str, Any]) -> Recipe:
    return Recipe(Identity("c", "d", settings, "l", "3.12.1", 1), Circumstances())


def _write(path: Path, values: object) -> Path:
    path.write_text(json.dumps(values), encoding="utf-8")
    return path


def test_the_copy_that_says_what_the_recipe_says_is_taken(tmp_path: Path) -> None:
    deciding = {key: value for key, value in _SETTINGS.items() if key != "name"}
    deciding["split"] = {"end": None, "files_content": [["test", "ab"]]}
    broken = tmp_path / "broken.json"
    broken.write_text('{"seed"', encoding="utf-8")
    changed = _write(tmp_path / "changed.json", {**_SETTINGS, "seed": 2})
    lacking = _write(tmp_path / "lacking.json", {"seed": 1})
    no_object = _write(tmp_path / "list.json", [1])
    right = _write(tmp_path / "right.json", {**_SETTINGS, "name": "b"})
    settings, found = look_up_settings(_original(broken, changed, lacking, no_object, right), _recipe(deciding))
    assert settings == {**_SETTINGS, "name": "b"}
    assert (found.ready, found.found, found.remedy) == (True, str(right), "")
    settings, found = look_up_settings(_original(broken, changed, lacking, no_object), _recipe(deciding))
    assert (settings, found.ready) == (None, False)
    assert found.found == "no copy of settings.json says what the recipe says"
    assert found.remedy.startswith("restore the run's settings.json")


def test_a_copy_that_is_gone_is_passed_over(tmp_path: Path) -> None:
    assert look_up_settings(_original(tmp_path / "gone.json"), _recipe(_SETTINGS))[0] is None


def test_todays_settings_are_taken_without_credentials() -> None:
    settings = small_settings()
    secret = "http://me:word@127.0.0.1:5000"  # pragma: allowlist secret
    tracking = settings.tracking.model_copy(update={"uri": secret})
    taken, found = current_settings(settings.model_copy(update={"tracking": tracking}), _recipe(_SETTINGS))
    assert taken["train"] == settings.resolved()["train"]
    assert "word" not in json.dumps(taken)
    assert (found.ready, found.found) == (True, "today's configuration (asked for)")


def test_a_value_is_laid_over_and_keeps_its_type() -> None:
    before = json.dumps(_SETTINGS)
    asked = [
        "train.rounds=7",
        "train.eta=0.5",
        "train.device=cuda",
        "features.clip={a: [0, null]}",
        "split.end=2026-01-05 10:30:00",
    ]
    changed = laid_over(_SETTINGS, asked)
    assert changed["train"] == {"rounds": 7, "eta": 0.5, "device": "cuda"}
    assert changed["features"]["clip"] == {"a": [0, None]}
    assert changed["split"]["end"] == "2026-01-05T10:30:00"
    assert laid_over(_SETTINGS, ["split.end=2026-01-05"])["split"]["end"] == "2026-01-05"
    assert json.dumps(_SETTINGS) == before
    assert laid_over(_SETTINGS, ()) == _SETTINGS


@pytest.mark.parametrize(
    ("override", "told"),
    [
        (
            "train.round=7",
            r"^--set train\.round=7: the run's settings have no key train\.round; the nearest is train\.rounds$",
        ),
        ("zzz=7", r"^--set zzz=7: the run's settings have no key zzz$"),
        ("train.rounds.deep=7", r"have no key train\.rounds\.deep; the nearest is train\.rounds$"),
        ("no.such.section=7", r"have no key no\.such\.section$"),
        ("train.rounds", r"KEY=VALUE|key=value"),
    ],
)
def test_an_override_that_names_nothing_is_refused_with_the_nearest_key(override: str, told: str) -> None:
    with pytest.raises(InputError, match=told):
        laid_over(_SETTINGS, [override])


@given(_TREES, _TREES)
def test_settings_without_a_difference_have_the_same_leaves(before: dict[str, Any], after: dict[str, Any]) -> None:
    assert setting_differences(before, before) == ()
    assert (setting_differences(before, after) == ()) == (dict(leaves(before)) == dict(leaves(after)))
    assert len(setting_differences(before, after)) == len(setting_differences(after, before))


def test_every_key_that_differs_is_told_with_both_values() -> None:
    before = {"a": 1, "b": {"c": "é", "gone": (1, (2,))}, "same": [1]}
    after = {"a": 2, "b": {"c": None, "new": {}}, "same": (1,)}
    told = [difference.what for difference in setting_differences(before, after)]
    assert told == ["a 1 -> 2", 'b.c "é" -> null', "b.gone [1, [2]] -> (absent)", "b.new (absent) -> {}"]
    assert {difference.layer for difference in setting_differences(before, after)} == {"settings"}
