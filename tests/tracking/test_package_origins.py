"""Packages that no index gave are noted where a run is recorded, and never asked of an index where it is redone."""

import json
from pathlib import Path
from typing import Any, Final

import pytest

from tests.house.project import ROOT
from tracking.environment import Package, capture_environment, installed_packages
from tracking.environment_plan import EnvironmentPlan, plan_environment
from tracking.lock_file import locked_packages
from tracking.recipe import Circumstances, Identity, Recipe

_LOCK: Final = """
[[package]]
name = "indexed"
version = "1.0"
source = { registry = "https://pypi.org/simple" }
wheels = [{ hash = "sha256:ab" }]

[[package]]
name = "repo"
version = "1.0"
source = { git = "https://git.test/x?rev=main#abcd" }

[[package]]
name = "linked"
version = "1.0"
source = { url = "https://files.test/x.whl" }
wheels = [{ hash = "sha256:cd" }]

[[package]]
name = "beside"
version = "1.0"
source = { path = "wheels/beside.whl" }

[[package]]
name = "member"
version = "1.0"
source = { editable = "member" }
"""
_COMMIT: Final = {"vcs": "git", "commit_id": "abcd"}


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    path = tmp_path / "uv.lock"
    path.write_text(_LOCK, encoding="utf-8")
    return path


def _plan(lock: Path | None, name: str, origin: str | None, version: str = "1.0") -> EnvironmentPlan:
    origins = {name: origin} if origin is not None else {}
    return plan_environment("3.12.1", {name: version}, lock, carried=["ctr-pipeline"], origins=origins)


def _install(folder: Path, name: str, direct_url: object) -> None:
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "direct_url.json").write_text(
        direct_url if isinstance(direct_url, str) else json.dumps(direct_url), encoding="utf-8"
    )


@pytest.mark.parametrize(
    ("told", "origin"),
    [
        ({"url": "https://git.test/x", "vcs_info": _COMMIT}, "git+https://git.test/x@abcd"),
        (
            {"url": "https://me:word@git.test/x", "vcs_info": _COMMIT, "subdirectory": "a"},  # pragma: allowlist secret
            "git+https://git.test/x@abcd#subdirectory=a",
        ),
        ({"url": "file:///own/x.whl", "archive_info": {"hashes": {"sha256": "ab"}}}, "file:///own/x.whl#sha256=ab"),
        ({"url": "file:///own/x.whl", "archive_info": {"hash": "sha256=ab"}}, "file:///own/x.whl#sha256=ab"),
        ({"url": "file:///own", "dir_info": {}}, "file:///own"),
        ({"url": "file:///elsewhere", "dir_info": {"editable": True}}, "-e file:///elsewhere"),
        ("{", "unknown: direct_url.json cannot be read"),
    ],
)
def test_where_a_package_came_from_is_noted_without_credentials(tmp_path: Path, told: Any, origin: str) -> None:  # noqa: ANN401 - JSON
    _install(tmp_path / "site", "own", told)
    (tmp_path / "site" / "plain-2.0.dist-info").mkdir()
    found = installed_packages([str(tmp_path / "site")], root=tmp_path)
    assert found == (Package("own", "1.0", origin), Package("plain", "2.0"))


def test_an_editable_package_of_the_source_tree_has_its_place_in_it(tmp_path: Path) -> None:
    inner = tmp_path / "tree" / "a b"
    _install(tmp_path / "site", "own", {"url": inner.as_uri(), "dir_info": {"editable": True}})
    (found,) = installed_packages([str(tmp_path / "site")], root=tmp_path / "tree")
    assert found.origin == "-e ./a b"
    (found,) = installed_packages([str(tmp_path / "site")])
    assert found.origin == f"-e {inner.as_uri()}"


def test_this_project_is_an_editable_package_of_its_own_tree_or_of_none() -> None:
    found = {package.name: package.origin for package in capture_environment(ROOT, argv=()).packages}
    assert found["ctr-pipeline"] in {"-e ./.", None}
    assert found["numpy"] is None


@pytest.mark.parametrize("has_lock", [True, False])
def test_a_private_package_is_never_looked_up_by_its_bare_name(lock: Path, *, has_lock: bool) -> None:
    plan = _plan(lock if has_lock else None, "acme", "git+https://git.acme.test/acme@12")
    assert (plan.locked, plan.other, plan.tools) == ((), (), ())
    line = ("acme==1.0 (from git+https://git.acme.test/acme@12)",)
    assert (plan.unobtainable, plan.lost_tools) == (((), line) if has_lock else (line, ()))


@pytest.mark.parametrize(
    ("name", "origin", "version", "field"),
    [
        ("indexed", None, "1.0", "locked"),
        ("indexed", "file:///fetched/indexed.whl#sha256=ab", "1.0", "locked"),
        ("indexed", "file:///patched/indexed.whl#sha256=ff", "1.0", "unobtainable"),
        ("indexed", "-e file:///patched", "1.0", "unobtainable"),
        ("indexed", "file:///patched/indexed.whl", "2.0", "unobtainable"),
        ("indexed", None, "2.0", "other"),
        ("repo", "git+https://git.test/x@abcd", "1.0", "other"),
        ("repo", None, "1.0", "other"),
        ("repo", "git+https://git.test/x@ffff", "1.0", "unobtainable"),
        ("linked", "https://files.test/x.whl#sha256=cd", "1.0", "other"),
        ("linked", "https://files.test/x.whl", "1.0", "other"),
        ("linked", "https://files.test/other.whl", "1.0", "unobtainable"),
        ("beside", "file:///project/wheels/beside.whl", "1.0", "unobtainable"),
        ("beside", None, "1.0", "unobtainable"),
        ("member", "-e file:///moved/member", "1.0", "carried"),
        ("ours", "-e ./.", "1.0", "carried"),
        ("ctr-pipeline", "file:///build/ctr", "1.0", "carried"),
        ("tool", None, "1.0", "tools"),
    ],
)
def test_each_package_is_had_from_where_it_came_or_not_at_all(
    lock: Path, name: str, origin: str | None, version: str, field: str
) -> None:
    plan = _plan(lock, name, origin, version)
    fields = ("locked", "other", "tools", "carried", "unobtainable", "lost_tools")
    assert [name for name in fields if getattr(plan, name)] == [field]


def test_only_files_beside_the_project_are_archives(lock: Path) -> None:
    assert [package.name for package in locked_packages(lock) if package.is_archive] == ["beside"]


def test_what_cannot_be_had_counts_in_the_key(lock: Path) -> None:
    assert _plan(lock, "beside", None).key != _plan(lock, "ours", "-e ./.").key


def test_origins_are_kept_with_a_recipe_and_a_recipe_without_them_is_written_as_before() -> None:
    identity = Identity("c", "d", {}, "l", "3.12.1", 7)
    noted = Recipe(identity, Circumstances(packages={"a": "1"}, package_origins={"a": "file:///a"}))
    assert Recipe.from_json(noted.to_json()) == noted
    plain = Recipe(identity, Circumstances(packages={"a": "1"}))
    assert b"package_origins" not in plain.to_json()
    assert Recipe.from_json(plain.to_json()) == plain
    assert noted.digest == plain.digest
