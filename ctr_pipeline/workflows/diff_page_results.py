"""What a comparison's page shows of results: metrics, calibration, curves, importance."""

from collections.abc import Iterable, Iterator
from typing import Final

from ctr_pipeline.report.blocks import Block, Cell, Column, Content, Figure, Figures, Note, Table, Tone
from ctr_pipeline.report.figures import CalibrationPoint, Curve, IntervalRow, calibration, curves, intervals, told
from ctr_pipeline.report.numbers import NONE, between, counted, figure, signed, signed_between
from ctr_pipeline.workflows.diff_parts import Change, CurveView, ImportanceChange, Letter, MetricChange, Pairing
from ctr_pipeline.workflows.diff_view import RunDiff
from ctr_pipeline.workflows.run_view import EstimateView

FINDINGS: Final[dict[str | None, tuple[str, Tone | None]]] = {
    "better": ("B is better", "good"),
    "worse": ("B is worse", "bad"),
    "moved": ("differs", "warn"),
    "unclear": ("within chance", "quiet"),
    "equal": ("equal", "quiet"),
    None: ("", None),
}
# What the figure shows: metrics whose relative difference says something.
_DRAWN: Final = (
    "logloss", "normalized_entropy", "normalized_entropy_recalibrated", "auc", "grouped_auc", "pr_auc", "calibration",
    "ece",
)  # fmt: skip
_SHORT: Final = {"normalized_entropy": "norm. entropy", "normalized_entropy_recalibrated": "… recalibrated"}
_MOST_FEATURES: Final = 12
_LETTERS: Final[tuple[Letter, Letter]] = ("a", "b")


def pairing_text(pairing: Pairing) -> str:
    """Say how the differences' intervals were made."""
    drawn = f"{counted(pairing.n_units, pairing.unit)}, {counted(pairing.n_replicates, 'replicate')}"
    text = f"{pairing.level:.0%} intervals of the difference: a paired bootstrap over {drawn}."
    return f"{text} Note: {pairing.note}." if pairing.note else text


def metric_blocks(diff: RunDiff) -> Iterator[Block]:
    """Yield the metrics' table and figures."""
    metrics = diff.metrics
    if metrics.unavailable is not None:
        yield Note(metrics.unavailable, "warn")
    if not metrics.metrics:
        return
    if metrics.unpaired is not None:
        yield Note(f"Not paired: {metrics.unpaired}. Each run's own intervals stand side by side.", "warn")
    yield _paired_table(metrics.metrics) if metrics.pairing else _own_table(metrics.metrics, metrics.level)
    if metrics.pairing is not None:
        yield Note(pairing_text(metrics.pairing), "warn" if metrics.pairing.note else "quiet")
    figures = (*_forest(diff), *_calibration(diff))
    if figures:
        yield Figures(figures)


def _paired_table(changes: Iterable[MetricChange]) -> Table:
    headings = (
        Column("metric"), Column("finding"), Column("", "right", "a"), Column("", "right", "b"),
        Column("difference", "right"), Column("interval"),
    )  # fmt: skip
    return Table("Metrics of the test rows", headings, tuple(_paired_row(change) for change in changes))


def _paired_row(change: MetricChange) -> tuple[Content, ...]:
    word, tone = FINDINGS[change.finding]
    return (
        Cell(change.name, "code"),
        Cell(word, "number", tone) if word else Cell(change.reason or NONE, tone="quiet"),
        Cell(_value(change.a), "number"),
        Cell(_value(change.b), "number"),
        Cell(signed(change.delta), "number"),
        Cell(signed_between(change.low, change.high), "number"),
    )


def _own_table(changes: Iterable[MetricChange], level: float | None) -> Table:
    headings = (
        Column("metric"), Column("", "right", "a"), Column("interval", mark="a"), Column("", "right", "b"),
        Column("interval", mark="b"), Column("difference", "right"),
    )  # fmt: skip
    rows = tuple(
        (
            Cell(change.name, "code"),
            Cell(_value(change.a), "number"),
            Cell(_own(change.a), "number"),
            Cell(_value(change.b), "number"),
            Cell(_own(change.b), "number"),
            Cell(signed(change.delta), "number"),
        )
        for change in changes
    )
    return Table(f"Metrics of each run's own test rows, with {level or 0:.0%} intervals", headings, rows)


def _value(estimate: EstimateView | None) -> str:
    return NONE if estimate is None else figure(estimate.value)


def _own(estimate: EstimateView | None) -> str:
    return "" if estimate is None else between(estimate.low, estimate.high)


def _forest(diff: RunDiff) -> Iterator[Figure]:
    changes = [change for change in diff.metrics.metrics if change.name in _DRAWN]
    if diff.metrics.pairing is not None:
        rows = list(_relative(changes))
        label, zero = "difference in % of A's value", "no difference"
        caption = "B relative to A, with its paired interval. Filled: the interval leaves out zero."
    else:
        rows = list(_both(changes))
        label, zero = "in % of A's value, each with its own interval", None
        caption = "Both runs' own estimates, each on its own test rows, in percent of A's value."
    if rows:
        svg = intervals("metrics", rows, label, zero=zero)
        yield Figure(svg, caption, f"Interval plot, in percent of A's value. {told(rows)}")


def _relative(changes: Iterable[MetricChange]) -> Iterator[IntervalRow]:
    for change in changes:
        base = abs(change.a.value) if change.a and change.a.value else 0.0
        if base and change.delta is not None:
            low, high = (None if end is None else 100 * end / base for end in (change.low, change.high))
            yield IntervalRow(_SHORT.get(change.name, change.name), 100 * change.delta / base, low, high)


def _both(changes: Iterable[MetricChange]) -> Iterator[IntervalRow]:
    for change in changes:
        base = abs(change.a.value) if change.a and change.a.value else 0.0
        for mark, estimate in zip(_LETTERS, (change.a, change.b), strict=True):
            if base and estimate and estimate.value is not None:
                low, high = (None if end is None else 100 * end / base for end in (estimate.low, estimate.high))
                name = _SHORT.get(change.name, change.name)
                yield IntervalRow(name, 100 * estimate.value / base, low, high, mark)


def _calibration(diff: RunDiff) -> Iterator[Figure]:
    bins: list[tuple[Letter, list[CalibrationPoint]]] = [
        (mark, [CalibrationPoint(b.prediction, b.rate, b.low, b.high) for b in diff.calibration if b.run == mark])
        for mark in _LETTERS
    ]
    drawn = [(mark, points) for mark, points in bins if points]
    if drawn:
        words = "; ".join(
            f"{mark.upper()}: {len(points)} bins, from {points[0].rate:.2%} clicks at {points[0].prediction:.2%} "
            f"predicted to {points[-1].rate:.2%} at {points[-1].prediction:.2%}"
            for mark, points in drawn
        )
        caption = "Calibration on the test rows, in bins of equal size. On the dotted line, as many click as predicted."
        yield Figure(calibration("calibration", drawn), caption, f"Calibration plot. {words}")


def training_blocks(diff: RunDiff) -> Iterator[Block]:
    """Yield the training's facts, curves and importance."""
    training = diff.training
    if training.unavailable is not None:
        yield Note(training.unavailable, "warn")
    if training.facts:
        yield _facts(training.facts)
    figures = tuple(_curves(training.curves))
    if figures:
        yield Figures(figures)
    if training.importance:
        yield _importance(training.importance)


def _facts(changes: Iterable[Change]) -> Table:
    rows = tuple((Cell(c.name, "code"), *(Cell(v or NONE, "code") for v in (c.a, c.b))) for c in changes)
    return Table("Rounds and what XGBoost was told", (Column(""), Column("", mark="a"), Column("", mark="b")), rows)


def _curves(views: Iterable[CurveView]) -> Iterator[Figure]:
    kept = tuple(view for view in views if view.values)
    for dataset in dict.fromkeys(view.dataset for view in kept):
        drawn = [Curve(view.run, view.values, view.best_round) for view in kept if view.dataset == dataset]
        words = "; ".join(
            f"{curve.mark.upper()} from {figure(curve.values[0])} to {figure(curve.values[-1])} in "
            f"{counted(len(curve.values), 'round')}"
            for curve in drawn
        )
        caption = f"Logloss of the {dataset} rows by round. The point marks the best round, whose model was kept."
        yield Figure(curves(f"curves-{dataset}", drawn, f"{dataset} logloss"), caption, f"Curves. {words}")


def _importance(changes: tuple[ImportanceChange, ...]) -> Table:
    shown = changes[:_MOST_FEATURES]
    rows = tuple(
        (Cell(c.feature, "code"), *(Cell(NONE if v is None else f"{v:.1%}", "number") for v in (c.a, c.b)))
        for c in shown
    )
    more = f"; the first {len(shown)} of {len(changes)}" if len(changes) > len(shown) else ""
    headings = (Column("feature"), Column("", "right", "a"), Column("", "right", "b"))
    return Table(f"Share of the total gain by feature{more}", headings, rows)
