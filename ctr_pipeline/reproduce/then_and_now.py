"""A run on other data beside its original: both runs' estimates, the data's drift, and what a reader must know."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from ctr_pipeline.data.drift import ColumnDrift, ColumnSample, drift_columns, measure_drift, sample_log
from ctr_pipeline.data.manifest import DatasetManifest, PinnedFile
from ctr_pipeline.data.pin import open_pinned
from ctr_pipeline.data.splits import utc_text
from ctr_pipeline.reproduce.identity import Materials
from ctr_pipeline.reproduce.new_data import dropped_ends, is_own_version, read_columns
from ctr_pipeline.reproduce.pinned_data import FoundData, look_up_data
from ctr_pipeline.reproduce.plan import Plan
from ctr_pipeline.reproduce.verdict import Estimated, EstimatePair
from ctr_pipeline.steps.job import STEP_FILE
from ctr_pipeline.workflows.driver import DrivenRun
from tracking.canonical import canonical_json, sha256_hex
from tracking.errors import ProblemError
from tracking.times import instant_us

# Rows of one log that are read for its drift, as whole files: some ten seconds of Parquet.
_MOST_READ: Final = 20_000_000
# Rows of one log that are kept in memory, of every column that is looked at.
_MOST_KEPT: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class ThenAndNow:
    """What a page of other data shows beside the layers.

    Attributes:
        estimates: the metrics of both runs with their intervals.
        drift: of each column.
        notes: what a reader must know.
    """

    estimates: tuple[EstimatePair, ...] = ()
    drift: tuple[ColumnDrift, ...] = ()
    notes: tuple[str, ...] = ()


def then_and_now(plan: Plan, materials: Materials, driven: DrivenRun, scratch: Path) -> ThenAndNow:
    """Lay a run on other data beside its original; nothing where the run's own data were used.

    Args:
        plan: what was redone.
        materials: what the re-run was made of.
        driven: the re-run.
        scratch: folder for files that have to be read again.
    """
    asked = plan.request.data
    if asked is None:
        return ThenAndNow()
    if is_own_version(plan, materials.data):
        frozen = "; nothing was frozen" if plan.request.preprocess == "freeze" else ""
        return ThenAndNow(notes=(f"--data {asked} is the run's own data version: the ordinary rules hold{frozen}",))
    drift, drift_notes = _drift(plan, materials, scratch / "drift")
    notes = (*_data_notes(plan, materials, driven), *_frozen_notes(plan, materials, driven), *drift_notes)
    return ThenAndNow(tuple(_estimates(plan, driven)), drift, notes)


def _estimates(plan: Plan, driven: DrivenRun) -> Iterator[EstimatePair]:
    evaluated = driven.records.get("evaluate")
    again: Mapping[str, Any] = evaluated.facts.get("estimates", {}) if evaluated else {}
    before = _original_estimates(plan)
    for name in dict.fromkeys((*before, *again)):
        pair = EstimatePair(name, _estimated(before.get(name)), _estimated(again.get(name)))
        if any(side is not None and side.value is not None for side in (pair.original, pair.again)):
            yield pair


def _original_estimates(plan: Plan) -> Mapping[str, Any]:
    """Return the original's estimates from a copy whose metrics the recipe proves."""
    wanted = plan.recipe.outputs.layers.get("metrics")
    for path in plan.original.documents.step_copies("evaluate", STEP_FILE):
        facts = _facts(path)
        if sha256_hex(canonical_json(facts.get("metrics", {}))) == wanted:
            estimates: Mapping[str, Any] = facts.get("estimates", {})
            return estimates
    return {}


def _estimated(values: Mapping[str, Any] | None) -> Estimated | None:
    if values is None:
        return None
    return Estimated(values["value"], values["low"], values["high"], values["n_rows"], values["n_clicks"])


def _data_notes(plan: Plan, materials: Materials, driven: DrivenRun) -> Iterator[str]:
    manifest = materials.data.manifest
    span = manifest.time_range
    told = f", {utc_text(span.start_us)} to {utc_text(span.end_us)}" if span else ""
    yield f"run on data version {manifest.data_version} ({manifest.n_rows:,} rows{told})"
    window = _test_window(_preprocessed(driven))
    if window is not None:
        yield f"windows move with the data's end: the test window is {utc_text(window[0])} to {utc_text(window[1])}"
    dropped = dropped_ends(plan.settings or {"split": {}}, plan.request.overrides)
    if dropped:
        yield f"{' and '.join(dropped)} of the original does not hold for other data, and was dropped"


def _frozen_notes(plan: Plan, materials: Materials, driven: DrivenRun) -> Iterator[str]:
    if not materials.is_frozen:
        yield "encoder and booster were fitted anew on the new data"
        return
    yield "encoder and booster are the original's, frozen: nothing was fitted on the new data"
    by = materials.settings["split"]["by"]
    if by not in {"time", "files"}:
        return  # rows and users of the test split were never among those trained on
    facts = next((_facts(path) for path in plan.original.documents.step_copies("preprocess", STEP_FILE)), {})
    seen, tested = _seen(facts), _tested(_preprocessed(driven))
    if seen is None or tested is None:
        yield "whether the model was trained on some of these test rows is not known: a log has no time"
        return
    overlap = min(seen[1], tested[1]) - max(seen[0], tested[0])
    if overlap > 0:
        share = overlap / (tested[1] - tested[0])
        yield (
            f"warning: {share:.0%} of the test rows' time, until {utc_text(min(seen[1], tested[1]))}, lies in the time "
            "that the frozen model was trained on: where the rows are the same, these figures flatter it"
        )


def _preprocessed(driven: DrivenRun) -> Mapping[str, Any]:
    record = driven.records.get("preprocess")
    return record.facts if record else {}


def _test_window(facts: Mapping[str, Any]) -> tuple[int, int] | None:
    windows = facts.get("windows")
    return (instant_us(windows["test_start"]), instant_us(windows["test_end"])) if windows else None


def _tested(facts: Mapping[str, Any]) -> tuple[int, int] | None:
    """Return the time that test rows can lie in, microseconds since 1970 UTC, the end not included."""
    window, span = _test_window(facts), facts.get("time_range_us")
    if span is None:
        return None
    return (span[0], span[1] + 1) if window is None else (max(window[0], span[0]), min(window[1], span[1] + 1))


def _seen(facts: Mapping[str, Any]) -> tuple[int, int] | None:
    """Return the time of the rows that a training has seen, those that stopped it among them."""
    windows, span = facts.get("windows"), facts.get("time_range_us")
    if span is None:
        return None
    return (span[0], span[1] + 1) if windows is None else (span[0], instant_us(windows["validation_end"]))


def _drift(plan: Plan, materials: Materials, scratch: Path) -> tuple[tuple[ColumnDrift, ...], tuple[str, ...]]:
    original, ingredient = look_up_data(plan.original, plan.recipe, plan.request)
    if original is None:
        return (), (f"no data drift: the original's data cannot be had ({ingredient.found})",)
    try:
        before, old_note = _sample(original, materials, scratch / "before", "the original's")
        after, new_note = _sample(materials.data, materials, scratch / "after", "the new")
    except ProblemError as error:
        return (), (f"no data drift: {error}",)
    return measure_drift(before, after), tuple(note for note in (old_note, new_note) if note)


def _sample(
    data: FoundData, materials: Materials, folder: Path, whose: str
) -> tuple[dict[str, ColumnSample], str | None]:
    columns, manifest = read_columns(materials.settings), data.manifest
    files = _chosen(manifest)
    n_rows = sum(file.n_rows for file in files)
    every = max(1, -(-n_rows // _MOST_KEPT))
    source = open_pinned(replace(manifest, files=files), data.store, folder)
    names = drift_columns(columns, source.schema.names)
    found = sample_log(source.batches(names), columns, names, every=every)
    if every == 1 and len(files) == len(manifest.files):
        return found, None
    part = f"{len(files)} of {len(manifest.files)} files" if len(files) < len(manifest.files) else "all files"
    return found, f"the drift of {whose} data is measured on every row number {every} of {part}"


def _chosen(manifest: DatasetManifest) -> tuple[PinnedFile, ...]:
    """Return files evenly spread over the data version, of so many rows that reading them does not take minutes."""
    step = max(1, -(-manifest.n_rows // _MOST_READ))
    return manifest.files[::step]


def _facts(path: Path) -> Mapping[str, Any]:
    try:
        facts: Mapping[str, Any] = json.loads(path.read_bytes())["facts"]
    except (OSError, ValueError, LookupError, TypeError):
        return {}
    return facts
