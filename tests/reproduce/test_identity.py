"""A re-run's identity follows from its materials by the rules of the original, deviations included."""

from dataclasses import replace
from typing import Any, Final, cast

import pytest

from ctr_pipeline.data.manifest import DatasetManifest
from ctr_pipeline.reproduce.code import StepCode
from ctr_pipeline.reproduce.environment import Interpreter
from ctr_pipeline.reproduce.identity import Materials, identity_of
from ctr_pipeline.reproduce.pinned_data import FoundData
from tests.data.test_manifest import a_manifest
from tests.small_log import small_settings
from tracking.canonical import frozen
from tracking.recipe import Identity

_MANIFEST: Final[DatasetManifest] = a_manifest()
_SETTINGS: Final[dict[str, Any]] = {
    "name": "a", "seed": 3, "as_of": None, "runtime": {"threads": 2}, "data": {"uri": "x", "format": "csv"},
    "features": {"clip": {"price": [0, 50]}, "custom": None}, "evaluate": {"metrics": {}},
}  # fmt: skip
_DECIDING: Final[dict[str, Any]] = {
    "seed": 3, "as_of": None, "data": {"format": "csv"}, "features": {"clip": {"price": [0, 50]}, "custom": None},
    "evaluate": {"metrics": {}},
}  # fmt: skip
_RECORDED: Final = Identity("c", "d", _DECIDING, "l", "3.12.1", 3)


def _materials(settings: dict[str, Any]) -> Materials:
    interpreter = Interpreter(cast("Any", None), "3.12.9", (), None)
    return Materials(settings, StepCode((), (), None), interpreter, FoundData(_MANIFEST, cast("Any", None)))


def test_what_did_not_decide_then_does_not_decide_now() -> None:
    identity = identity_of(_materials(_SETTINGS), _RECORDED)
    assert identity.settings_digest == _RECORDED.settings_digest
    assert (identity.seed, identity.python_version, identity.data_digest) == (3, "3.12.9", _MANIFEST.digest)


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("features", "clip", {"price": [0, 50], "bid": [0, 1]}),
        ("features", "clip", {"bid": [0, 1]}),
        ("features", "clip", {}),
        ("features", "clip", None),
        ("features", "custom", {"new": 1}),
        ("evaluate", "metrics", {"brier": "team:brier"}),
    ],
)
def test_every_deviation_counts_however_deep_it_lies(section: str, key: str, value: object) -> None:
    deviating = {**_SETTINGS, section: {**_SETTINGS[section], key: value}}
    identity = identity_of(_materials(deviating), _RECORDED)
    assert identity.settings_digest != _RECORDED.settings_digest
    assert identity.settings[section][key] == frozen(value)


def test_a_section_that_is_taken_away_counts() -> None:
    identity = identity_of(_materials({**_SETTINGS, "features": None}), _RECORDED)
    assert identity.settings["features"] is None


def test_the_clock_is_the_settings_own_or_the_end_of_the_data() -> None:
    assert identity_of(_materials({**_SETTINGS, "as_of": "2026-02-01"}), _RECORDED).as_of == "2026-02-01"
    assert identity_of(_materials(_SETTINGS), _RECORDED).as_of is not None
    timeless = replace(_materials(_SETTINGS), data=FoundData(replace(_MANIFEST, time_range=None), cast("Any", None)))
    assert identity_of(timeless, _RECORDED).as_of is None


def test_todays_settings_decide_by_todays_rules() -> None:
    settings = small_settings()
    identity = identity_of(_materials(settings.resolved()), _RECORDED, settings.identity())
    assert identity.settings_digest == replace(_RECORDED, settings=settings.identity()).settings_digest


def test_where_files_make_the_splits_their_contents_count() -> None:
    split = {"by": "files", "validation_files": [], "test_files": ["*"]}
    recorded = replace(_RECORDED, settings={**_DECIDING, "split": {**split, "files_content": []}})
    identity = identity_of(_materials({**_SETTINGS, "split": split}), recorded)
    pairs = identity.settings["split"]["files_content"]
    assert {name for name, _ in pairs} == {"test"}
    assert len(pairs) == len(_MANIFEST.files)
