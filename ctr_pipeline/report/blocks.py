"""What pages are made of: frozen values without any HTML; `report.page` writes them out.

Texts are plain texts from anywhere (column names, code, messages); they are escaped where they are written.
"""

from dataclasses import dataclass
from typing import Literal

type Tone = Literal["good", "warn", "bad", "quiet", "a", "b"]
type State = Literal["equal", "different", "unknown"]
type Align = Literal["left", "right"]
type Style = Literal["text", "code", "number"]


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell of a table, or a value beside its name.

    Attributes:
        text: what is read.
        style: "code" for digests, names and settings, "number" for figures that stand under each other.
        tone: colours it; the text says the same in words.
        full: the whole of a shortened text, told on hover.
    """

    text: str
    style: Style = "text"
    tone: Tone | None = None
    full: str = ""


type Content = str | Cell


@dataclass(frozen=True, slots=True)
class Column:
    """A column's heading; `mark` puts the letter of one of two runs, "a" or "b", before it."""

    name: str
    align: Align = "left"
    mark: Literal["a", "b"] | None = None


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under headings; a wide one scrolls inside its own box.

    Attributes:
        caption: what it shows; read out and seen.
        columns: headings.
        rows: as many cells each as there are columns; the first one names its row.
    """

    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Content, ...], ...]


@dataclass(frozen=True, slots=True)
class Facts:
    """Names and values below each other."""

    pairs: tuple[tuple[str, Content], ...]


@dataclass(frozen=True, slots=True)
class Patch:
    """A unified diff of one file, as lines; `added` and `removed` count lines."""

    title: str
    lines: tuple[str, ...]
    added: int
    removed: int
    is_open: bool = True


@dataclass(frozen=True, slots=True)
class Figure:
    """A drawing.

    Attributes:
        svg: from `report.figures`, which alone may write markup.
        caption: what it shows and how to read it.
        alternative: the same in words, for whoever does not see it.
    """

    svg: str
    caption: str
    alternative: str


@dataclass(frozen=True, slots=True)
class Figures:
    """Figures side by side where there is room."""

    figures: tuple[Figure, ...]


@dataclass(frozen=True, slots=True)
class Note:
    """A remark."""

    text: str
    tone: Tone | None = None


@dataclass(frozen=True, slots=True)
class Command:
    """A line to be typed, after a word on what it does."""

    purpose: str
    line: str


@dataclass(frozen=True, slots=True)
class Link:
    """A layer in a chain.

    Attributes:
        name: of the layer.
        state: whether both runs agree on it.
        before: of the first run.
        after: of the second.
        note: what else is to be said.
        is_first: whether it is the first that differs among what came out.
    """

    name: str
    state: State
    before: Content
    after: Content
    note: str = ""
    is_first: bool = False


@dataclass(frozen=True, slots=True)
class Chain:
    """Layers in the order in which a run makes them, joined by a line.

    Attributes:
        caption: what it shows.
        groups: a heading with its layers each.
        before: heading of the first run's column.
        after: heading of the second's.
    """

    caption: str
    groups: tuple[tuple[str, tuple[Link, ...]], ...]
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Details:
    """What is folded away until it is asked for."""

    summary: str
    blocks: "tuple[Block, ...]"
    is_open: bool = False


type Block = Table | Facts | Patch | Figure | Figures | Note | Command | Chain | Details


@dataclass(frozen=True, slots=True)
class Section:
    """A part of a page.

    Attributes:
        title: its heading.
        blocks: its content.
        aside: a line or two beside the heading.
        is_quiet: whether it stands back.
    """

    title: str
    blocks: tuple[Block, ...]
    aside: str = ""
    is_quiet: bool = False


@dataclass(frozen=True, slots=True)
class Mark:
    """One entry of a page's summary; it leads to the section of that title where there is one."""

    name: str
    state: State
    note: str


@dataclass(frozen=True, slots=True)
class Badge:
    """A page's answer in one word: colour, sign and word say the same."""

    word: str
    tone: Tone
    sign: str


@dataclass(frozen=True, slots=True)
class Subject:
    """What the page is about, one of two: a letter, a name and facts."""

    mark: Literal["a", "b"]
    role: str
    name: str
    facts: tuple[tuple[str, Content], ...]


@dataclass(frozen=True, slots=True)
class Page:
    """A page.

    Attributes:
        kind: what sort of page, over the title.
        title: its heading.
        lead: what it comes to, in a sentence.
        sections: in order.
        badge: the answer, where there is one.
        subjects: the runs it is about.
        marks: the summary under the heading.
        notes: what a reader must know before anything else.
        footer: the last line.
    """

    kind: str
    title: str
    lead: str
    sections: tuple[Section, ...]
    badge: Badge | None = None
    subjects: tuple[Subject, ...] = ()
    marks: tuple[Mark, ...] = ()
    notes: tuple[Note, ...] = ()
    footer: str = "Written by ctr-pipeline. This page is complete in itself: it loads nothing."
