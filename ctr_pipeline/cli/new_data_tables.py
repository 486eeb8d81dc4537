"""What the terminal says of a run on other data: both runs' figures with their intervals, and the data's drift."""

from collections.abc import Iterator
from typing import Final

from rich.console import RenderableType
from rich.markup import escape
from rich.text import Text

from ctr_pipeline.cli.show_tables import table
from ctr_pipeline.report.numbers import NONE, between, figure
from ctr_pipeline.reproduce.verdict import Estimated, EstimatePair, Judgement

_STYLES: Final = {"large": "bold red", "notable": "yellow", "small": "dim"}
_WORDS: Final = {None: NONE, True: "[red]apart[/red]", False: "overlap"}


def new_data_tables(judgement: Judgement) -> Iterator[RenderableType]:
    """Yield the tables of a run on other data; none where the run's own data were used."""
    if judgement.estimates:
        made = table("metric", ">original", "interval", ">again", "interval", "intervals")
        for pair in judgement.estimates:
            made.add_row(*_pair(pair))
        yield made
    if judgement.drift:
        drift = table("column", "role", ">PSI", ">by chance", "drift", ">missing", ">again", ">unseen")
        for column in sorted(judgement.drift, key=lambda column: (column.role != "label", -column.psi)):
            drift.add_row(
                escape(column.column),
                column.role,
                f"{column.psi:.3f}",
                f"{column.psi_by_chance:.3f}",
                Text(column.level, _STYLES[column.level]),
                f"{column.missing_original:.2%}",
                f"{column.missing_again:.2%}",
                NONE if column.unseen is None else f"{column.unseen:.2%}",
            )
        yield drift


def _pair(pair: EstimatePair) -> tuple[str, ...]:
    sides = (pair.original, pair.again)
    cells = (text for side in sides for text in (_value(side), _interval(side)))
    return (escape(pair.name), *cells, _WORDS[pair.are_apart])


def _value(side: Estimated | None) -> str:
    return figure(None if side is None else side.value)


def _interval(side: Estimated | None) -> str:
    return "" if side is None else between(side.low, side.high)
