"""One of two runs that are compared: its view, and the documents that only a comparison reads."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ctr_pipeline.data.manifest import DatasetManifest
from ctr_pipeline.steps.job import ITEMS_FILE, MANIFEST_FILE, STEP_FILE
from ctr_pipeline.workflows.execution import PROVENANCE_FOLDER
from ctr_pipeline.workflows.find_run import FoundRun
from ctr_pipeline.workflows.place import Place
from ctr_pipeline.workflows.recorder import STEP_TAG
from ctr_pipeline.workflows.run_documents import RunDocuments
from ctr_pipeline.workflows.run_view import RunView
from ctr_pipeline.workflows.show import recipe_of, tracker_for, view_of
from tracking.items import read_items
from tracking.recipe import Recipe
from tracking.records import Metric, RunStatus
from tracking.snapshot import ARCHIVE_NAME

# What the steps call their files: importing the steps for it would load xgboost.
_ENCODER_FOLDER: Final = "encoder"
_EVALUATION_FILE: Final = "evaluation.json"
_PREDICTIONS_FILE: Final = "predictions.parquet"
_TEST_ROWS: Final = "preprocess/test.parquet"
_CURVE: Final = ".logloss_by_round"
_DATASETS: Final = ("train", "validation")


@dataclass(frozen=True, slots=True, eq=False)
class Side:
    """A run with its documents; what is gone is None or empty.

    Attributes:
        view: what `show` tells.
        recipe: as it was written.
        manifest: of its data.
        source: the archive of its source snapshot.
        encoder: folder of the fitted preprocessing.
        evaluation: all figures of the evaluate step.
        predictions: file of the scored test rows.
        test_rows: file of the raw test rows, on this machine only.
        train_rate: click rate of the training rows, 0 to 1.
        curves: logloss by round, by split.
    """

    view: RunView
    recipe: Recipe
    manifest: DatasetManifest | None
    source: Path | None
    encoder: Path | None
    evaluation: Mapping[str, Any] | None
    predictions: Path | None
    test_rows: Path | None
    train_rate: float | None
    curves: Mapping[str, tuple[float, ...]]

    @property
    def settings(self) -> Mapping[str, Any]:
        """The resolved settings."""
        return self.recipe.identity.settings


def load_side(found: FoundRun, place: Place, documents: RunDocuments) -> Side:
    """Read a run.

    Args:
        found: the run.
        place: its home and tracker.
        documents: open as long as the side is used: files that were fetched end with it.

    Raises:
        InputError: its recipe is gone, or a document is of a newer version.
        TrackingError: the tracker is needed and cannot be reached.
    """
    view = view_of(found, place, documents)
    manifest = documents.of_run(*_kept(MANIFEST_FILE))
    evaluation = documents.of_run(_EVALUATION_FILE, f"evaluate/{_EVALUATION_FILE}")
    test_rows = found.folder.path / _TEST_ROWS if found.folder else None
    return Side(
        view=view,
        recipe=recipe_of(found, documents),
        manifest=DatasetManifest.from_json(manifest.read_bytes(), origin=str(manifest)) if manifest else None,
        source=documents.of_run(*_kept(ARCHIVE_NAME)),
        encoder=documents.of_step("preprocess", _ENCODER_FOLDER),
        evaluation=json.loads(evaluation.read_bytes()) if evaluation else None,
        predictions=documents.of_run(_PREDICTIONS_FILE, f"evaluate/{_PREDICTIONS_FILE}"),
        test_rows=test_rows if test_rows and test_rows.exists() else None,
        train_rate=_train_rate(documents),
        curves=dict(_curves(found, place, documents)),
    )


def _kept(name: str) -> tuple[str, str]:
    return f"{PROVENANCE_FOLDER}/{name}", f"{PROVENANCE_FOLDER}/{name}"


def _train_rate(documents: RunDocuments) -> float | None:
    path = documents.of_step("preprocess", STEP_FILE)
    if path is None:
        return None
    train = json.loads(path.read_bytes())["facts"].get("splits", {}).get("train", {})
    return train["n_clicks"] / train["n_rows"] if train.get("n_rows") else None


def _curves(found: FoundRun, place: Place, documents: RunDocuments) -> Iterator[tuple[str, tuple[float, ...]]]:
    items = found.folder.path / "train" / ITEMS_FILE if found.folder else None
    if items is not None and items.exists():
        points = [item for item in read_items(items) if isinstance(item, Metric) and item.key.endswith(_CURVE)]
        for dataset in _DATASETS:
            curve = sorted((p.step, p.value) for p in points if p.key == f"{dataset}{_CURVE}")
            if curve:
                yield dataset, tuple(value for _, value in curve)
    elif found.run_id is not None:
        yield from _logged_curves(documents, found, place)


def _logged_curves(documents: RunDocuments, found: FoundRun, place: Place) -> Iterator[tuple[str, tuple[float, ...]]]:
    trained = [
        child.run_id
        for child in documents.children()
        if child.tags.get(STEP_TAG) == "train" and child.status is RunStatus.FINISHED
    ]
    # Nothing was trained, or the tracker cannot be asked, which is noted already.
    if not trained:
        return
    tracker = tracker_for(found, place)
    for dataset in _DATASETS:
        points = tracker.metric_history(trained[-1], f"{dataset}{_CURVE}")
        if points:
            yield dataset, tuple(point.value for point in points)
