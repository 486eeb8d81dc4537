"""Other data than the pinned ones: the input as it is now, another log, another version; and the frozen model."""

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from ctr_pipeline.columns import Columns
from ctr_pipeline.data.digest_cache import DigestCache
from ctr_pipeline.data.formats import DataFormat
from ctr_pipeline.data.pin import pin, resolve
from ctr_pipeline.data.source import Source
from ctr_pipeline.reproduce.layers import UNUSED
from ctr_pipeline.reproduce.original import Original
from ctr_pipeline.reproduce.pinned_data import FoundData, stores
from ctr_pipeline.reproduce.plan import Plan
from ctr_pipeline.reproduce.request import LATEST
from ctr_pipeline.reproduce.verdict import Layer
from tracking.errors import InputError, ProblemError
from tracking.recipe import Recipe

MODEL_FOLDER: Final = "model"
# Layers that a frozen model has of the original, and those that nothing follows from then.
FROZEN: Final = ("encoder", "booster", "model")
NOT_USED: Final = ("split.train", "split.validation")
_DIGITS: Final = frozenset("0123456789abcdef-")
_SHORTEST_VERSION: Final = 6


def pin_asked(plan: Plan) -> FoundData:
    """Return the data that were asked for in place of the pinned ones, pinned in their turn.

    Raises:
        InputError: the input is missing or broken, or no data version starts so.
    """
    version = plan.request.data
    if version is not None and _is_version(version):
        return _version(plan, version)
    place = plan.original.documents.place
    source = _source(plan)
    place.home.make()
    cache = DigestCache(place.home.cache / "digests")
    settings = plan.settings or {}
    time_column = settings["data"]["columns"].get("time")
    manifest = pin(source, place.store, cache, name=settings.get("name", "data"), time_column=time_column)
    return FoundData(manifest, place.store)


def is_own_version(plan: Plan, data: FoundData) -> bool:
    """Whether the data that were asked for are the run's own: then the ordinary rules hold."""
    return data.manifest.digest == plan.recipe.identity.data_digest


def require_fit(data: FoundData, settings: Mapping[str, Any], asked: str) -> None:
    """See before anything runs that a run's settings can be used on other data.

    Args:
        data: the other data.
        settings: of the run.
        asked: what was asked for, for errors.

    Raises:
        InputError: there is no row, or a column with a role is missing.
    """
    if not data.manifest.n_rows:
        raise InputError(f"--data {asked} has no rows, must have some; give a log with impressions")
    columns = read_columns(settings)
    known = [column.name for column in data.manifest.columns]
    # A team's own function may make features, nothing else.
    made = set(columns.features) if settings["features"].get("custom") else set()
    for name in columns.used:
        if name not in known and name not in made:
            raise InputError(
                f"--data {asked} has no column {name!r}, which the run {_use(name, columns)}; must have it beside "
                f"{', '.join(known)}: give data with the run's columns"
            )


def read_columns(settings: Mapping[str, Any]) -> Columns:
    """Return the columns' roles of a run's settings."""
    return Columns.model_validate_json(json.dumps(settings["data"]["columns"]))


def given_layers(recipe: Recipe) -> dict[str, str | None]:
    """Return what a run with a frozen model says of the layers that it did not make itself."""
    layers = recipe.outputs.layers
    return {**{name: layers[name] for name in FROZEN if name in layers}, **dict.fromkeys(NOT_USED)}


def marked_frozen(layer: Layer) -> Layer:
    """Return a layer of a run with a frozen model, with a note where the run did not make it."""
    if layer.name in FROZEN:
        return replace(layer, note="frozen: the original's")
    return replace(layer, note=UNUSED) if layer.name in NOT_USED else layer


def on_other_data(settings: Mapping[str, Any], uri: str, overrides: Sequence[str]) -> dict[str, Any]:
    """Return settings for other data: windows move with the data's end.

    Args:
        settings: the run's own.
        uri: where the data are.
        overrides: `key=value` texts that were laid over the settings; an end that they set stays.
    """
    changed: dict[str, Any] = json.loads(json.dumps(settings))
    dropped = _dropped(settings, overrides)
    if "as_of" in dropped:
        changed["as_of"] = None
    if "split.end" in dropped:
        changed["split"]["end"] = None
    changed["data"]["uri"] = uri
    return changed


def dropped_ends(settings: Mapping[str, Any], overrides: Sequence[str]) -> tuple[str, ...]:
    """Return the settings that fixed the windows' end, as texts; other data have an end of their own."""
    return tuple(f"{key} == {value!r}" for key, value in _dropped(settings, overrides).items())


def _dropped(settings: Mapping[str, Any], overrides: Sequence[str]) -> dict[str, str]:
    ends = {"as_of": settings.get("as_of"), "split.end": settings["split"].get("end")}
    asked = {override.partition("=")[0] for override in overrides}
    return {key: value for key, value in ends.items() if value is not None and key not in asked}


def asked_uri(plan: Plan) -> str | None:
    """Return the URI of the data that were asked for; None for a pinned version, which is in a store."""
    asked = plan.request.data
    if asked is not None and asked != LATEST:
        return None if _is_version(asked) else asked
    return str((plan.settings or {})["data"]["uri"])


def frozen_model(original: Original, into: Path) -> Path:
    """Return a step's output folder with the original's model, verified by the recipe's digest.

    Args:
        original: the run.
        into: folder to be made.

    Raises:
        InputError: no copy of the model is what the recipe says.
    """
    # Here, because it imports xgboost, which nothing else of a driver needs.
    from ctr_pipeline.predictor import model_digest  # noqa: PLC0415 - see above

    wanted = original.recipe.outputs.layers.get("model") if original.recipe else None
    for model in _models(original, into.with_name("models")):
        try:
            found = model_digest(model)
        except (ProblemError, OSError, ValueError, LookupError):
            continue
        if found == wanted:
            shutil.copytree(model, into / MODEL_FOLDER)
            return into
    raise InputError(
        f"model of run {original.name} (digest {wanted}) is neither on this machine nor with the tracker as it was; "
        "restore it, or give --preprocess refit"
    )


def _models(original: Original, scratch: Path) -> Iterator[Path]:
    """Yield the copies of the model: this machine's first, then the tracker's."""
    folder, run_id = original.found.folder, original.found.run_id
    if folder is not None and (folder.step("train") / MODEL_FOLDER).is_dir():
        yield folder.step("train") / MODEL_FOLDER
    if run_id is not None:
        tracker = original.documents.tracker()
        for model in tracker.models(run_id):
            scratch.mkdir(parents=True, exist_ok=True)
            yield tracker.download_model(model.model_id, scratch)


def _use(name: str, columns: Columns) -> str:
    if name == columns.label:
        return "takes for its label"
    return "makes features of" if name in columns.features else "needs for its role in data.columns"


def _is_version(text: str) -> bool:
    return len(text) >= _SHORTEST_VERSION and _DIGITS.issuperset(text) and not Path(text).exists()


def _version(plan: Plan, version: str) -> FoundData:
    problems = []
    for store in stores(plan.original, plan.recipe, plan.request):
        try:
            return FoundData(resolve(version, store), store)
        except InputError as error:
            problems.append(str(error))
    raise InputError(f"--data {version}: {problems[-1]}")


def _source(plan: Plan) -> Source:
    uri, data = str(asked_uri(plan)), (plan.settings or {})["data"]
    place = plan.original.documents.place
    fmt = DataFormat(data["format"], data["delimiter"], data["header"], tuple(data["column_names"]))
    # The run may have been started in another folder of the project than this one.
    beside = place.root / uri
    found = str(beside) if "://" not in uri and not Path(uri).exists() and beside.exists() else uri
    return Source.open(found, fmt, fetched=place.store.fetched)
