"""The plan of a reproduction: every ingredient looked up and verified by its digest; nothing is computed."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ctr_pipeline.reproduce.code import StepCode, current_code, restore_code
from ctr_pipeline.reproduce.environment import StepEnvironment, current_environment, look_up_environment
from ctr_pipeline.reproduce.original import SOURCE, Original
from ctr_pipeline.reproduce.pinned_data import FoundData, look_up_data
from ctr_pipeline.reproduce.request import Request
from ctr_pipeline.reproduce.settings import current_settings, laid_over, look_up_settings, require_valid
from ctr_pipeline.reproduce.verdict import Ingredient
from ctr_pipeline.workflows.provenance import find_tree, own_modules
from tracking.environment import gpu_models
from tracking.recipe import Recipe


@dataclass(frozen=True, slots=True)
class Plan:
    """What a reproduction will be made of.

    Attributes:
        original: the run to be redone.
        recipe: its recipe.
        request: what was asked.
        ingredients: all that was looked up.
        settings: the run's settings with the deviations asked for; None where they cannot be had.
        code: None where it cannot be had.
        environment: None where it cannot be had.
        data: the pinned copy; None where it cannot be had, or other data were asked for.
    """

    original: Original
    recipe: Recipe
    request: Request
    ingredients: tuple[Ingredient, ...]
    settings: Mapping[str, Any] | None
    code: StepCode | None
    environment: StepEnvironment | None
    data: FoundData | None

    @property
    def missing(self) -> tuple[Ingredient, ...]:
        """What is not there, or is not what was recorded."""
        return tuple(ingredient for ingredient in self.ingredients if not ingredient.ready)


def make_plan(original: Original, recipe: Recipe, request: Request, scratch: Path) -> Plan:
    """Look every ingredient up and verify it.

    Args:
        original: the run to be redone.
        recipe: its recipe.
        request: what was asked.
        scratch: folder that receives the restored code.

    Raises:
        InputError: a deviation that was asked for makes no sense.
        TrackingError: the tracker is needed and cannot be reached.
    """
    recorded, settings_found = look_up_settings(original, recipe)
    if request.current_settings is not None:
        recorded, settings_found = current_settings(request.current_settings, recipe)
    settings = laid_over(recorded, request.overrides) if recorded is not None else None
    if recorded is not None and settings is not None and request.overrides:
        require_valid(recorded, settings)
    code, code_found = _code(original, recipe, request, recorded or {}, scratch)
    look_up = current_environment if request.use_current_env else look_up_environment
    environment, environment_found = look_up(original, recipe)
    libraries = environment.libraries if environment is not None else ()
    # Before an environment is built nobody knows what another function's library brings.
    known = own_modules((settings if libraries else recorded) or {})
    named = sorted(set(known).intersection(own_modules(settings or {})))
    code, code_found = _with_modules(code, code_found, named, libraries)
    data, data_found = _data(original, recipe, request)
    ingredients = (
        _recipe_ingredient(recipe),
        code_found,
        *environment_found,
        data_found,
        settings_found,
        *_device(recipe, settings or {}),
    )
    return Plan(original, recipe, request, ingredients, settings, code, environment, data)


def _recipe_ingredient(recipe: Recipe) -> Ingredient:
    if recipe.outputs.layers:
        found = f"{len(recipe.outputs.layers)} outputs to compare with"
        return Ingredient("recipe", ready=True, wanted=recipe.digest, found=found)
    remedy = "the run did not finish: start it anew with `ctr-pipeline run`"
    return Ingredient("recipe", ready=False, wanted=recipe.digest, found="no outputs to compare with", remedy=remedy)


def _code(
    original: Original, recipe: Recipe, request: Request, settings: Mapping[str, Any], scratch: Path
) -> tuple[StepCode | None, Ingredient]:
    wanted = recipe.identity.code_digest
    if request.use_current_code:
        tree = find_tree(request.start, settings)
        code = current_code(tree, request.start, settings)
        found = f"the current code of {tree.root or 'the installed package'} (asked for)"
        return code, Ingredient("source", ready=True, wanted=wanted, found=found)
    remedy = f"restore {SOURCE} among the run's artifacts, or use the current code explicitly with --use-current-code"
    restored = restore_code(original, settings, scratch)
    if restored is None:
        n_copies = sum(1 for _ in original.documents.copies(SOURCE))
        found = f"{n_copies} of {SOURCE}, damaged" if n_copies else f"{SOURCE} is gone"
        found += f" ({original.documents.unreachable})" if original.documents.unreachable else ""
        return None, Ingredient("source", ready=False, wanted=wanted, found=found, remedy=remedy)
    if restored.digest != wanted:
        found = f"its code has the digest {restored.digest}: files that steps can import are not in the snapshot"
        return None, Ingredient("source", ready=False, wanted=wanted, found=found, remedy=remedy)
    if not restored.proves_roots:
        found = f"{restored.archive}: its import roots are not those that its files imply"
        return None, Ingredient("source", ready=False, wanted=wanted, found=found, remedy=remedy)
    return restored, Ingredient("source", ready=True, wanted=wanted, found=str(restored.archive))


def _with_modules(
    code: StepCode | None, found: Ingredient, modules: Sequence[str], libraries: Sequence[Path]
) -> tuple[StepCode | None, Ingredient]:
    """Refuse code in which a step would not find the modules of the functions that the settings name."""
    gone = code.unresolved(modules, libraries) if code is not None else ()
    if not gone:
        return code, found
    told = f"no module {', '.join(gone)} in {'the current code' if code and code.archive is None else SOURCE}"
    remedy = (
        f"put {', '.join(gone)} into the project and use the current code explicitly with --use-current-code, or name "
        "another function with --set"
    )
    return None, replace(found, ready=False, found=told, remedy=remedy)


def _data(original: Original, recipe: Recipe, request: Request) -> tuple[FoundData | None, Ingredient]:
    if request.data is None and not request.use_current_data:
        return look_up_data(original, recipe, request)
    asked = request.data or f"{recipe.circumstances.data_uri} as it is now"
    return None, Ingredient("data", ready=True, wanted=recipe.identity.data_digest[:32], found=f"{asked} (asked for)")


def _device(recipe: Recipe, settings: Mapping[str, Any]) -> Iterator[Ingredient]:
    wanted = settings.get("train", {}).get("device", "cpu")
    if wanted == "cpu":
        return
    gpus = gpu_models()
    remedy = "" if gpus else "run it on a machine with a GPU, or deviate with --set train.device=cpu"
    found = ", ".join(gpus) or "no GPU"
    told = f"{wanted}: {', '.join(recipe.circumstances.gpus) or 'unknown'}"
    yield Ingredient("device", ready=bool(gpus), wanted=told, found=found, remedy=remedy)
