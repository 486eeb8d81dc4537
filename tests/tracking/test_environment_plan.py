"""A plan of an environment holds what was installed: with the lock's digests, beside the lock, and where it lies."""

from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from tests.house.project import ROOT
from tests.tracking.small_environments import PYTHON, SMALL, locked, plan_of, recorded
from tracking.environment_plan import EnvironmentPlan, plan_environment
from tracking.errors import InputError


@pytest.fixture
def write_lock(tmp_path: Path) -> Callable[[str], Path]:
    def write(text: str) -> Path:
        path = tmp_path / "uv.lock"
        path.write_text(text, encoding="utf-8")
        return path

    return write


_ENTRY: Final = '[[package]]\nname = "{}"\nversion = "1.0"\nsource = {{ {} }}\nwheels = [{{ hash = "sha256:ab" }}]\n'


def test_what_is_installed_and_locked_is_required_with_its_digests() -> None:
    plan = plan_environment(PYTHON, recorded(), ROOT / "uv.lock")
    assert plan == EnvironmentPlan(PYTHON, tuple(locked(name).requirement for name in SMALL), (), (), ())
    assert plan.required == recorded()


def test_another_version_than_the_locked_one_is_required_without_digests() -> None:
    plan = plan_environment(
        PYTHON, {"iniconfig": "1.1.1", "platformdirs": locked("platformdirs").version}, ROOT / "uv.lock"
    )
    assert plan.other == ("iniconfig==1.1.1",)
    assert plan.locked == (locked("platformdirs").requirement,)
    assert plan.required["iniconfig"] == "1.1.1"


def test_what_no_lock_names_is_a_tool_beside_a_lock_and_required_without_one() -> None:
    installed = {"some-tool": "1.0"}
    assert plan_environment(PYTHON, installed, ROOT / "uv.lock").tools == ("some-tool==1.0",)
    without = plan_environment(PYTHON, installed, None)
    assert (without.other, without.tools) == (("some-tool==1.0",), ())


def test_what_the_snapshot_holds_is_not_installed() -> None:
    installed = {"ctr-pipeline": "0.0.1", "carried": "2.0"}
    for lock in (ROOT / "uv.lock", None):
        plan = plan_environment(PYTHON, installed, lock, carried=["ctr-pipeline", "carried"])
        assert (plan.locked, plan.other, plan.tools) == ((), (), ())
    assert plan_environment(PYTHON, {"ctr-pipeline": "9"}, ROOT / "uv.lock").tools == ()


def test_indexes_that_are_needed_are_named_and_the_public_one_goes_without_saying(
    write_lock: Callable[[str], Path],
) -> None:
    places = {
        "own": 'registry = "http://127.0.0.1:9/own"', "unused": 'registry = "http://127.0.0.1:9/other"',
        "public": 'registry = "https://pypi.org/simple"', "from-git": 'git = "https://git.test/x?rev=main#abcd"',
        "from-url": 'url = "https://files.test/x.whl"', "beside": 'path = "beside"',
    }  # fmt: skip
    lock = write_lock("".join(_ENTRY.format(name, place) for name, place in places.items()))
    installed = dict.fromkeys(set(places) - {"unused"}, "1.0")
    plan = plan_environment(PYTHON, installed, lock)
    assert plan.indexes == ("http://127.0.0.1:9/own",)
    assert plan.locked == ("own==1.0 --hash=sha256:ab", "public==1.0 --hash=sha256:ab")
    assert plan.other == (
        "from-git @ git+https://git.test/x@abcd --hash=sha256:ab",
        "from-url @ https://files.test/x.whl --hash=sha256:ab",
    )
    assert plan.required == {"own": "1.0", "public": "1.0"}


def test_a_broken_lock_is_refused(write_lock: Callable[[str], Path]) -> None:
    with pytest.raises(InputError, match=r"^lock file .* cannot be read"):
        plan_environment(PYTHON, {}, write_lock("[["))


def test_every_part_of_a_plan_counts_in_its_key() -> None:
    plans = [
        plan_of(), plan_of(python_version="3.12.0"), plan_of("a==1"), plan_of(other=("a==1",)),
        plan_of(tools=("a==1",)), plan_of(indexes=("http://127.0.0.1:9",)),
    ]  # fmt: skip
    assert len({plan.key for plan in plans}) == len(plans)
    assert plan_of().key == plan_of().key
