"""The kinds of values that settings hold, each with its rule, and what all their sections have in common."""

import re
from collections.abc import Callable
from typing import Annotated, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from tracking.times import duration_us, instant_us, positive_duration_us

_CALLABLE: Final = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
_METRIC_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]*")


def _parsed_by(parse: Callable[[str], int]) -> AfterValidator:
    def check(text: str) -> str:
        parse(text)
        return text

    return AfterValidator(check)


def _like(pattern: re.Pattern[str], rule: str) -> AfterValidator:
    def check(text: str) -> str:
        if not pattern.fullmatch(text):
            raise ValueError(rule)
        return text

    return AfterValidator(check)


type Duration = Annotated[str, _parsed_by(duration_us)]
type PositiveDuration = Annotated[str, _parsed_by(positive_duration_us)]
type Instant = Annotated[str, _parsed_by(instant_us)]
type FunctionName = Annotated[str, _like(_CALLABLE, "must name a function as module:function, such as own.bands:add")]
type MetricName = Annotated[str, _like(_METRIC_NAME, "must be a letter, then letters, digits or _")]
type Rate = Annotated[float, Field(ge=0, le=1)]


class Section(BaseModel):
    """A group of keys: frozen, and unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")
