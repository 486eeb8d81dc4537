import sys
from pathlib import Path
from typing import cast

import numpy as np
import pytest

from ctr_pipeline.evaluation.custom import CustomMetric, MetricFunction
from ctr_pipeline.evaluation.metrics import log_loss
from ctr_pipeline.evaluation.scored import Bits, Floats
from tracking.errors import InputError

LABEL, PROBABILITY = np.array([1, 0], dtype=np.uint8), np.array([0.75, 0.25])


def _always(value: object) -> MetricFunction:
    def metric(label: Bits, probability: Floats, weight: Floats | None) -> object:
        return value

    return metric


def _failing(label: Bits, probability: Floats, weight: Floats | None) -> float:
    raise ZeroDivisionError("no clicks\nat all")


def _unweighted(label: Bits, probability: Floats) -> float:
    return 1.0


@pytest.fixture
def own_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module beside the settings, as a team would write it."""
    name = "own_metrics_of_a_team"
    (tmp_path / f"{name}.py").write_text(
        "NUMBER = 3\n\n\ndef hits(label, probability, weight):\n    return ((probability > 0.5) == label).mean()\n",
        encoding="utf-8",
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, name, raising=False)
    return name


def test_an_own_metric_is_found_by_module_and_function(own_module: str) -> None:
    metric = CustomMetric.load("hit_rate", f"{own_module}:hits")
    assert metric.value(LABEL, PROBABILITY) == 1.0


def test_a_metric_of_ours_keeps_the_contract() -> None:
    metric = CustomMetric.load("own_loss", "ctr_pipeline.evaluation.metrics:log_loss")
    assert metric.value(LABEL, PROBABILITY) == log_loss(LABEL, PROBABILITY)
    weight = np.array([2.0, 0.0])
    assert metric.weighted(LABEL, PROBABILITY, weight) == log_loss(LABEL, PROBABILITY, weight)


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("hits", r"^own metric m == 'hits', must be module:function; name both$"),
        (":hits", r"^own metric m == ':hits', must be module:function; name both$"),
        ("no.such.module:hits", r"^own metric m == 'no.such.module:hits', its module must be importable \(No module"),
        ("own_metrics_of_a_team:misses", r"^own metric m == .*, must name a function of own_metrics_of_a_team; define"),
        ("own_metrics_of_a_team:NUMBER", r"^own metric m == .*, must name a function of own_metrics_of_a_team; define"),
    ],
)
def test_a_function_that_is_not_there_is_refused(own_module: str, reference: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        CustomMetric.load("m", reference)


@pytest.mark.parametrize("name", ["", "my metric", "1st", "test.loss", "ö"])
def test_a_name_that_a_tracker_might_refuse_is_refused(name: str) -> None:
    with pytest.raises(InputError, match=r"^own metric's name == .*, must be a letter, then letters, digits or _"):
        CustomMetric(name, _always(0.0))


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (
            _always(float("nan")),
            r"^own metric m == nan, must be finite on the evaluated rows",
        ),
        (
            _always(float("inf")),
            r"^own metric m == inf, must be finite on the evaluated rows",
        ),
        (
            _always(None),
            r"^own metric m == None, must be a float; mend the function's return",
        ),
        (
            _always(True),
            r"^own metric m == True, must be a float; mend the function's return",
        ),
        (_failing, r"^own metric m failed \(ZeroDivisionError: no clicks at all\), must return a float, nan where"),
        (
            cast("MetricFunction", _unweighted),
            r"^own metric m failed \(TypeError: .*\), must return a float, nan where undef",
        ),
    ],
)
def test_what_is_no_finite_number_is_refused_in_one_line(function: MetricFunction, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        CustomMetric("m", function).value(LABEL, PROBABILITY)
    assert "\n" not in str(caught.value)


def test_a_number_of_numpy_is_a_float() -> None:
    assert CustomMetric("m", _always(np.float32(0.5))).value(LABEL, PROBABILITY) == 0.5


def test_a_replicate_may_be_undefined() -> None:
    metric = CustomMetric("m", _always(float("nan")))
    assert np.isnan(metric.weighted(LABEL, PROBABILITY, np.ones(2)))
