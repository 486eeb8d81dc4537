"""Pages in a real browser: on a phone and a wide screen, light and dark, and with contrast enough to read."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from ctr_pipeline.reproduce.verdict_page import verdict_page
from ctr_pipeline.workflows.diff_page import diff_page
from ctr_pipeline.workflows.diff_parts import Change
from tests.plugins.diff_fixtures import ComparedRuns
from tests.reproduce.judgements import ALL

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser

_WIDTHS: Final = (360, 768, 1400)
_SCHEMES: Final = ("light", "dark")
_LEAST_CONTRAST: Final = 4.5
# The lowest contrast of any text with what lies behind it (WCAG 2), and which text it is.
_CONTRAST: Final = """
() => {
  const paper = Object.assign(document.createElement('canvas'), {width: 1, height: 1});
  const canvas = paper.getContext('2d', {willReadFrequently: true});
  const rgba = colour => {
    canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const light = ([r, g, b]) => [r, g, b]
    .map(v => v / 255).map(v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
  const behind = element => {
    for (let e = element; e; e = e.parentElement) {
      const found = rgba(getComputedStyle(e).backgroundColor);
      if (found[3] === 255) return found;
    }
    return rgba(getComputedStyle(document.body).backgroundColor);
  };
  let worst = [99, ''];
  for (const element of document.querySelectorAll('body *')) {
    const own = [...element.childNodes].some(node => node.nodeType === 3 && node.textContent.trim());
    if (!own || !element.checkVisibility()) continue;
    const style = getComputedStyle(element);
    const drawn = element.namespaceURI.endsWith('svg') ? style.fill : style.color;
    const [a, b] = [light(rgba(drawn)), light(behind(element))];
    const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
    if (ratio < worst[0]) worst = [ratio, `${element.tagName}: ${element.textContent.slice(0, 40)}`];
  }
  return worst;
}
"""


@pytest.fixture(scope="module")
def pages(compared: ComparedRuns, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Every kind of page, one with names that are long and hostile."""
    folder = tmp_path_factory.mktemp("pages")
    diff, others = compared.diff(compared.a, compared.b), compared.diff(compared.a, compared.other)
    long = tuple(Change(f"<script>{'x' * 300}</script>", "y" * 500, None) for _ in range(2))
    texts = {
        "diff": diff_page(diff),
        "diff-all": diff_page(diff, everything=True),
        "diff-other-data": diff_page(others),
        "diff-long-names": diff_page(replace(diff, settings=long, a=replace(diff.a, name="n" * 200))),
        **{f"verdict-{judgement.verdict.value.lower()}": verdict_page(judgement) for judgement in ALL},
    }
    for name, text in texts.items():
        (folder / f"{name}.html").write_text(text, encoding="utf-8")
    return {name: folder / f"{name}.html" for name in texts}


@pytest.mark.parametrize("scheme", _SCHEMES)
@pytest.mark.parametrize("width", _WIDTHS)
def test_no_page_scrolls_sideways_and_every_text_can_be_read(
    page: "Page", pages: dict[str, Path], screenshots: Path, width: int, scheme: str
) -> None:
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    page.set_viewport_size({"width": width, "height": 900})
    problems: list[str] = []
    page.on("console", lambda message: problems.append(message.text))
    for name, path in pages.items():
        page.goto(path.as_uri())
        page.screenshot(path=screenshots / f"page-{name}-{width}-{scheme}.png", full_page=True)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, name
        ratio, where = page.evaluate(_CONTRAST)
        assert ratio >= _LEAST_CONTRAST, f"{name}: {where}"
    assert problems == []


def test_a_page_can_be_told_its_theme_whatever_the_browser_prefers(page: "Page", pages: dict[str, Path]) -> None:
    page.emulate_media(color_scheme="light")
    page.goto(pages["diff"].as_uri())
    colour = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(colour)
    page.evaluate("document.documentElement.dataset.theme = 'dark'")
    dark = page.evaluate(colour)
    assert dark != light
    page.emulate_media(color_scheme="dark")
    page.evaluate("document.documentElement.dataset.theme = 'light'")
    assert page.evaluate(colour) == light


def test_figures_take_the_colours_of_the_theme(page: "Page", pages: dict[str, Path]) -> None:
    stroke = "getComputedStyle(document.querySelector('figure svg path[style*=\"var(--a)\"]')).stroke"
    colours = []
    for scheme in _SCHEMES:
        page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
        page.goto(pages["diff"].as_uri())
        colours.append(page.evaluate(stroke))
    assert len(set(colours)) == 2
    assert all(colour.startswith("rgb") for colour in colours)


def test_a_wide_table_scrolls_inside_its_own_box(page: "Page", pages: dict[str, Path]) -> None:
    page.set_viewport_size({"width": 360, "height": 900})
    page.goto(pages["diff"].as_uri())
    scrolls = "[...document.querySelectorAll('.wide')].some(box => box.scrollWidth > box.clientWidth)"
    assert page.evaluate(scrolls)


def test_the_summary_leads_to_its_section(page: "Page", pages: dict[str, Path]) -> None:
    page.goto(pages["diff"].as_uri())
    page.get_by_role("link", name="Training").click()
    assert page.evaluate("location.hash") == "#training"
    assert page.locator("#training").is_visible()


def test_a_page_can_be_printed(page: "Page", pages: dict[str, Path]) -> None:
    page.goto(pages["diff"].as_uri())
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.documentElement).colorScheme") == "light"
    assert page.pdf(format="A4").startswith(b"%PDF")
