"""Hazards 1 to 10: the code is not what somebody thinks it was."""

import shutil
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from ctr_pipeline.reproduce.original import SOURCE
from ctr_pipeline.reproduce.verdict import Ingredient, Judgement, Verdict
from tests.hazards.laboratory import Baseline, Workbench, circumstance, run_project
from tracking.canonical import sha256_file

_ROBUST = {Verdict.EQUIVALENT, Verdict.DIVERGED}


@dataclass(frozen=True, slots=True)
class _Uncommitted:
    """A run of a tree full of uncommitted work, the work thrown away, and the run redone twice.

    Attributes:
        bench: the tree, clean again.
        restored: from the run's own snapshot.
        current: with the code as it is in the clean tree.
    """

    bench: Workbench
    restored: Judgement
    current: Judgement


@pytest.fixture(scope="module")
def uncommitted(baseline: Baseline, tmp_path_factory: pytest.TempPathFactory) -> _Uncommitted:
    bench = baseline.workbench(tmp_path_factory.mktemp("uncommitted"))
    bench.write("team/metrics.py", (bench.project / "team/metrics.py").read_text(encoding="utf-8") + "\n\nSCALE = 1\n")
    bench.write("team/costs.py", "COST_RATE = 0.3\n")
    bench.git("add", "team/costs.py")
    bench.write("team/costs.py", "from team.fees import SHARE\n\nCOST_RATE = SHARE\n")
    bench.write("team/fees.py", "SHARE = 0.35\n")
    made = bench.of(bench.run(reuse=False))
    bench.git("reset", "--quiet", "--hard")
    bench.git("clean", "--quiet", "--force", "-d")
    return _Uncommitted(made, made.reproduce(), made.reproduce(use_current_code=True))


def test_uncommitted_work_is_part_of_the_run_and_never_passes_for_the_commit(uncommitted: _Uncommitted) -> None:
    around = uncommitted.bench.recipe.circumstances
    assert (around.commit, around.dirty) == (uncommitted.bench.git("rev-parse", "HEAD"), True)
    assert uncommitted.restored.verdict is Verdict.IDENTICAL
    assert any(text.startswith("not committed:") for text in uncommitted.restored.grade_missing)
    assert uncommitted.current.verdict is Verdict.DIVERGED
    assert "team/metrics.py edited" in str(uncommitted.current.cause)


def test_an_untracked_module_comes_back_with_the_run(uncommitted: _Uncommitted) -> None:
    assert not (uncommitted.bench.project / "team/fees.py").exists()
    assert uncommitted.restored.verdict is Verdict.IDENTICAL
    assert "team/fees.py removed" in str(uncommitted.current.cause)


def test_of_staged_and_unstaged_changes_the_working_tree_counts(uncommitted: _Uncommitted) -> None:
    assert uncommitted.restored.verdict is Verdict.IDENTICAL
    edited = next(found for found in uncommitted.current.differences if found.what == "team/costs.py edited")
    assert "-COST_RATE = SHARE\n+COST_RATE = 0.25\n" in edited.detail
    assert "0.3\n" not in edited.detail


def test_a_commit_that_was_never_pushed_is_not_needed(bench: Workbench, tmp_path: Path) -> None:
    bench.git("init", "--quiet", "--bare", "--initial-branch=main", str(tmp_path / "origin"))
    bench.git("remote", "add", "origin", str(tmp_path / "origin"))
    bench.git("push", "--quiet", "origin", "main")
    bench.edit("team/costs.py", lambda text: text.replace("0.25", "0.2"))
    bench.git("commit", "--quiet", "--all", "--message", "never pushed")
    made = bench.of(bench.run(reuse=False))
    around = made.recipe.circumstances
    assert (around.dirty, around.pushed) == (False, False)
    subprocess.run(["git", "clone", "--quiet", tmp_path / "origin", tmp_path / "clone"], check=True)
    elsewhere = replace(made, project=tmp_path / "clone")
    assert elsewhere.git("rev-parse", "HEAD") != around.commit
    assert _found_source(elsewhere).wanted == made.recipe.identity.code_digest


def test_a_commit_that_was_amended_and_collected_is_not_needed(bench: Workbench) -> None:
    commit = str(bench.recipe.circumstances.commit)
    bench.write("team/costs.py", "COST_RATE = 0.5\n")
    bench.git("commit", "--quiet", "--all", "--amend", "--message", "another history")
    bench.git("reflog", "expire", "--expire=now", "--all")
    bench.git("gc", "--quiet", "--prune=now")
    with pytest.raises(subprocess.CalledProcessError):
        bench.git("cat-file", "-e", commit)
    assert bench.reproduce().verdict is Verdict.IDENTICAL


def test_without_git_the_code_is_kept_all_the_same(
    bench: Workbench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    with monkeypatch.context() as patch:
        patch.setenv("PATH", str(tools))
        assert shutil.which("git") is None
        made = bench.of(bench.run(reuse=False))
    assert made.recipe.circumstances.commit is None
    bench.write("team/costs.py", "COST_RATE = 0.5\n")
    assert _found_source(made).wanted == made.recipe.identity.code_digest
    assert any(text.startswith("no commit:") for text in made.plan().grade_missing)


def test_code_is_kept_of_a_run_that_was_started_outside_its_repository(
    bench: Workbench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outside = tmp_path / "outside"
    shutil.copytree(bench.project / "configs", outside / "configs")
    monkeypatch.syspath_prepend(bench.project)
    made = bench.of(run_project(outside, bench.home, f"data.uri={bench.project / 'log'}"))
    monkeypatch.undo()
    bench.write("team/costs.py", "COST_RATE = 0.5\n")
    found = replace(made, project=outside).reproduce()
    assert found.verdict is Verdict.IDENTICAL
    assert any(text.startswith("no commit:") for text in found.grade_missing)


def test_a_submodule_that_moved_is_named_and_the_run_has_the_old_one(bench: Workbench, tmp_path: Path) -> None:
    rates = replace(bench, project=tmp_path / "rates")
    rates.write("__init__.py", "COST_RATE = 0.4\n")
    for command in (["init", "--quiet", "--initial-branch=main"], ["add", "--all"], ["commit", "--quiet", "-m", "one"]):
        rates.git(*command)
    bench.git("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(rates.project), "rates")
    bench.write("team/costs.py", "from rates import COST_RATE\n")
    bench.git("commit", "--quiet", "--all", "--message", "rates of their own")
    made = bench.of(bench.run(reuse=False))
    inside = replace(bench, project=bench.project / "rates")
    inside.write("__init__.py", "COST_RATE = 0.1\n")
    inside.git("commit", "--quiet", "--all", "--message", "two")
    assert made.reproduce().verdict is Verdict.IDENTICAL
    current = made.reproduce(use_current_code=True)
    assert current.verdict is Verdict.DIVERGED
    assert "rates/__init__.py edited" in str(current.cause)
    assert circumstance(current, "submodules.rates").again == inside.git("rev-parse", "HEAD")


def test_a_kept_output_of_other_code_is_not_used_again(own_bench: Workbench) -> None:
    first = own_bench.run(reuse=True)
    own_bench.write("team/costs.py", "COST_RATE = 0.31\n")
    second = own_bench.run(reuse=True)
    assert second.reused == {}
    assert own_bench.run(reuse=True).reused.keys() == {"preprocess", "train", "evaluate"}
    assert own_bench.of(second).reproduce().verdict is Verdict.IDENTICAL
    current = own_bench.of(first).reproduce(use_current_code=True)
    assert current.verdict in _ROBUST
    assert "team/costs.py edited" in str(current.cause)


def test_a_snapshot_of_other_code_than_what_ran_is_refused(own_bench: Workbench) -> None:
    own_bench.edit("team/costs.py", lambda text: text.replace("0.25", "0.3"))
    other = own_bench.of(own_bench.run())
    stale = own_bench.folder.path / SOURCE
    digest = sha256_file(stale)
    copies = [path for path in own_bench.home.path.rglob(stale.name) if sha256_file(path) == digest]
    assert len(copies) >= len(["the run's own", "the tracker's"])
    for copy in copies:
        shutil.copyfile(other.folder.path / SOURCE, copy)
    found = own_bench.reproduce()
    assert found.verdict is Verdict.CANNOT
    source = next(item for item in found.ingredients if item.name == "source")
    assert source.found == f"2 of {SOURCE}, damaged"
    assert "--use-current-code" in source.remedy


def _found_source(bench: Workbench) -> Ingredient:
    """Return the source as the plan found it: restored, with the code digest that was recorded."""
    source = next(item for item in bench.plan().ingredients if item.name == "source")
    assert source.ready
    return source
