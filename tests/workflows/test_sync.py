"""`sync`: what a tracker that was away gets later."""

from dataclasses import replace
from pathlib import Path

import pytest

from ctr_pipeline.workflows.execution import Logged, Process
from ctr_pipeline.workflows.place import Place, default_config, find_place
from ctr_pipeline.workflows.show import show_run
from ctr_pipeline.workflows.sync import Synced, failed, sync_all, sync_run
from tests.plugins.run_fixtures import FinishedRun
from tracking.errors import InputError, TrackingError
from tracking.records import RunStatus

_AWAY = "http://127.0.0.1:9"


@pytest.fixture
def unlogged(run_copy: FinishedRun) -> FinishedRun:
    """A finished run whose tracker was away all the time: an empty database takes its place."""
    run_copy.folder.save_logged(Logged())
    (run_copy.home.path / "mlflow.db").unlink()
    return run_copy


def test_an_unlogged_run_is_sent_whole(unlogged: FinishedRun, tmp_path: Path) -> None:
    sent = sync_run("latest", unlogged.place)
    assert (sent.state, sent.status) == ("sent", "FINISHED")
    assert unlogged.folder.load_logged().complete
    here = show_run("latest", unlogged.place)
    unlogged.folder.path.rename(tmp_path / "gone")
    there = show_run(str(sent.run_id), unlogged.place)
    assert (there.metrics, there.preprocessing, there.recipe) == (here.metrics, here.preprocessing, here.recipe)
    assert [step.status for step in there.run.steps] == ["FINISHED"] * 3


def test_sending_twice_changes_nothing(unlogged: FinishedRun) -> None:
    first = sync_run("latest", unlogged.place)
    before = unlogged.place.tracker().run(str(first.run_id))
    assert sync_run(str(first.run_id), unlogged.place) == first
    assert unlogged.place.tracker().run(str(first.run_id)) == before


def test_all_sends_only_what_is_not_logged(unlogged: FinishedRun) -> None:
    assert [outcome.state for outcome in sync_all(unlogged.place)] == ["sent"]
    assert list(sync_all(unlogged.place)) == []


def test_a_killed_run_is_marked_before_it_is_sent(unlogged: FinishedRun) -> None:
    execution = unlogged.folder.load()
    unlogged.folder.save(
        replace(
            execution,
            status=RunStatus.RUNNING,
            ended_ms=None,
            process=replace(execution.process, began=0.0, ticks=None),
        )
    )
    sent = sync_run("latest", unlogged.place)
    assert sent.status == "KILLED"
    assert unlogged.place.tracker().run(str(sent.run_id)).status is RunStatus.KILLED


def test_a_running_run_is_left_to_its_driver(unlogged: FinishedRun) -> None:
    execution = unlogged.folder.load()
    unlogged.folder.save(replace(execution, status=RunStatus.RUNNING, ended_ms=None, process=Process.current()))
    with pytest.raises(InputError, match=r"is still running \(process \d+ on .*\), must be over"):
        sync_run("latest", unlogged.place)
    assert [outcome.state for outcome in sync_all(unlogged.place)] == ["running"]


def test_a_tracker_that_is_still_away_is_told(unlogged: FinishedRun) -> None:
    unlogged.folder.save(replace(unlogged.folder.load(), tracking_uri=_AWAY))
    outcomes = tuple(sync_all(unlogged.place))
    assert [outcome.state for outcome in outcomes] == ["failed"]
    problem = failed(outcomes)
    assert problem is not None
    with pytest.raises(TrackingError, match=r"1 of 1 executions could not be sent, first: .*cannot be reached"):
        raise problem


def test_credentials_come_from_the_place_not_from_the_record(
    unlogged: FinishedRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def opened(uri: str, home: object) -> None:
        asked.append(uri)

    monkeypatch.setattr("ctr_pipeline.workflows.place.open_tracker", opened)
    execution = replace(unlogged.folder.load(), tracking_uri="http://tracker:5000")
    place = Place(unlogged.project, unlogged.home, "http://user:word@tracker:5000")  # pragma: allowlist secret
    place.tracker_of(execution)
    replace(place, uri="http://other:5000").tracker_of(execution)
    assert asked == ["http://user:word@tracker:5000", "http://tracker:5000"]  # pragma: allowlist secret


def test_nothing_failed_is_no_error() -> None:
    assert failed((Synced("20260101-000000-abcdef", "1", "sent", "FINISHED", "sqlite:///mlflow.db"),)) is None


def test_a_tracker_that_may_want_credentials_is_told_to_be_named_with_them(unlogged: FinishedRun) -> None:
    unlogged.folder.save(replace(unlogged.folder.load(), tracking_uri=_AWAY))
    with pytest.raises(
        TrackingError, match=r"no credentials are kept with a run: if the tracker wants some, name it w"
    ):
        sync_run("latest", unlogged.place)


def test_a_tracker_that_was_named_goes_before_the_one_a_run_was_told(
    unlogged: FinishedRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr("ctr_pipeline.workflows.place.open_tracker", lambda uri, _: asked.append(uri))
    execution = replace(unlogged.folder.load(), tracking_uri="http://moved:5000")
    find_place(unlogged.project, tracking_uri="http://new:5000").tracker_of(execution)
    find_place(unlogged.project).tracker_of(execution)
    assert asked == ["http://new:5000", "http://moved:5000"]


def test_the_projects_config_is_found_from_a_folder_below_it(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs/default.yaml").write_text("seed: 3\n")
    below = tmp_path / "analysis" / "may"
    below.mkdir(parents=True)
    assert default_config(below) == str(tmp_path / "configs/default.yaml")
    assert default_config(tmp_path) == str(tmp_path / "configs/default.yaml")
