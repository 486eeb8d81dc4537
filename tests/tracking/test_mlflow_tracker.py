"""What only the MLflow tracker can be asked: races, foreign data, how the UI will show it."""

from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import ErrorCode

from tracking.errors import TrackingError
from tracking.mlflow_tracker import MlflowTracker
from tracking.records import DatasetInput as OurDataset
from tracking.records import Metric

URL = "http://ann:s3cret@host/clicks.csv"  # pragma: allowlist secret
OURS = OurDataset("clicks", "ab" * 16, URL, 9, (("bid", "double"),), "test")


@pytest.fixture
def run_id(sqlite_tracker: MlflowTracker) -> str:
    return sqlite_tracker.create_run(experiment="e", name="r", start_ms=1, tags={})


def refusal(code: str) -> MlflowException:
    return MlflowException("no", error_code=ErrorCode.Value(code))


def test_an_experiment_that_another_process_makes_first_is_used(
    sqlite_tracker: MlflowTracker, run_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    look = MlflowClient.get_experiment_by_name
    first_looks = iter("1")
    monkeypatch.setattr(
        MlflowClient,
        "get_experiment_by_name",
        lambda client, name: None if next(first_looks, None) else look(client, name),
    )
    second = sqlite_tracker.create_run(experiment="e", name="r", start_ms=2, tags={})
    assert [run.run_id for run in sqlite_tracker.runs("e")] == [second, run_id]


def test_an_experiment_that_is_refused_is_an_error(
    sqlite_tracker: MlflowTracker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise refusal("PERMISSION_DENIED")

    monkeypatch.setattr(MlflowClient, "create_experiment", refuse)
    with pytest.raises(TrackingError, match=r"refused to create run 'r': "):
        sqlite_tracker.create_run(experiment="new", name="r", start_ms=1, tags={})


def test_a_run_that_may_not_be_read_is_refused_not_missing(
    sqlite_tracker: MlflowTracker, run_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise refusal("PERMISSION_DENIED")

    monkeypatch.setattr(MlflowClient, "get_run", refuse)
    with pytest.raises(TrackingError, match=rf"refused to read run {run_id}: "):
        sqlite_tracker.run(run_id)


def test_a_dataset_that_two_runs_bring_at_once_is_sent_three_times_at_most(
    sqlite_tracker: MlflowTracker, run_id: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    send = MlflowClient.log_inputs
    conflicts = iter(range(5))

    def race(client: MlflowClient, run: str, datasets: list[DatasetInput]) -> None:
        if next(conflicts, None) is not None:
            raise refusal("BAD_REQUEST")
        send(client, run, datasets)

    monkeypatch.setattr(MlflowClient, "log_inputs", race)
    with pytest.raises(TrackingError, match=rf"refused to log to run {run_id}"):
        sqlite_tracker.log(run_id, [OURS], folder=tmp_path, timestamp_ms=1)
    sqlite_tracker.log(run_id, [OURS], folder=tmp_path, timestamp_ms=1)
    assert [dataset.name for dataset in sqlite_tracker.run(run_id).datasets] == ["clicks"]


def test_a_dataset_of_another_tool_is_left_out(sqlite_tracker: MlflowTracker, run_id: str, tmp_path: Path) -> None:
    client = MlflowClient(sqlite_tracker.uri)
    client.log_inputs(run_id, [DatasetInput(Dataset("theirs", "1234abcd", "local", "/data"), [])])
    sqlite_tracker.log(run_id, [OURS, Metric("auc", 0.7, dataset="theirs")], folder=tmp_path, timestamp_ms=1)
    assert [dataset.name for dataset in sqlite_tracker.run(run_id).datasets] == ["clicks"]


def test_a_dataset_is_what_the_ui_shows_and_has_no_password(
    sqlite_tracker: MlflowTracker, run_id: str, tmp_path: Path
) -> None:
    sqlite_tracker.log(run_id, [OURS], folder=tmp_path, timestamp_ms=1)
    inputs = MlflowClient(sqlite_tracker.uri).get_run(run_id).inputs
    assert inputs is not None
    (logged,) = inputs.dataset_inputs
    assert logged.dataset.to_dictionary() == {
        "name": "clicks",
        "digest": "ab" * 16,
        "source_type": "http",
        "source": '{"uri": "http://host/clicks.csv"}',
        "schema": '{"mlflow_colspec": [{"name": "bid", "type": "double", "required": false}]}',
        "profile": '{"num_rows": 9}',
    }
    assert [(tag.key, tag.value) for tag in logged.tags] == [("mlflow.data.context", "test")]
