"""Interpreter and libraries of a reproduction: rebuilt from what the run recorded, or this process's own."""

import os
import platform
import site
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import platformdirs

from ctr_pipeline.reproduce.original import LOCK, Original
from ctr_pipeline.reproduce.verdict import Ingredient
from ctr_pipeline.workflows.provenance import MUST_BE_LOCKED
from tracking.environment import Lock, Package, installed_packages, lock_digest, read_lock
from tracking.environment_plan import EnvironmentPlan, plan_environment
from tracking.errors import ProblemError
from tracking.rebuilt_environment import (
    ORIGIN_REMEDY,
    MissingPackagesError,
    check_packages,
    find_environment,
    has_python,
    rebuild_environment,
)
from tracking.recipe import Recipe
from tracking.uv import REMEDY, find_uv

# The distribution of our own packages.
_CARRIED: Final = ("ctr-pipeline",)
CURRENT: Final = "use the current environment explicitly with --use-current-env"


@dataclass(frozen=True, slots=True)
class Interpreter:
    """An interpreter with its libraries, ready to run steps.

    Attributes:
        python: to be started.
        python_version: such as "3.12.1".
        packages: what is installed.
        lock: the run's lock file, compared with what is installed; None where it had none.
        missing_tools: packages that the lock does not name and that could not be had: no index has them, or they
            came from none.
    """

    python: Path
    python_version: str
    packages: tuple[Package, ...]
    lock: Lock | None
    missing_tools: tuple[str, ...] = ()

    @property
    def lock_digest(self) -> str:
        """What the libraries are: part of a run's identity."""
        return lock_digest(self.lock, self.packages)


@dataclass(frozen=True, slots=True)
class StepEnvironment:
    """Where steps will run.

    Attributes:
        plan: what is to be rebuilt; None for this process's own environment.
        lock: copy of the run's lock file; None where it had none, or none is left.
        carried: packages that were installed then and whose code the source snapshot holds.
    """

    plan: EnvironmentPlan | None
    lock: Path | None
    carried: tuple[Package, ...] = ()

    @property
    def is_ready(self) -> bool:
        """Whether nothing has to be built first."""
        return self.plan is None or find_environment(self.plan, environments_folder()) is not None

    @property
    def libraries(self) -> tuple[Path, ...]:
        """Folders of its installed packages; none where it has to be built first."""
        if self.plan is None:
            return tuple(Path(folder) for folder in site.getsitepackages())
        built = find_environment(self.plan, environments_folder())
        return () if built is None else (built.site_packages,)

    def interpreter(self) -> Interpreter:
        """Return the interpreter; its environment is built first where it is not there.

        Raises:
            TrackingError: it cannot be built; the message names what is gone.
        """
        if self.plan is None:
            packages = installed_packages()
            return Interpreter(Path(sys.executable), platform.python_version(), packages, self._lock(packages))
        rebuilt = rebuild_environment(self.plan, environments_folder())
        installed = installed_packages([str(rebuilt.site_packages)])
        packages = tuple(sorted((*installed, *self.carried), key=lambda package: package.name))
        version = self.plan.python_version
        return Interpreter(rebuilt.python, version, packages, self._lock(packages), rebuilt.missing_tools)

    def _lock(self, packages: tuple[Package, ...]) -> Lock | None:
        return None if self.lock is None else read_lock(self.lock, packages, must_be_locked=MUST_BE_LOCKED)


def environments_folder() -> Path:
    """Return the folder of rebuilt environments: in what `CTR_CACHE` names, else in the user's own cache."""
    named = os.environ.get("CTR_CACHE")
    return (Path(named).resolve() if named else platformdirs.user_cache_path("ctr-pipeline")) / "environments"


def look_up_environment(original: Original, recipe: Recipe) -> tuple[StepEnvironment | None, tuple[Ingredient, ...]]:
    """Find lock, Python and packages of a run; None where one of them cannot be had."""
    lock, ingredient = _lock(original, recipe)
    if not ingredient.ready:
        return None, (ingredient,)
    recorded = dict(recipe.circumstances.packages)
    origins = recipe.circumstances.package_origins
    plan = plan_environment(recipe.identity.python_version, recorded, lock, carried=_CARRIED, origins=origins)
    rest = tuple(_installable(plan))
    ready = all(item.ready for item in rest)
    carried = tuple(Package(name, recorded[name], origins.get(name)) for name in plan.carried)
    return StepEnvironment(plan, lock, carried) if ready else None, (ingredient, *rest)


def current_environment(original: Original, recipe: Recipe) -> tuple[StepEnvironment, tuple[Ingredient, ...]]:
    """Take this process's environment; the run's lock, where it is left, says how it differs."""
    lock, _ = _lock(original, recipe)
    now = f"the current environment, Python {platform.python_version()} (asked for)"
    wanted = f"Python {recipe.identity.python_version}, lock {recipe.identity.lock_digest[:12]}"
    return StepEnvironment(None, lock), (Ingredient("environment", ready=True, wanted=wanted, found=now),)


def _lock(original: Original, recipe: Recipe) -> tuple[Path | None, Ingredient]:
    wanted = recipe.identity.lock_digest
    packages = tuple(Package(name, version) for name, version in sorted(recipe.circumstances.packages.items()))
    if recipe.circumstances.lock_path is None:
        found = f"the run had no lock file: {len(packages)} packages by name and version"
        ready = lock_digest(None, packages) == wanted
        return None, Ingredient("lock", ready, wanted, found, "" if ready else CURRENT)
    path = original.documents.verified(
        LOCK, lambda copy: lock_digest(read_lock(copy, packages, must_be_locked=MUST_BE_LOCKED), packages) == wanted
    )
    if path is None:
        n_copies = sum(1 for _ in original.documents.copies(LOCK))
        found = f"{n_copies} of {LOCK}, none is what was recorded" if n_copies else f"{LOCK} is gone"
        found += f" ({original.documents.unreachable})" if original.documents.unreachable else ""
        return None, Ingredient("lock", ready=False, wanted=wanted, found=found, remedy=f"restore it, or {CURRENT}")
    return path, Ingredient("lock", ready=True, wanted=wanted, found=str(path))


def _installable(plan: EnvironmentPlan) -> Iterator[Ingredient]:
    """Say whether Python and packages can be had, without installing them."""
    version, n_packages = plan.python_version, len(plan.required)
    if plan.unobtainable:
        found, remedy = f"cannot be rebuilt: {', '.join(plan.unobtainable)}", f"{ORIGIN_REMEDY}; then {CURRENT}"
        yield Ingredient("packages", ready=False, wanted=f"{n_packages} packages", found=found, remedy=remedy)
        return
    cached = find_environment(plan, environments_folder())
    if cached is not None:
        yield Ingredient("python", ready=True, wanted=version, found=str(cached.python))
        yield Ingredient("packages", ready=True, wanted=f"{n_packages} packages", found="built before")
        return
    if find_uv() is None:
        remedy = f"{REMEDY}, or {CURRENT}"
        yield Ingredient(
            "python", ready=False, wanted=version, found="uv, which rebuilds it, is not here", remedy=remedy
        )
        return
    if not has_python(version):
        remedy = f"install Python {version}, or {CURRENT}"
        yield Ingredient("python", ready=False, wanted=version, found="not here, and not to be fetched", remedy=remedy)
        return
    yield Ingredient("python", ready=True, wanted=version, found="found")
    try:
        check_packages(plan)
    except MissingPackagesError as error:
        gone = ", ".join(error.names) or str(error)
        remedy = f"give an index that has them (UV_DEFAULT_INDEX), or {CURRENT}"
        yield Ingredient("packages", ready=False, wanted=f"{n_packages} packages", found=f"gone: {gone}", remedy=remedy)
    except ProblemError as error:
        yield Ingredient("packages", ready=False, wanted=f"{n_packages} packages", found=str(error), remedy=CURRENT)
    else:
        yield Ingredient("packages", ready=True, wanted=f"{n_packages} packages", found="can be installed")
