"""`reproduce`: look everything up, restore it, run it anew, compare, tell both runs."""

import tempfile
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Protocol

from ctr_pipeline.engines.interrupt import Interrupt
from ctr_pipeline.reproduce.compare import compare
from ctr_pipeline.reproduce.environment import CURRENT
from ctr_pipeline.reproduce.identity import Materials
from ctr_pipeline.reproduce.new_data import (
    asked_uri,
    frozen_model,
    given_layers,
    is_own_version,
    on_other_data,
    pin_asked,
    require_fit,
)
from ctr_pipeline.reproduce.original import Original, find_original
from ctr_pipeline.reproduce.plan import Plan, make_plan
from ctr_pipeline.reproduce.request import Request
from ctr_pipeline.reproduce.rerun import FROZEN_TAG, Bench, rerun
from ctr_pipeline.reproduce.telling import tell_both
from ctr_pipeline.reproduce.verdict import Ingredient, Judgement, Verdict
from ctr_pipeline.workflows.driver import Watcher
from ctr_pipeline.workflows.place import Place
from ctr_pipeline.workflows.verdict_log import PAGE_FILE
from tracking.aside import StoreError
from tracking.environment_proof import DamagedPackageError
from tracking.errors import InputError, ProblemError
from tracking.plain import plain
from tracking.rebuilt_environment import MissingPackagesError, MissingPythonError
from tracking.recipe import Recipe

_SCRATCH: Final = "ctr-reproduce-"
PLAN_FORMAT: Final = 1


class ReproductionWatcher(Watcher, Protocol):
    """Who is told how far a reproduction is."""

    def doing(self, what: str) -> None:
        """Something begins that takes its time."""


@dataclass(frozen=True, slots=True)
class Reproduction:
    """What was found out.

    Attributes:
        judgement: the verdict and all that it rests on; None where only the plan was asked for, and all is there.
        original: id of the run.
        grade: of its recipe, A to D.
        grade_missing: in words, what keeps it from an A.
        ingredients: all that was looked up.
        unlogged: why the tracker does not have all of it; None where it has.
        page: the verdict's page; None where nothing ran.
    """

    judgement: Judgement | None
    original: str
    grade: str | None
    grade_missing: tuple[str, ...]
    ingredients: tuple[Ingredient, ...]
    unlogged: ProblemError | None = None
    page: Path | None = None

    @property
    def exit_code(self) -> int:
        """The verdict's; 0 where only the plan was asked for, and all is there."""
        return 0 if self.judgement is None else self.judgement.verdict.exit_code

    def plan_record(self) -> dict[str, Any]:
        """Return the plan as the JSON object that `--check-only --json` prints."""
        return {
            "format": PLAN_FORMAT,
            "run_id": self.original,
            "ready": all(ingredient.ready for ingredient in self.ingredients),
            "grade": self.grade,
            "grade_missing": list(self.grade_missing),
            "ingredients": plain(self.ingredients),
            "exit_code": self.exit_code,
        }


def reproduce(
    request: Request, place: Place, watcher: ReproductionWatcher, interrupt: Interrupt | None = None
) -> Reproduction:
    """Redo a run, or see whether it could be redone, and say whether it came out the same.

    Args:
        request: which run, and what is to be put in place of what was recorded.
        place: the home and the tracker.
        watcher: is told how far it is.
        interrupt: asked at safe points whether to end.

    Raises:
        InputError: the run is not known, or the request makes no sense for it.
        JobError: a step failed.
        TrackingError: the tracker is needed and cannot be reached, or uv fails for a reason of its own.
        StoreError: the new run's own files could not be written.
        KeyboardInterrupt: it was interrupted; the new run is marked KILLED.
    """
    try:
        return _reproduced(request, place, watcher, interrupt or Interrupt())
    except OSError as error:
        named = f" {error.filename}" if error.filename else ""
        raise StoreError(
            f"the reproduction's files{named} cannot be read or written: {error.strerror or error}; free some space in "
            f"{place.home.path} and in the folder of temporary files, or mend their rights, then try again"
        ) from error


def _reproduced(request: Request, place: Place, watcher: ReproductionWatcher, interrupt: Interrupt) -> Reproduction:
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=_SCRATCH)))
        watcher.doing("looking everything up")
        original = find_original(request.run_id, place, scratch / "fetched")
        if original.recipe is None:
            return _without_recipe(original)
        _refuse_frozen(original, original.recipe)
        plan = make_plan(original, original.recipe, request, scratch / "source")
        if request.check_only or plan.missing:
            return _told(plan, _cannot(plan) if plan.missing else None)
        try:
            materials = _materials(plan, watcher, scratch)
        except (MissingPackagesError, MissingPythonError, DamagedPackageError) as error:
            lacking = _lacking(plan, error)
            return _told(lacking, _cannot(lacking))
        watcher.doing("running the steps anew")
        driven = rerun(plan, materials, _bench(original, place, watcher, interrupt))
        watcher.doing("comparing")
        judgement = _unless_contradicted(compare(plan, materials, driven, scratch), original)
        unlogged = tell_both(judgement, original, driven)
        return replace(_told(plan, judgement, unlogged), page=driven.folder.path / PAGE_FILE)


def _unless_contradicted(judgement: Judgement, original: Original) -> Judgement:
    """Return the judgement, or CANNOT where the original's own copies do not agree on what it was.

    Asked here and not before the steps, because the tracker's library has been loaded beside them.
    """
    told = original.contradiction()
    if not told:
        return judgement
    remedy = "find out which one is the run's own and restore the other"
    missing = Ingredient("recipe", ready=False, wanted=str(original.side.recipe_digest), found=told, remedy=remedy)
    ingredients = (missing, *(item for item in judgement.ingredients if item.name != "recipe"))
    return replace(judgement, verdict=Verdict.CANNOT, reason=_reason((missing,)), ingredients=ingredients)


def _refuse_frozen(original: Original, recipe: Recipe) -> None:
    """Refuse a run that has no training of its own."""
    trained = original.tags.get(FROZEN_TAG)
    if trained is not None:
        raise InputError(
            f"run {original.name} only tested the frozen model of run {trained}, so there is no training to redo; "
            f"give --run-id {trained} --data {recipe.identity.data_digest[:32]} --preprocess freeze"
        )


def _materials(plan: Plan, watcher: ReproductionWatcher, scratch: Path) -> Materials:
    """Restore what the plan found; all of it is there."""
    settings, code, environment = plan.settings, plan.code, plan.environment
    if settings is None or code is None or environment is None:
        raise LookupError("a plan without missing ingredients has settings, code and environment")
    if not environment.is_ready:
        watcher.doing("rebuilding the environment")
    interpreter = environment.interpreter()
    data = plan.data
    if data is None:
        watcher.doing("pinning the data")
        data = pin_asked(plan)
    asked = plan.request.data
    if asked is None or is_own_version(plan, data):
        return Materials(settings, code, interpreter, data)
    require_fit(data, settings, asked)
    settings = on_other_data(settings, asked_uri(plan) or data.pinned_uri, plan.request.overrides)
    if plan.request.preprocess == "refit":
        return Materials(settings, code, interpreter, data)
    given = {"train": frozen_model(plan.original, scratch / "frozen")}
    return Materials(settings, code, interpreter, data, given, given_layers(plan.recipe))


def _lacking(plan: Plan, error: MissingPackagesError | MissingPythonError | DamagedPackageError) -> Plan:
    """Return the plan with what only the building of the environment could show: a changed file, a failed fetch."""
    name = "python" if isinstance(error, MissingPythonError) else "packages"
    found, _, remedy = str(error).rstrip(".").partition("; ")
    missing = (
        replace(item, ready=False, found=found, remedy=remedy or CURRENT) if item.name == name else item
        for item in plan.ingredients
    )
    return replace(plan, ingredients=tuple(missing))


def _bench(original: Original, place: Place, watcher: ReproductionWatcher, interrupt: Interrupt) -> Bench:
    folder = original.found.folder
    uri = place.uri if folder is None else place.uri_of(folder.load())
    return Bench(place.home, uri, watcher, interrupt)


def _told(plan: Plan, judgement: Judgement | None, unlogged: ProblemError | None = None) -> Reproduction:
    grade = plan.recipe.grade
    return Reproduction(
        judgement=judgement,
        original=plan.original.name,
        grade=str(grade.letter) if grade else None,
        grade_missing=grade.missing if grade else (),
        ingredients=plan.ingredients,
        unlogged=unlogged,
    )


def _cannot(plan: Plan) -> Judgement:
    grade = plan.recipe.grade
    return Judgement(
        verdict=Verdict.CANNOT,
        reason=_reason(plan.missing),
        original=plan.original.side,
        grade=str(grade.letter) if grade else None,
        grade_missing=grade.missing if grade else (),
        ingredients=plan.ingredients,
    )


def _without_recipe(original: Original) -> Reproduction:
    remedy = "restore recipe.json among the run's artifacts or in its folder; a run that never ended has none"
    missing = Ingredient("recipe", ready=False, wanted="recipe.json", found=original.problem, remedy=remedy)
    judgement = Judgement(Verdict.CANNOT, _reason((missing,)), original.side, ingredients=(missing,))
    return Reproduction(judgement, original.name, None, (), (missing,))


def _reason(missing: tuple[Ingredient, ...]) -> str:
    told = "; ".join(f"{item.name}: {item.found}: {item.remedy}" for item in missing)
    return f"missing or not what was recorded: {told}"
