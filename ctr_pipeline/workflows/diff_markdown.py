"""A comparison of two runs as Markdown, for a pull request: tables, the patch folded away."""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from ctr_pipeline.report.numbers import NONE, between, count, counted, figure, short, signed, signed_between
from ctr_pipeline.workflows.diff_code import as_text
from ctr_pipeline.workflows.diff_page_results import FINDINGS, pairing_text
from ctr_pipeline.workflows.diff_parts import Change, CodeDiff, DataDiff, FittedDiff, MetricsDiff
from ctr_pipeline.workflows.diff_view import RunDiff
from ctr_pipeline.workflows.diff_words import lead

_LONGEST_CELL: Final = 120
_LONGEST_PATCH: Final = 400
_MOST_ROWS: Final = 40
_TICKS: Final = re.compile(r"`+")
# What Markdown or a tracker's page would read as markup. The backslash comes first.
_SPECIAL: Final = "\\`*_[]|~#@!"


def diff_markdown(diff: RunDiff, *, everything: bool = False) -> str:
    """Return a comparison as Markdown.

    Args:
        diff: what was compared.
        everything: also what is equal.
    """
    shown = diff if everything else diff.differing()
    blocks = [
        f"## {_text(diff.a.name)} (A) and {_text(diff.b.name)} (B)",
        _text(lead(diff)),
        *(_text(note) for note in diff.notes),
        _runs(diff),
        *_metrics(shown.metrics),
        *_part("Settings", shown.settings),
        *_data(shown.data),
        *_code(shown.code),
        *_part("Environment", (*shown.environment, *shown.packages)),
        *_fitted(shown.preprocessing),
        *_part("Training", shown.training.facts, shown.training.unavailable),
        *_part("Outputs", shown.outputs),
        *_folded("Circumstances", _changes(shown.circumstances)),
    ]
    return "\n\n".join(blocks) + "\n"


def _runs(diff: RunDiff) -> str:
    rows = [
        (f"**{letter}**", _code_cell(side.shown_id), side.started_utc[:19], _code_cell(short(side.data_version)),
         _code_cell((side.code_version or NONE)[:17]), _text(side.grade or NONE))
        for letter, side in (("A", diff.a), ("B", diff.b))
    ]  # fmt: skip
    return _table(("", "run", "started, UTC", "data", "code", "grade"), rows)


def _metrics(metrics: MetricsDiff) -> Iterator[str]:
    if metrics.unavailable is None and not metrics.metrics:
        return
    yield "### Metrics"
    if metrics.unavailable is not None:
        yield _text(metrics.unavailable)
    elif metrics.pairing is None:
        yield _text(f"Not paired: {metrics.unpaired}. Each run's own intervals stand side by side.")
        yield _table(
            ("metric", ">A", "interval", ">B", "interval"),
            [
                (
                    _code_cell(change.name),
                    *(
                        text
                        for one in (change.a, change.b)
                        for text in ((figure(one.value), between(one.low, one.high)) if one else (NONE, ""))
                    ),
                )
                for change in metrics.metrics
            ],
        )
    else:
        yield _table(
            ("metric", "finding", ">A", ">B", ">difference", "interval"),
            [
                (
                    _code_cell(change.name),
                    FINDINGS[change.finding][0] or _text(change.reason or NONE),
                    *(figure(one.value) if one else NONE for one in (change.a, change.b)),
                    signed(change.delta),
                    signed_between(change.low, change.high),
                )
                for change in metrics.metrics
            ],
        )
        yield _text(pairing_text(metrics.pairing))


def _data(data: DataDiff) -> Iterator[str]:
    if not (data.facts or data.columns or data.files or data.unavailable or data.association_changed):
        return
    yield "### Data"
    if data.unavailable is not None:
        yield _text(data.unavailable)
    if data.association_changed:
        yield "Every column holds the same values, but between other rows."
    if data.facts:
        yield _changes(data.facts)
    if data.columns:
        yield _table(
            ("column", "change", "A", "B"), [(_code_cell(c.column), c.change, *_both(c.a, c.b)) for c in data.columns]
        )
    if data.files:
        rows = [(_code_cell(f.path), f.change, count(f.n_rows_a), count(f.n_rows_b)) for f in data.files]
        yield _table(("file", "change", ">rows A", ">rows B"), rows)


def _code(code: CodeDiff) -> Iterator[str]:
    if not (code.facts or code.patches or code.unavailable):
        return
    yield "### Code"
    if code.unavailable is not None:
        yield _text(code.unavailable)
    if code.facts:
        yield _changes(code.facts)
    if code.patches:
        lines = list(as_text(code.patches))
        more = f"\n... {len(lines) - _LONGEST_PATCH:,} more lines" if len(lines) > _LONGEST_PATCH else ""
        patch = "\n".join(lines[:_LONGEST_PATCH]) + more
        # Longer than any run of backticks inside, so that no line of the patch ends it.
        fence = "`" * max(3, *(len(ticks) + 1 for ticks in ("", *_TICKS.findall(patch))))
        files = counted(len(code.patches), "file")
        yield from _folded(f"Patch of {files}", f"{fence}diff\n{patch}\n{fence}")


def _fitted(fitted: FittedDiff) -> Iterator[str]:
    if not (fitted.facts or fitted.features or fitted.statistics or fitted.unavailable):
        return
    yield "### Preprocessing"
    if fitted.unavailable is not None:
        yield _text(fitted.unavailable)
    if fitted.facts or fitted.features:
        yield _changes((*fitted.facts, *fitted.features))
    if fitted.statistics:
        rows = [
            (_code_cell(s.name), *(count(n) for n in (s.n_a, s.n_b, s.only_a, s.only_b, s.n_moved)))
            for s in fitted.statistics
        ]
        yield _table(("statistic", ">A", ">B", ">only in A", ">only in B", ">rate moved"), rows)


def _part(title: str, changes: Iterable[Change], unavailable: str | None = None) -> Iterator[str]:
    found = tuple(changes)
    if found or unavailable:
        yield f"### {title}"
        if unavailable is not None:
            yield _text(unavailable)
        if found:
            yield _changes(found)


def _changes(changes: Sequence[Change]) -> str:
    if not changes:
        return ""
    return _table(("", "A", "B"), [(_code_cell(change.name), *_both(change.a, change.b)) for change in changes])


def _both(*values: str | None) -> Iterator[str]:
    yield from ("not there" if value is None else _code_cell(value) for value in values)


def _folded(summary: str, content: str) -> Iterator[str]:
    if content:
        yield f"<details><summary>{summary}</summary>\n\n{content}\n\n</details>"


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [
        _row([heading.removeprefix(">") for heading in headings]),
        _row(["--:" if heading.startswith(">") else "---" for heading in headings]),
        *(_row(row) for row in rows[:_MOST_ROWS]),
    ]
    if len(rows) > _MOST_ROWS:
        lines.append(_row([f"{len(rows) - _MOST_ROWS:,} more", *[""] * (len(headings) - 1)]))
    return "\n".join(lines)


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _text(text: str) -> str:
    """Return a text that stays one line and means nothing but itself."""
    told = " ".join(text.split())
    for sign in _SPECIAL:
        told = told.replace(sign, f"\\{sign}")
    return told.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _code_cell(text: str) -> str:
    told = " ".join(text.split())
    told = told if len(told) <= _LONGEST_CELL else f"{told[:_LONGEST_CELL]}…"
    # In code nothing is markup but the cell's own border; a backtick would end it.
    return f"`{told.replace('|', chr(92) + '|')}`" if told and "`" not in told else _text(told)
