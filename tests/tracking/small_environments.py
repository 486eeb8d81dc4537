"""Plans of environments with one or two small packages, whose files the lock of this project names."""

import platform
from dataclasses import replace
from typing import Final

from tests.house.project import ROOT
from tracking.environment_plan import EnvironmentPlan
from tracking.lock_file import LockedPackage, locked_packages

PYTHON: Final = platform.python_version()


# Small, pure Python, without dependencies; `uv sync` of this project has them in uv's cache.
SMALL: Final = ("iniconfig", "platformdirs")


def locked(name: str) -> LockedPackage:
    return next(package for package in locked_packages(ROOT / "uv.lock") if package.name == name)


def plan_of(*lines: str, **changes: tuple[str, ...] | str) -> EnvironmentPlan:
    plan = EnvironmentPlan(PYTHON, lines or (locked(SMALL[0]).requirement,), (), (), ())
    return replace(plan, **changes)  # type: ignore[arg-type] # of the fields' types


def recorded() -> dict[str, str]:
    return {name: locked(name).version for name in SMALL}
