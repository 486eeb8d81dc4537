"""A package that no lock names is named where it can be the cause, is told where it was none, and never floods."""

from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest

from ctr_pipeline.reproduce import environment
from ctr_pipeline.reproduce.differences import circumstance_differences
from ctr_pipeline.reproduce.environment import look_up_environment
from ctr_pipeline.reproduce.judge import Evidence, decide
from ctr_pipeline.reproduce.original import find_original
from ctr_pipeline.reproduce.verdict import Circumstance, Difference, Layer, Verdict
from tests.plugins.run_fixtures import FinishedRun
from tracking.environment import Package, lock_digest
from tracking.recipe import Circumstances, Identity, Recipe

_ME: Final = Identity("c", "d", {}, "l", "3.12.1", 1)
_PANDAS: Final = Circumstance("package pandas", "3.1.1", "(none)")


def _told(then: Circumstances, now: Circumstances, lock: str = "l") -> tuple[Circumstance, ...]:
    return circumstance_differences(Recipe(_ME, then), Recipe(replace(_ME, lock_digest=lock), now))


def _layers(*, equal: bool) -> tuple[Layer, ...]:
    return (Layer("code", "identity", "aa", "aa"), Layer("booster", "output", "aa", "aa" if equal else "bb"))


@pytest.mark.parametrize("lock", ["l", "other"])
def test_packages_of_one_side_are_told_those_that_compute_and_those_that_are_gone_first(lock: str) -> None:
    then = Circumstances(packages={"zlib": "1", "pandas": "3.1.1", "xgboost": "3.4.1", "same": "1"})
    assert _told(then, Circumstances(packages={"alpha": "2", "same": "1"}), lock) == (
        Circumstance("package xgboost", "3.4.1", "(none)"),
        _PANDAS,
        Circumstance("package zlib", "1", "(none)"),
        Circumstance("package alpha", "(none)", "2"),
    )


def test_dozens_of_tools_are_a_few_and_a_number() -> None:
    gone = {f"gone-{place:02}": "1" for place in range(30)}
    told = _told(Circumstances(packages=gone), Circumstances(packages={"new-1": "1", "new-2": "1"}))
    assert [item.name for item in told[:-1]] == [f"package gone-{place:02}" for place in range(8)]
    assert told[-1] == Circumstance("24 more packages", "22 installed", "2 installed")
    other = _told(Circumstances(packages=gone), Circumstances(packages=dict.fromkeys(gone, "2")))
    assert (len(other), other[-1]) == (21, Circumstance("10 more packages", "10 installed", "10 installed"))


def test_the_same_version_from_another_place_is_told_but_not_the_code_that_is_compared_anyway() -> None:
    packages = {"acme": "1", "code": "1", "fork": "1", "same": "1"}
    same = {"same": "file:///same"}
    then = Circumstances(packages=packages, package_origins={**same, "acme": "git+x@1", "code": "-e file:///a"})
    now = Circumstances(packages=packages, package_origins={**same, "acme": "git+x@2", "fork": "file:///f"})
    assert _told(then, now) == (
        Circumstance("package acme", "1 from git+x@1", "1 from git+x@2"),
        Circumstance("package fork", "1 from an index", "1 from file:///f"),
    )
    assert _told(Circumstances(packages=packages), now) == ()


def test_a_package_is_the_cause_where_outputs_differ_and_nothing_of_the_identity_does() -> None:
    around = (Circumstance("host", "a", "b"), Circumstance("cpu", "x", "y"), _PANDAS)
    finding = decide(Evidence(_layers(equal=False), (), around))
    assert finding.verdict is Verdict.DIVERGED
    told = "nothing that is recorded as deciding differs, but around it: package pandas 3.1.1 -> (none); cpu x -> y"
    assert finding.cause == told
    code = decide(Evidence(_layers(equal=False), (Difference("code", "a.py edited"),), around))
    assert code.cause == "a.py edited"


def test_many_packages_do_not_hide_the_processor() -> None:
    around = (*(replace(_PANDAS, name=f"package p{place}") for place in range(9)), Circumstance("cpu", "x", "y"))
    cause = str(decide(Evidence(_layers(equal=False), (), around)).cause)
    assert "package p2 3.1.1 -> (none); cpu x -> y; package p3" in cause
    assert cause.endswith("; and 4 more")


def test_equal_outputs_stay_identical_and_the_packages_are_said() -> None:
    around = tuple(replace(_PANDAS, name=f"package p{place}") for place in range(4))
    finding = decide(Evidence(_layers(equal=True), (), around))
    assert finding.verdict is Verdict.IDENTICAL
    assert finding.reason.startswith("what went in and all that came out are the same; packages that do not decide")
    assert finding.reason.endswith("package p2 3.1.1 -> (none); and 1 more")
    assert "packages" not in decide(Evidence(_layers(equal=True), (), (Circumstance("host", "a", "b"),))).reason


def test_a_needed_package_of_no_index_makes_the_packages_not_ready_and_no_index_is_asked(
    finished_run: FinishedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("find_environment", "has_python", "check_packages"):
        monkeypatch.setattr(environment, name, None)
    original = find_original(finished_run.run_id, finished_run.place, tmp_path)
    assert original.recipe is not None
    packages = (Package("acme", "1.0"), Package("ours", "2.0"))
    recipe = replace(
        original.recipe,
        identity=replace(original.recipe.identity, lock_digest=lock_digest(None, packages)),
        circumstances=replace(
            original.recipe.circumstances,
            lock_path=None,
            packages={package.name: package.version for package in packages},
            package_origins={"acme": "git+https://git.acme.test/acme@12", "ours": "-e ./."},
        ),
    )
    found, (_, told) = look_up_environment(original, recipe)
    assert found is None
    assert (told.name, told.ready) == ("packages", False)
    assert told.found == "cannot be rebuilt: acme==1.0 (from git+https://git.acme.test/acme@12)"
    assert "install them here from where they came" in told.remedy
    assert "--use-current-env" in told.remedy
