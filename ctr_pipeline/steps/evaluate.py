"""Evaluate: raw test rows and a model in; metrics with intervals, breakdowns and per-row predictions out."""

import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from ctr_pipeline.columns import Columns
from ctr_pipeline.config import EvaluateSettings, Settings, flatten
from ctr_pipeline.data.hashing import validity
from ctr_pipeline.data.log import read_raw_split
from ctr_pipeline.data.order import ROW_HASH
from ctr_pipeline.data.rows import Rows
from ctr_pipeline.data.version import table_digest
from ctr_pipeline.evaluation.bootstrap import Resampling
from ctr_pipeline.evaluation.custom import CustomMetric
from ctr_pipeline.evaluation.evaluation import Evaluation, evaluate
from ctr_pipeline.evaluation.evaluation_file import evaluation_json
from ctr_pipeline.evaluation.metrics import calibration, log_loss
from ctr_pipeline.evaluation.panel import MetricChoice
from ctr_pipeline.evaluation.scorecard import to_metrics
from ctr_pipeline.evaluation.scored import Scored, SliceColumn
from ctr_pipeline.evaluation.slices import SliceRules
from ctr_pipeline.model_folder import check_model
from ctr_pipeline.predictor import Predictor, read_header
from ctr_pipeline.steps.job import Job, StepResult, main, read_step
from ctr_pipeline.steps.preprocess import TEST_FILE
from ctr_pipeline.steps.train import MODEL_FOLDER, SPLITS
from tracking.canonical import canonical_json, sha256_hex
from tracking.plain import plain
from tracking.records import Artifact, Item, Metric, Param

NAME: Final = "evaluate"
MODEL: Final = "model"
PREDICTIONS_FILE: Final = "predictions.parquet"
EVALUATION_FILE: Final = "evaluation.json"
LABEL: Final = "label"
PROBABILITY: Final = "probability"
MARGIN: Final = "margin"
COLD: Final = "cold"
AS_LOGGED: Final = "probability_as_logged"
_META: Final = ("user", "group", "time_us")


def run(job: Job) -> StepResult:
    """Score the test rows and measure the scores."""
    settings = job.settings
    splits, model = job.input(SPLITS), job.input(MODEL) / MODEL_FOLDER
    n_rows = read_step(splits).facts["splits"]["test"]["n_rows"]
    predictor = Predictor.load(model, job.threads)
    check_model(predictor, model)
    table = pa.concat_tables(_scored_batches(job, predictor, splits / TEST_FILE, n_rows)).unify_dictionaries()
    kept = [name for name in table.schema.names if not name.startswith("slice:") and name not in _META]
    pq.write_table(table.select(kept), job.output / PREDICTIONS_FILE, compression="zstd")
    job.progress.report("measuring", 0, None)
    evaluation = _evaluate(settings, table, read_header(model))
    (job.output / EVALUATION_FILE).write_text(evaluation_json(evaluation), encoding="utf-8")
    metrics = to_metrics(evaluation.scorecard, "test") | _as_logged(table)
    outputs = {
        "margins": table_digest(table.select([ROW_HASH, MARGIN]), ordered=False),
        "predictions": table_digest(table.select([ROW_HASH, PROBABILITY]), ordered=False),
        "metrics": sha256_hex(canonical_json(metrics)),
    }
    estimates = {name: plain(value) for name, value in evaluation.scorecard.estimates.items()}
    facts = {"metrics": metrics, "estimates": estimates, "bootstrap": plain(evaluation.scorecard.bootstrap)}
    return StepResult(outputs, facts, tuple(_items(settings, metrics)))


def _scored_batches(job: Job, predictor: Predictor, path: Path, n_rows: int) -> Iterator[pa.Table]:
    done = 0
    for batch in read_raw_split(path, job.settings.runtime.batch_rows):
        yield _scored_batch(batch, predictor, job.settings)
        done += batch.num_rows
        job.progress.report("scoring", done, n_rows)


def _scored_batch(batch: pa.RecordBatch, predictor: Predictor, settings: Settings) -> pa.Table:
    columns = settings.data.columns
    rows = Rows(batch, columns)
    raw = batch.drop_columns([ROW_HASH])
    scores = predictor.score(raw)
    found: dict[str, Any] = {
        ROW_HASH: batch.column(ROW_HASH),
        LABEL: rows.labels(),
        MARGIN: scores.margins,
        PROBABILITY: scores.probabilities,
        COLD: pa.array(scores.cold),
    }
    if columns.context:
        found[AS_LOGGED] = predictor.predict(raw, context="logged")
    found |= dict(_grouping(rows, columns))
    for name in settings.evaluate.slices:
        found[f"slice:{name}"] = rows.texts(name).cast(pa.string()).dictionary_encode()
    return pa.table(found)


def _grouping(rows: Rows, columns: Columns) -> Iterator[tuple[str, npt.NDArray[Any]]]:
    for role, name in (("user", columns.user), ("group", columns.group)):
        if name is not None:
            # Rows of nobody known are no common user's: each is one of its own.
            yield role, np.where(validity(rows.texts(name)), rows.keys(name), rows.column(ROW_HASH).to_numpy())
    times = rows.times_us()
    if times is not None:
        yield "time_us", times


def _evaluate(settings: Settings, table: pa.Table, header: Mapping[str, Any]) -> Evaluation:
    options = settings.evaluate
    choice = MetricChoice(
        lift_fractions=options.lift_at,
        calibration_bins=options.calibration_bins,
        train_base_rate=header["train_clicks"] / header["train_rows"],
        custom=tuple(CustomMetric.load(name, reference) for name, reference in sorted(options.metrics.items())),
    )
    resampling = Resampling(seed=settings.seed, replicates=options.replicates, level=options.confidence)
    rules = SliceRules(min_rows=options.slice_min_rows, min_clicks=options.slice_min_clicks)
    return evaluate(_scored(table, options), choice, resampling, rules)


def _scored(table: pa.Table, options: EvaluateSettings) -> Scored:
    def column(name: str) -> npt.NDArray[Any] | None:
        return table.column(name).to_numpy() if name in table.schema.names else None

    user, group = column("user"), column("group")
    return Scored(
        label=table.column(LABEL).to_numpy(),
        probability=table.column(PROBABILITY).to_numpy(),
        margin=table.column(MARGIN).to_numpy(),
        cluster=user,
        group=user if group is None else group,
        time_us=column("time_us"),
        cold=table.column(COLD).to_numpy(),
        slices={name: _slice(table.column(f"slice:{name}")) for name in options.slices},
    )


def _slice(column: pa.ChunkedArray) -> SliceColumn:
    encoded = column.combine_chunks()
    texts = encoded.dictionary.to_pylist()
    order = np.argsort(np.array(texts, dtype=object)) if texts else np.empty(0, np.int64)
    places = np.empty(len(texts) + 1, np.int64)
    places[order] = np.arange(len(texts))
    places[-1] = -1
    indices = encoded.indices.fill_null(-1).to_numpy().astype(np.int64)
    return SliceColumn(places[indices], tuple(texts[place] for place in order))


def _as_logged(table: pa.Table) -> dict[str, float]:
    """Return figures with the context as logged: how much of the pinned figures' loss is the pinning's."""
    if AS_LOGGED not in table.schema.names:
        return {}
    label, probability = table.column(LABEL).to_numpy(), table.column(AS_LOGGED).to_numpy()
    figures = {"logloss": log_loss(label, probability), "calibration": calibration(label, probability)}
    return {f"test.as_logged.{name}": value for name, value in figures.items() if value is not None}


def _items(settings: Settings, metrics: Mapping[str, float]) -> Iterable[Item]:
    for key, value in flatten({"evaluate": settings.resolved()["evaluate"]}).items():
        yield Param(key, value)
    for name, figure in metrics.items():
        yield Metric(name, figure, dataset="test", of_model=True, scope="run")
    yield Artifact(EVALUATION_FILE, scope="run")
    yield Artifact(PREDICTIONS_FILE, scope="run")


if __name__ == "__main__":
    sys.exit(main(NAME, run))
