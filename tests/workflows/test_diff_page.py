"""A comparison as a page and as Markdown: only what differs, safe whatever the names are."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from ctr_pipeline.workflows.diff_markdown import diff_markdown
from ctr_pipeline.workflows.diff_page import diff_page, write_page
from ctr_pipeline.workflows.diff_parts import Change, ColumnChange, FileChange, FilePatch
from ctr_pipeline.workflows.diff_view import RunDiff
from tests.plugins.diff_fixtures import ComparedRuns
from tracking.errors import InputError

HOSTILE = "<script>alert('|`*')</script>"


@pytest.fixture(scope="module")
def whole(compared: ComparedRuns) -> RunDiff:
    return compared.diff(compared.a, compared.b)


@pytest.fixture(scope="module")
def others(compared: ComparedRuns) -> RunDiff:
    return compared.diff(compared.a, compared.other)


@pytest.fixture(scope="module")
def hostile(others: RunDiff) -> RunDiff:
    """A comparison whose names come from somebody who means harm."""
    changes = (Change(HOSTILE, HOSTILE, None), Change("long", "a", "0" * 64))
    patch = FilePatch(HOSTILE, "changed", ("--- a", "+++ b", "@@ -1 +1 @@", f"-{HOSTILE}", "+```"), 1, 1)
    named = FilePatch("image.png", "removed", (), 0, 0, "binary")
    data = replace(
        others.data,
        columns=(ColumnChange(HOSTILE, "type", "text", "integer"),),
        files=(FileChange(HOSTILE, "rewritten", 1, 1),),
        association_changed=True,
        unavailable="gone",
    )
    return replace(
        others,
        settings=changes,
        data=data,
        code=replace(others.code, patches=(patch, named), unavailable="gone", same_code=True),
        packages=changes,
        circumstances=changes,
        training=replace(others.training, unavailable="gone"),
        preprocessing=replace(others.preprocessing, unavailable="gone"),
        notes=(HOSTILE,),
        a=replace(others.a, name=HOSTILE, status="FAILED"),
    )


def headings(html: str) -> list[str]:
    return re.findall(r'<div class="head"><h2[^>]*>([^<]+)</h2>', html)


def test_a_page_has_sections_only_for_what_differs(whole: RunDiff) -> None:
    expected = ["Metrics", "Settings", "Code", "Preprocessing", "Training", "Outputs", "Circumstances"]
    assert headings(diff_page(whole)) == expected
    assert ">train.<wbr>rounds<" in diff_page(whole)
    assert ">seed<" not in diff_page(whole)


def test_all_shows_what_is_equal_too(whole: RunDiff) -> None:
    html = diff_page(whole, everything=True)
    assert {"Data", "Environment"} <= set(headings(html))
    assert ">seed<" in html
    assert ">xgboost<" in html


def test_a_run_against_itself_has_no_section(compared: ComparedRuns) -> None:
    html = diff_page(compared.diff(compared.a, compared.a))
    assert headings(html) == []
    assert "nothing differs" in html


def test_the_same_comparison_gives_the_same_bytes(whole: RunDiff, compared: ComparedRuns) -> None:
    assert diff_page(whole) == diff_page(compared.diff(compared.a, compared.b))


def test_the_page_says_which_unit_was_paired(whole: RunDiff) -> None:
    assert "a paired bootstrap over " in diff_page(whole)
    assert re.search(r"over [\d,]+ users, 100 replicates", diff_page(whole))


def test_the_page_of_other_rows_says_that_nothing_is_paired(others: RunDiff) -> None:
    html = diff_page(others)
    assert "Not paired: the test rows differ" in html
    assert "Columns that differ" in html


def test_hostile_names_do_nothing_on_the_page(hostile: RunDiff) -> None:
    html = diff_page(hostile)
    assert "<script" not in html
    assert "&lt;script&gt;" in html
    assert "binary" in html
    assert "FAILED" in html


def test_a_page_without_metrics_says_so(whole: RunDiff) -> None:
    without = replace(whole, metrics=replace(whole.metrics, metrics=(), unavailable="no metrics of B"), calibration=())
    assert "no metrics of B" in diff_page(without)
    assert "no metrics of B" in diff_markdown(without)


def tables(markdown: str) -> list[list[str]]:
    found: list[list[str]] = []
    previous = ""
    for line in markdown.splitlines():
        if line.startswith("|"):
            if not previous.startswith("|"):
                found.append([])
            found[-1].append(line)
        previous = line
    return found


@pytest.mark.parametrize("which", ["whole", "others", "hostile"])
@pytest.mark.parametrize("everything", [False, True], ids=["differences", "all"])
def test_every_table_of_the_markdown_has_equal_rows(
    request: pytest.FixtureRequest, which: str, *, everything: bool
) -> None:
    markdown = diff_markdown(request.getfixturevalue(which), everything=everything)
    assert tables(markdown)
    for rows in tables(markdown):
        cells = [len(re.findall(r"(?<!\\)\|", row)) for row in rows]
        assert set(cells) == {cells[0]}
        assert re.fullmatch(r"\|( (---|--:) \|)+", rows[1])


def test_hostile_names_are_code_or_text_in_the_markdown(hostile: RunDiff) -> None:
    markdown = diff_markdown(hostile)
    # The patch holds a fence of its own: the one around it is longer.
    outside, n_patches = re.subn(r"\n`{4}diff\n.*?\n`{4}\n", "", markdown, flags=re.DOTALL)
    assert n_patches == 1
    assert "<script" not in outside
    assert "&lt;script&gt;" in outside


def test_the_markdown_has_the_patch_and_the_finding(whole: RunDiff) -> None:
    markdown = diff_markdown(whole)
    assert "```diff\n--- a/bids.py" in markdown
    assert "added logo.py: binary" in markdown
    assert "| metric | finding | A | B | difference | interval |" in markdown
    assert "`train.rounds`" in markdown


def test_long_tables_and_patches_are_cut_and_say_so(whole: RunDiff) -> None:
    many = tuple(Change(f"key{place}", "1", "2" * 200) for place in range(60))
    patch = FilePatch("long.py", "changed", ("--- a", "+++ b", *["+x"] * 600), 600, 0)
    markdown = diff_markdown(replace(whole, settings=many, code=replace(whole.code, patches=(patch,))))
    assert "| 20 more |" in markdown
    assert "... 202 more lines" in markdown
    assert "2" * 120 + "…" in markdown


def test_a_page_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"--html .* cannot be written: .*; name another file"):
        write_page(tmp_path / "file" / "page.html", "")


def test_the_markdown_of_a_run_against_itself_names_the_runs_alone(compared: ComparedRuns) -> None:
    markdown = diff_markdown(compared.diff(compared.a, compared.a))
    assert "nothing differs" in markdown
    assert "###" not in markdown
    assert "<details>" not in markdown


def test_the_markdown_says_what_is_not_available(whole: RunDiff) -> None:
    data = replace(whole.data, facts=(), unavailable="no manifest of B")
    code = replace(whole.code, facts=(), patches=(), unavailable="no source snapshot of B")
    markdown = diff_markdown(replace(whole, data=data, code=code))
    assert "### Data\n\nno manifest of B\n" in markdown
    assert "### Code\n\nno source snapshot of B\n" in markdown


def test_a_feature_that_is_new_and_a_change_of_definition_are_told(whole: RunDiff) -> None:
    changes = tuple(replace(change, low=None, high=None, finding=None, reason="x") for change in whole.metrics.metrics)
    html = diff_page(replace(whole, metrics=replace(whole.metrics, metrics=changes)))
    assert ">x<" in html
