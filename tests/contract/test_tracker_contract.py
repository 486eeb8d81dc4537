"""What `tracking.tracker` promises, held against every tracker."""

from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from tests.contract.conftest import START
from tracking.errors import InputError, TrackingError
from tracking.records import (
    Artifact,
    DatasetInput,
    Item,
    Metric,
    MetricPoint,
    ModelArtifact,
    ModelMetric,
    Param,
    RunStatus,
    Tag,
)
from tracking.tracker import Tracker

TIME: Final = START + 5_000
DATA: Final = DatasetInput(
    name="clicks",
    digest="0123456789abcdef0123456789abcdef",
    source_uri="file:///data/clicks.parquet",
    n_rows=12,
    columns=(("time", "datetime"), ("click", "boolean")),
    context="test",
)


def test_a_new_run_is_running_and_carries_what_it_was_given(tracker: Tracker, experiment: str) -> None:
    run_id = tracker.create_run(experiment=experiment, name="first", start_ms=START, tags={"mlflow.user": "ann"})
    run = tracker.run(run_id)
    assert (run.run_id, run.name, run.experiment, run.status) == (run_id, "first", experiment, RunStatus.RUNNING)
    assert (run.start_ms, run.end_ms, run.parent_run_id) == (START, None, None)
    assert run.tags["mlflow.user"] == "ann"
    assert (run.params, run.metrics, run.datasets) == ({}, {}, ())
    assert run.artifact_uri


def test_items_come_back_as_they_were_logged(tracker: Tracker, new_run: Callable[..., str], folder: Path) -> None:
    run_id = new_run()
    items: list[Item] = [
        Param("max depth/trees", "6"),
        Param("empty", ""),
        Tag("note", 'it\'s "quoted" Ω\nsecond line'),
        Metric("test.auc", 0.75, dataset="clicks"),
        Metric("train.logloss", 0.6, step=0),
        Metric("train.logloss", 0.5, step=1),
        DATA,
    ]
    tracker.log(run_id, items, folder=folder, timestamp_ms=TIME)
    run = tracker.run(run_id)
    assert run.params == {"max depth/trees": "6", "empty": ""}
    assert run.tags["note"] == 'it\'s "quoted" Ω\nsecond line'
    assert run.metrics == {"test.auc": 0.75, "train.logloss": 0.5}
    assert run.datasets == (DATA,)
    assert tracker.metric_history(run_id, "train.logloss") == (MetricPoint(0, 0.6, TIME), MetricPoint(1, 0.5, TIME))


def test_a_metric_that_was_never_logged_has_no_history(tracker: Tracker, new_run: Callable[..., str]) -> None:
    assert tracker.metric_history(new_run(), "absent") == ()


def test_metric_values_keep_every_bit(tracker: Tracker, new_run: Callable[..., str], folder: Path) -> None:
    run_id = new_run()
    values = (0.1 + 0.2, 5e-324, -1.7976931348623157e308, 1 / 3)
    tracker.log(run_id, [Metric(f"m{i}", v) for i, v in enumerate(values)], folder=folder, timestamp_ms=TIME)
    assert tuple(tracker.run(run_id).metrics[f"m{i}"] for i in range(4)) == values


def test_sending_the_same_again_changes_nothing(tracker: Tracker, new_run: Callable[..., str], folder: Path) -> None:
    run_id = new_run()
    items: list[Item] = [
        Param("depth", "6"),
        Tag("note", "a"),
        DATA,
        Artifact("report.txt"),
        ModelArtifact("model", "clicker"),
        *(Metric(f"m{i:03}", i / 7, dataset="clicks", of_model=True) for i in range(250)),
        *(Metric("curve", i / 3, step=i) for i in range(30)),
    ]

    def send() -> tuple[object, ...]:
        result = tracker.log(run_id, items, folder=folder, timestamp_ms=TIME)
        curve = tracker.metric_history(run_id, "curve")
        return result, tracker.run(run_id), curve, tracker.models(run_id), tracker.artifacts(run_id)

    first = send()
    assert send() == first
    tracker.finish(run_id, RunStatus.FINISHED, TIME)
    assert send()[2:] == first[2:]


def test_many_values_go_in_lots(tracker: Tracker, new_run: Callable[..., str], folder: Path) -> None:
    run_id = new_run()
    items: list[Item] = [
        *(Param(f"p{i}", "Ω" * 5_000) for i in range(120)),
        *(Tag(f"t{i}", str(i)) for i in range(130)),
        *(Metric("curve", float(i), step=i) for i in range(2_100)),
    ]
    tracker.log(run_id, items, folder=folder, timestamp_ms=TIME)
    run = tracker.run(run_id)
    assert len(run.params) == 120
    assert run.params["p119"] == "Ω" * 5_000
    assert run.tags["t129"] == "129"
    assert [point.step for point in tracker.metric_history(run_id, "curve")] == list(range(2_100))


def test_a_param_never_changes(tracker: Tracker, new_run: Callable[..., str], folder: Path) -> None:
    run_id = new_run()
    tracker.log(run_id, [Param("depth", "6")], folder=folder, timestamp_ms=TIME)
    with pytest.raises(TrackingError, match=r"^param 'depth' of run \w+ is '6', cannot become '7': params are written"):
        tracker.log(run_id, [Param("depth", "7")], folder=folder, timestamp_ms=TIME)
    assert tracker.run(run_id).params == {"depth": "6"}


def test_a_dataset_name_keeps_its_digest(tracker: Tracker, new_run: Callable[..., str], folder: Path) -> None:
    run_id = new_run()
    tracker.log(run_id, [DATA], folder=folder, timestamp_ms=TIME)
    other = DatasetInput("clicks", "ff", "s3://b/k", 1, (), "test")
    with pytest.raises(
        TrackingError, match=r"^dataset 'clicks' of run \w+ has digest 0123456789ab\w+, cannot become ff"
    ):
        tracker.log(run_id, [other], folder=folder, timestamp_ms=TIME)


@pytest.mark.parametrize("context", ["training", "validation", "test", "raw"])
def test_datasets_of_every_context_come_back_by_name(
    tracker: Tracker, new_run: Callable[..., str], folder: Path, context: str
) -> None:
    run_id = new_run()
    second = DatasetInput("a second", "ab", "s3://bucket/key", 0, (), context, scope="run")  # type: ignore[arg-type] # a parametrised literal
    tracker.log(run_id, [DATA, second], folder=folder, timestamp_ms=TIME)
    names = [(dataset.name, dataset.context) for dataset in tracker.run(run_id).datasets]
    assert names == [("a second", context), ("clicks", "test")]


def test_a_value_that_would_be_cut_is_refused(tracker: Tracker, new_run: Callable[..., str], folder: Path) -> None:
    run_id = new_run()
    tracker.log(run_id, [Param("p", "x" * 6_000), Tag("t", "x" * 8_000)], folder=folder, timestamp_ms=TIME)
    with pytest.raises(TrackingError, match=r"^param 'q' has 6,001 characters, trackers take 6,000: keep it as an art"):
        tracker.log(run_id, [Param("q", "x" * 6_001)], folder=folder, timestamp_ms=TIME)
    with pytest.raises(TrackingError, match=r"^tag 'u' has 8,001 characters, trackers take 8,000: keep it as an art"):
        tracker.set_tags(run_id, {"u": "x" * 8_001})
    run = tracker.run(run_id)
    assert (run.params["p"], run.tags["t"]) == ("x" * 6_000, "x" * 8_000)


def test_tags_may_be_overwritten(tracker: Tracker, new_run: Callable[..., str]) -> None:
    run_id = new_run(state="new")
    tracker.set_tags(run_id, {"state": "checked", "other": ""})
    tags = tracker.run(run_id).tags
    assert (tags["state"], tags["other"]) == ("checked", "")


def test_a_metric_of_an_unknown_dataset_or_model_is_refused(
    tracker: Tracker, new_run: Callable[..., str], folder: Path
) -> None:
    run_id = new_run()
    with pytest.raises(InputError, match=r"^metric 'auc' names dataset 'clicks', which is no input of the run"):
        tracker.log(run_id, [Metric("auc", 0.7, dataset="clicks")], folder=folder, timestamp_ms=TIME)
    with pytest.raises(InputError, match=r"^metric 'auc' is of a model, but there is none: pass model_id"):
        tracker.log(run_id, [Metric("auc", 0.7, of_model=True)], folder=folder, timestamp_ms=TIME)
    with pytest.raises(InputError, match="m-nobody"):
        tracker.log(run_id, [], folder=folder, timestamp_ms=TIME, model_id="m-nobody")
    assert tracker.run(run_id).metrics == {}


def test_artifacts_keep_their_names_and_bytes(
    tracker: Tracker, new_run: Callable[..., str], folder: Path, tmp_path: Path
) -> None:
    run_id = new_run()
    items = [Artifact("report.txt", "reports/deep"), Artifact("plots"), Artifact("plots/a b.svg", "copy")]
    tracker.log(run_id, items, folder=folder, timestamp_ms=TIME)
    plots = ("plots/a b.svg", "plots/inner/ü.svg")
    assert tracker.artifacts(run_id) == ("copy/a b.svg", *plots, "reports/deep/report.txt")
    assert tracker.artifacts(run_id, "plots") == plots
    assert tracker.artifacts(run_id, "plots/inner/ü.svg") == ("plots/inner/ü.svg",)
    assert tracker.artifacts(run_id, "nothing") == ()
    into = tmp_path / "into"
    into.mkdir()
    file = tracker.download(run_id, "reports/deep/report.txt", into)
    assert (file.name, file.read_text(encoding="utf-8")) == ("report.txt", "fine")
    copied = tracker.download(run_id, "plots", into)
    assert (copied / "inner" / "ü.svg").read_text(encoding="utf-8") == "<svg></svg>"
    assert copied.is_relative_to(into)


def test_an_artifact_that_is_not_there_is_named(
    tracker: Tracker, new_run: Callable[..., str], folder: Path, tmp_path: Path
) -> None:
    run_id = new_run()
    with pytest.raises(InputError, match=r"absent\.txt: no such file or folder"):
        tracker.log(run_id, [Artifact("absent.txt")], folder=folder, timestamp_ms=TIME)
    with pytest.raises(InputError, match=rf"^run {run_id} has no artifact 'absent\.txt'"):
        tracker.download(run_id, "absent.txt", tmp_path)
    with pytest.raises(InputError, match=r"has no artifact ''"):
        tracker.download(run_id, "", tmp_path)


def test_a_model_is_an_output_of_its_step_and_parent_with_metrics_of_both(
    tracker: Tracker, new_run: Callable[..., str], folder: Path
) -> None:
    parent = new_run()
    train, evaluate = new_run(parent=parent), new_run(parent=parent)
    model = ModelArtifact("model", "clicker", scope="run")
    model_id = tracker.log(train, [Param("depth", "6"), model], folder=folder, timestamp_ms=TIME).model_id
    assert model_id
    measured: list[Item] = [DATA, Metric("test.auc", 0.75, dataset="clicks", of_model=True), Metric("seconds", 3.0)]
    both: list[Item] = [model, *measured]
    for run_id, items in ((evaluate, measured), (parent, both)):
        assert tracker.log(run_id, items, folder=folder, timestamp_ms=TIME, model_id=model_id).model_id == model_id
    (read,) = tracker.models(parent)
    assert (read.model_id, read.name, read.run_id, read.ready) == (model_id, "clicker", train, True)
    assert tracker.models(train) == (read,)
    assert tracker.models(evaluate) == ()
    assert {metric.run_id for metric in read.metrics} == {evaluate, parent}
    assert ModelMetric("test.auc", 0.75, 0, parent, "clicks", DATA.digest) in read.metrics


def test_a_model_folder_comes_back_as_the_step_wrote_it(
    tracker: Tracker, new_run: Callable[..., str], folder: Path, tmp_path: Path
) -> None:
    run_id = new_run()
    model_id = tracker.log(run_id, [ModelArtifact("model", "m")], folder=folder, timestamp_ms=TIME).model_id
    assert model_id
    into = tmp_path / "into"
    into.mkdir()
    copy = tracker.download_model(model_id, into)
    assert {file.name: file.read_bytes() for file in copy.iterdir()} == {
        file.name: file.read_bytes() for file in (folder / "model").iterdir()
    }
    with pytest.raises(InputError, match="m-nobody"):
        tracker.download_model("m-nobody", into)


def test_one_call_takes_one_model(tracker: Tracker, new_run: Callable[..., str], folder: Path) -> None:
    two = [ModelArtifact("model", "a"), ModelArtifact("model", "b")]
    with pytest.raises(InputError, match=r"^2 models in one call \('a', 'b'\): log them apart"):
        tracker.log(new_run(), two, folder=folder, timestamp_ms=TIME)


@pytest.mark.parametrize("status", [RunStatus.FINISHED, RunStatus.FAILED, RunStatus.KILLED])
def test_a_run_ends_and_may_be_corrected(tracker: Tracker, new_run: Callable[..., str], status: RunStatus) -> None:
    run_id = new_run()
    tracker.finish(run_id, RunStatus.KILLED, TIME)
    tracker.finish(run_id, status, TIME + 1)
    run = tracker.run(run_id)
    assert (run.status, run.end_ms) == (status, TIME + 1)


def test_a_run_cannot_end_as_running(tracker: Tracker, new_run: Callable[..., str]) -> None:
    with pytest.raises(InputError, match=r"^status is RUNNING, must be FINISHED, FAILED or KILLED"):
        tracker.finish(new_run(), RunStatus.RUNNING, TIME)


def test_children_are_those_of_this_parent_oldest_first(tracker: Tracker, new_run: Callable[..., str]) -> None:
    parent, other = new_run(), new_run()
    second = new_run(start_ms=START + 2, parent=parent)
    first = new_run(start_ms=START + 1, parent=parent)
    new_run(parent=other)
    assert [run.run_id for run in tracker.children(parent)] == [first, second]
    assert tracker.run(first).parent_run_id == parent


def test_runs_are_found_by_experiment_and_tags_newest_first(
    tracker: Tracker, new_run: Callable[..., str], experiment: str
) -> None:
    odd = "both ' and \" and `"
    old = new_run(start_ms=START, arm="a", note=odd)
    new = new_run(start_ms=START + 1, arm="a")
    new_run(start_ms=START + 2, arm="b", note=odd)
    assert [run.run_id for run in tracker.runs(experiment, tags={"arm": "a"})] == [new, old]
    assert [run.run_id for run in tracker.runs(experiment, tags={"arm": "a", "note": odd})] == [old]
    assert [run.run_id for run in tracker.runs(experiment, tags={"arm": "a"}, limit=1)] == [new]
    assert {old, new} <= {run.run_id for run in tracker.runs(limit=10_000)}
    assert tracker.runs(f"{experiment} too") == ()


def test_a_deleted_run_is_gone_and_its_models_with_it(
    tracker: Tracker, new_run: Callable[..., str], experiment: str, folder: Path, tmp_path: Path
) -> None:
    parent = new_run()
    child = new_run(parent=parent)
    model_id = tracker.log(parent, [ModelArtifact("model", "m")], folder=folder, timestamp_ms=TIME).model_id
    assert model_id
    tracker.delete_run(parent)
    assert [run.run_id for run in tracker.runs(experiment)] == [child]
    with pytest.raises(InputError, match=model_id):
        tracker.download_model(model_id, tmp_path)
    with pytest.raises(InputError, match=rf"^run '{parent}' was deleted from "):
        tracker.run(parent)
    with pytest.raises(InputError, match="was deleted"):
        tracker.log(parent, [], folder=folder, timestamp_ms=TIME)
    with pytest.raises(InputError, match="was deleted"):
        tracker.delete_run(parent)


@pytest.mark.parametrize("run_id", ["0" * 32, "not an id!", ""])
def test_an_unknown_run_is_an_input_error_everywhere(tracker: Tracker, folder: Path, run_id: str) -> None:
    calls: list[Callable[[], object]] = [
        lambda: tracker.run(run_id),
        lambda: tracker.children(run_id),
        lambda: tracker.metric_history(run_id, "m"),
        lambda: tracker.artifacts(run_id),
        lambda: tracker.download(run_id, "a", folder),
        lambda: tracker.models(run_id),
        lambda: tracker.log(run_id, [], folder=folder, timestamp_ms=TIME),
        lambda: tracker.set_tags(run_id, {"a": "b"}),
        lambda: tracker.finish(run_id, RunStatus.FAILED, TIME),
        lambda: tracker.delete_run(run_id),
    ]
    for call in calls:
        with pytest.raises(InputError, match=rf"^run '{run_id}' does not exist in "):
            call()
