"""Runs steps of one version of the code in one interpreter, for a driver of another; started by `engines.foreign`.

The file stands alone: it imports nothing of ours and is run by its path with `-I`, under whatever Python and libraries
a run was made with. It imports the libraries once, then forks a process for every step, which does what
``python -m MODULE ARGUMENTS`` does. One JSON object a line:

* from the driver: ``{"import": [...]}``, ``{"path": [...]}``, ``{"run": MODULE, "arguments": [...], "log": FILE}``,
  ``{"kill": SIGNAL}`` while a step runs; the end of the input ends everything;
* to the driver: ``{"exit": CODE}`` after a run.
"""

import faulthandler
import importlib
import json
import os
import runpy
import select
import signal
import sys
import threading
import warnings
from typing import Any, NoReturn

_BLOCK = 1 << 16


class _Orders:
    """Orders from a file descriptor, one at a time: several may come in one block while this process imports."""

    def __init__(self, source: int) -> None:
        self._source = source
        self._pending = b""

    def fileno(self) -> int:
        return self._source

    @property
    def is_waiting(self) -> bool:
        """Whether a whole order was read already."""
        return b"\n" in self._pending

    def take(self) -> dict[str, Any] | None:
        """Wait for the next order; None where no more will come."""
        while not self.is_waiting:
            block = os.read(self._source, _BLOCK)
            if not block:
                return None
            self._pending += block
        line, _, self._pending = self._pending.partition(b"\n")
        order: dict[str, Any] = json.loads(line)
        return order


def serve(source: int, answers: int) -> None:
    """Take orders from a file descriptor and write answers to another, until the orders end."""
    orders = _Orders(source)
    while (order := orders.take()) is not None:
        _obey(order, orders, answers)


def _obey(order: dict[str, Any], orders: _Orders, answers: int) -> None:
    if "path" in order:
        sys.path[:0] = order["path"]
        # Whose code comes now may be a checkout, in which nothing is to be left.
        sys.dont_write_bytecode = True
    for name in order.get("import", ()):
        _import(name)
    if "run" in order:
        code = _run(order, orders)
        os.write(answers, json.dumps({"exit": code}).encode() + b"\n")


def _import(name: str) -> None:
    try:
        importlib.import_module(name)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - the step that needs the module will say it better
        print(f"step server: {name} cannot be imported beforehand: {error!r}", file=sys.stderr)  # noqa: T201 - its log


def _run(order: dict[str, Any], orders: _Orders) -> int:
    """Fork a step and return its exit code, negative for a signal; the driver may have it killed meanwhile."""
    # Closes when the child ends, however it does: the child alone holds the end that is written to.
    ended, alive = os.pipe()
    # Closes when this process ends, and then the child does.
    watched, held = os.pipe()
    with warnings.catch_warnings():
        # The libraries' idle threads do not come along, and start again where they are needed.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        os.close(ended)
        os.close(held)
        _become_step(order, watched)
    os.close(alive)
    os.close(watched)
    while orders.is_waiting or ended not in select.select([ended, orders.fileno()], [], [])[0]:
        asked = orders.take() or {"kill": signal.SIGKILL}
        os.kill(child, asked["kill"])
        if asked["kill"] == signal.SIGKILL:
            break
    _, status = os.waitpid(child, 0)
    os.close(ended)
    os.close(held)
    return os.waitstatus_to_exitcode(status)


def _become_step(order: dict[str, Any], watched: int) -> NoReturn:
    code = 1
    try:
        threading.Thread(target=_die_with_server, args=(watched,), daemon=True, name="server-watch").start()
        log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        # The driver's orders are not the step's input.
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(log, 1)
        os.dup2(log, 2)
        faulthandler.enable(all_threads=False)
        # It may have been imported for the sake of what it imports; now it is run, as `python -m` does.
        sys.modules.pop(order["run"], None)
        sys.argv = [order["run"], *order["arguments"]]
        runpy.run_module(order["run"], run_name="__main__", alter_sys=True)
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
        if not isinstance(end.code, int | None):
            print(end.code, file=sys.stderr)  # noqa: T201 - as Python does
    except BaseException:  # noqa: BLE001 - told in the step's log
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        # What the server was about to do must not be done once more here.
        os._exit(code)


def _die_with_server(watched: int) -> None:
    os.read(watched, 1)
    os._exit(1)


if __name__ == "__main__":
    spoken = os.dup(1)
    # What an import prints must not look like an answer.
    os.dup2(2, 1)
    serve(0, spoken)
