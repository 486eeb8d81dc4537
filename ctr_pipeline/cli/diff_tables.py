"""A comparison of two runs as tables for the terminal, from forty columns to wide ones."""

from collections.abc import Iterable, Iterator
from typing import Final

from rich.console import Console, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from ctr_pipeline.cli.show_tables import table
from ctr_pipeline.report.numbers import NONE, between, count, figure, short, signed, signed_between
from ctr_pipeline.workflows.diff_page_results import FINDINGS, pairing_text
from ctr_pipeline.workflows.diff_parts import Change, FittedDiff, ImportanceChange, MetricChange, MetricsDiff
from ctr_pipeline.workflows.diff_view import RunDiff, SideView
from ctr_pipeline.workflows.diff_words import lead

_STYLES: Final = {"good": "green", "bad": "red", "warn": "yellow", "quiet": "dim"}
_WIDE: Final = 90
_DIGEST: Final = 32
_MOST_MOVED: Final = 5
_MOST_FEATURES: Final = 8
_MOST_PATCH_LINES: Final = 200


def print_diff(screen: Console, diff: RunDiff, *, everything: bool = False) -> None:
    """Print what differs.

    Args:
        screen: where to.
        diff: what was compared.
        everything: also what is equal.
    """
    shown = diff if everything else diff.differing()
    for letter, side in (("A", diff.a), ("B", diff.b)):
        screen.print(_run(letter, side))
    screen.print()
    screen.print(Text(lead(diff), style="bold"))
    for note in diff.notes:
        screen.print(Text(note, style="yellow"))
    for title, blocks in _parts(shown, wide=screen.width >= _WIDE):
        found = tuple(blocks)
        if found:
            screen.print()
            screen.print(Text(title, style="bold"))
            for block in found:
                screen.print(block)


def _run(letter: str, side: SideView) -> Text:
    style = {"A": "blue", "B": "dark_orange"}[letter]
    told = f"  {side.name}, {side.started_utc[:19]}, grade {side.grade or NONE}"
    status = "" if side.status == "FINISHED" else f", {side.status}"
    return Text.assemble((letter, f"bold {style}"), f"  {side.shown_id}", (told + status, "dim"))


def _parts(diff: RunDiff, *, wide: bool) -> Iterator[tuple[str, Iterator[RenderableType]]]:
    yield "metrics", _metrics(diff.metrics, wide=wide)
    yield "settings", _changes(diff.settings, "key")
    yield "data", _data(diff)
    yield "code", _code(diff)
    yield "environment", _changes((*diff.environment, *diff.packages), "package")
    yield "preprocessing", _fitted(diff.preprocessing)
    yield "training", _training(diff)
    yield "outputs", _changes(diff.outputs, "layer")
    yield "circumstances", _changes(diff.circumstances, "", style="dim")


def _metrics(metrics: MetricsDiff, *, wide: bool) -> Iterator[RenderableType]:
    if metrics.unavailable is not None:
        yield Text(metrics.unavailable, style="yellow")
    if not metrics.metrics:
        return
    if metrics.pairing is None:
        yield Text(f"not paired: {metrics.unpaired}; each run's own intervals", style="yellow")
        yield _own(metrics.metrics, wide=wide)
        return
    made = table("metric", ">A", ">B", ">difference", *(("interval",) if wide else ()), "finding")
    for change in metrics.metrics:
        word, tone = FINDINGS[change.finding]
        cells = [_value(change, "a"), _value(change, "b"), signed(change.delta)]
        interval = [signed_between(change.low, change.high)] if wide else []
        finding = Text(word or change.reason or "", style=_STYLES.get(tone or "quiet", ""))
        made.add_row(escape(change.name), *cells, *interval, finding)
    yield made
    yield Text(pairing_text(metrics.pairing), style="yellow" if metrics.pairing.note else "dim")


def _own(changes: Iterable[MetricChange], *, wide: bool) -> Table:
    more = ("interval of A", "interval of B") if wide else ()
    made = table("metric", ">A", ">B", ">difference", *more)
    for change in changes:
        own = [between(one.low, one.high) if one else "" for one in (change.a, change.b)] if wide else []
        made.add_row(escape(change.name), _value(change, "a"), _value(change, "b"), signed(change.delta), *own)
    return made


def _value(change: MetricChange, run: str) -> str:
    estimate = change.a if run == "a" else change.b
    return NONE if estimate is None else figure(estimate.value)


def _changes(changes: Iterable[Change], name: str, style: str = "") -> Iterator[RenderableType]:
    made = table(name, "A", "B")
    for change in changes:
        made.add_row(escape(change.name), _cell(change.a), _cell(change.b), style=style)
    if made.row_count:
        yield made


def _cell(value: str | None) -> str:
    if value is None:
        return "[dim]not there[/dim]"
    is_digest = len(value) >= _DIGEST and all(letter in "0123456789abcdef" for letter in value)
    return short(value) if is_digest else escape(value)


def _data(diff: RunDiff) -> Iterator[RenderableType]:
    data = diff.data
    if data.unavailable is not None:
        yield Text(data.unavailable, style="yellow")
    if data.association_changed:
        yield Text("every column holds the same values, but between other rows")
    yield from _changes(data.facts, "")
    columns = table("column", "change", "A", "B")
    for column in data.columns:
        columns.add_row(escape(column.column), column.change, _cell(column.a), _cell(column.b))
    files = table("file", "change", ">rows in A", ">rows in B")
    for file in data.files:
        files.add_row(escape(file.path), file.change, count(file.n_rows_a), count(file.n_rows_b))
    yield from (made for made in (columns, files) if made.row_count)


def _code(diff: RunDiff) -> Iterator[RenderableType]:
    code = diff.code
    if code.unavailable is not None:
        yield Text(code.unavailable, style="yellow")
    if code.same_code and code.patches:
        yield Text("steps import none of these files: the code digest is the same", style="dim")
    yield from _changes(code.facts, "")
    left = _MOST_PATCH_LINES
    for patch in code.patches:
        if patch.reason is not None:
            yield Text(f"{patch.change} {patch.path}: {patch.reason}")
            continue
        yield Text.assemble(
            f"{patch.change} {patch.path} ", (f"+{patch.added}", "green"), " ", (f"-{patch.removed}", "red")
        )
        lines = patch.lines[2:] if len(patch.lines) - 2 <= left else ()
        left -= len(lines)
        yield from (Text(f"  {line}", style=_line_style(line)) for line in lines)
        if not lines:
            yield Text("  too long for here; --html and --markdown show it", style="dim")


def _line_style(line: str) -> str:
    return {"+": "green", "-": "red", "@": "cyan"}.get(line[:1], "")


def _fitted(fitted: FittedDiff) -> Iterator[RenderableType]:
    if fitted.unavailable is not None:
        yield Text(fitted.unavailable, style="yellow")
    yield from _changes((*fitted.facts, *fitted.features), "")
    statistics = table("statistic", ">A", ">B", ">only in A", ">only in B", ">rate moved")
    for item in fitted.statistics:
        numbers = (item.n_a, item.n_b, item.only_a, item.only_b, item.n_moved)
        statistics.add_row(escape(item.name), *map(count, numbers))
    moved = table("moved most", "statistic", ">rate in A", ">rate in B")
    for move in fitted.moved[:_MOST_MOVED]:
        moved.add_row(escape(move.category), escape(move.statistic), f"{move.rate_a:.3%}", f"{move.rate_b:.3%}")
    yield from (made for made in (statistics, moved) if made.row_count)


def _training(diff: RunDiff) -> Iterator[RenderableType]:
    if diff.training.unavailable is not None:
        yield Text(diff.training.unavailable, style="yellow")
    yield from _changes(diff.training.facts, "")
    if diff.training.importance:
        yield _importance(diff.training.importance[:_MOST_FEATURES])


def _importance(changes: Iterable[ImportanceChange]) -> Table:
    made = table("share of gain", ">A", ">B")
    for change in changes:
        made.add_row(escape(change.feature), *(NONE if v is None else f"{v:.1%}" for v in (change.a, change.b)))
    return made
