"""The verdict's page: the answer, the chain of layers, why; safe whatever the names are."""

import re

import pytest

from ctr_pipeline.reproduce.verdict import Judgement
from ctr_pipeline.reproduce.verdict_page import verdict_page
from tests.reproduce.judgements import ALL, CANNOT, DIVERGED, EQUIVALENT, IDENTICAL, NEW_DATA, ORIGINAL


def headings(html: str) -> list[str]:
    return re.findall(r'<div class="head"><h2[^>]*>([^<]+)</h2>', html)


@pytest.mark.parametrize("judgement", ALL, ids=[judgement.verdict.value for judgement in ALL])
def test_every_verdict_is_the_pages_heading_with_its_reason(judgement: Judgement) -> None:
    html = verdict_page(judgement)
    assert f"<h1>{judgement.verdict.value.replace('_', ' ')}</h1>" in html
    assert judgement.reason.partition("<")[0] in html
    assert html == verdict_page(judgement)


def test_a_page_has_sections_only_for_what_there_is() -> None:
    expected = ["Layers", "Predictions", "Metrics", "Ingredients", "Circumstances", "Again"]
    assert headings(verdict_page(IDENTICAL)) == expected
    assert headings(verdict_page(CANNOT)) == ["Layers", "Ingredients", "Again"]
    assert headings(verdict_page(NEW_DATA)) == []
    assert "Causes" in headings(verdict_page(DIVERGED))
    assert "Data" in headings(verdict_page(DIVERGED))


def test_the_first_divergence_is_marked_once() -> None:
    html = verdict_page(DIVERGED)
    assert html.count("first to differ") == 1
    assert re.search(r'link-different first">\s*<th scope="row">.*?<span class="layer">booster', html, re.DOTALL)
    assert "first to differ" not in verdict_page(EQUIVALENT)


def test_digests_are_short_and_whole_on_demand() -> None:
    html = verdict_page(IDENTICAL)
    whole = IDENTICAL.layers[0].original or ""
    assert f'title="{whole}">{whole[:12]}<' in html
    assert f">{whole}</code>" in html


def test_patches_are_shown_file_by_file_and_other_detail_is_folded_away() -> None:
    html = verdict_page(DIVERGED)
    assert "<summary><code>bids.<wbr>py</code>" in html or "<summary><code>bids.py</code>" in html
    assert "old.py" in html
    assert "about this file" in html
    assert "line 59" in html


def test_hostile_names_do_nothing() -> None:
    html = verdict_page(DIVERGED)
    assert "<script" not in html
    assert "&lt;script&gt;" in html


def test_differences_are_held_against_what_chance_does() -> None:
    html = verdict_page(DIVERGED)
    assert ">by chance alone</th>" in html
    assert {">inside<", ">outside<"} <= set(re.findall(r">(?:in|out)side<", html))
    assert "was not measured" in verdict_page(EQUIVALENT)
    assert "600 predictions are equal to the last bit" in verdict_page(IDENTICAL)


def test_what_is_missing_comes_first_with_its_remedy() -> None:
    html = verdict_page(CANNOT)
    assert html.index("1 of 3 files is missing") < html.index("the run&#39;s recipe.json")
    assert ">restore it<" in html
    assert "remedy" not in verdict_page(IDENTICAL)


def test_the_page_says_how_to_redo_it_and_to_compare() -> None:
    html = verdict_page(IDENTICAL)
    assert f"python -m ctr_pipeline.reproduce --run-id {ORIGINAL.run_id}" in html
    assert f"ctr-pipeline diff {ORIGINAL.run_id} {'2' * 32}" in html
    assert "ctr-pipeline diff" not in verdict_page(CANNOT)
