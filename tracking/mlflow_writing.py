"""Params, tags, metrics and datasets sent to MLflow in lots that it accepts, so that sending again does no harm."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from mlflow import MlflowClient
from mlflow.entities import DatasetInput, Param, RunTag
from mlflow.entities import Metric as MlflowMetric
from mlflow.exceptions import MlflowException

from tracking.records import Metric

_PARAMS_PER_CALL: Final = 100
_METRICS_PER_CALL: Final = 1_000
# MLflow looks up which of a model's metrics it has already in lots of 100, and breaks on a longer list sent twice.
_MODEL_METRICS_PER_CALL: Final = 100
_BYTES_PER_CALL: Final = 900_000  # MLflow refuses 1 MB
_BYTES_PER_ENTRY: Final = 200  # field names, times and ids
_TRIES: Final = 3


def send_datasets(client: MlflowClient, run_id: str, datasets: Sequence[DatasetInput]) -> None:
    """Send the datasets that a run does not have yet.

    Args:
        client: lent by the connection.
        run_id: the run.
        datasets: in MLflow's form.
    """
    for attempt in range(_TRIES if datasets else 0):
        try:
            return client.log_inputs(run_id, list(datasets))
        except MlflowException as error:
            # Two runs may both be the first to bring a dataset to the experiment: the later one has to ask again.
            if error.error_code not in {"BAD_REQUEST", "INTERNAL_ERROR"} or attempt == _TRIES - 1:
                raise
    return None


def send_params(client: MlflowClient, run_id: str, params: Mapping[str, str]) -> None:
    """Send params.

    Args:
        client: lent by the connection.
        run_id: the run.
        params: value by key.
    """
    for lot in _lots(params.items(), _PARAMS_PER_CALL):
        client.log_batch(run_id, params=[Param(key, value) for key, value in lot])


def send_tags(client: MlflowClient, run_id: str, tags: Mapping[str, str]) -> None:
    """Send tags.

    Args:
        client: lent by the connection.
        run_id: the run.
        tags: value by key.
    """
    for lot in _lots(tags.items(), _PARAMS_PER_CALL):
        client.log_batch(run_id, tags=[RunTag(key, value) for key, value in lot])


def send_metrics(
    client: MlflowClient,
    run_id: str,
    metrics: Iterable[Metric],
    *,
    timestamp_ms: int,
    digests: Mapping[str, str],
    model_id: str | None,
) -> None:
    """Send metrics with their links; MLflow keeps one of equal points.

    Args:
        client: lent by the connection.
        run_id: the run.
        metrics: our metrics.
        timestamp_ms: their time.
        digests: digest by name of the run's datasets.
        model_id: the model of those that are `of_model`.
    """
    of_model: list[tuple[str, MlflowMetric]] = []
    others: list[tuple[str, MlflowMetric]] = []
    for metric in metrics:
        sent = MlflowMetric(
            metric.key,
            metric.value,
            timestamp_ms,
            metric.step,
            model_id=model_id if metric.of_model else None,
            dataset_name=metric.dataset,
            dataset_digest=digests[metric.dataset] if metric.dataset else None,
        )
        (of_model if metric.of_model else others).append((metric.key + (metric.dataset or ""), sent))
    for lot in (*_lots(others, _METRICS_PER_CALL), *_lots(of_model, _MODEL_METRICS_PER_CALL)):
        client.log_batch(run_id, metrics=[sent for _, sent in lot])


def _lots[T](entries: Iterable[tuple[str, T]], most: int) -> Iterator[list[tuple[str, T]]]:
    lot: list[tuple[str, T]] = []
    size = 0
    for text, entry in entries:
        # As JSON, where one character may take six bytes.
        n_bytes = len(json.dumps([text, entry if isinstance(entry, str) else ""])) + _BYTES_PER_ENTRY
        if lot and (len(lot) == most or size + n_bytes > _BYTES_PER_CALL):
            yield lot
            lot, size = [], 0
        lot.append((text, entry))
        size += n_bytes
    if lot:
        yield lot
