import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from ctr_pipeline.config import Columns, Settings, duration_us, flatten, instant_us
from tests.small_log import small_settings

_PLACES = {
    ("name",),
    ("data", "uri"),
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


@pytest.mark.parametrize(
    ("text", "microseconds"),
    [
        ("0s", 0),
        ("7us", 7),
        ("2ms", 2_000),
        ("90s", 90_000_000),
        ("3m", 180_000_000),
        ("1h", 3_600_000_000),
        ("1d", 86_400_000_000),
    ],
)
def test_a_duration_is_a_number_and_a_unit(text: str, microseconds: int) -> None:
    assert duration_us(text) == microseconds


@pytest.mark.parametrize("text", ["", "1", "d", "-1d", "1.5h", "1 d", "1w", "1d2h"])
def test_any_other_duration_is_refused(text: str) -> None:
    with pytest.raises(
        ValueError, match=r"^must be a whole number and a unit of us, ms, s, m, h, d, such as 1d or 90s$"
    ):
        duration_us(text)


@pytest.mark.parametrize(
    ("text", "other"),
    [
        ("2026-03-01", "2026-03-01T00:00:00Z"),
        ("2026-03-01T12:00:00", "2026-03-01T12:00:00+00:00"),
        ("2026-03-01T12:00:00Z", "2026-03-01T14:00:00+02:00"),
    ],
)
def test_an_instant_without_a_zone_is_utc(text: str, other: str) -> None:
    assert instant_us(text) == instant_us(other)


@given(st.datetimes(min_value=datetime(1, 1, 2), max_value=datetime(9999, 12, 30), timezones=st.just(UTC)))  # noqa: DTZ001 - hypothesis adds the zone
def test_an_instant_is_exact_to_the_microsecond(moment: datetime) -> None:
    assert datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=instant_us(moment.isoformat())) == moment


def test_any_other_instant_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^must be an ISO 8601 date or time, such as 2026-03-01"):
        instant_us("yesterday")


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
        ({"data": {"columns": {"time": "click"}}}, "the time column 'click' is listed twice"),
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


def test_statistics_by_time_need_a_time_column() -> None:
    sections: dict[str, Any] = {"split": {"by": "row"}, "data": {"columns": {"time": None}}}
    with pytest.raises(ValidationError, match="features need a time column"):
        small_settings(**sections, features={"time_parts": [], "statistics": {"scheme": "time"}})
    assert small_settings(**sections, features={"time_parts": []}).data.columns.time is None


def test_flattened_settings_have_dotted_keys_and_short_texts() -> None:
    values = {"a": {"b": 1, "c": {"d": None, "e": {}}}, "f": "x", "g": [1, "ä"], "h": True}
    assert flatten(values) == {"a.b": "1", "a.c.d": "null", "a.c.e": "{}", "f": "x", "g": '[1,"ä"]', "h": "true"}
