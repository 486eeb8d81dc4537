"""Steps as processes of this machine, over job contract v1.

A fork server imports xgboost and the rest once, while the caller does other things. Each step is a fork of it: a
process of its own for a fraction of a second.
"""

import faulthandler
import importlib
import multiprocessing
import os
import shutil
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import connection, forkserver, resource_tracker
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Final

from ctr_pipeline.engines.attempt import StepJob, StepProgress, keep_output, tell_progress
from ctr_pipeline.engines.interrupt import Interrupt
from ctr_pipeline.steps import job

_PRELOAD: Final = ("ctr_pipeline.steps.evaluate", "ctr_pipeline.steps.train", "ctr_pipeline.steps.preprocess")
_POLL_S: Final = 0.1
_GRACE_S: Final = 5.0


class LocalEngine:
    """Runs steps on this machine, one process each."""

    def __init__(self, interrupt: Interrupt | None = None) -> None:
        """Start the fork server; it imports while the caller goes on.

        Args:
            interrupt: asked while a step runs; None where the caller leaves signals to Python.
        """
        self._interrupt = interrupt or Interrupt()
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(list(_PRELOAD))
        # Before the block below, because it unblocks SIGINT where it has to start.
        resource_tracker.ensure_running()
        with _interrupts_held():
            forkserver.ensure_running()

    def run_step(self, attempt: StepJob, on_progress: Callable[[StepProgress], None]) -> job.StepRecord:
        """Run a step to its end and move its output into place.

        Args:
            attempt: what to run.
            on_progress: called now and then while it runs.

        Raises:
            InputError: the step refused its input, or ended without its record.
            JobError: the step failed, was killed, or crashed.
            KeyboardInterrupt: the caller was interrupted; the step is ended and its half-written output removed.
        """
        shutil.rmtree(attempt.partial, ignore_errors=True)
        attempt.partial.mkdir(parents=True)
        process = self._context.Process(target=_child, args=(attempt,), daemon=False)
        try:
            with _interrupts_held():
                process.start()
            self._watch(process, attempt, on_progress)
            return keep_output(attempt, process.exitcode or 0)
        except BaseException:
            try:
                _end(process)
            finally:
                shutil.rmtree(attempt.partial, ignore_errors=True)
            raise

    def _watch(self, process: ForkServerProcess, attempt: StepJob, on_progress: Callable[[StepProgress], None]) -> None:
        while not connection.wait([process.sentinel], timeout=_POLL_S):
            self._interrupt.check()
            tell_progress(attempt, on_progress)
        process.join()


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Hold Ctrl-C back within the block; a process that is started there begins with it blocked.

    It reaches the whole terminal group: the fork server would otherwise die of it while it imports, and a step before
    it can ignore it.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _end(process: ForkServerProcess) -> None:
    if process.pid is None:  # it never started
        return
    try:
        process.terminate()
        process.join(_GRACE_S)
    finally:
        if process.is_alive():
            process.kill()
            process.join()


def _child(attempt: StepJob) -> None:
    """Run a step in the forked process."""
    # Ctrl-C reaches the whole terminal group: the driver alone decides, and ends the step.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Ignored from here on; what the step starts must not inherit it blocked.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    _die_with_driver()
    _redirect_output(attempt.log)
    # A crash in compiled code leaves its stack in the log.
    faulthandler.enable(all_threads=False)
    sys.path[:0] = [str(folder) for folder in attempt.code_folders]
    module = importlib.import_module(attempt.spec.module)
    arguments = ["--settings", str(attempt.settings), "--output", str(attempt.partial)]
    for channel, folder in attempt.inputs.items():
        arguments += ["--input", f"{channel}={folder}"]
    sys.exit(job.main(module.NAME, module.run, arguments))


def _die_with_driver() -> None:
    """End this process when the driver is gone, also after kill -9: nobody is left to use what it computes."""
    driver = multiprocessing.parent_process()

    def wait() -> None:
        if driver is not None:
            connection.wait([driver.sentinel])
            os._exit(1)

    threading.Thread(target=wait, daemon=True, name="driver-watch").start()


def _redirect_output(log: Path) -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    with log.open("ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
