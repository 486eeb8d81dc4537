"""Logging beside the computing: its failures are the tracker's, and nobody waits for it for ever."""

import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest

from ctr_pipeline.engines.interrupt import Interrupt
from ctr_pipeline.workflows.background import BackgroundRecorder
from ctr_pipeline.workflows.recorder import Recorder
from tracking.errors import JobError, TrackingError

type Open = Callable[..., BackgroundRecorder]


@pytest.fixture
def tracker_back() -> Iterator[threading.Event]:
    """A tracker that answers nothing until the test is over."""
    event = threading.Event()
    yield event
    event.set()


def _open(opened: Callable[[], Any] = object, interrupt: Interrupt | None = None) -> BackgroundRecorder:
    return BackgroundRecorder(lambda: cast("Recorder", opened()), execution_id="run-7", interrupt=interrupt)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            ZeroDivisionError("an\n odd one"),
            r"^the tracker could not be told \(ZeroDivisionError: an odd one\)\.$",
        ),
        (SystemExit(3), r"^the tracker could not be told \(SystemExit: 3\)\.$"),
        (PermissionError(13, "Permission denied", "db"), r"^the tracker's files db cannot be written: Permission den"),
        (TrackingError("away"), r"^away$"),
    ],
)
def test_whatever_fails_is_the_trackers_problem(error: BaseException, message: str) -> None:
    def fail(_: object) -> None:
        raise error

    recorder = _open()
    recorder.say(fail)
    with pytest.raises(TrackingError, match=message) as caught:
        recorder.finish()
    assert caught.value is error or caught.value.__cause__ is error


def test_a_tracker_that_cannot_be_opened_is_the_trackers_problem() -> None:
    def fail() -> None:
        raise ImportError("no mlflow")

    with pytest.raises(TrackingError, match=r"^the tracker could not be told \(ImportError: no mlflow\)\.$"):
        _open(fail).finish()


def test_an_interrupted_run_waits_for_the_tracker_for_a_while_only(
    tracker_back: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ctr_pipeline.workflows.background._PATIENCE_S", 0.05)
    with pytest.raises(KeyboardInterrupt) as caught:
        _run_into(KeyboardInterrupt(), _open(tracker_back.wait))
    (note,) = caught.value.__notes__
    assert "`ctr-pipeline sync run-7` sends the rest" in note


def test_an_interrupted_run_is_logged_where_the_tracker_is_there() -> None:
    said: list[object] = []
    recorder = _open()
    recorder.say(said.append)
    with pytest.raises(KeyboardInterrupt) as caught:
        _run_into(KeyboardInterrupt(), recorder)
    assert len(said) == 1
    assert not hasattr(caught.value, "__notes__")


def test_waiting_for_the_tracker_can_be_interrupted(tracker_back: threading.Event) -> None:
    interrupt = _interrupted()
    with pytest.raises(KeyboardInterrupt):
        _open(tracker_back.wait, interrupt).finish()


def test_a_failed_run_keeps_its_reason_when_waiting_for_the_tracker_is_interrupted(
    tracker_back: threading.Event,
) -> None:
    interrupt = _interrupted()
    with pytest.raises(JobError, match=r"^step own failed\nlogging was interrupted; `ctr-pipeline sync run-7` sends"):
        _run_into(JobError("step own failed"), _open(tracker_back.wait, interrupt))


def _run_into(error: BaseException, recorder: BackgroundRecorder) -> None:
    with recorder:
        raise error


def _interrupted() -> Interrupt:
    interrupt = Interrupt()
    with interrupt.listening(), interrupt.deferred():
        signal.raise_signal(signal.SIGINT)
    return interrupt
