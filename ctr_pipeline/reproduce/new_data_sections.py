"""What a verdict's page says of other data: both runs' figures with their intervals, and the data's drift by column."""

from collections.abc import Iterator
from typing import Final

from ctr_pipeline.data.drift import LARGE, NOTABLE, ColumnDrift
from ctr_pipeline.report.blocks import Block, Cell, Column, Content, Details, Note, Section, Table, Tone
from ctr_pipeline.report.numbers import NONE, between, counted, figure, signed
from ctr_pipeline.reproduce.verdict import Estimated, EstimatePair, Judgement

_TONES: Final[dict[str, Tone]] = {"large": "bad", "notable": "warn", "small": "quiet"}
_NUMBER: Final = "right"


def new_data_sections(judgement: Judgement) -> tuple[Section, ...]:
    """Return the sections of a run on other data; without content where the run's own data were used."""
    return (
        Section(
            "Then and now",
            tuple(_estimates(judgement.estimates)),
            aside="The same figures on each run's own test rows: intervals that are apart differ by more than chance.",
        ),
        Section(
            "Data drift",
            tuple(_drift(judgement.drift)),
            aside="How the label and the columns of the features moved from the original's data to the new.",
        ),
    )


def _estimates(pairs: tuple[EstimatePair, ...]) -> Iterator[Block]:
    if not pairs:
        return
    headings = (
        Column("metric"), Column("", _NUMBER, "a"), Column("interval", "left", "a"), Column("", _NUMBER, "b"),
        Column("interval", "left", "b"), Column("difference", _NUMBER), Column("intervals"),
    )  # fmt: skip
    yield Table("Figures of both runs, each on its own test rows", headings, tuple(_pair_row(pair) for pair in pairs))
    first = pairs[0]
    told = [
        f"{name}: {counted(side.n_rows, 'test row')}, {counted(side.n_clicks, 'click')}"
        for name, side in (("original", first.original), ("again", first.again))
        if side is not None
    ]
    yield Note("; ".join(told), "quiet")


def _pair_row(pair: EstimatePair) -> tuple[Content, ...]:
    old, new = _value(pair.original), _value(pair.again)
    delta = None if old is None or new is None else new - old
    finding = {None: Cell(NONE, tone="quiet"), True: Cell("apart", tone="bad"), False: Cell("overlap", tone="good")}
    return (
        Cell(pair.name, "code"),
        Cell(figure(old), "number"),
        _interval(pair.original),
        Cell(figure(new), "number"),
        _interval(pair.again),
        Cell(signed(delta), "number"),
        finding[pair.are_apart],
    )


def _value(side: Estimated | None) -> float | None:
    return None if side is None else side.value


def _interval(side: Estimated | None) -> str:
    return "" if side is None else between(side.low, side.high)


def _drift(columns: tuple[ColumnDrift, ...]) -> Iterator[Block]:
    if not columns:
        return
    moved = [column for column in columns if column.level != "small"]
    if moved:
        names = ", ".join(column.column for column in moved)
        yield Note(f"{counted(len(moved), 'column')} moved notably: {names}", "warn")
    else:
        yield Note("No column has moved notably.", "good")
    headings = (
        Column("column"), Column("role"), Column("PSI", _NUMBER), Column("by chance", _NUMBER), Column("drift"),
        Column("missing", _NUMBER, "a"), Column("missing", _NUMBER, "b"), Column("unseen values", _NUMBER),
        Column("mean", _NUMBER, "a"), Column("mean", _NUMBER, "b"),
    )  # fmt: skip
    ordered = sorted(columns, key=lambda column: (column.role != "label", -column.psi))
    yield Table("Drift by column, the largest first", headings, tuple(_drift_row(column) for column in ordered))
    numbers = tuple(_quantile_row(column) for column in ordered if column.quantiles_original and column.role != "label")
    if numbers:
        titles = (Column("column"), *(Column(f"{place}", _NUMBER) for place in (".05", ".25", ".5", ".75", ".95")))
        rows = tuple(row for pair in numbers for row in pair)
        yield Details("Quantiles of numeric columns", (Table("Quantiles, original and again", titles, rows),))
    yield Note(
        f"PSI: population stability index over the original's deciles or top values. As a rule of thumb more than "
        f"{NOTABLE} is notable and more than {LARGE} large, unless the numbers of rows alone explain it (by chance).",
        "quiet",
    )


def _drift_row(column: ColumnDrift) -> tuple[Content, ...]:
    return (
        Cell(column.column, "code"),
        column.role,
        Cell(figure(column.psi), "number"),
        Cell(figure(column.psi_by_chance), "number"),
        Cell(column.level, tone=_TONES[column.level]),
        Cell(f"{column.missing_original:.2%}", "number"),
        Cell(f"{column.missing_again:.2%}", "number"),
        Cell(NONE if column.unseen is None else f"{column.unseen:.2%}", "number"),
        Cell(figure(column.mean_original), "number"),
        Cell(figure(column.mean_again), "number"),
    )


def _quantile_row(column: ColumnDrift) -> tuple[tuple[Content, ...], tuple[Content, ...]]:
    def row(name: str, values: tuple[float, ...]) -> tuple[Content, ...]:
        cells = tuple(Cell(figure(value), "number") for value in values) or (Cell(NONE),) * 5
        return (Cell(name, "code"), *cells)

    return (
        row(f"{column.column}, original", column.quantiles_original),
        row(f"{column.column}, again", column.quantiles_again),
    )
