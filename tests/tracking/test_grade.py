from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracking.grade import Evidence, Grade, Letter, grade

COMPLETE = Evidence(
    snapshot_kept=True,
    installed=False,
    git_note="",
    commit="c0ffee",
    uncommitted=(),
    left_out=(),
    unknown=(),
    locked=True,
    drift=(),
    data_pinned=True,
)
NAMES = st.lists(st.sampled_from("abcd"), unique=True).map(tuple)


def test_everything_pinned_committed_and_locked_is_an_a() -> None:
    assert grade(COMPLETE) == Grade(Letter.A, ())


@pytest.mark.parametrize(
    ("change", "letter", "missing"),
    [
        ({"uncommitted": ("a.py",)}, "B", "not committed: a.py"),
        ({"commit": None}, "B", "no commit: the repository has none yet"),
        ({"installed": True, "git_note": "x"}, "B", "no commit: the code was installed as a package"),
        ({"left_out": tuple("abcde")}, "B", "files known by name and digest only: a, b, c and 2 more"),
        ({"unknown": ("a.bin",)}, "C", "files known by name only: a.bin"),
        ({"locked": False}, "C", "libraries not locked: no uv.lock at or above the source tree"),
        ({"drift": ("numpy 1 (uv.lock: 2)",)}, "C", "libraries other than the locked ones: numpy 1 (uv.lock: 2)"),
        ({"data_pinned": False}, "C", "data not pinned: only their digest is known"),
        ({"data_pinned": False, "data_note": "pin: false"}, "C", "data not pinned: pin: false"),
        ({"git_note": "not in git"}, "D", "no commit: not in git"),
        ({"snapshot_kept": False}, "D", "source snapshot not kept"),
    ],
)
def test_each_missing_ingredient_has_its_letter_and_is_named(change: dict[str, Any], letter: str, missing: str) -> None:
    assert grade(replace(COMPLETE, **change)) == Grade(Letter(letter), (missing,))


def test_the_worst_counts_and_comes_first() -> None:
    found = grade(replace(COMPLETE, uncommitted=("a.py",), locked=False, snapshot_kept=False))
    assert found.letter == "D"
    assert [text.partition(":")[0] for text in found.missing] == [
        "source snapshot not kept",
        "libraries not locked",
        "not committed",
    ]


@given(
    st.builds(
        Evidence, left_out=NAMES, unknown=NAMES, drift=NAMES, uncommitted=NAMES, git_note=st.sampled_from(["", "x"])
    )
)
def test_an_a_is_exactly_what_misses_nothing(evidence: Evidence) -> None:
    found = grade(evidence)
    assert (found.letter is Letter.A) == (found.missing == ())


@given(st.builds(Evidence), st.sampled_from(["uncommitted", "left_out", "unknown", "drift"]))
def test_a_further_problem_never_makes_the_grade_better(evidence: Evidence, name: str) -> None:
    change: dict[str, Any] = {name: (*getattr(evidence, name), "more")}
    worse = replace(evidence, **change)
    assert grade(worse).letter >= grade(evidence).letter
