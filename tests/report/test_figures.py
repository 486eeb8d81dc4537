"""Figures: deterministic, in the page's colours, safe, and told in words."""

import re

import pytest

from ctr_pipeline.report.figures import CalibrationPoint, Curve, IntervalRow, calibration, curves, intervals, told

HOSTILE = "$x^2$ </svg><script>alert(1)</script>"


def lines(label: str = "validation logloss") -> str:
    return curves("c", [Curve("a", [0.5, 0.4, 0.35], 2), Curve("b", [0.6, 0.3], 7), Curve("b", [0.2])], label)


def rows(name: str = "auc") -> list[IntervalRow]:
    return [
        IntervalRow(name, 1.0, 0.5, 1.5),
        IntervalRow("logloss", -0.2, -0.5, 0.1),
        IntervalRow("ece", 0.1, None, None),
        IntervalRow("lift", 2.0, 1.0, 3.0, "a"),
        IntervalRow("lift", 2.5, 1.0, 3.0, "b"),
    ]


def points() -> str:
    bins = [CalibrationPoint(0.1, 0.12, 0.05, 0.2), CalibrationPoint(0.3, 0.25, 0.2, 0.32)]
    return calibration("p", [("a", bins), ("b", bins[:1])])


@pytest.mark.parametrize(
    "draw",
    [lines, lambda: intervals("i", rows(), "difference"), lambda: intervals("i", rows(), "x", zero="none"), points],
    ids=["curves", "intervals", "intervals-zero", "calibration"],
)
def test_the_same_drawing_gives_the_same_bytes_in_the_pages_colours(draw: "type[str]") -> None:
    drawn = draw()
    assert drawn == draw()
    assert drawn.startswith('<svg viewBox="0 0 420 ')
    assert "var(--a)" in drawn
    colours = set(re.findall(r"#[0-9a-f]{6}\b", drawn))
    assert colours == set()
    assert not re.search(r"<metadata|<style|font-family|<g id=|\d{4}-\d\d-\d\d", drawn)


def test_figures_of_one_page_share_no_ids() -> None:
    first, second = (set(re.findall(r' id="([^"]+)"', curves(name, [Curve("a", [1.0, 2.0], 1)], "x"))) for name in "ab")
    assert first
    assert first & second == set()


def test_a_hostile_name_is_text_and_no_formula() -> None:
    drawn = intervals("i", rows(HOSTILE), HOSTILE)
    assert "<script" not in drawn
    assert "&lt;script&gt;" in drawn
    assert "$x^2$" in drawn
    assert "<script" not in lines(HOSTILE)


def test_a_plot_of_intervals_is_told_in_words() -> None:
    assert told(rows()) == (
        "auc +1, +0.5 to +1.5; logloss −0.2, −0.5 to +0.1; ece +0.1; lift of A 2, +1 to +3; lift of B 2.5, +1 to +3"  # noqa: RUF001 - the minus sign
    )


def test_a_run_that_predicts_nothing_can_be_drawn() -> None:
    zero = [CalibrationPoint(0.0, 0.0, 0.0, 0.0)]
    assert calibration("z", [("a", zero)]).startswith("<svg")
