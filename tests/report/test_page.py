"""Pages: everything is escaped, nothing is loaded, the same page gives the same bytes."""

import re
from html.parser import HTMLParser

import pytest

from ctr_pipeline.report.blocks import (
    Badge,
    Cell,
    Chain,
    Column,
    Command,
    Details,
    Facts,
    Figure,
    Figures,
    Link,
    Mark,
    Note,
    Page,
    Patch,
    Section,
    Subject,
    Table,
)
from ctr_pipeline.report.page import render

HOSTILE = '"><script>alert(1)</script><img src=x onerror=alert(2)>'


class Reader(HTMLParser):
    """Collects tags, their attributes and the text that is read."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def read(html: str) -> Reader:
    reader = Reader()
    reader.feed(html)
    return reader


def every_block(text: str) -> Page:
    table = Table(
        text, (Column(text), Column("n", "right", "a")), ((Cell(text, "code", "bad", text), Cell("1", "number")),)
    )
    trio = Table(
        text, (Column(text), Column("", mark="a"), Column("", mark="b")), ((text, Cell(text, tone="good"), text),)
    )
    link = Link(text, "different", Cell(text, "code", full=text), text, note=text, is_first=True)
    blocks = (
        table,
        trio,
        Facts(((text, Cell(text, full=text)),)),
        Patch(text, (f"+{text}", f"-{text}", "@@", f" {text}"), 1, 1),
        Figure("<svg viewBox='0 0 1 1'></svg>", text, text),
        Figures((Figure("<svg viewBox='0 0 1 1'></svg>", text, text),)),
        Note(text),
        Note(text, "warn"),
        Command(text, text),
        Command("", text),
        Chain(text, ((text, (link, Link("x", "equal", "1", "1"), Link("y", "unknown", "1", "2"))),), text, text),
        Details(text, (Note(text), Details(text, (table,), is_open=True))),
    )
    return Page(
        kind=text,
        title=text,
        lead=text,
        sections=(Section(text, blocks, aside=text), Section("Quiet", (Note(text),), is_quiet=True)),
        badge=Badge(text, "bad", "≠"),
        subjects=(Subject("a", text, text, ((text, text),)),),
        marks=(Mark(text, "different", text), Mark("Nowhere", "equal", text), Mark("Quiet", "unknown", text)),
        notes=(Note(text, "bad"),),
        footer=text,
    )


def test_a_hostile_text_is_text_in_every_place() -> None:
    reader = read(render(every_block(HOSTILE)))
    assert {"script", "img"} & set(reader.tags) == set()
    assert not any(name.startswith("on") for name, _ in reader.attributes)
    assert "".join(reader.text).count("<script>alert(1)</script>") > 20


def test_a_page_loads_nothing_and_forbids_scripts() -> None:
    html = render(every_block("text"))
    reader = read(html)
    assert {"script", "link", "iframe"} & set(reader.tags) == set()
    assert not re.search(r"(src|href)=\"(?!#)", html)
    assert "url(" not in html
    assert "@import" not in html
    assert "default-src 'none'" in html


def test_the_same_page_gives_the_same_bytes() -> None:
    assert render(every_block("text")) == render(every_block("text"))


def test_a_page_has_landmarks_a_language_and_one_first_heading() -> None:
    html = render(every_block("text"))
    reader = read(html)
    assert {"header", "main", "footer", "nav"} <= set(reader.tags)
    assert reader.tags.count("h1") == 1
    assert ("lang", "en") in reader.attributes
    assert reader.tags.count("caption") == reader.tags.count("table")
    assert html.count('role="img" aria-label="text"') == 2


def test_a_summary_leads_to_the_section_of_its_name_only() -> None:
    html = render(every_block("Some text"))
    assert 'href="#some-text"' in html
    assert 'id="some-text"' in html
    assert "#nowhere" not in html


def test_a_page_without_badge_has_its_title_as_heading() -> None:
    html = render(Page("kind", "The title", "The lead.", ()))
    assert "<h1>The title</h1>" in html
    assert "<nav" not in html


@pytest.mark.parametrize("text", ["a_b.c", "plain", "x--y", "&_&"], ids=["joints", "plain", "runs", "escaped"])
def test_long_names_may_break_behind_their_joints_and_stay_what_they_are(text: str) -> None:
    page = Page("kind", "title", "lead", (Section("s", (Facts((("name", Cell(text, "code")),)),)),))
    assert text in "".join(read(render(page)).text)


def test_signs_say_what_colours_say() -> None:
    html = render(every_block("text"))
    assert ">first to differ<" in html
    assert ">equal<" in html
    assert ">not known<" in html
    assert '<span class="line line-add">+text</span>' in html
