"""The verdict's rules: what is called the same is the same, and every difference is named."""

from dataclasses import fields, replace
from typing import Any, Final

import hypothesis.strategies as st
import pytest
from hypothesis import given

from ctr_pipeline.reproduce.judge import Evidence, decide
from ctr_pipeline.reproduce.layers import first_divergence, identity_layers, layers_of, output_layers
from ctr_pipeline.reproduce.verdict import Circumstance, Difference, Layer, Verdict
from tracking.recipe import Circumstances, Identity, Outputs, Recipe

_IDENTITY: Final = ("code", "environment", "python", "data", "settings", "clock")
_OUTPUT: Final = (
    "split.train", "split.validation", "split.test", "encoder", "booster", "model", "margins", "predictions", "metrics",
)  # fmt: skip
_DIGEST: Final = st.sampled_from(["aa", "bb", None])


def _layer(name: str, original: str | None = "aa", again: str | None = "aa") -> Layer:
    return Layer(name, "identity" if name in _IDENTITY else "output", original, again)


def _layers(**again: str | None) -> tuple[Layer, ...]:
    """Return all layers; those that are given differ."""
    names = (*_IDENTITY, *_OUTPUT)
    return tuple(_layer(name, again=again.get(name.replace(".", "_"), "aa")) for name in names)


_ANY_LAYERS: Final = st.lists(
    st.builds(_layer, st.sampled_from([*_IDENTITY, *_OUTPUT, "of a later version"]), _DIGEST, _DIGEST), max_size=9
).map(tuple)
_ANY_EVIDENCE: Final = st.builds(
    Evidence,
    layers=_ANY_LAYERS,
    differences=st.lists(st.builds(Difference, st.sampled_from(["code", "data"]), st.text(max_size=5)), max_size=9).map(
        tuple
    ),
    rounded=st.booleans(),
    inside_band=st.sampled_from([True, False, None]),
    new_data=st.booleans(),
)


@given(_ANY_EVIDENCE)
def test_identical_is_said_only_where_every_layer_is_known_and_equal(evidence: Evidence) -> None:
    equal = all(layer.original is not None and layer.original == layer.again for layer in evidence.layers)
    has_output = any(layer.part == "output" for layer in evidence.layers)
    is_identical = decide(evidence).verdict is Verdict.IDENTICAL
    assert is_identical == (equal and has_output and not evidence.new_data)


@given(_ANY_EVIDENCE)
def test_new_data_is_always_called_so(evidence: Evidence) -> None:
    assert (decide(evidence).verdict is Verdict.NEW_DATA) == evidence.new_data


@given(_ANY_EVIDENCE)
def test_an_output_that_differs_outside_the_band_is_diverged(evidence: Evidence) -> None:
    strict = replace(evidence, rounded=False, inside_band=False, new_data=False)
    differs = first_divergence(evidence.layers) is not None
    assert (decide(strict).verdict is Verdict.DIVERGED) == (
        differs or not any(x.part == "output" for x in strict.layers)
    )


@given(_ANY_EVIDENCE)
def test_the_reason_is_never_empty_and_the_first_divergence_is_an_output_that_differs(evidence: Evidence) -> None:
    finding = decide(evidence)
    assert finding.reason
    if finding.first_divergence is not None:
        outputs = [layer for layer in evidence.layers if layer.part == "output"]
        assert next(layer.name for layer in outputs if not layer.is_equal) == finding.first_divergence


@pytest.mark.parametrize("name", _OUTPUT)
@pytest.mark.parametrize("missing", ["original", "again"])
def test_an_output_that_is_missing_is_never_identical(name: str, missing: str) -> None:
    layers = tuple(
        _layer(layer.name, None if missing == "original" else "aa", None if missing == "again" else "aa")
        if layer.name == name
        else layer
        for layer in _layers()
    )
    assert decide(Evidence(layers, ())).verdict is Verdict.DIVERGED


def test_without_any_output_nothing_is_proven() -> None:
    finding = decide(Evidence(tuple(map(_layer, _IDENTITY)), ()))
    assert (finding.verdict, finding.reason) == (Verdict.DIVERGED, "no output is known, so nothing is proven")


def test_equal_outputs_of_another_identity_are_equivalent_and_the_difference_is_named() -> None:
    named = Difference("code", "helper.py edited")
    finding = decide(Evidence(_layers(code="bb"), (named,)))
    assert (finding.verdict, finding.cause) == (Verdict.EQUIVALENT, "helper.py edited")
    assert finding.reason == "all outputs are equal although helper.py edited"
    unnamed = decide(Evidence(_layers(code="bb"), ()))
    assert (unnamed.verdict, unnamed.cause) == (Verdict.EQUIVALENT, "the identity differs; see the layers")


@pytest.mark.parametrize("band", [True, False, None])
def test_only_differences_inside_the_band_are_equivalent(band: bool | None) -> None:  # noqa: FBT001 - a parameter
    finding = decide(Evidence(_layers(booster="bb", margins="bb"), (), inside_band=band))
    assert finding.verdict is (Verdict.EQUIVALENT if band else Verdict.DIVERGED)
    assert finding.first_divergence == "booster"
    assert finding.reason.startswith("booster is the first layer that differs")


@pytest.mark.parametrize(
    ("again", "verdict"),
    [
        ({"predictions": "bb"}, Verdict.EQUIVALENT),
        ({"metrics": "bb"}, Verdict.EQUIVALENT),
        ({"margins": "bb", "predictions": "bb"}, Verdict.DIVERGED),
        ({"booster": "bb", "metrics": "bb"}, Verdict.DIVERGED),
    ],
)
def test_rounding_is_forgiven_only_where_nothing_but_the_rounded_layers_differs(
    again: dict[str, str | None], verdict: Verdict
) -> None:
    assert decide(Evidence(_layers(**again), (), rounded=True)).verdict is verdict


def test_a_layer_that_this_version_does_not_know_is_not_forgiven_as_rounding() -> None:
    layers = (*_layers(predictions="bb"), _layer("of a later version", again="bb"))
    assert decide(Evidence(layers, (), rounded=True)).verdict is Verdict.DIVERGED


@given(st.integers(1, 15))
def test_the_cause_names_every_difference_or_says_how_many_more(n_differences: int) -> None:
    differences = tuple(Difference("settings", f"key{place} 1 -> 2") for place in range(n_differences))
    cause = str(decide(Evidence(_layers(settings="bb", booster="bb"), differences)).cause)
    shown = sum(difference.what in cause.split(" (", maxsplit=1)[0].split("; ") for difference in differences)
    assert shown == min(n_differences, 6)
    assert (f"and {n_differences - 6} more" in cause) == (n_differences > 6)


@pytest.mark.parametrize(
    ("first", "layer"),
    [
        ("split_test", "data"),
        ("encoder", "settings"),
        ("booster", "environment"),
        ("model", "environment"),
        ("margins", "code"),
    ],
)
def test_the_likeliest_cause_of_a_layer_comes_first(first: str, layer: str) -> None:
    named = tuple(Difference(name, f"by {name}") for name in ("clock", "data", "settings", "environment", "code"))
    cause = str(decide(Evidence(_layers(**{first: "bb"}), named)).cause)
    assert cause.startswith(f"by {layer}; ")


def test_what_was_equal_before_the_first_divergence_is_named() -> None:
    named = (Difference("environment", "xgboost 3.4.1 -> 3.5.0"),)
    cause = decide(Evidence(_layers(environment="bb", booster="bb"), named)).cause
    assert cause == "xgboost 3.4.1 -> 3.5.0 (split.train, split.validation, split.test, encoder identical)"
    split = decide(Evidence(_layers(split_validation="bb"), (Difference("data", "1 -> 2 rows"),))).cause
    assert split == "1 -> 2 rows"


def test_without_a_recorded_difference_the_suspects_around_it_are_named() -> None:
    around = (Circumstance("host", "a", "b"), Circumstance("cpu", "old", "new"), Circumstance("variables.TZ", "1", "2"))
    cause = str(decide(Evidence(_layers(split_train="bb"), (), around)).cause)
    assert cause == "nothing that is recorded as deciding differs, but around it: cpu old -> new; variables.TZ 1 -> 2"


def test_without_any_difference_chance_is_suspected() -> None:
    cause = str(decide(Evidence(_layers(encoder="bb"), (), (Circumstance("host", "a", "b"),))).cause)
    assert cause.startswith("nothing that is recorded differs: chance that no seed governs, or something unrecorded (")


_ME: Final = Identity("c" * 64, "d" * 64, {"seed": 1, "train": {"rounds": 5}}, "e" * 64, "3.12.1", 1, "2026-01-01")
_CHANGES: Final[dict[str, Any]] = {
    "code_digest": "0" * 64, "data_digest": "0" * 64, "settings": {"seed": 2}, "lock_digest": "0" * 64,
    "python_version": "3.12.2", "as_of": None,
}  # fmt: skip


@pytest.mark.parametrize("changed", _CHANGES)
def test_every_part_of_an_identity_is_a_layer(changed: str) -> None:
    layers = identity_layers(_ME, replace(_ME, **{changed: _CHANGES[changed]}))
    assert sum(not layer.is_equal for layer in layers) == 1
    assert all(layer.is_equal for layer in identity_layers(_ME, _ME))
    # The seed is one of the settings.
    assert {item.name for item in fields(Identity)} == {*_CHANGES, "seed"}


def test_a_run_without_a_clock_equals_another_without_one() -> None:
    without = replace(_ME, as_of=None)
    assert all(layer.is_equal for layer in identity_layers(without, without))


def test_outputs_come_in_the_order_in_which_they_are_made_and_unknown_ones_last() -> None:
    made = {"metrics": "1", "zeta": "2", "split.train": "3", "booster": "4", "alpha": "5"}
    layers = output_layers(made, made)
    assert [layer.name for layer in layers] == ["split.train", "booster", "metrics", "alpha", "zeta"]
    assert first_divergence(layers) is None


def test_an_output_that_one_run_lacks_is_kept_with_the_reason() -> None:
    (encoder, model) = output_layers({"model": "1", "encoder": "2"}, {"model": "1"}, "not run: frozen")
    assert (encoder.again, encoder.note, encoder.is_equal) == (None, "not run: frozen", False)
    assert (model.note, model.is_equal) == ("", True)


def test_the_layers_of_two_runs_are_what_went_in_and_what_came_out() -> None:
    recipe = Recipe(_ME, Circumstances(), Outputs({"model": "1"}))
    layers = layers_of(recipe, replace(recipe, outputs=Outputs({"model": "2"})))
    assert [layer.name for layer in layers] == [*_IDENTITY, "model"]
    assert first_divergence(layers) == "model"
