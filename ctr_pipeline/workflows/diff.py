"""`diff`: what differs between two runs, part by part; runs on this machine and runs only in the tracker alike."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from typing import Any, Final

from ctr_pipeline.data.difference import ManifestDiff
from ctr_pipeline.data.difference import diff as compare_manifests
from ctr_pipeline.data.manifest import DatasetManifest
from ctr_pipeline.workflows.diff_code import UnreadableSnapshotError, patches
from ctr_pipeline.workflows.diff_fitted import fitted_diff
from ctr_pipeline.workflows.diff_metrics import calibration_views, metrics_diff
from ctr_pipeline.workflows.diff_parts import (
    Change,
    CodeDiff,
    ColumnChange,
    CurveView,
    DataDiff,
    FileChange,
    FilePatch,
    ImportanceChange,
    Letter,
    TrainingDiff,
)
from ctr_pipeline.workflows.diff_side import Side, load_side
from ctr_pipeline.workflows.diff_view import RunDiff, SideView
from ctr_pipeline.workflows.find_run import FoundRun, find_run
from ctr_pipeline.workflows.place import Place
from ctr_pipeline.workflows.run_documents import RunDocuments
from ctr_pipeline.workflows.show import tracker_for
from tracking.canonical import canonical_json

_CIRCUMSTANCES: Final = (
    "host", "user", "platform", "cpu", "n_cores", "gpus", "timezone", "image_digest", "pinned_uri", "s3_versions",
)  # fmt: skip

_LAYERS: Final = (
    "split.train", "split.validation", "split.test", "encoder", "booster", "model", "margins", "predictions", "metrics",
)  # fmt: skip


def diff_runs(wanted_a: str, wanted_b: str, place: Place) -> RunDiff:
    """Find two runs and compare them, what is equal included.

    Args:
        wanted_a: the first run, as for `show`.
        wanted_b: the second.
        place: where to look.

    Raises:
        InputError: a run is not known, or its documents are gone or of a newer version.
        TrackingError: the tracker is needed and cannot be reached.
    """
    with ExitStack() as stack:
        opened = [_opened(wanted, place, stack) for wanted in (wanted_a, wanted_b)]
        a, b = (load_side(found, place, documents) for found, documents in opened)
        named = zip(("A", "B"), (documents for _, documents in opened), strict=True)
        notes = [f"{name}: {note}" for name, documents in named for note in dict.fromkeys(documents.notes)]
        return compare(a, b, notes=notes)


def _opened(wanted: str, place: Place, stack: ExitStack) -> tuple[FoundRun, RunDocuments]:
    found = find_run(wanted, place)
    return found, stack.enter_context(RunDocuments(found, lambda: tracker_for(found, place)))


def compare(a: Side, b: Side, *, notes: Iterable[str] = ()) -> RunDiff:
    """Compare two runs.

    Args:
        a: the first.
        b: the second.
        notes: what a reader must know beforehand.
    """
    old, new = a.view, b.view
    return RunDiff(
        a=_side(a),
        b=_side(b),
        settings=_changes(old.parameters.settings, new.parameters.settings),
        data=_data(a, b),
        code=_code(a, b),
        environment=_environment(a, b),
        packages=_changes(old.environment.packages, new.environment.packages),
        preprocessing=fitted_diff(a, b),
        training=_training(a, b),
        outputs=_outputs(old.recipe.outputs, new.recipe.outputs),
        metrics=metrics_diff(a, b),
        calibration=(*calibration_views("a", a.evaluation), *calibration_views("b", b.evaluation)),
        circumstances=_circumstances(a, b),
        notes=tuple(notes),
    )


def _side(side: Side) -> SideView:
    view = side.view
    return SideView(
        run_id=view.run.run_id,
        execution_id=view.run.execution_id,
        name=view.run.name,
        status=view.run.status,
        started_utc=view.run.started_utc,
        user=view.run.user,
        data_version=view.data.version,
        code_version=view.code.version,
        recipe_digest=view.recipe.digest,
        grade=view.recipe.grade,
    )


def _changes(a: Mapping[str, str], b: Mapping[str, str]) -> tuple[Change, ...]:
    return tuple(Change(name, a.get(name), b.get(name)) for name in dict.fromkeys((*a, *b)))


def _outputs(a: Mapping[str, str], b: Mapping[str, str]) -> tuple[Change, ...]:
    """Return the layers in the order in which a run makes them."""
    places = {name: place for place, name in enumerate(_LAYERS)}
    return tuple(sorted(_changes(a, b), key=lambda change: places.get(change.name, len(places))))


def _data(a: Side, b: Side) -> DataDiff:
    facts = _changes(dict(_data_facts(a)), dict(_data_facts(b)))
    same = a.recipe.identity.data_digest == b.recipe.identity.data_digest
    if a.manifest is None or b.manifest is None:
        gone = " and ".join(name for name, side in (("A", a), ("B", b)) if side.manifest is None)
        reason = f"no manifest of {gone}: columns and files are not known"
        known = True if same else None
        return DataDiff(known, association_changed=False, facts=facts, columns=(), files=(), unavailable=reason)
    found = compare_manifests(a.manifest, b.manifest)
    return DataDiff(
        same_rows=found.same_rows,
        association_changed=found.association_changed,
        facts=facts,
        columns=tuple(_columns(found, a.manifest, b.manifest)),
        files=tuple(_files(found, a.manifest, b.manifest)),
    )


def _data_facts(side: Side) -> Iterator[tuple[str, str]]:
    data = side.view.data
    yield "version", data.version
    if data.source_uri is not None:
        yield "source", data.source_uri
    if data.n_rows is not None:
        yield "rows", f"{data.n_rows:,}"
    if data.time_range:
        yield "time range", " to ".join(data.time_range)
    for split in data.splits:
        yield f"{split.name} split", f"{split.n_rows:,} rows, {split.n_clicks:,} clicks"
    yield from ((f"window: {name}", value) for name, value in data.windows.items())


def _columns(found: ManifestDiff, a: DatasetManifest, b: DatasetManifest) -> Iterator[ColumnChange]:
    old, new = {c.name: c for c in a.columns}, {c.name: c for c in b.columns}
    yield from (ColumnChange(name, "added", None, new[name].type) for name in found.columns_added)
    yield from (ColumnChange(name, "removed", old[name].type, None) for name in found.columns_removed)
    yield from (ColumnChange(change.column, "type", change.before, change.after) for change in found.type_changes)
    yield from (ColumnChange(n, "values", old[n].digest, new[n].digest) for n in found.columns_changed)


def _files(found: ManifestDiff, a: DatasetManifest, b: DatasetManifest) -> Iterator[FileChange]:
    old, new = {f.path: f.n_rows for f in a.files}, {f.path: f.n_rows for f in b.files}
    yield from (FileChange(path, "added", None, new[path]) for path in found.files_added)
    yield from (FileChange(path, "removed", old[path], None) for path in found.files_removed)
    yield from (FileChange(f"{was} -> {now}", "renamed", old[was], new[now]) for was, now in found.files_renamed)
    yield from (FileChange(path, "changed", old.get(path), new[path]) for path in found.files_changed)
    yield from (FileChange(path, "rewritten", old.get(path), new[path]) for path in found.files_rewritten)


def _code(a: Side, b: Side) -> CodeDiff:
    facts = _changes(dict(_code_facts(a)), dict(_code_facts(b)))
    same = a.recipe.identity.code_digest == b.recipe.identity.code_digest
    found: tuple[FilePatch, ...] = ()
    unavailable = None
    if a.source is None or b.source is None:
        gone = " and ".join(name for name, side in (("A", a), ("B", b)) if side.source is None)
        unavailable = f"no source snapshot of {gone}: the code cannot be laid side by side"
    elif a.recipe.circumstances.snapshot_digest != b.recipe.circumstances.snapshot_digest:
        try:
            found = patches(a.source, b.source)
        except UnreadableSnapshotError as error:
            unavailable = f"a source snapshot is damaged: {error}"
    return CodeDiff(same, facts, found, unavailable)


def _code_facts(side: Side) -> Iterator[tuple[str, str]]:
    code = side.view.code
    yield "code digest", code.digest
    if code.commit is not None:
        yield "commit", code.commit
        yield "tree", "differed from the commit" if code.dirty else "as committed"
    yield from ((name, value) for name, value in (("branch", code.branch), ("remote", code.remote)) if value)
    yield from ((f"submodule {path}", commit or "none") for path, commit in code.submodules.items())


def _environment(a: Side, b: Side) -> tuple[Change, ...]:
    old, new = a.recipe.identity, b.recipe.identity
    return (
        Change("python", old.python_version, new.python_version),
        Change("lock digest", old.lock_digest, new.lock_digest),
    )


def _circumstances(a: Side, b: Side) -> tuple[Change, ...]:
    return _changes(dict(_around(a)), dict(_around(b)))


def _around(side: Side) -> Iterator[tuple[str, str]]:
    found = side.recipe.circumstances
    yield "started", found.started_utc or side.view.run.started_utc
    yield "command", " ".join(found.argv)
    for name in _CIRCUMSTANCES:
        value = getattr(found, name)
        if value not in (None, ()) and value != {}:
            yield name.replace("_", " "), value if isinstance(value, str) else _text(value)
    yield from ((f"${name}", value) for name, value in found.variables.items())
    yield from ((f"${name} (config)", value) for name, value in found.config_variables.items())
    yield from ((f"seconds: {name}", f"{seconds:g}") for name, seconds in sorted(side.recipe.timings.items()))


def _text(value: Any) -> str:  # noqa: ANN401 - a JSON value of any shape
    return canonical_json(value).decode()


def _training(a: Side, b: Side) -> TrainingDiff:
    facts = _changes(dict(_training_facts(a)), dict(_training_facts(b)))
    old, new = _shares(a.view.parameters.importance), _shares(b.view.parameters.importance)
    most = {name: max(old.get(name, 0.0), new.get(name, 0.0)) for name in (*old, *new)}
    ranked = sorted(most, key=lambda name: (-most[name], name))
    curves = (*_curves("a", a), *_curves("b", b))
    gone = " and ".join(name for name, side in (("A", a), ("B", b)) if side.view.parameters.best_round is None)
    return TrainingDiff(
        facts=facts,
        importance=tuple(ImportanceChange(name, old.get(name), new.get(name)) for name in ranked),
        curves=curves,
        unavailable=f"no training of {gone}: the train step did not finish, or is gone" if gone else None,
    )


def _training_facts(side: Side) -> Iterator[tuple[str, str]]:
    found = side.view.parameters
    if found.best_round is not None:
        yield "best round", str(found.best_round)
        yield "rounds run", str(found.rounds_run)
    yield from ((f"booster {name}", value) for name, value in found.booster.items())


def _shares(gains: Mapping[str, float]) -> dict[str, float]:
    total = sum(gains.values())
    return {name: gain / total if total else 0.0 for name, gain in gains.items()}


def _curves(run: Letter, side: Side) -> Iterator[CurveView]:
    for dataset, values in side.curves.items():
        yield CurveView(run, dataset, values, side.view.parameters.best_round)
