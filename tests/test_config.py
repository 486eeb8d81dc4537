import itertools
from typing import Any

import pytest
from pydantic import ValidationError

from ctr_pipeline.columns import Columns
from ctr_pipeline.config import Settings, flatten
from tests.small_log import small_settings

_PLACES = {
    ("reproduce", "noise_runs"),
    ("name",),
    ("data", "uri"),
    ("data", "store"),
    ("tracking", "uri"),
    ("tracking", "experiment"),
    ("tracking", "model_name"),
    ("runtime", "threads"),
    ("runtime", "batch_rows"),
}


def _leaves(values: Any, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:  # noqa: ANN401 - nested JSON
    if isinstance(values, dict) and values:
        return list(itertools.chain.from_iterable(_leaves(item, (*path, key)) for key, item in values.items()))
    return [path]


def test_settings_survive_json() -> None:
    settings = small_settings(split={"end": "2026-03-05"}, evaluate={"metrics": {"own": "own.metrics:hits"}})
    assert Settings.from_json(settings.to_json()) == settings


def test_settings_are_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        small_settings().seed = 8  # type: ignore[misc] # what the test is about


def test_the_roles_say_which_columns_are_used_and_which_are_features() -> None:
    columns = Columns(
        label="c",
        time="t",
        user="u",
        group="g",
        numeric=("n",),
        categorical=("k", "u"),
        native=("d",),
        propensity="p",
        ids=("i",),
    )
    assert columns.features == ("n", "k", "u", "d")
    assert columns.used == ("c", "t", "u", "g", "p", "n", "k", "u", "d", "i")


@pytest.mark.parametrize("path", _leaves(small_settings().resolved()), ids=".".join)
def test_the_identity_leaves_out_names_places_and_threads_and_nothing_else(path: tuple[str, ...]) -> None:
    values: Any = small_settings().identity()
    for key in path:
        if key not in values:
            break
        values = values[key]
    else:
        assert path not in _PLACES
        return
    assert path in _PLACES


def test_each_place_is_a_key() -> None:
    assert set(_leaves(small_settings().resolved())) >= _PLACES


def test_other_places_and_threads_leave_the_identity_as_it_is() -> None:
    moved = small_settings(
        name="other", tracking={"uri": "http://localhost:1"}, runtime={"threads": 7, "batch_rows": 5}, data={"uri": "x"}
    )
    assert moved.identity() == small_settings().identity()
    assert small_settings(seed=8).identity() != small_settings().identity()


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"data": {"columns": {"numeric": ["click"]}}}, "the label 'click' is listed among the features; take it out"),
        (
            {"data": {"columns": {"numeric": ["a"], "native": ["a"]}}},
            "column 'a' is listed twice; give each column one",
        ),
        ({"data": {"columns": {"ids": ["click"]}}}, "column 'click' is listed twice"),
        ({"data": {"columns": {"propensity": "price"}}}, "column 'price' is listed twice"),
        ({"data": {"columns": {"context": {"ad": {"kind": "native"}}}}}, "column 'ad' is listed twice"),
        ({"data": {"columns": {"time": "ad"}}}, "the time column 'ad' is listed twice; features.time_parts makes"),
        ({"data": {"columns": {"time": "click"}}}, "the label 'click' is the time too; give time a column of its own"),
        ({"data": {"columns": {"user": "click"}}}, "the label 'click' is the user too; give user a column of its own"),
        ({"data": {"columns": {"group": "click"}}}, "the label 'click' is the group too; give group a column of its"),
        ({"evaluate": {"slices": ["click"]}}, "evaluate.slices names the label 'click', must name other columns"),
        (
            {"features": {"statistics": {"label_delay": "2h"}}, "split": {"gap": "119m"}},
            "split.gap == '119m', must be at least features.statistics.label_delay == '2h', .*; set split.gap to 2h or",
        ),
        (
            {"data": {"columns": {"context": {"position": {"kind": "numeric", "pinned": "top"}}}}},
            "pinned == 'top', must be a number or null for kind numeric; use kind native",
        ),
        ({"features": {"statistics": {"period": "0s"}}}, "must be longer than 0, such as 1h or 1d"),
        ({"split": {"test": "0d"}}, "must be longer than 0, such as 1h or 1d"),
        ({"split": {"validation": "0us"}}, "must be longer than 0, such as 1h or 1d"),
        (
            {"split": {"by": "user"}, "data": {"columns": {"user": None}}},
            "split.by == 'user', must be one of time, row, files",
        ),
        ({"data": {"columns": {"time": None}}}, "split.by == 'time', must be one of user, row, files while"),
        ({"split": {"by": "files"}}, "split.test_files is empty, must name files while split.by == 'files'"),
        ({"split": {"by": "row"}, "data": {"columns": {"time": None}}}, "features need a time column while"),
        (
            {"features": {"clip": {"ad": [0, 1]}}},
            "features.clip names 'ad', must be a numeric column of data.columns: price",
        ),
        (
            {"features": {"clip": {"price": [2, 1]}}},
            r"clip of 'price' is \[2.0, 1.0\], must be \[low, high\] with low <=",
        ),
        ({"features": {"crosses": [["site"]]}}, r"crosses has \['site'\], must be two or more different columns"),
        (
            {"features": {"crosses": [["site", "site"]]}},
            r"crosses has \['site', 'site'\], must be two or more different",
        ),
        ({"features": {"crosses": [["site", "ad"], ["ad", "site"]]}}, r"crosses has \['site', 'ad'\] twice"),
        (
            {"features": {"crosses": [["site", "price"]]}},
            "features.crosses names 'price', must be a categorical or native",
        ),
        ({"split": {"validation_rate": 0.5, "test_rate": 0.5}}, "validation_rate [+] test_rate must be < 1"),
        ({"features": {"custom": "no function"}}, "must name a function as module:function"),
        ({"evaluate": {"metrics": {"my metric": "a:b"}}}, "must be a letter, then letters, digits or _"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(sections: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        small_settings(**sections)


@pytest.mark.parametrize("split", [{"gap": "2h"}, {"gap": "1d"}, {"by": "user"}])
def test_a_label_delay_fits_a_gap_of_its_length_and_any_split_but_by_time(split: dict[str, Any]) -> None:
    settings = small_settings(features={"statistics": {"label_delay": "2h"}}, split=split)
    assert settings.features.statistics.label_delay == "2h"


def test_statistics_by_time_need_a_time_column() -> None:
    sections: dict[str, Any] = {"split": {"by": "row"}, "data": {"columns": {"time": None}}}
    with pytest.raises(ValidationError, match="features need a time column"):
        small_settings(**sections, features={"time_parts": [], "statistics": {"scheme": "time"}})
    assert small_settings(**sections, features={"time_parts": []}).data.columns.time is None


def test_flattened_settings_have_dotted_keys_and_short_texts() -> None:
    values = {"a": {"b": 1, "c": {"d": None, "e": {}}}, "f": "x", "g": [1, "ä"], "h": True}
    assert flatten(values) == {"a.b": "1", "a.c.d": "null", "a.c.e": "{}", "f": "x", "g": '[1,"ä"]', "h": "true"}


def test_a_clock_needs_a_time_column() -> None:
    columns = {"time": None}
    with pytest.raises(ValueError, match=r"as_of == '2026-03-01', must be null while data\.columns\.time is null"):
        Settings.model_validate({"as_of": "2026-03-01", "split": {"by": "row"}, "data": {"columns": columns}})
