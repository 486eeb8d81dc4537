"""Logging beside the computing: calls to the tracker in their order, on a thread of their own."""

import queue
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

from ctr_pipeline.engines.interrupt import Interrupt
from ctr_pipeline.workflows.recorder import Recorder
from tracking.errors import ProblemError, TrackingError

_POLL_S: Final = 0.1
# How long an interrupted run waits for the tracker to hear of its end: it may just be importing.
_PATIENCE_S: Final = 20.0


class BackgroundRecorder:
    """Runs calls on a recorder one after the other; no step waits for the tracker.

    After a call has failed the later ones are passed over: what they would have said is on disk, and `sync` sends it.
    """

    def __init__(
        self, open_recorder: Callable[[], Recorder], *, execution_id: str, interrupt: Interrupt | None = None
    ) -> None:
        """Start the thread, which opens the recorder first.

        Args:
            open_recorder: imports and connects whatever is needed; takes seconds.
            execution_id: what `sync` is to be called with where not all could be said.
            interrupt: asked while `finish` waits; None where the caller leaves signals to Python.
        """
        self._open = open_recorder
        self._execution_id = execution_id
        self._interrupt = interrupt or Interrupt()
        self._calls: queue.SimpleQueue[Callable[[Recorder], object] | None] = queue.SimpleQueue()
        self._error: ProblemError | None = None
        self._thread = threading.Thread(target=self._work, name="recorder", daemon=True)
        self._thread.start()

    def say(self, call: Callable[[Recorder], object]) -> None:
        """Have a call made, after those before it."""
        self._calls.put(call)

    def finish(self) -> None:
        """Wait until everything is said.

        Raises:
            ProblemError: the tracker could not be reached, or refused a call.
            KeyboardInterrupt: the user does not want to wait; what is not said yet may get lost.
        """
        self._calls.put(None)
        while self._thread.is_alive():
            self._interrupt.check()
            self._thread.join(_POLL_S)
        self._raise_problem()

    def finish_soon(self) -> None:
        """Wait until everything is said, but not for long.

        Raises:
            ProblemError: the tracker could not be reached, refused a call, or takes too long.
        """
        self._calls.put(None)
        deadline = time.monotonic() + _PATIENCE_S
        while self._thread.is_alive() and time.monotonic() < deadline:
            self._thread.join(_POLL_S)
        if self._thread.is_alive():
            raise TrackingError(
                f"the tracker has not taken all of the run within {_PATIENCE_S:.0f} s; "
                f"`ctr-pipeline sync {self._execution_id}` sends the rest"
            )
        self._raise_problem()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.finish()
            return
        try:
            if isinstance(error, Exception):
                self.finish()
            else:
                self.finish_soon()
        except ProblemError as unlogged:
            error.add_note(str(unlogged))
        except KeyboardInterrupt:
            error.add_note(f"logging was interrupted; `ctr-pipeline sync {self._execution_id}` sends the rest")

    def _raise_problem(self) -> None:
        if self._error is not None:
            raise self._error

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


def _as_problem(error: BaseException) -> ProblemError:
    """Return any failure as the tracker's problem that it is: the run's own outputs are safe."""
    if isinstance(error, ProblemError):
        return error
    if isinstance(error, OSError):
        place = f" {error.filename}" if error.filename else ""
        told = (
            f"the tracker's files{place} cannot be written: {error.strerror or error}; free some space there, or mend "
            "its rights."
        )
    else:
        told = f"the tracker could not be told ({type(error).__name__}: {' '.join(str(error).split())})."
    problem = TrackingError(told)
    problem.__cause__ = error
    return problem
