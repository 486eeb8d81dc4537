"""Numbers as people read them."""

import pytest

from ctr_pipeline.report.numbers import between, count, counted, figure, short, signed, signed_between


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), (0.0, "0"), (0.00123456, "+0.00123"), (-0.5, "−0.5"), (-1987.0, "−1,987"), (200.0, "+200")],  # noqa: RUF001 - dash and minus sign
    ids=["none", "zero", "small", "negative", "large", "whole"],
)
def test_a_difference_has_its_sign(value: float | None, text: str) -> None:
    assert signed(value) == text


def test_an_interval_without_ends_is_empty() -> None:
    assert (between(None, 1.0), signed_between(0.0, None)) == ("", "")
    assert between(0.02468, 0.04282) == "0.02468 to 0.04282"
    assert signed_between(-0.1, 0.2) == "−0.1 to +0.2"  # noqa: RUF001 - the minus sign


def test_figures_counts_and_digests_are_short() -> None:
    assert (figure(0.123456789), figure(None)) == ("0.12346", "–")  # noqa: RUF001 - a dash
    assert (count(1234567), count(None)) == ("1,234,567", "–")  # noqa: RUF001 - a dash
    assert (short("0123456789abcdef"), short(None)) == ("0123456789ab", "–")  # noqa: RUF001 - a dash
    assert (counted(1, "file"), counted(2, "file"), counted(2, "entry", "entries")) == (
        "1 file",
        "2 files",
        "2 entries",
    )
