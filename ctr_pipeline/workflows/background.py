"""Logging beside the computing: calls to the tracker in their order, on a thread of their own."""

import queue
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

from ctr_pipeline.workflows.recorder import Recorder
from tracking.errors import ProblemError, TrackingError


class BackgroundRecorder:
    """Runs calls on a recorder one after the other; no step waits for the tracker.

    After a call has failed the later ones are passed over: what they would have said is on disk, and `sync` sends it.
    """

    def __init__(self, open_recorder: Callable[[], Recorder]) -> None:
        """Start the thread, which opens the recorder first.

        Args:
            open_recorder: imports and connects whatever is needed; takes seconds.
        """
        self._open = open_recorder
        self._calls: queue.SimpleQueue[Callable[[Recorder], object] | None] = queue.SimpleQueue()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name="recorder", daemon=True)
        self._thread.start()

    def say(self, call: Callable[[Recorder], object]) -> None:
        """Have a call made, after those before it."""
        self._calls.put(call)

    def finish(self) -> None:
        """Wait until everything is said.

        Raises:
            ProblemError: the tracker could not be reached, or refused a call.
        """
        self._calls.put(None)
        self._thread.join()
        if self._error is not None:
            raise self._error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.finish()
            return
        try:
            self.finish()
        except ProblemError as unlogged:
            error.add_note(str(unlogged))

    def _work(self) -> None:
        recorder: Recorder | None = None
        try:
            recorder = self._open()
        except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
            self._error = _as_problem(error)
        while (call := self._calls.get()) is not None:
            if self._error is not None or recorder is None:
                continue
            try:
                call(recorder)
            except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
                self._error = _as_problem(error)


def _as_problem(error: BaseException) -> BaseException:
    """Return a failure of the disk as the tracker's problem that it is: the run's own outputs are safe."""
    if not isinstance(error, OSError):
        return error
    place = f" {error.filename}" if error.filename else ""
    problem = TrackingError(
        f"the tracker's files{place} cannot be written: {error.strerror or error}; free some space there, or mend its "
        "rights."
    )
    problem.__cause__ = error
    return problem
