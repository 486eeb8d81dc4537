"""Train: encoded train and validation rows in; a model folder that scores raw rows out."""

import csv
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import pyarrow.parquet as pq

from ctr_pipeline.config import Settings, flatten
from ctr_pipeline.features.split_file import read_split
from ctr_pipeline.model import LabelledBatch, TrainedModel, TrainingData, importances, save_booster, train_model
from ctr_pipeline.model_folder import write_serving_files
from ctr_pipeline.predictor import (
    BOOSTER_FILE,
    ENCODER_FOLDER,
    FORMAT,
    HEADER_FILE,
    SETTINGS_FILE,
    describe_inputs,
    model_digest,
)
from ctr_pipeline.steps.job import Job, StepRecord, StepResult, main, read_step
from ctr_pipeline.steps.preprocess import TEST_FILE, TRAIN_FILE, VALIDATION_FILE
from tracking.canonical import canonical_json, sha256_hex
from tracking.records import Artifact, Item, Metric, ModelArtifact, Param, Tag

NAME: Final = "train"
SPLITS: Final = "splits"
MODEL_FOLDER: Final = "model"
IMPORTANCE_FILE: Final = "importance.csv"
# Everything XGBoost resolved by itself, for people; nothing reads it back.
CONFIG_FILE: Final = "booster-config.json"


def run(job: Job) -> StepResult:
    """Train and write the model folder."""
    splits = job.input(SPLITS)
    preprocessed = read_step(splits)
    total = job.settings.train.rounds
    trained = train_model(
        _training_data(job, splits, preprocessed),
        job.settings.train,
        seed=job.settings.seed,
        threads=job.threads,
        on_round=lambda done: job.progress.report("boosting", done, total),
    )
    folder = job.output / MODEL_FOLDER
    booster_digest = _write_model(job, trained, preprocessed, folder)
    write_serving_files(folder, splits / TEST_FILE, job.settings)
    digests = {"booster": booster_digest, "model": model_digest(folder)}
    ranked = importances(trained.booster)
    _write_importances(job.output / IMPORTANCE_FILE, ranked)
    facts = {
        "best_round": trained.best_round,
        "early_stopping": _early_stopping(job, preprocessed),
        "rounds_run": len(next(iter(trained.curves.values()))),
        "parameters": trained.parameters,
        "best": {name: curve[trained.best_round - 1] for name, curve in trained.curves.items()},
        "importance": {name: scores["total_gain"] for name, scores in ranked.items()},
    }
    return StepResult(digests, facts, tuple(_items(job, trained, facts, digests)))


def _training_data(job: Job, splits: Path, preprocessed: StepRecord) -> TrainingData:
    def batches(name: str) -> Iterator[LabelledBatch]:
        return read_split(splits / name, job.settings.runtime.batch_rows)

    facts = preprocessed.facts
    train, validation = facts["splits"]["train"], facts["splits"]["validation"]
    usable = _no_judge(validation) is None
    return TrainingData(
        train=lambda: batches(TRAIN_FILE),
        validation=(lambda: batches(VALIDATION_FILE)) if usable else None,
        feature_names=tuple(facts["feature_names"]),
        feature_types=tuple(facts["feature_types"]),
        n_rows=train["n_rows"],
        n_clicks=train["n_clicks"],
    )


def _no_judge(validation: Mapping[str, Any]) -> str | None:
    """Return why the validation split cannot stop the training, None where it can."""
    # Without a click its logloss falls for ever as predictions fall to zero; without anything else likewise.
    if not validation["n_clicks"]:
        return "the validation split has no click" if validation["n_rows"] else "the validation split has no rows"
    return "the validation split has nothing but clicks" if validation["n_clicks"] == validation["n_rows"] else None


def _early_stopping(job: Job, preprocessed: StepRecord) -> str:
    if job.settings.train.early_stopping_rounds is None:
        return "off: train.early_stopping_rounds is null"
    reason = _no_judge(preprocessed.facts["splits"]["validation"])
    return "on" if reason is None else f"off: {reason}"


def _write_model(job: Job, trained: TrainedModel, preprocessed: StepRecord, folder: Path) -> str:
    folder.mkdir()
    save_booster(trained.booster, folder / BOOSTER_FILE)
    (folder / CONFIG_FILE).write_text(trained.booster.save_config(), encoding="utf-8")
    shutil.copytree(job.input(SPLITS) / ENCODER_FOLDER, folder / ENCODER_FOLDER)
    (folder / SETTINGS_FILE).write_text(_model_settings(job.settings), encoding="utf-8")
    booster_digest = sha256_hex((folder / BOOSTER_FILE).read_bytes())
    encoder_digest = preprocessed.outputs["encoder"]
    train = preprocessed.facts["splits"]["train"]
    header = {
        "format": FORMAT,
        "booster_digest": booster_digest,
        "encoder_digest": encoder_digest,
        "feature_names": preprocessed.facts["feature_names"],
        "best_round": trained.best_round,
        "train_rows": train["n_rows"],
        "train_clicks": train["n_clicks"],
        "inputs": describe_inputs(pq.read_schema(job.input(SPLITS) / TEST_FILE), job.settings),
    }
    (folder / HEADER_FILE).write_bytes(canonical_json(header))
    return booster_digest


def _model_settings(settings: Settings) -> str:
    """Return the settings that made the model, and no others: a reused model must not tell another run's."""
    made_by = {"seed", "as_of", "split", "features", "train"}
    return settings.model_dump_json(indent=2, include={**dict.fromkeys(made_by, True), "data": {"columns"}})


def _write_importances(path: Path, ranked: Mapping[str, Mapping[str, float]]) -> None:
    rows = sorted(ranked.items(), key=lambda item: (-item[1]["total_gain"], item[0]))
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["feature", "total_gain", "gain", "weight", "cover"])
        writer.writerows([name, s["total_gain"], s["gain"], s["weight"], s["cover"]] for name, s in rows)


def _items(job: Job, trained: TrainedModel, facts: Mapping[str, Any], digests: Mapping[str, str]) -> Iterable[Item]:
    for key, value in flatten({"train": job.settings.resolved()["train"]}).items():
        yield Param(key, value)
    yield Param("seed", str(job.settings.seed))
    for key, value in flatten({"booster": dict(trained.parameters)}).items():
        yield Param(key, value, scope="run")
    for name, curve in trained.curves.items():
        for round_, loss in enumerate(curve, start=1):
            yield Metric(f"{name}.logloss_by_round", loss, step=round_, dataset=name)
        yield Metric(f"{name}.logloss", facts["best"][name], dataset=name, of_model=True, scope="run")
    yield Metric("best_round", facts["best_round"], scope="run")
    yield Tag("early_stopping", facts["early_stopping"], scope="run")
    yield Tag("model_digest", digests["model"], scope="run")
    yield ModelArtifact(MODEL_FOLDER, job.settings.tracking.model_name, scope="run")
    yield Artifact(IMPORTANCE_FILE, scope="run")


if __name__ == "__main__":
    sys.exit(main(NAME, run))
