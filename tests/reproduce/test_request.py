"""What is asked of a reproduction must make sense; a verdict has one exit code and one meaning."""

import json
from pathlib import Path
from typing import Any, Final

import pytest

from ctr_pipeline.reproduce.request import Request
from ctr_pipeline.reproduce.verdict import Layer, MetricDifference, Verdict
from tests.reproduce.judgements import ALL, DIVERGED
from tracking.errors import InputError

_HERE: Final = Path()


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (
            {"use_current_data": True, "data": "latest"},
            r"^--use-current-data and --data latest exclude each other: .*give",
        ),
        (
            {"preprocess": "freeze"},
            r"^--preprocess freeze needs other data to score; give --data latest, a URI or a ver",
        ),
    ],
)
def test_wishes_that_contradict_each_other_are_refused_in_one_line(asked: dict[str, Any], told: str) -> None:
    with pytest.raises(InputError, match=told) as caught:
        Request("run", _HERE, **asked)
    assert "\n" not in str(caught.value)


def test_wishes_that_go_together_are_taken() -> None:
    assert Request("run", _HERE, data="latest", preprocess="freeze").preprocess == "freeze"
    assert Request("run", _HERE, use_current_data=True, overrides=("a=1",)).data is None


def test_every_verdict_has_an_exit_code_and_a_meaning() -> None:
    codes = {str(verdict): verdict.exit_code for verdict in Verdict}
    assert codes == {"IDENTICAL": 0, "EQUIVALENT": 3, "DIVERGED": 4, "CANNOT": 5, "NEW_DATA": 0}
    assert len({verdict.meaning for verdict in Verdict}) == len(Verdict)


@pytest.mark.parametrize("judgement", ALL, ids=lambda judgement: str(judgement.verdict))
def test_a_judgement_as_json_says_all_that_it_holds(judgement: Any) -> None:  # noqa: ANN401 - one of the module's
    record = json.loads(judgement.to_json())
    assert record == judgement.to_record()
    assert (record["format"], record["exit_code"]) == (1, judgement.verdict.exit_code)
    assert [layer["equal"] for layer in record["layers"]] == [layer.is_equal for layer in judgement.layers]


def test_deltas_are_told_with_the_metrics() -> None:
    metrics = {metric["name"]: metric["delta"] for metric in DIVERGED.to_record()["metrics"]}
    assert metrics["logloss"] == pytest.approx(0.01)
    assert MetricDifference("auc", None, 0.5).delta is None
    assert MetricDifference("auc", 0.5, None).delta is None


@pytest.mark.parametrize(("original", "again"), [(None, None), ("a", None), (None, "a"), ("a", "b")])
def test_only_layers_that_are_known_are_equal(original: str | None, again: str | None) -> None:
    assert not Layer("booster", "output", original, again).is_equal
    assert Layer("booster", "output", "a", "a").is_equal
