"""Other data than the pinned ones: the input as it is now, another log, another version; and the frozen model."""

import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from ctr_pipeline.data.digest_cache import DigestCache
from ctr_pipeline.data.formats import DataFormat
from ctr_pipeline.data.pin import pin, resolve
from ctr_pipeline.data.source import Source
from ctr_pipeline.reproduce.original import Original
from ctr_pipeline.reproduce.pinned_data import FoundData, stores
from ctr_pipeline.reproduce.plan import Plan
from ctr_pipeline.reproduce.request import LATEST
from tracking.errors import InputError, ProblemError

MODEL_FOLDER: Final = "model"
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


def on_other_data(settings: Mapping[str, Any], uri: str | None) -> dict[str, Any]:
    """Return settings for other data: windows move with the data's end.

    Args:
        settings: the run's own.
        uri: where the data are; None leaves what is there.
    """
    changed: dict[str, Any] = json.loads(json.dumps(settings))
    changed["as_of"] = None
    if "end" in changed["split"]:
        changed["split"]["end"] = None
    if uri is not None:
        changed["data"]["uri"] = uri
    return changed


def asked_uri(plan: Plan) -> str | None:
    """Return the URI of the data that were asked for; None for a pinned version, which has none."""
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
