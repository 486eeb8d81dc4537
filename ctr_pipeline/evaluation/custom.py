"""A team's own metrics: functions named `module:function` in the settings.

The contract: `function(label, probability, weight) -> float`, with labels 0 or 1 and predicted probabilities of shape
(n,), and weights of the same shape or None. In a bootstrap replicate the weights are whole numbers, 0 among them: a row
counts so many times. Where the metric is undefined for such weights the function returns nan; the replicate is then
left out.
"""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Real
from typing import Final, Self

from ctr_pipeline.evaluation.scored import Bits, Floats
from ctr_pipeline.features.custom import load_function
from tracking.errors import InputError

# What a team's function returns is only known once it has returned.
type MetricFunction = Callable[[Bits, Floats, Floats | None], object]

_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]*")


@dataclass(frozen=True, slots=True)
class CustomMetric:
    """An own metric.

    Attributes:
        name: key in the scorecard: letters, digits and _.
        function: see the module's contract.
    """

    name: str
    function: MetricFunction

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise InputError(
                f"own metric's name == {self.name!r}, must be a letter, then letters, digits or _; rename it"
            )

    @classmethod
    def load(cls, name: str, reference: str) -> Self:
        """Import the function that `reference` names.

        Args:
            name: key in the scorecard.
            reference: `module:function`.

        Raises:
            InputError: there is no such module or function.
        """
        return cls(name, load_function(f"own metric {name}", reference))

    def value(self, label: Bits, probability: Floats) -> float:
        """Return the metric of the rows as they are.

        Raises:
            InputError: the function failed or did not return a finite number.
        """
        value = self._call(label, probability, None)
        if not math.isfinite(value):
            raise InputError(
                f"own metric {self.name} == {value}, must be finite on the evaluated rows; mend the function"
            )
        return value

    def weighted(self, label: Bits, probability: Floats, weight: Floats) -> float:
        """Return the metric of a bootstrap replicate; nan or infinite where it is undefined there.

        Raises:
            InputError: the function failed or did not return a number.
        """
        return self._call(label, probability, weight)

    def _call(self, label: Bits, probability: Floats, weight: Floats | None) -> float:
        try:
            value = self.function(label, probability, weight)
        except Exception as error:  # a team's own code may raise anything; the user gets one line all the same
            told = " ".join(str(error).split())
            raise InputError(
                f"own metric {self.name} failed ({type(error).__name__}: {told}), must return a float, "
                "nan where undefined; mend the function"
            ) from error
        # numpy's scalars are registered as real numbers; a bool is none that anybody means.
        if isinstance(value, bool) or not isinstance(value, Real):
            raise InputError(f"own metric {self.name} == {value!r}, must be a float; mend the function's return value")
        return float(value)
