"""A comparison of two runs as a page."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from ctr_pipeline.report.blocks import (
    Block,
    Cell,
    Column,
    Content,
    Details,
    Mark,
    Note,
    Page,
    Patch,
    Section,
    Subject,
    Table,
)
from ctr_pipeline.report.numbers import NONE, count, short
from ctr_pipeline.report.page import render
from ctr_pipeline.workflows.diff_page_results import metric_blocks, training_blocks
from ctr_pipeline.workflows.diff_parts import Change, FittedDiff
from ctr_pipeline.workflows.diff_view import RunDiff, SideView
from ctr_pipeline.workflows.diff_words import lead, part_lines
from tracking.errors import InputError

_A: Final = Column("", mark="a")
_B: Final = Column("", mark="b")
_OPEN_PATCHES: Final = 5
_OPEN_LINES: Final = 80
_HEX_DIGEST: Final = 32


def diff_page(diff: RunDiff, *, everything: bool = False) -> str:
    """Return a comparison as HTML, self-contained.

    Args:
        diff: what was compared.
        everything: also what is equal.
    """
    shown = diff if everything else diff.differing()
    sections = (
        Section("Metrics", tuple(metric_blocks(shown)), aside=_paired(shown)),
        Section("Settings", tuple(_changes(shown.settings, "Settings by key", "key"))),
        Section("Data", tuple(_data(shown))),
        Section("Code", tuple(_code(shown))),
        Section("Environment", tuple(_environment(shown))),
        Section("Preprocessing", tuple(_fitted(shown.preprocessing)), aside="What was learned from the training rows."),
        Section("Training", tuple(training_blocks(shown))),
        Section("Outputs", tuple(_changes(shown.outputs, "Digests by layer", "layer"))),
        Section(
            "Circumstances",
            tuple(_changes(shown.circumstances, "What surrounded the runs", "circumstance")),
            aside="They decide about nothing.",
            is_quiet=True,
        ),
    )
    return render(
        Page(
            kind="diff",
            title=_title(diff),
            lead=lead(diff),
            sections=tuple(section for section in sections if section.blocks),
            subjects=(_subject("a", "the first run", diff.a), _subject("b", "the second run", diff.b)),
            marks=tuple(Mark(line.name, line.told, line.note) for line in part_lines(diff)),
            notes=tuple(Note(note, "warn") for note in diff.notes),
        )
    )


def write_page(path: Path, html: str) -> None:
    """Write a page, its folder included.

    Raises:
        InputError: it cannot be written there.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(html, encoding="utf-8")
    except OSError as error:
        raise InputError(f"--html {str(path)!r} cannot be written: {error.strerror}; name another file") from error


def _title(diff: RunDiff) -> str:
    return f"Two runs of {diff.a.name}" if diff.a.name == diff.b.name else f"{diff.a.name} and {diff.b.name}"


def _paired(diff: RunDiff) -> str:
    return "B minus A, on the same rows." if diff.metrics.pairing else ""


def _subject(letter: str, role: str, side: SideView) -> Subject:
    facts: tuple[tuple[str, Content], ...] = (
        ("run", Cell(side.shown_id, "code")),
        ("started", side.started_utc[:19].replace("T", " ") + " UTC"),
        ("by", side.user or NONE),
        ("data", Cell(short(side.data_version), "code", full=side.data_version)),
        ("code", Cell((side.code_version or NONE)[:17], "code", full=side.code_version or "")),
        ("recipe", Cell(short(side.recipe_digest), "code", full=side.recipe_digest)),
        ("grade", side.grade or NONE),
    )
    status = () if side.status == "FINISHED" else (("status", Cell(side.status, tone="warn")),)
    return Subject("a" if letter == "a" else "b", role, side.name, (*status, *facts))


def _changes(changes: Iterable[Change], caption: str, name: str) -> Iterator[Block]:
    rows = tuple((Cell(change.name, "code"), value_cell(change.a), value_cell(change.b)) for change in changes)
    if rows:
        yield Table(caption, (Column(name), _A, _B), rows)


def value_cell(value: str | None) -> Cell:
    """Return a value of one run; digests are shortened, and what is not there is said to be so."""
    if value is None:
        return Cell("not there", tone="quiet")
    is_digest = len(value) >= _HEX_DIGEST and all(letter in "0123456789abcdef" for letter in value)
    return Cell(short(value), "code", full=value) if is_digest else Cell(value, "code")


def _data(diff: RunDiff) -> Iterator[Block]:
    data = diff.data
    if data.unavailable is not None:
        yield Note(data.unavailable, "warn")
    if data.association_changed:
        yield Note("Every column holds the same values, but between other rows: values moved from row to row.")
    if data.same_rows and data.files:
        yield Note("The same rows in other files.")
    yield from _changes(data.facts, "The input and its splits", "")
    if data.columns:
        rows = tuple((Cell(c.column, "code"), c.change, value_cell(c.a), value_cell(c.b)) for c in data.columns)
        yield Table("Columns that differ: their types, or digests of their values", _columns("column", "change"), rows)
    if data.files:
        files = tuple(
            (Cell(f.path, "code"), f.change, Cell(count(f.n_rows_a), "number"), Cell(count(f.n_rows_b), "number"))
            for f in data.files
        )
        headings = (Column("file"), Column("change"), Column("rows", "right", "a"), Column("rows", "right", "b"))
        yield Table("Files that differ", headings, files)


def _columns(*names: str) -> tuple[Column, ...]:
    return (*(Column(name) for name in names), _A, _B)


def _code(diff: RunDiff) -> Iterator[Block]:
    code = diff.code
    if code.unavailable is not None:
        yield Note(code.unavailable, "warn")
    if code.same_code and code.patches:
        yield Note("Steps import none of these files: the code digest is the same.")
    yield from _changes(code.facts, "Where the code came from", "")
    drawn = [patch for patch in code.patches if patch.reason is None]
    for place, patch in enumerate(drawn):
        title = f"{patch.path} ({patch.change})" if patch.change != "changed" else patch.path
        # The first two lines name the file, as the title does.
        yield Patch(
            title,
            patch.lines[2:],
            patch.added,
            patch.removed,
            is_open=place < _OPEN_PATCHES and len(patch.lines) <= _OPEN_LINES,
        )
    named = tuple((Cell(p.path, "code"), p.change, p.reason) for p in code.patches if p.reason is not None)
    if named:
        yield Table("Files that differ without a patch", (Column("file"), Column("change"), Column("why")), named)


def _environment(diff: RunDiff) -> Iterator[Block]:
    yield from _changes(diff.environment, "Python and the lock", "")
    yield from _changes(diff.packages, "Packages", "package")


def _fitted(fitted: FittedDiff) -> Iterator[Block]:
    if fitted.unavailable is not None:
        yield Note(fitted.unavailable, "warn")
    yield from _changes(fitted.facts, "Over all features", "")
    yield from _changes(fitted.features, "Features", "feature")
    if fitted.statistics:
        statistics = tuple(
            (
                Cell(item.name, "code"),
                *(Cell(count(n), "number") for n in (item.n_a, item.n_b, item.only_a, item.only_b, item.n_moved)),
            )
            for item in fitted.statistics
        )
        headings = (
            Column("statistic"), Column("categories", "right", "a"), Column("categories", "right", "b"),
            Column("only in", "right", "a"), Column("only in", "right", "b"), Column("rate moved", "right"),
        )  # fmt: skip
        yield Table("Target statistics: how many categories each run knows", headings, statistics)
    if fitted.moved:
        yield Details(f"The {len(fitted.moved)} categories whose rates moved most", (_moved(fitted),))


def _moved(fitted: FittedDiff) -> Table:
    rows = tuple(
        (
            Cell(move.category, "code"),
            Cell(move.statistic, "code"),
            *(Cell(f"{rate:.3%}", "number") for rate in (move.rate_a, move.rate_b)),
            *(Cell(count(n), "number") for n in (move.impressions_a, move.impressions_b)),
        )
        for move in fitted.moved
    )
    headings = (
        Column("category"), Column("statistic"), Column("rate", "right", "a"), Column("rate", "right", "b"),
        Column("impressions", "right", "a"), Column("impressions", "right", "b"),
    )  # fmt: skip
    return Table("Click rates drawn towards the prior, as the model sees them", headings, rows)
