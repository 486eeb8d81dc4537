"""The pipeline as data: steps, what each reads, what each leaves. Knows no engine."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

DATA_INPUT: Final = "data"


@dataclass(frozen=True, slots=True)
class StepSpec:
    """A step of the pipeline.

    Attributes:
        name: unique in the pipeline.
        module: started as `python -m MODULE`, over job contract v1.
        inputs: by channel, the step whose output it reads, or `data` for the pinned impressions.
        uses_device: whether the step computes on `train.device`.
    """

    name: str
    module: str
    inputs: Mapping[str, str]
    uses_device: bool = False


PREPROCESS: Final = StepSpec("preprocess", "ctr_pipeline.steps.preprocess", {"data": DATA_INPUT})
TRAIN: Final = StepSpec("train", "ctr_pipeline.steps.train", {"splits": "preprocess"}, uses_device=True)
EVALUATE: Final = StepSpec("evaluate", "ctr_pipeline.steps.evaluate", {"splits": "preprocess", "model": "train"})

# In an order in which every step comes behind those that it reads.
PIPELINE: Final = (PREPROCESS, TRAIN, EVALUATE)
