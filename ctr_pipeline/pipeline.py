"""The pipeline as data: steps, what each reads, what each leaves. Knows no engine."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

DATA_INPUT: Final = "data"
# A channel of preprocess: a finished model that is only to be tested, so that nothing is fitted.
FROZEN_INPUT: Final = "frozen"


@dataclass(frozen=True, slots=True)
class StepSpec:
    """A step of the pipeline.

    Attributes:
        name: unique in the pipeline.
        module: started as `python -m MODULE`, over job contract v1.
        inputs: by channel, the step whose output it reads, or `data` for the pinned impressions.
        uses_device: whether the step computes on `train.device`.
        settings: dotted keys of the settings that its output or its items follow from; a section stands for all in it.
        checks: of those that it only looks at, to refuse early what a later step would.
        functions: of its settings, those that name a team's own functions.
    """

    name: str
    module: str
    inputs: Mapping[str, str]
    uses_device: bool = False
    settings: tuple[str, ...] = ()
    checks: tuple[str, ...] = ()
    functions: tuple[str, ...] = ()


# Settings that no step's output follows from: how a step uses the machine.
CIRCUMSTANTIAL: Final = ("runtime",)

PREPROCESS: Final = StepSpec(
    "preprocess",
    "ctr_pipeline.steps.preprocess",
    {"data": DATA_INPUT},
    settings=("as_of", "data.uri", "data.columns", "split", "features"),
    checks=("evaluate.metrics", "evaluate.slices", "train.monotone"),
    functions=("features.custom",),
)
TRAIN: Final = StepSpec(
    "train",
    "ctr_pipeline.steps.train",
    {"splits": "preprocess"},
    uses_device=True,
    settings=("seed", "as_of", "data.columns", "split", "features", "train", "tracking.model_name"),
    functions=("features.custom",),
)
EVALUATE: Final = StepSpec(
    "evaluate",
    "ctr_pipeline.steps.evaluate",
    {"splits": "preprocess", "model": "train"},
    settings=("seed", "data.columns", "features.custom", "train.click_weight", "evaluate"),
    functions=("features.custom", "evaluate.metrics"),
)

# In an order in which every step comes behind those that it reads.
PIPELINE: Final = (PREPROCESS, TRAIN, EVALUATE)
