"""Original and re-run laid side by side: layers, causes, circumstances, margins, metrics; the judgement of them."""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from ctr_pipeline.evaluation.noise import MarginSpread, NoiseBand
from ctr_pipeline.reproduce.code import restore_code
from ctr_pipeline.reproduce.defaults import MODULES, changed_defaults
from ctr_pipeline.reproduce.differences import (
    circumstance_differences,
    code_differences,
    data_differences,
    identity_differences,
    package_differences,
)
from ctr_pipeline.reproduce.identity import Materials
from ctr_pipeline.reproduce.judge import Evidence, decide
from ctr_pipeline.reproduce.layers import layers_of
from ctr_pipeline.reproduce.new_data import marked_frozen
from ctr_pipeline.reproduce.original import PREDICTIONS
from ctr_pipeline.reproduce.pinned_data import find_manifest
from ctr_pipeline.reproduce.plan import Plan
from ctr_pipeline.reproduce.predictions import (
    Predictions,
    compare_predictions,
    differ_by_rounding,
    original_predictions,
    read_predictions,
)
from ctr_pipeline.reproduce.proof import proven
from ctr_pipeline.reproduce.then_and_now import then_and_now
from ctr_pipeline.reproduce.verdict import (
    ColumnDifference,
    Difference,
    Judgement,
    Layer,
    MarginDifference,
    MetricDifference,
    RunSide,
)
from ctr_pipeline.workflows.driver import DrivenRun
from ctr_pipeline.workflows.execution import NOISE_FILE
from tracking.errors import InputError
from tracking.recipe import Recipe

_ROUNDING: Final = 1e-12


def compare(plan: Plan, materials: Materials, driven: DrivenRun, scratch: Path) -> Judgement:
    """Judge a re-run against its original, whose outputs are read only here.

    Args:
        plan: what was redone.
        materials: what the re-run was made of.
        driven: the re-run.
        scratch: folder for what has to be unpacked.
    """
    before, after = plan.recipe, driven.recipe
    layers = layers_of(before, after)
    if materials.is_frozen:
        layers = tuple(marked_frozen(layer) for layer in layers)
    layers = proven(layers, driven.folder, is_frozen=materials.is_frozen)
    differences, columns = _differences(plan, materials, after, scratch)
    circumstances = circumstance_differences(before, after)
    metrics = _metrics(plan, driven)
    old, new = _predictions(plan, driven, layers)
    margins = compare_predictions(old, new) if old and new else None
    noise = _noise(plan)
    evidence = Evidence(
        layers=layers,
        differences=differences,
        circumstances=circumstances,
        rounded=_is_rounding(old, new, metrics),
        inside_band=_inside(noise, metrics, margins),
        same_recipe=before.digest == after.digest,
        new_data=plan.request.data is not None and before.identity.data_digest != after.identity.data_digest,
    )
    finding = decide(evidence)
    beside = then_and_now(plan, materials, driven, scratch)
    return Judgement(
        verdict=finding.verdict,
        reason=finding.reason,
        original=plan.original.side,
        again=_side(driven),
        grade=str(before.grade.letter) if before.grade else None,
        grade_missing=before.grade.missing if before.grade else (),
        ingredients=plan.ingredients,
        layers=layers,
        first_divergence=finding.first_divergence,
        cause=finding.cause,
        differences=differences,
        columns=columns,
        circumstances=circumstances,
        margins=margins,
        metrics=tuple(_with_band(metric, noise) for metric in metrics),
        noise=noise.to_record() if noise else None,
        notes=(*_notes(plan, materials, noise), *beside.notes),
        estimates=beside.estimates,
        drift=beside.drift,
    )


def _differences(
    plan: Plan, materials: Materials, after: Recipe, scratch: Path
) -> tuple[tuple[Difference, ...], tuple[ColumnDifference, ...]]:
    before = plan.recipe
    found: list[Difference] = []
    columns: tuple[ColumnDifference, ...] = ()
    if before.identity.code_digest != after.identity.code_digest:
        found += _code_differences(plan, materials, scratch / "original")
    if before.identity.lock_digest != after.identity.lock_digest:
        packages = tuple(package_differences(before.circumstances.packages, after.circumstances.packages))
        found += packages or (Difference("environment", "the lock file differs, no package of both does"),)
    if before.identity.data_digest != after.identity.data_digest:
        manifest, problem = find_manifest(plan.original, before)
        if manifest is None:
            found.append(Difference("data", f"the data differ; where is unknown ({problem})"))
        else:
            differences, columns = data_differences(manifest, materials.data.manifest)
            found += differences
    found += identity_differences(before.identity, after.identity)
    return tuple(_marked(difference, plan) for difference in found), columns


def _code_differences(plan: Plan, materials: Materials, scratch: Path) -> Iterator[Difference]:
    original = restore_code(plan.original, plan.settings or {}, scratch)
    for difference in code_differences(original.files if original else None, materials.code.files):
        yield difference
        is_default = difference.what.startswith(MODULES) and plan.request.current_settings is None
        if original is not None and is_default:
            changed = changed_defaults(materials.interpreter.python, original.roots, materials.code.roots)
            for default in changed:
                yield Difference("code", f"the default of {default} (the run's own value is used)")


def _marked(difference: Difference, plan: Plan) -> Difference:
    """Return the difference, marked where it was asked for."""
    request = plan.request
    asked = {
        "code": request.use_current_code,
        "environment": request.use_current_env,
        "data": request.use_current_data or request.data is not None,
        "settings": bool(request.overrides or request.data or request.current_settings),
        "clock": request.data is not None or request.use_current_data,
    }
    return replace(difference, deliberate=asked.get(difference.layer, False))


def _metrics(plan: Plan, driven: DrivenRun) -> tuple[MetricDifference, ...]:
    before = plan.original.metrics()
    evaluated = driven.records.get("evaluate")
    after: Mapping[str, float] = evaluated.facts.get("metrics", {}) if evaluated else {}
    names = sorted(before.keys() | after.keys())
    return tuple(MetricDifference(name, before.get(name), after.get(name)) for name in names)


def _predictions(
    plan: Plan, driven: DrivenRun, layers: tuple[Layer, ...]
) -> tuple[Predictions | None, Predictions | None]:
    """Read both runs' predictions; equal ones are not read, as their digests have proven them."""
    if all(layer.is_equal for layer in layers if layer.name in {"margins", "predictions", "metrics"}):
        return None, None
    return original_predictions(plan.original), read_predictions(driven.folder.step("evaluate") / PREDICTIONS)


def _is_rounding(old: Predictions | None, new: Predictions | None, metrics: tuple[MetricDifference, ...]) -> bool:
    if old is None or new is None or not differ_by_rounding(old, new):
        return False
    return all(
        metric.original is not None
        and metric.again is not None
        and math.isclose(metric.original, metric.again, rel_tol=_ROUNDING, abs_tol=_ROUNDING)
        for metric in metrics
    )


def _noise(plan: Plan) -> NoiseBand | None:
    """Return the band that was measured with the original; None where there is none, or its copies contradict."""
    found: list[NoiseBand] = []
    for path in plan.original.documents.copies(NOISE_FILE):
        try:
            found.append(NoiseBand.from_record(json.loads(path.read_bytes()), str(path)))
        except (InputError, ValueError, AttributeError):
            continue
    return found[0] if found and all(band == found[0] for band in found) else None


def _inside(
    noise: NoiseBand | None, metrics: tuple[MetricDifference, ...], margins: MarginDifference | None
) -> bool | None:
    if noise is None or margins is None:
        return None
    deltas = {metric.name: metric.delta for metric in metrics}
    known = {name: delta for name, delta in deltas.items() if delta is not None}
    spread = MarginSpread(margins.mean, margins.median, margins.q99, margins.largest)
    return len(known) == len(deltas) and noise.holds(known, spread)


def _with_band(metric: MetricDifference, noise: NoiseBand | None) -> MetricDifference:
    return metric if noise is None else replace(metric, band=noise.metrics.get(metric.name))


def _side(driven: DrivenRun) -> RunSide:
    execution = driven.execution
    ended_ms = execution.ended_ms or execution.started_ms
    return RunSide(
        run_id=driven.folder.load_logged().run_id,
        execution_id=execution.execution_id,
        name=execution.name,
        started_utc=driven.recipe.circumstances.started_utc,
        recipe_digest=driven.recipe.digest,
        wall_s=(ended_ms - execution.started_ms) / 1000,
    )


def _notes(plan: Plan, materials: Materials, noise: NoiseBand | None) -> Iterator[str]:
    request = plan.request
    if request.use_current_code:
        yield "the steps ran the project's current code, not what was recorded (--use-current-code)"
    if request.use_current_env:
        yield "the steps ran in the current environment, not in the recorded one (--use-current-env)"
    if request.use_current_data:
        yield "the steps read the input as it is now, not the pinned copy (--use-current-data)"
    if request.current_settings is not None:
        yield "the steps got today's configuration, not the recorded settings (--use-current-settings)"
    for override in request.overrides:
        yield f"a deliberate deviation: {override}"
    if materials.interpreter.missing_tools:
        tools = ", ".join(line.partition("==")[0] for line in materials.interpreter.missing_tools)
        yield f"packages that the lock does not name could not be had and were left out: {tools}"
    files = plan.recipe.circumstances.file_digests, {file.path: file.sha256 for file in materials.data.manifest.files}
    if files[0] != files[1] and plan.recipe.identity.data_digest == materials.data.manifest.digest:
        yield "the input's files differ, their rows are equal"
    if noise is not None and noise.is_empty:
        chance = f"another {noise.chance} changes nothing"
        yield f"the noise band of {noise.runs} runs has zero width ({chance}): only what is equal is inside"
