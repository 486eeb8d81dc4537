"""A run's layers with their digests, in the order in which they are made."""

from collections.abc import Mapping
from typing import Final

from ctr_pipeline.reproduce.verdict import Layer
from tracking.recipe import Identity, Recipe

MARGINS: Final = "margins"
# The note of a layer that a frozen model leaves without use.
UNUSED: Final = "not used: frozen"
# Made of the margins with log and exp, whose last bits differ between processors.
ROUNDED: Final = ("predictions", "metrics")
_OUTPUTS: Final = (
    "split.train",
    "split.validation",
    "split.test",
    "encoder",
    "booster",
    "model",
    MARGINS,
    *ROUNDED,
)


def identity_layers(before: Identity, after: Identity) -> tuple[Layer, ...]:
    """Return what goes into a run: code, environment, data, settings, clock."""
    pairs = (
        ("code", before.code_digest, after.code_digest),
        ("environment", before.lock_digest, after.lock_digest),
        ("python", before.python_version, after.python_version),
        ("data", before.data_digest, after.data_digest),
        ("settings", before.settings_digest, after.settings_digest),
        ("clock", before.as_of or "none", after.as_of or "none"),
    )
    return tuple(Layer(name, "identity", original, again) for name, original, again in pairs)


def output_layers(before: Mapping[str, str], after: Mapping[str, str], missing: str = "") -> tuple[Layer, ...]:
    """Return what comes out of a run.

    Args:
        before: the original's digests by layer.
        after: the re-run's.
        missing: why the re-run may lack some.
    """
    known = before.keys() | after.keys()
    names = [*(name for name in _OUTPUTS if name in known), *sorted(known - set(_OUTPUTS))]
    return tuple(
        Layer(name, "output", before.get(name), after.get(name), "" if name in before and name in after else missing)
        for name in names
    )


def layers_of(before: Recipe, after: Recipe, missing: str = "") -> tuple[Layer, ...]:
    """Return all layers of two runs."""
    outputs = output_layers(before.outputs.layers, after.outputs.layers, missing)
    return (*identity_layers(before.identity, after.identity), *outputs)


def first_divergence(layers: tuple[Layer, ...]) -> str | None:
    """Return the first output layer that is not the same; None where all are.

    A layer that a frozen model leaves without use is none of them.
    """
    used = (layer for layer in layers if layer.part == "output" and layer.note != UNUSED)
    return next((layer.name for layer in used if not layer.is_equal), None)
