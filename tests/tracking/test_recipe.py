import json
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracking.canonical import canonical_json
from tracking.errors import InputError
from tracking.grade import Grade, Letter
from tracking.recipe import Circumstances, Identity, Outputs, Recipe

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "recipe-1.json"
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
FINITE = st.floats(allow_nan=False, allow_infinity=False)
SETTINGS = st.dictionaries(
    TEXT,
    st.recursive(
        st.none() | st.booleans() | st.integers() | FINITE | TEXT,
        lambda values: st.lists(values, max_size=3) | st.dictionaries(TEXT, values, max_size=3),
        max_leaves=6,
    ),
    max_size=4,
)
TEXTS = st.lists(TEXT, max_size=3).map(tuple)
BY_NAME = st.dictionaries(TEXT, TEXT, max_size=3)
IDENTITIES = st.builds(
    Identity, code_digest=TEXT, data_digest=TEXT, settings=SETTINGS, lock_digest=TEXT, python_version=TEXT,
    seed=st.integers(), as_of=st.none() | TEXT,
)  # fmt: skip
CIRCUMSTANCES = st.builds(
    Circumstances, commit=st.none() | TEXT, branch=st.none() | TEXT, pushed=st.booleans(), dirty=st.booleans(),
    argv=TEXTS, n_cores=st.none() | st.integers(), gpus=TEXTS, variables=BY_NAME, packages=BY_NAME,
    file_digests=BY_NAME, submodules=st.dictionaries(TEXT, st.none() | TEXT, max_size=2), time_range=TEXTS,
)  # fmt: skip
RECIPES = st.builds(
    Recipe,
    identity=IDENTITIES,
    circumstances=CIRCUMSTANCES,
    outputs=st.builds(Outputs, BY_NAME),
    timings=st.dictionaries(TEXT, FINITE, max_size=2),
    grade=st.none() | st.builds(Grade, st.sampled_from(Letter), TEXTS),
)
SMALL = Recipe(Identity("c", "d", {"a": [1]}, "l", "3.12.1", 7), Circumstances())


@given(RECIPES)
def test_what_is_written_reads_back_the_same(recipe: Recipe) -> None:
    assert Recipe.from_json(recipe.to_json()) == recipe


@given(IDENTITIES, CIRCUMSTANCES, CIRCUMSTANCES, st.builds(Outputs, BY_NAME))
def test_circumstances_outputs_and_timings_never_change_the_recipe_digest(
    identity: Identity, one: Circumstances, other: Circumstances, outputs: Outputs
) -> None:
    plain = Recipe(identity, one)
    assert Recipe(identity, other, outputs, {"wall_s": 1.0}, Grade(Letter.D, ("x",))).digest == plain.digest


@given(IDENTITIES, st.sampled_from([field.name for field in fields(Identity)]))
def test_every_field_of_the_identity_changes_the_recipe_digest(identity: Identity, name: str) -> None:
    value = getattr(identity, name)
    changed: dict[str, Any] = {
        "settings": {**identity.settings, "another": "value"} if "another" not in identity.settings else {},
        "seed": identity.seed + 1,
        "as_of": "2026-01-01T00:00:00Z" if value is None else None,
    }
    other = replace(identity, **{name: changed.get(name, f"{value}x")})
    assert Recipe(other, Circumstances()).digest != Recipe(identity, Circumstances()).digest


@given(SETTINGS)
def test_the_order_of_settings_does_not_matter(settings: dict[str, object]) -> None:
    turned = replace(SMALL.identity, settings=dict(reversed(settings.items())))
    assert turned.settings_digest == replace(SMALL.identity, settings=settings).settings_digest


@given(BY_NAME, TEXT)
def test_the_outputs_have_a_digest_of_their_own(layers: dict[str, str], name: str) -> None:
    assert Outputs(layers).digest != Outputs({**layers, name: layers.get(name, "") + "x"}).digest


def test_settings_cannot_be_changed_after_the_fact() -> None:
    settings = {"a": {"b": 1}}
    recipe = replace(SMALL, identity=replace(SMALL.identity, settings=settings))
    before = recipe.digest
    settings["a"]["b"] = 2
    assert recipe.digest == before
    with pytest.raises(TypeError, match="item assignment"):
        recipe.identity.settings["a"]["b"] = 2


def test_the_golden_file_of_format_1_is_read_and_written_the_same() -> None:
    document = GOLDEN.read_bytes().rstrip(b"\n")
    recipe = Recipe.from_json(document)
    assert recipe.digest == "d91921feae2d77583cb4d41292c74e1a3b1502cf7444a9fe7a4c597defd7b1de"
    assert recipe.grade == Grade(Letter.B, ("not committed: features/prices.py",))
    assert recipe.identity.settings["train"]["max_depth"] == 6
    assert recipe.to_json() == document


def test_a_newer_format_is_refused_with_the_remedy() -> None:
    document = canonical_json(json.loads(SMALL.to_json()) | {"format": 2})
    with pytest.raises(InputError, match=r"^recipe format == 2, must be 1: read it with a newer ctr-pipeline\.$"):
        Recipe.from_json(document)


def test_circumstances_of_a_later_release_are_passed_over() -> None:
    record = json.loads(SMALL.to_json())
    record["circumstances"]["phase_of_the_moon"] = "full"
    del record["circumstances"]["host"]
    assert Recipe.from_json(canonical_json(record)) == SMALL


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"{",
        b"[]",
        b"3",
        b'{"format":1}',
        b'{"format":1,"identity":{"x":1},"circumstances":{}}',
        b'{"format":1,"identity":[]}',
        b"\xff",
    ],
)
def test_what_is_no_recipe_is_refused(document: bytes) -> None:
    with pytest.raises(InputError, match=r"^recipe cannot be read \(.+\): give the recipe\.json of a run\.$"):
        Recipe.from_json(document)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        (("identity", "seed"), "recipe_digest"),
        (("identity", "settings", "a"), "recipe_digest"),
        (("identity", "settings_digest"), "identity.settings_digest"),
        (("outputs", "layers", "booster"), "outputs.digest"),
        (("recipe_digest",), "recipe_digest"),
    ],
)
def test_a_recipe_that_was_changed_is_refused(path: tuple[str, ...], name: str) -> None:
    record = json.loads(SMALL.to_json())
    place = record
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = 8 if path[-1] == "seed" else "0"
    with pytest.raises(InputError, match=rf"^recipe was changed after it was written: {name} == \w+, must be \w+;"):
        Recipe.from_json(canonical_json(record))


def test_a_setting_without_a_canonical_spelling_is_named() -> None:
    bad = replace(SMALL, identity=replace(SMALL.identity, settings={"train": {"eta": float("nan")}}))
    with pytest.raises(InputError, match=r"^settings\.train\.eta == nan, must be a finite number"):
        bad.to_json()
