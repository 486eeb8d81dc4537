"""MLflow's entities read as our records."""

from mlflow.entities import LoggedModel, LoggedModelStatus, Run

from tracking.mlflow_datasets import from_mlflow
from tracking.records import ModelMetric, ModelRecord, RunRecord, RunStatus
from tracking.tracker import PARENT_TAG

# MLflow's scheduler knows a state more than we do: not begun yet.
_STATES = {**{status.value: status for status in RunStatus}, "SCHEDULED": RunStatus.RUNNING}


def run_record(run: Run, experiment: str) -> RunRecord:
    """Read a run.

    Args:
        run: MLflow's run.
        experiment: name of its experiment.
    """
    inputs = run.inputs.dataset_inputs if run.inputs else []
    datasets = (from_mlflow(logged) for logged in inputs)
    return RunRecord(
        run_id=run.info.run_id,
        name=run.info.run_name or "",
        experiment=experiment,
        status=_STATES[run.info.status],
        start_ms=run.info.start_time,
        end_ms=run.info.end_time,
        params=dict(run.data.params),
        metrics=dict(run.data.metrics),
        tags=dict(run.data.tags),
        datasets=tuple(sorted((dataset for dataset in datasets if dataset), key=lambda dataset: dataset.name)),
        parent_run_id=run.data.tags.get(PARENT_TAG),
        artifact_uri=run.info.artifact_uri or "",
    )


def model_record(model: LoggedModel) -> ModelRecord:
    """Read a logged model.

    Args:
        model: MLflow's model.
    """
    metrics = (
        ModelMetric(
            key=metric.key,
            value=metric.value,
            step=metric.step,
            run_id=metric.run_id or "",
            dataset=metric.dataset_name,
            dataset_digest=metric.dataset_digest,
        )
        for metric in model.metrics or []
    )
    return ModelRecord(
        model_id=model.model_id,
        name=model.name,
        run_id=model.source_run_id or "",
        ready=model.status == LoggedModelStatus.READY,
        metrics=tuple(sorted(metrics, key=lambda metric: (metric.key, metric.step, metric.run_id))),
    )
