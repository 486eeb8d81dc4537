"""A verdict as a page of its own: the answer first, then the layers, then why."""

from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any, Final

from ctr_pipeline.report.blocks import (
    Badge,
    Block,
    Cell,
    Chain,
    Column,
    Command,
    Content,
    Details,
    Facts,
    Link,
    Mark,
    Note,
    Page,
    Patch,
    Section,
    State,
    Subject,
    Table,
    Tone,
)
from ctr_pipeline.report.numbers import NONE, counted, figure, short, signed
from ctr_pipeline.report.page import render
from ctr_pipeline.reproduce.new_data_sections import new_data_sections
from ctr_pipeline.reproduce.verdict import Difference, Judgement, Layer, MetricDifference, RunSide, Verdict

_BADGES: Final[Mapping[Verdict, tuple[Tone, str]]] = {
    Verdict.IDENTICAL: ("good", "="),
    Verdict.EQUIVALENT: ("a", "≈"),
    Verdict.DIVERGED: ("bad", "≠"),
    Verdict.CANNOT: ("warn", "!"),
    Verdict.NEW_DATA: ("quiet", "Δ"),
}
_PARTS: Final = (("identity", "What went in"), ("output", "What came out"))
_MARGINS: Final = (("mean", "mean"), ("median", "median"), ("q99", "99 of 100 are below"), ("largest", "largest"))
_BOTH: Final = (Column("original", mark="a"), Column("again", mark="b"))


def verdict_page(judgement: Judgement) -> str:
    """Return a verdict as HTML, self-contained; the same verdict gives the same bytes."""
    tone, sign = _BADGES[judgement.verdict]
    verdict = judgement.verdict
    sections = (
        Section("Layers", tuple(_layers(judgement)), aside=verdict.meaning),
        Section("Causes", tuple(_causes(judgement)), aside="What went in and is not the same."),
        Section("Data", tuple(_columns(judgement)), aside="Columns that are not the same."),
        *new_data_sections(judgement),
        Section("Predictions", tuple(_margins(judgement)), aside="The same test rows, scored by both."),
        Section("Metrics", tuple(_metrics(judgement))),
        Section("Ingredients", tuple(_ingredients(judgement)), aside="What a reproduction needs, looked up by digest."),
        Section(
            "Circumstances",
            tuple(_circumstances(judgement)),
            aside="Around the runs; they decide about nothing.",
            is_quiet=True,
        ),
        Section("Again", tuple(_commands(judgement)), is_quiet=True),
    )
    return render(
        Page(
            kind="reproduce",
            title=f"Reproduction of {_name(judgement.original)}",
            lead=judgement.reason,
            badge=Badge(verdict.value.replace("_", " "), tone, sign),
            sections=tuple(section for section in sections if section.blocks),
            subjects=tuple(_subjects(judgement)),
            marks=tuple(_marks(judgement)),
            notes=tuple(Note(note) for note in judgement.notes),
        )
    )


def _name(side: RunSide) -> str:
    return side.name or side.run_id or side.execution_id or "a run"


def _subjects(judgement: Judgement) -> Iterator[Subject]:
    grade: tuple[tuple[str, Content], ...] = ()
    if judgement.grade is not None:
        missing = f": {'; '.join(judgement.grade_missing)}" if judgement.grade_missing else ""
        grade = (("grade", f"{judgement.grade}{missing}"),)
    yield Subject("a", "the original", _name(judgement.original), (*_facts(judgement.original), *grade))
    if judgement.again is not None:
        yield Subject("b", "run again", _name(judgement.again), tuple(_facts(judgement.again)))


def _facts(side: RunSide) -> Iterator[tuple[str, Content]]:
    yield "run", Cell(side.run_id or side.execution_id or "not logged", "code")
    if side.started_utc is not None:
        yield "started", side.started_utc[:19].replace("T", " ") + " UTC"
    if side.recipe_digest is not None:
        yield "recipe", _digest(side.recipe_digest)
    if side.wall_s is not None:
        yield "took", f"{side.wall_s:.1f} s"


def _digest(digest: str | None) -> Cell:
    if digest is None:
        return Cell("not known", tone="quiet")
    return Cell(short(digest), "code", full=digest) if short(digest) != digest else Cell(digest, "code")


def _value(told: str | None) -> Cell:
    return Cell("not there", tone="quiet") if told is None else _digest(told)


def _marks(judgement: Judgement) -> Iterator[Mark]:
    ready = sum(found.ready for found in judgement.ingredients)
    if judgement.ingredients:
        state: State = "equal" if ready == len(judgement.ingredients) else "unknown"
        yield Mark("Ingredients", state, f"{ready} of {len(judgement.ingredients)} ready")
    if judgement.layers:
        equal = sum(layer.is_equal for layer in judgement.layers)
        states = {_state(layer) for layer in judgement.layers}
        whole: State = "different" if "different" in states else "unknown" if "unknown" in states else "equal"
        yield Mark("Layers", whole, f"{equal} of {len(judgement.layers)} equal")
    if judgement.margins is not None:
        moved = judgement.margins.n_differing
        note = f"{moved:,} of {judgement.margins.n_rows:,} moved" if moved else "none moved"
        yield Mark("Predictions", "different" if moved else "equal", note)
    if judgement.metrics:
        n_unequal = sum(metric.original != metric.again for metric in judgement.metrics)
        note = f"{n_unequal} of {len(judgement.metrics)} differ" if n_unequal else "all equal"
        yield Mark("Metrics", "different" if n_unequal else "equal", note)


def _state(layer: Layer) -> State:
    if layer.original is None or layer.again is None:
        return "unknown"
    return "equal" if layer.is_equal else "different"


def _layers(judgement: Judgement) -> Iterator[Block]:
    groups = tuple(
        (title, tuple(_link(layer, judgement) for layer in judgement.layers if layer.part == part))
        for part, title in _PARTS
    )
    filled = tuple(group for group in groups if group[1])
    if not filled:
        return
    yield Chain("From what went in to what came out, by digest", filled, "original", "again")
    rows: tuple[tuple[Content, ...], ...] = tuple(
        (layer.name, *(Cell(digest or NONE, "code") for digest in (layer.original, layer.again)))
        for layer in judgement.layers
    )
    headings = (Column("layer"), *_BOTH)
    yield Details("Digests in full", (Table("Digests by layer", headings, rows),))


def _link(layer: Layer, judgement: Judgement) -> Link:
    is_first = layer.part == "output" and layer.name == judgement.first_divergence
    return Link(layer.name, _state(layer), _digest(layer.original), _digest(layer.again), layer.note, is_first)


def _causes(judgement: Judgement) -> Iterator[Block]:
    if judgement.cause is not None:
        yield Note(f"Likely cause: {judgement.cause}", "bad" if judgement.verdict is Verdict.DIVERGED else "warn")
    if judgement.differences:
        rows: tuple[tuple[Content, ...], ...] = tuple(
            (found.layer, Cell(found.what, "code"), "on purpose" if found.deliberate else NONE)
            for found in judgement.differences
        )
        yield Table("Differences", (Column("layer"), Column("what"), Column("asked for")), rows)
        for found in judgement.differences:
            yield from _detail(found)


def _detail(found: Difference) -> Iterator[Block]:
    """Yield a difference's further lines: patches file by file, anything else folded away as it is."""
    lines = found.detail.splitlines()
    starts = [
        place
        for place, line in enumerate(lines[:-1])
        if line.startswith("--- ") and lines[place + 1].startswith("+++ ")
    ]
    before = lines[: starts[0]] if starts else lines
    if any(line.strip() for line in before):
        yield Details(f"{found.layer}: {found.what}", (Command("", "\n".join(before)),))
    for start, end in pairwise((*starts, len(lines))):
        origin, target = (lines[start + place].split("\t")[0][4:] for place in (0, 1))
        body = tuple(lines[start + 2 : end])
        added, removed = (sum(line.startswith(sign) for line in body) for sign in "+-")
        path = origin.removeprefix("a/") if target == "/dev/null" else target.removeprefix("b/")
        yield Patch(path, body, added, removed)


def _columns(judgement: Judgement) -> Iterator[Block]:
    if judgement.columns:
        rows = tuple(
            (Cell(found.column, "code"), found.change, _value(found.original), _value(found.again))
            for found in judgement.columns
        )
        headings = (Column("column"), Column("change"), *_BOTH)
        yield Table("Columns: their types, or digests of their values", headings, rows)


def _margins(judgement: Judgement) -> Iterator[Block]:
    margins = judgement.margins
    if margins is None:
        return
    if not margins.n_differing:
        yield Note(f"All {margins.n_rows:,} predictions are equal to the last bit.", "good")
        return
    of_chance = (judgement.noise or {}).get("margins")
    chance: Mapping[str, Any] = of_chance if isinstance(of_chance, Mapping) else {}
    values = {"mean": margins.mean, "median": margins.median, "q99": margins.q99, "largest": margins.largest}
    rows = tuple(_margin_row(words, values[name], chance.get(name)) for name, words in _MARGINS)
    headings: tuple[Column, ...] = (Column("difference"), Column("log odds", "right"))
    if chance:
        headings = (*headings, Column("by chance alone", "right"), Column("finding"))
    yield Facts(
        (
            ("rows", f"{margins.n_rows:,}"),
            ("moved", f"{margins.n_differing:,}"),
            ("largest, as probability", figure(margins.largest_probability)),
        )
    )
    shown = rows if chance else tuple(row[:2] for row in rows)
    yield Table("Differences of the raw margins, in absolute value", headings, shown)
    if not chance:
        yield Note(
            "What chance alone does was not measured with the original: reproduce.noise_runs asks for it.", "quiet"
        )


def _margin_row(words: str, value: float, band: float | None) -> tuple[Content, ...]:
    return words, Cell(figure(value), "number"), Cell(figure(band), "number"), _inside(value, band)


def _inside(value: float | None, band: float | None) -> Cell:
    if value is None or band is None:
        return Cell(NONE, tone="quiet")
    return Cell("inside", tone="good") if abs(value) <= band else Cell("outside", tone="bad")


def _metrics(judgement: Judgement) -> Iterator[Block]:
    if not judgement.metrics:
        return
    has_band = any(metric.band is not None for metric in judgement.metrics)
    headings = (
        Column("metric"), Column("", "right", "a"), Column("", "right", "b"), Column("difference", "right"),
        *((Column("by chance alone", "right"), Column("finding")) if has_band else ()),
    )  # fmt: skip
    rows = tuple(_metric_row(metric, has_band=has_band) for metric in judgement.metrics)
    yield Table("Metrics of the test rows", headings, rows)
    unequal = sum(metric.original != metric.again for metric in judgement.metrics)
    if not unequal:
        yield Note(f"{counted(len(judgement.metrics), 'metric')}, all of them equal to the last bit.", "quiet")


def _metric_row(metric: MetricDifference, *, has_band: bool) -> tuple[Content, ...]:
    cells: tuple[Content, ...] = (
        Cell(metric.name, "code"),
        *(Cell(figure(value), "number") for value in (metric.original, metric.again)),
        Cell(signed(metric.delta), "number"),
    )
    return (*cells, Cell(figure(metric.band), "number"), _inside(metric.delta, metric.band)) if has_band else cells


def _ingredients(judgement: Judgement) -> Iterator[Block]:
    if judgement.ingredients:
        lacking = any(not found.ready for found in judgement.ingredients)
        remedy = (Column("remedy"),) if lacking else ()
        headings = (Column("ingredient"), Column("state"), Column("wanted"), Column("found"), *remedy)
        rows = tuple(
            (
                found.name,
                Cell("ready", tone="good") if found.ready else Cell("missing", tone="bad"),
                _digest(found.wanted),
                found.found,
                *((found.remedy or NONE,) if lacking else ()),
            )
            for found in sorted(judgement.ingredients, key=lambda found: found.ready)
        )
        yield Table("What is missing comes first" if lacking else "All of them are there", headings, rows)


def _circumstances(judgement: Judgement) -> Iterator[Block]:
    if judgement.circumstances:
        rows = tuple(
            (found.name, Cell(found.original, "code"), Cell(found.again, "code")) for found in judgement.circumstances
        )
        yield Table("Circumstances that differ", (Column("circumstance"), *_BOTH), rows)


def _commands(judgement: Judgement) -> Iterator[Block]:
    wanted = _id(judgement.original)
    if wanted is not None:
        yield Command("To redo it:", f"python -m ctr_pipeline.reproduce --run-id {wanted}")
    again = _id(judgement.again) if judgement.again is not None else None
    if wanted is not None and again is not None:
        yield Command("To see both side by side:", f"ctr-pipeline diff {wanted} {again}")


def _id(side: RunSide) -> str | None:
    return side.run_id or side.execution_id
