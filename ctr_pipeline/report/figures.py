"""The figures of a comparison: curves laid over each other, intervals under each other, calibration.

Two runs are told apart by colour, by dash or shape, and by the letters A and B beside them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from ctr_pipeline.report.numbers import figure, signed, signed_between
from ctr_pipeline.report.svg import INK, PAPER, RULE, SOFT, A, B, draw

if TYPE_CHECKING:
    from matplotlib.axes import Axes

type Mark = Literal["a", "b"]

_COLOURS: Final = {"a": A, "b": B}
_SHAPES: Final = {"a": "o", "b": "D"}
_CURVES_HEIGHT: Final = 270
_CALIBRATION_HEIGHT: Final = 330
_ROW: Final = 30
_SMALL: Final = 9.5


@dataclass(frozen=True, slots=True)
class Curve:
    """A figure by boosting round, from round 1 on; `best_round` is marked where it is known."""

    mark: Mark
    values: Sequence[float]
    best_round: int | None = None


@dataclass(frozen=True, slots=True)
class IntervalRow:
    """A point with its interval under a name; the ends are None where there is no interval."""

    name: str
    value: float
    low: float | None
    high: float | None
    mark: Mark | None = None


@dataclass(frozen=True, slots=True)
class CalibrationPoint:
    """Mean prediction and click rate of a bin, 0 to 1, with the rate's interval."""

    prediction: float
    rate: float
    low: float
    high: float


def curves(name: str, drawn: Sequence[Curve], label: str) -> str:
    """Draw the curves of two runs over each other.

    Args:
        name: of the figure, unique in its page.
        drawn: curves with at least one round each.
        label: what is measured.
    """

    def paint(axes: "Axes") -> None:
        longest = max(len(curve.values) for curve in drawn)
        for curve in drawn:
            colour = _COLOURS[curve.mark]
            rounds = range(1, len(curve.values) + 1)
            dashes = "-" if curve.mark == "a" else (0, (4, 2))
            axes.plot(rounds, curve.values, color=colour, linewidth=1.7, linestyle=dashes)
            if curve.best_round is not None and curve.best_round <= len(curve.values):
                best = curve.values[curve.best_round - 1]
                marker = _SHAPES[curve.mark]
                axes.plot([curve.best_round], [best], color=colour, marker=marker, markersize=6, markeredgecolor=PAPER)
            axes.annotate(
                curve.mark.upper(),
                (len(curve.values), curve.values[-1]),
                xytext=(6, 5 if curve.mark == "a" else -5),
                textcoords="offset points",
                color=colour,
                fontweight="bold",
                va="center",
            )
        axes.set_xlim(1, max(longest, 2) * 1.05)
        axes.set_xlabel("boosting round")
        axes.set_title(label, loc="left", fontsize=11, color=INK)
        axes.grid(visible=False, axis="x")
        axes.locator_params(axis="x", integer=True, nbins=6)
        axes.locator_params(axis="y", nbins=6)
        axes.spines["left"].set_visible(False)

    return draw(name, _CURVES_HEIGHT, paint)


def intervals(name: str, rows: Sequence[IntervalRow], label: str, *, zero: str | None = None) -> str:
    """Draw intervals under each other, a row for each name; rows of one name share it.

    Args:
        name: of the figure, unique in its page.
        rows: at least one.
        label: of the axis.
        zero: what the line at zero means; None draws none.
    """
    names = list(dict.fromkeys(row.name for row in rows))

    def paint(axes: "Axes") -> None:
        if zero is not None:
            axes.axvline(0, color=SOFT, linewidth=1)
        for row in rows:
            place = names.index(row.name) + {None: 0.0, "a": -0.17, "b": 0.17}[row.mark]
            _paint_interval(axes, row, place)
        axes.set_yticks(range(len(names)), names)
        axes.set_ylim(len(names) - 0.4, -0.6)
        axes.tick_params(axis="y", labelcolor=INK)
        axes.grid(visible=False, axis="y")
        axes.locator_params(axis="x", nbins=6)
        axes.spines["left"].set_visible(False)
        axes.set_xlabel(label)

    return draw(name, 60 + _ROW * len(names), paint)


def _paint_interval(axes: "Axes", row: IntervalRow, place: float) -> None:
    colour = INK if row.mark is None else _COLOURS[row.mark]
    # Filled where the interval leaves zero out, hollow where it does not: no colour is needed to tell.
    clear = row.mark is not None or (row.low is not None and row.high is not None and not row.low <= 0 <= row.high)
    if row.low is not None and row.high is not None:
        axes.plot([row.low, row.high], [place, place], color=colour, linewidth=2.2 if clear else 1.4)
    axes.plot(
        [row.value],
        [place],
        marker=_SHAPES.get(row.mark or "a"),
        markersize=7,
        color=colour,
        markerfacecolor=colour if clear else PAPER,
        markeredgewidth=1.4,
    )


def calibration(name: str, points: Sequence[tuple[Mark, Sequence[CalibrationPoint]]]) -> str:
    """Draw click rates over mean predictions of two runs, with the line of perfect calibration.

    Args:
        name: of the figure, unique in its page.
        points: each run's, at least one in all.
    """

    def paint(axes: "Axes") -> None:
        drawn = [point for _, bins in points for point in bins]
        right = max(point.prediction for point in drawn) * 1.06 or 1.0
        top = max(right, *(point.high for point in drawn)) * 1.02
        axes.plot([0, right], [0, right], color=SOFT, linewidth=1, linestyle=(0, (1, 2)))
        for mark, bins in points:
            x, y = [point.prediction for point in bins], [point.rate for point in bins]
            colour = _COLOURS[mark]
            axes.fill_between(x, [p.low for p in bins], [p.high for p in bins], color=colour, alpha=0.11, linewidth=0)
            dashes = "-" if mark == "a" else (0, (4, 2))
            axes.plot(x, y, color=colour, linewidth=1.1, linestyle=dashes, alpha=0.6)
            axes.plot(x, y, color=colour, linestyle="", marker=_SHAPES[mark], markersize=5, markeredgecolor=PAPER)
            axes.annotate(
                mark.upper(), (x[-1], y[-1]), xytext=(7, 0), textcoords="offset points", color=colour, va="center",
                fontweight="bold",
            )  # fmt: skip
        axes.set_xlim(0, right)
        axes.set_ylim(0, top)
        axes.set_xlabel("mean prediction of a bin")
        axes.set_title("click rate seen", loc="left", fontsize=11, color=INK)
        axes.locator_params(nbins=6)
        axes.grid(color=RULE)
        for side in ("left", "bottom"):
            axes.spines[side].set_visible(False)

    return draw(name, _CALIBRATION_HEIGHT, paint)


def told(rows: Sequence[IntervalRow]) -> str:
    """Return what an interval plot shows, in words."""
    parts = (
        f"{row.name}{f' of {row.mark.upper()}' if row.mark else ''} "
        + (signed(row.value) if row.mark is None else figure(row.value))
        + (f", {signed_between(row.low, row.high)}" if row.low is not None else "")
        for row in rows
    )
    return "; ".join(parts)
