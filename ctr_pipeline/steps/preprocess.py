"""Preprocess: pinned raw impressions in; encoded train and validation rows, raw test rows and the encoder out.

Given a finished model in the channel `frozen`, it fits nothing: raw test rows are all that comes out.
"""

import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ctr_pipeline.config import Settings, flatten
from ctr_pipeline.data.log import ImpressionLog, SplitSummary, gather_log, read_raw_split, write_raw_split
from ctr_pipeline.data.manifest import DatasetManifest
from ctr_pipeline.data.order import ROW_HASH
from ctr_pipeline.data.rows import Rows
from ctr_pipeline.data.source import Source
from ctr_pipeline.data.splits import Split, Windows, utc_text
from ctr_pipeline.evaluation.custom import CustomMetric
from ctr_pipeline.features.encoder import Encoder, Matrix
from ctr_pipeline.features.encoder_file import save_encoder
from ctr_pipeline.features.split_file import SplitWriter
from ctr_pipeline.features.stream import EncoderFit, TrainingBlock, period_us, statistics_scheme
from ctr_pipeline.model import require_features
from ctr_pipeline.pipeline import FROZEN_INPUT
from ctr_pipeline.predictor import ENCODER_FOLDER, prepare
from ctr_pipeline.steps.job import FILES_FOLDER, MANIFEST_FILE, Job, StepResult, main
from tracking.errors import InputError
from tracking.records import Artifact, DatasetInput, Item, Metric, Param, Tag

NAME: Final = "preprocess"
DATA: Final = "data"
TRAIN_FILE: Final = "train.parquet"
VALIDATION_FILE: Final = "validation.parquet"
TEST_FILE: Final = "test.parquet"
_SCRATCH: Final = "scratch"
# Of the test window; a log that covers less was hardly meant to be tested on this window.
_LEAST_TEST_SHARE: Final = 0.1


def run(job: Job) -> StepResult:
    """Split, fit and encode."""
    settings = job.settings
    for name, reference in settings.evaluate.metrics.items():
        # Now, not after the training.
        CustomMetric.load(name, reference)
    manifest_path = job.input(DATA) / MANIFEST_FILE
    manifest = DatasetManifest.from_json(manifest_path.read_bytes(), origin=str(manifest_path))
    scratch = job.output / _SCRATCH
    log = _gather(job, manifest, scratch)
    test = write_raw_split(log, Split.TEST, job.output / TEST_FILE)
    if not test.n_rows:
        raise InputError("the test split has no rows, must have some; check split.* against the data")
    if FROZEN_INPUT in job.inputs:
        # Rows of a log that fits one batch were never spilled.
        shutil.rmtree(scratch, ignore_errors=True)
        return _test_rows(settings, manifest, log, test)
    write_raw_split(log, Split.VALIDATION, scratch / VALIDATION_FILE)
    fit = EncoderFit.start(lambda: _training_blocks(log, settings), settings)
    if not fit.n_rows:
        raise InputError("no row is left to train on, must be some; check split.* against the data")
    fit.require_pinned_values()
    require_features(settings.train.monotone, fit.feature_names)
    with SplitWriter(job.output / TRAIN_FILE, fit.feature_names) as train:
        fitted = fit.run(_watched(train, job, fit.n_rows))
    encoder_digest = save_encoder(fitted, job.output / ENCODER_FOLDER)
    validation = _encode_validation(job, fitted.encoder, scratch / VALIDATION_FILE)
    shutil.rmtree(scratch)
    splits = {"train": train.summary(), "validation": validation, "test": test}
    facts = _facts(log, fitted.encoder, splits)
    outputs = {f"split.{name}": split.digest for name, split in splits.items()} | {"encoder": encoder_digest}
    return StepResult(outputs, facts, tuple(_items(settings, manifest, facts)))


def _test_rows(settings: Settings, manifest: DatasetManifest, log: ImpressionLog, test: SplitSummary) -> StepResult:
    """Return what is known where a finished model is only to be tested."""
    facts = _log_facts(log, {"test": test})
    return StepResult({"split.test": test.digest}, facts, tuple(_data_items(settings, manifest, facts)))


def _gather(job: Job, manifest: DatasetManifest, scratch: Path) -> ImpressionLog:
    expected = {file.path: file.sha256 for file in manifest.files}
    source = Source.open(str(job.input(DATA) / FILES_FOLDER), manifest.data_format, expected=expected)
    return gather_log(
        source,
        job.settings,
        period_us=period_us(job.settings),
        folder=scratch / "runs",
        on_rows=lambda n_rows: job.progress.report("reading", n_rows, manifest.n_rows),
        only_test=FROZEN_INPUT in job.inputs,
    )


def _training_blocks(log: ImpressionLog, settings: Settings) -> Iterator[TrainingBlock]:
    for block in log.blocks(Split.TRAIN):
        rows = Rows(prepare(block.rows.table, settings), settings.data.columns)
        yield TrainingBlock(rows, block.rows.labels(), block.periods, block.words)


def _watched(writer: SplitWriter, job: Job, n_rows: int) -> Callable[[Matrix, npt.NDArray[np.uint8]], None]:
    def write(matrix: Matrix, labels: npt.NDArray[np.uint8]) -> None:
        writer.write(matrix, labels)
        job.progress.report("encoding", writer.n_rows, n_rows)

    return write


def _encode_validation(job: Job, encoder: Encoder, raw: Path) -> SplitSummary:
    columns = job.settings.data.columns
    with SplitWriter(job.output / VALIDATION_FILE, encoder.feature_names) as writer:
        for batch in read_raw_split(raw, job.settings.runtime.batch_rows):
            # A custom function gets the same columns here as in training: the logged ones.
            encoded = encoder.encode(Rows(prepare(batch.drop_columns([ROW_HASH]), job.settings), columns))
            writer.write(encoded.matrix, Rows(batch, columns).labels())
    return writer.summary()


def _log_facts(log: ImpressionLog, splits: Mapping[str, SplitSummary]) -> dict[str, Any]:
    assigned = sum(split.n_rows for split in splits.values())
    return {
        "splits": {name: asdict(split) for name, split in splits.items()},
        "left_out_rows": log.n_rows - assigned,
        "windows": _window_texts(log.windows),
        "test_window_share": log.windows.test_share(*log.time_range) if log.windows and log.time_range else None,
        "time_range_us": None if log.time_range is None else list(log.time_range),
    }


def _facts(log: ImpressionLog, encoder: Encoder, splits: Mapping[str, SplitSummary]) -> dict[str, Any]:
    return {
        **_log_facts(log, splits),
        "feature_names": list(encoder.feature_names),
        "feature_types": list(encoder.feature_types),
        "statistics_scheme": statistics_scheme(log.settings),
        "categories": {name: len(table.keys) for name, table in encoder.tables.items()},
    }


def _window_texts(windows: Windows | None) -> dict[str, str] | None:
    if windows is None:
        return None
    names = ("train_end", "validation_start", "validation_end", "test_start", "test_end")
    return {name: utc_text(getattr(windows, name)) for name in names}


def _items(settings: Settings, manifest: DatasetManifest, facts: dict[str, Any]) -> Iterator[Item]:
    yield from _data_items(settings, manifest, facts)
    resolved = settings.resolved()
    for section in ("split", "features"):
        for key, value in flatten({section: resolved[section]}).items():
            yield Param(key, value)
    for key, value in flatten({"data.columns": resolved["data"]["columns"]}).items():
        yield Param(key, value)
    yield Metric("features", len(facts["feature_names"]), scope="run")
    yield Artifact(ENCODER_FOLDER)


def _data_items(settings: Settings, manifest: DatasetManifest, facts: dict[str, Any]) -> Iterator[Item]:
    """Yield what is logged of the data: the log and its splits."""
    columns = tuple((column.name, column.type) for column in manifest.columns)
    yield DatasetInput(manifest.name, manifest.data_version, settings.data.uri, manifest.n_rows, columns, "raw", "run")
    features = tuple((name, "real") for name in facts.get("feature_names", ()))
    contexts: tuple[tuple[str, Any], ...] = (("train", "training"), ("validation", "validation"), ("test", "test"))
    for name, context in contexts:
        if name not in facts["splits"]:
            continue
        split = facts["splits"][name]
        shape = columns if name == "test" else features
        yield DatasetInput(name, split["digest"], settings.data.uri, split["n_rows"], shape, context, "run")
        yield Metric(f"{name}.rows", split["n_rows"], scope="run")
        yield Metric(f"{name}.clicks", split["n_clicks"], scope="run")
    yield Metric("left_out.rows", facts["left_out_rows"], scope="run")
    share = facts["test_window_share"]
    if share is not None and share < _LEAST_TEST_SHARE:
        warning = f"warning: the log covers {share:.1%} of the test window; set split.end or split.test to fit it"
        yield Tag("test_window", warning, scope="run")


if __name__ == "__main__":
    sys.exit(main(NAME, run))
