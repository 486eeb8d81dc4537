import datetime as dt
import json
import math
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracking.canonical import canonical_json, frozen, sha256_file, sha256_hex
from tracking.errors import InputError

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda values: st.lists(values) | st.dictionaries(TEXT, values),
)


@given(JSON)
def test_what_is_written_reads_back_the_same(value: object) -> None:
    assert json.loads(canonical_json(value)) == value


@given(st.dictionaries(TEXT, JSON))
def test_the_order_of_keys_changes_nothing(value: dict[str, object]) -> None:
    assert canonical_json(dict(reversed(value.items()))) == canonical_json(value)


@given(JSON)
def test_a_frozen_value_has_the_same_spelling(value: object) -> None:
    assert canonical_json(frozen(value)) == canonical_json(value)


@pytest.mark.parametrize(
    ("value", "spelling"),
    [
        ({"b": 1, "a": (1, 2)}, b'{"a":[1,2],"b":1}'),
        (0.1, b"0.1"),
        (1e-9, b"1e-09"),
        (-0.0, b"-0.0"),
        (1, b"1"),
        (1.0, b"1.0"),
        (2**70, b"1180591620717411303424"),
        ("é\n", '"é\\n"'.encode()),
        (None, b"null"),
        (MappingProxyType({"x": True}), b'{"x":true}'),
    ],
)
def test_the_spelling_of_each_kind_of_value(value: object, spelling: bytes) -> None:
    assert canonical_json(value) == spelling


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"a": [1.0, math.nan]}, r"^value\.a\[1\] == nan, must be a finite number: use null"),
        (math.inf, "^value == inf, must be a finite number"),
        ({1: 2}, "^value has the key 1, must be text: quote it"),
        ({"a": dt.date(2026, 1, 1)}, r"^value\.a is of type date, must be text, a number"),
        ("\udcff", "^value == '.udcff', must be Unicode text"),
        ({"\udcff": 1}, "^a key of value == '.udcff', must be Unicode text"),
    ],
)
def test_a_value_without_a_spelling_is_refused_by_its_place(value: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        canonical_json(value)


def test_a_frozen_value_cannot_be_changed() -> None:
    settings: Any = frozen({"a": {"b": [1]}})
    with pytest.raises(TypeError, match="does not support item assignment"):
        settings["a"]["b"] = 2


def test_a_files_digest_is_that_of_its_content(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"abc")
    assert (
        sha256_file(tmp_path / "f")
        == sha256_hex(b"abc")
        == ("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
    )
