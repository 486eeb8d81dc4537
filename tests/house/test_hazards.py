"""The table of hazards names each of them once, and exactly the tests that stage them."""

import ast
import re
from collections.abc import Iterator
from typing import Final

from tests.house.project import ROOT

_FOLDER: Final = ROOT / "tests/hazards"
_LATER: Final = {**dict.fromkeys((24, 25, 26), "images"), 40: "pipelines", **dict.fromkeys(range(41, 45), "registry")}


def test_every_hazard_stands_in_the_table_once() -> None:
    assert sorted(number for number, _ in _hazards()) == list(range(1, 47))


def test_only_later_parts_hazards_have_no_test_yet() -> None:
    untested = {number: cell for number, cell in _hazards() if not _named(cell)}
    assert untested == {number: f"comes with the {part}" for number, part in _LATER.items()}


def test_the_table_names_exactly_the_tests_that_there_are() -> None:
    defined = {
        f"{file.name}::{node.name}"
        for file in _FOLDER.glob("test_*.py")
        for node in ast.parse(file.read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }
    assert set(_named(_page())) == defined


def _hazards() -> Iterator[tuple[int, str]]:
    """Yield each hazard's number and the cell of its tests."""
    for line in _page().splitlines():
        cells = [cell.strip() for cell in line.split("|")]
        if len(cells) > 3 and cells[1].isdecimal():
            yield int(cells[1]), cells[3]


def _named(text: str) -> list[str]:
    return re.findall(r"`(test_\w+\.py::test_\w+)`", text)


def _page() -> str:
    return (_FOLDER / "README.md").read_text(encoding="utf-8")
