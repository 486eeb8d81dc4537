"""Steps of another version of the code, under another interpreter and its libraries, over job contract v1.

A step server (`step_server.py`) runs in that interpreter. It begins to import the libraries while the driver still
restores code and data, and forks every step: three steps cost one start.
"""

import json
import os
import select
import shutil
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final, Self

from ctr_pipeline.engines.attempt import StepJob, StepProgress, keep_output, tell_progress
from ctr_pipeline.engines.interrupt import Interrupt
from ctr_pipeline.pipeline import PIPELINE
from ctr_pipeline.steps.job import StepRecord
from tracking.errors import JobError

_SERVER: Final = Path(__file__).with_name("step_server.py")
_LIBRARIES: Final = ("numpy", "pyarrow.parquet", "pyarrow.compute", "pydantic", "xgboost")
_POLL_S: Final = 0.05
_GRACE_S: Final = 5.0
# `-I` ignores Python's own; a coverage tool's would have the old code measured.
_KEPT_BACK: Final = ("COVERAGE_", "COV_CORE_", "PYTHON", "VIRTUAL_ENV")


class ForeignEngine:
    """Runs steps with another Python and other code; leave its `with` to end it."""

    def __init__(
        self, python: Path, log: Path, *, bytecode: Path | None = None, interrupt: Interrupt | None = None
    ) -> None:
        """Start the server, which begins to import the libraries.

        Args:
            python: the interpreter.
            log: file of what the server itself says.
            bytecode: folder that keeps the libraries' bytecode; None reads what lies beside them. Beside anybody's code
                none is written.
            interrupt: asked while a step runs; None where the caller leaves signals to Python.

        Raises:
            JobError: the interpreter cannot be started.
        """
        self._interrupt = interrupt or Interrupt()
        self._log = log
        self._is_running = False
        with log.open("ab") as said:
            try:
                self._server = subprocess.Popen(
                    [python, "-I", *_bytecode_options(bytecode), _SERVER],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=said,
                    env=foreign_variables(os.environ),
                    # Ctrl-C reaches the whole terminal group: the driver alone decides.
                    start_new_session=True,
                )
            except OSError as error:
                raise JobError(f"Python {python} cannot be started: {error.strerror}; restore it again") from error
        try:
            self._order({"import": _LIBRARIES})
        except JobError:
            self.close()
            raise

    def use_code(self, roots: Sequence[Path]) -> None:
        """Say where the steps' code lies, the first folder first; asked for once, before the first step.

        As in a run, the steps are imported before a team's folders come onto the path: a module there that is named
        like one of a library's changes nothing.
        """
        steps = [spec.module for spec in reversed(PIPELINE)]
        packages = {step.partition(".")[0] for step in steps}
        ours = [root for root in roots if any(_holds(root, name) for name in packages)]
        self._order({"path": [str(root) for root in ours], "import": steps})
        self._order({"path": [str(root) for root in roots]})

    def run_step(self, attempt: StepJob, on_progress: Callable[[StepProgress], None]) -> StepRecord:
        """Run a step to its end and move its output into place; see `LocalEngine.run_step`."""
        shutil.rmtree(attempt.partial, ignore_errors=True)
        attempt.partial.mkdir(parents=True)
        try:
            self._is_running = True
            self._order({"run": attempt.spec.module, "arguments": _arguments(attempt), "log": str(attempt.log)})
            return keep_output(attempt, self._watch(attempt, on_progress))
        except BaseException:
            try:
                self._end_step()
            finally:
                shutil.rmtree(attempt.partial, ignore_errors=True)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the server, and a step with it."""
        with suppress(OSError):
            _pipe(self._server.stdin).close()
        try:
            self._server.wait(_GRACE_S)
        except subprocess.TimeoutExpired:
            self._server.kill()
            self._server.wait()
        _pipe(self._server.stdout).close()

    def _watch(self, attempt: StepJob, on_progress: Callable[[StepProgress], None]) -> int:
        answers = _pipe(self._server.stdout)
        while not select.select([answers], [], [], _POLL_S)[0]:
            self._interrupt.check()
            tell_progress(attempt, on_progress)
        line = answers.readline()
        self._is_running = False
        if not line:
            raise JobError(f"the process that runs the steps ended (exit code {self._server.wait()}); see {self._log}")
        return int(json.loads(line)["exit"])

    def _end_step(self) -> None:
        """End a step that still runs, and hear of its end."""
        if self._is_running:
            with suppress(JobError):
                self._order({"kill": signal.SIGKILL})
            _pipe(self._server.stdout).readline()
            self._is_running = False

    def _order(self, values: Mapping[str, Any]) -> None:
        try:
            orders = _pipe(self._server.stdin)
            orders.write(json.dumps(values).encode() + b"\n")
            orders.flush()
        except OSError as error:
            raise JobError(f"the process that runs the steps is gone; see {self._log}") from error


def _bytecode_options(folder: Path | None) -> tuple[str, ...]:
    return ("-B",) if folder is None else ("-X", f"pycache_prefix={folder}")


def foreign_variables(variables: Mapping[str, str]) -> dict[str, str]:
    """Return the environment variables that another version's steps get: all but those of this Python."""
    return {name: value for name, value in variables.items() if not name.startswith(_KEPT_BACK)}


def _holds(root: Path, module: str) -> bool:
    return (root / module).is_dir() or (root / f"{module}.py").is_file()


def _arguments(attempt: StepJob) -> list[str]:
    arguments = ["--settings", str(attempt.settings), "--output", str(attempt.partial)]
    for channel, folder in attempt.inputs.items():
        arguments += ["--input", f"{channel}={folder}"]
    return arguments


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    assert pipe is not None  # noqa: S101 - Popen was asked for one
    return pipe
