"""Pages as HTML: one file that holds its style and loads nothing, light and dark, from phones to print.

Every text is escaped by the template engine. Only `Figure.svg` is taken as markup, and the page forbids scripts and
anything from elsewhere by its own policy, so that a hostile name can do nothing even if one should get through.
"""

import re
from functools import cache
from pathlib import Path
from typing import Final

import jinja2
from markupsafe import Markup

from ctr_pipeline.report.blocks import Cell, Content, Page

_FOLDER: Final = Path(__file__).parent
_TEMPLATE: Final = "page.html.j2"
_STYLE: Final = "page.css"
_JOINTS: Final = re.compile(r"(?<=[_./,=:-])(?=[^_./,=:-])")
_SIGNS: Final = {"+": "add", "-": "del", "@": "at"}


def render(page: Page) -> str:
    """Return the page; the same page gives the same bytes."""
    known = {section.title for section in page.sections}
    text: str = _template().render(page=page, style=_style(), known=known)
    return text


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"cell": _cell, "anchor": _anchor, "sign": _sign, "breakable": _breakable, "drawn": Markup}
    environment.tests["named"] = lambda block, name: type(block).__name__ == name
    return environment.get_template(_TEMPLATE)


@cache
def _style() -> Markup:
    return Markup((_FOLDER / _STYLE).read_text(encoding="utf-8"))  # noqa: S704 - our own file


def _cell(content: Content) -> Cell:
    return content if isinstance(content, Cell) else Cell(content)


def _breakable(text: str) -> Markup:
    """Let a long name be broken behind its joints; what is copied stays the same."""
    return Markup("<wbr>").join(_JOINTS.split(text))


def _anchor(title: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")


def _sign(line: str) -> str:
    return _SIGNS.get(line[:1], "same")
