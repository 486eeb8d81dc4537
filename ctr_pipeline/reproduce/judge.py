"""The verdict's rules, and the likely cause of the first divergence. Pure: values in, values out."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from ctr_pipeline.reproduce.layers import ROUNDED, first_divergence
from ctr_pipeline.reproduce.verdict import Circumstance, Difference, Layer, Verdict

# Which differences can move a layer, the likeliest first; what is not named here can be moved by all of them.
_MOVERS: Final = {
    "split": ("data", "settings", "code", "clock", "environment"),
    "encoder": ("settings", "code", "data", "environment", "clock"),
    "booster": ("environment", "settings", "code", "data", "clock"),
    "model": ("environment", "settings", "code", "data", "clock"),
}
_ANY: Final = ("code", "environment", "data", "settings", "clock")
# Circumstances that can move results although they should not, the packages that no lock names first.
_PACKAGE: Final = "package "
_SUSPECTS: Final = (_PACKAGE, "cpu", "gpus", "platform", "n_cores", "variables.", "timezone", "image_digest")
_MOST: Final = 6
# So many packages at most stand before the other circumstances.
_MOST_PACKAGES: Final = 3


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that a verdict rests on.

    Attributes:
        layers: with both digests.
        differences: what went in and is not the same.
        circumstances: that differ.
        rounded: whether predictions and metrics differ by rounding only, while the margins are the same bits.
        inside_band: whether all differences are inside the noise band; None where it was not measured, or nothing can
            be compared with it.
        new_data: whether other data were asked for and given.
        same_recipe: whether the recipe digests are equal: all that decides, also what no layer shows.
    """

    layers: tuple[Layer, ...]
    differences: tuple[Difference, ...]
    circumstances: tuple[Circumstance, ...] = ()
    rounded: bool = False
    inside_band: bool | None = None
    new_data: bool = False
    same_recipe: bool = True


@dataclass(frozen=True, slots=True)
class Finding:
    """A verdict with its reason.

    Attributes:
        verdict: the answer.
        first_divergence: the first output layer that differs.
        cause: the likely cause in one line; None where nothing differs.
        reason: the verdict's reason in one line.
    """

    verdict: Verdict
    first_divergence: str | None
    cause: str | None
    reason: str


def decide(evidence: Evidence) -> Finding:
    """Return the verdict of the evidence."""
    layers = evidence.layers
    first = first_divergence(layers)
    went_in = _joined(evidence.differences)
    if evidence.new_data:
        return Finding(Verdict.NEW_DATA, first, went_in, f"run on other data: {went_in or 'see the layers'}")
    if first is None:
        return _of_equal_outputs(evidence, went_in)
    cause = _cause(first, evidence)
    if evidence.rounded and all(layer.name in ROUNDED for layer in layers if _differs(layer)):
        reason = f"the margins are the same bits; {first} differ in the last digits of log and exp: {cause}"
        return Finding(Verdict.EQUIVALENT, first, cause, reason)
    if evidence.inside_band:
        reason = f"{first} is the first layer that differs ({cause}), and every difference is inside the noise band"
        return Finding(Verdict.EQUIVALENT, first, cause, reason)
    reason = f"{first} is the first layer that differs: {cause}{_equal_after(first, layers)}"
    return Finding(Verdict.DIVERGED, first, cause, reason)


def _of_equal_outputs(evidence: Evidence, went_in: str) -> Finding:
    layers = evidence.layers
    if not any(layer.part == "output" for layer in layers):
        return Finding(Verdict.DIVERGED, None, went_in or None, "no output is known, so nothing is proven")
    if evidence.same_recipe and all(layer.is_equal for layer in layers):
        packages = [item for item in evidence.circumstances if item.name.startswith(_PACKAGE)]
        beside = f"; packages that do not decide differ: {_told(packages, _MOST_PACKAGES)}" if packages else ""
        return Finding(Verdict.IDENTICAL, None, None, f"what went in and all that came out are the same{beside}")
    cause = went_in or "the identity differs; see the layers"
    return Finding(Verdict.EQUIVALENT, None, cause, f"all outputs are equal although {cause}")


def _differs(layer: Layer) -> bool:
    return layer.part == "output" and not layer.is_equal


def _cause(first: str, evidence: Evidence) -> str:
    movers = _MOVERS.get(first.partition(".")[0], _ANY)
    named = sorted(evidence.differences, key=lambda difference: _place(difference.layer, movers))
    inputs = "" if evidence.layers and first.startswith("split") else _equal_before(first, evidence.layers)
    if named:
        return _joined(named) + inputs
    around = [item for item in evidence.circumstances if item.name.startswith(_SUSPECTS)]
    if around:
        packages = [item for item in around if item.name.startswith(_PACKAGE)]
        others = [item for item in around if item not in packages]
        ordered = [*packages[:_MOST_PACKAGES], *others, *packages[_MOST_PACKAGES:]]
        return f"nothing that is recorded as deciding differs, but around it: {_told(ordered, _MOST)}{inputs}"
    return f"nothing that is recorded differs: chance that no seed governs, or something unrecorded{inputs}"


def _equal_before(first: str, layers: Sequence[Layer]) -> str:
    """Return in words which outputs before the first divergence are equal."""
    outputs = [layer.name for layer in layers if layer.part == "output"]
    before = outputs[: outputs.index(first)] if first in outputs else []
    return f" ({', '.join(before)} identical)" if before else ""


def _equal_after(first: str, layers: Sequence[Layer]) -> str:
    """Return in words that the model and what it predicts are the same, where only its rows are not."""
    after = {
        layer.name: layer.is_equal for layer in layers if layer.part == "output" and not layer.name.startswith("split")
    }
    is_same = first.startswith("split") and bool(after) and all(after.values())
    return "; the model, its predictions and metrics are equal nevertheless" if is_same else ""


def _place(layer: str, movers: Sequence[str]) -> int:
    return movers.index(layer) if layer in movers else len(movers)


def _told(circumstances: Sequence[Circumstance], most: int) -> str:
    return _bounded([f"{item.name} {item.original} -> {item.again}" for item in circumstances], most)


def _joined(differences: Sequence[Difference]) -> str:
    return _bounded([difference.what for difference in differences], _MOST)


def _bounded(words: Sequence[str], most: int) -> str:
    shown, more = "; ".join(words[:most]), len(words) - most
    return f"{shown}; and {more} more" if more > 0 else shown
