"""A verdict on the terminal: the answer, the layers, what differs."""

from collections.abc import Iterator
from typing import Final

from rich.console import Console, RenderableType
from rich.markup import escape
from rich.text import Text

from ctr_pipeline.cli.new_data_tables import new_data_tables
from ctr_pipeline.cli.output import page, print_json
from ctr_pipeline.cli.show_tables import pairs, table
from ctr_pipeline.report.numbers import NONE, figure, short, signed
from ctr_pipeline.reproduce.verdict import Judgement, Layer, MetricDifference, Verdict

_STYLES: Final = {
    Verdict.IDENTICAL: "bold green",
    Verdict.EQUIVALENT: "bold blue",
    Verdict.DIVERGED: "bold red",
    Verdict.CANNOT: "bold yellow",
    Verdict.NEW_DATA: "bold",
}
_MOST_LINES: Final = 40


def show_judgement(judgement: Judgement, *, as_json: bool) -> None:
    """Print a verdict on standard output."""
    if as_json:
        print_json(judgement.to_record())
    else:
        print_judgement(page(), judgement)


def print_judgement(screen: Console, judgement: Judgement) -> None:
    """Print a verdict for people."""
    verdict = judgement.verdict
    screen.print(Text.assemble((verdict.value.replace("_", " "), _STYLES[verdict]), f"  {judgement.reason}"))
    again = judgement.again
    screen.print(
        pairs(
            [
                ("original", judgement.original.run_id or judgement.original.execution_id),
                ("again", (again.run_id or again.execution_id) if again else "nothing ran"),
                ("grade", judgement.grade),
                *(("missing", text) for text in judgement.grade_missing),
                ("cause", judgement.cause),
                *(("note", note) for note in judgement.notes),
            ]
        )
    )
    for block in _blocks(judgement):
        screen.print()
        screen.print(block)


def _blocks(judgement: Judgement) -> Iterator[RenderableType]:
    yield from _ingredients(judgement)
    yield from _layers(judgement)
    yield from _differences(judgement)
    if judgement.margins is not None and judgement.margins.n_differing:
        margins = judgement.margins
        yield Text(
            f"{margins.n_differing:,} of {margins.n_rows:,} predictions moved: mean {figure(margins.mean)}, "
            f"99 of 100 below {figure(margins.q99)}, largest {figure(margins.largest)} in log odds "
            f"({figure(margins.largest_probability)} as probability)"
        )
    yield from new_data_tables(judgement)
    if not judgement.estimates:  # which say the same, with intervals
        yield from _metrics([metric for metric in judgement.metrics if metric.original != metric.again])
    if judgement.circumstances:
        made = table("circumstance", "original", "again")
        for found in judgement.circumstances:
            made.add_row(*map(escape, (found.name, found.original, found.again)), style="dim")
        yield made


def _ingredients(judgement: Judgement) -> Iterator[RenderableType]:
    # Where something ran, all of them were ready.
    if judgement.again is not None or not judgement.ingredients:
        return
    made = table("ingredient", "", "found", "remedy")
    for found in judgement.ingredients:
        state = "[green]ready[/green]" if found.ready else "[red]missing[/red]"
        made.add_row(escape(found.name), state, escape(found.found), escape(found.remedy))
    yield made


def _layers(judgement: Judgement) -> Iterator[RenderableType]:
    if not judgement.layers:
        return
    made = table("layer", "", "original", "again")
    for layer in judgement.layers:
        word = _word(layer, judgement)
        note = f" ({escape(layer.note)})" if layer.note else ""
        made.add_row(escape(layer.name), f"{word}{note}", *map(short, (layer.original, layer.again)))
    yield made


def _word(layer: Layer, judgement: Judgement) -> str:
    if layer.is_equal:
        return "[green]equal[/green]"
    if layer.original is None or layer.again is None:
        return "[dim]not known[/dim]"
    first = layer.part == "output" and layer.name == judgement.first_divergence
    return "[bold red]differs first[/bold red]" if first else "[red]differs[/red]"


def _differences(judgement: Judgement) -> Iterator[RenderableType]:
    for found in judgement.differences:
        asked = " (on purpose)" if found.deliberate else ""
        yield Text.assemble((found.layer, "bold"), f"  {found.what}{asked}")
        lines = found.detail.splitlines()
        if lines:
            more = [f"... {len(lines) - _MOST_LINES:,} more lines"] if len(lines) > _MOST_LINES else []
            yield Text("\n".join(f"  {line}" for line in (*lines[:_MOST_LINES], *more)), style="dim")
    if judgement.columns:
        made = table("column", "change", "original", "again")
        for column in judgement.columns:
            made.add_row(escape(column.column), column.change, *map(short, (column.original, column.again)))
        yield made


def _metrics(metrics: list[MetricDifference]) -> Iterator[RenderableType]:
    if not metrics:
        return
    made = table("metric", ">original", ">again", ">difference", ">by chance")
    for metric in metrics:
        band = NONE if metric.band is None else figure(metric.band)
        made.add_row(escape(metric.name), figure(metric.original), figure(metric.again), signed(metric.delta), band)
    yield made
