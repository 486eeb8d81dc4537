"""`ui`: the MLflow UI on the home's database, as a process group that goes when it is told to."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from ctr_pipeline.workflows.place import Place
from tracking.errors import InputError, JobError

DEFAULT_PORT: Final = 5000
LOG_FILE: Final = "ui.log"
_DATABASES: Final = ("sqlite:", "postgresql", "mysql", "mssql")
_START_S: Final = 90.0
_POLL_S: Final = 0.1
_ANSWER_S: Final = 2.0
_GRACE_S: Final = 10.0
_TAIL_LINES: Final = 5


@dataclass(frozen=True, slots=True)
class UiServer:
    """A running UI.

    Attributes:
        url: of the experiment's page.
        process: the server, leader of its process group; None where somebody else runs it.
    """

    url: str
    process: "subprocess.Popen[bytes] | None"

    def wait(self) -> None:
        """Wait until the server ends by itself; somebody else's is not waited for.

        Raises:
            JobError: it ended with an error.
        """
        if self.process is not None and (code := self.process.wait()):
            raise JobError(f"the MLflow server ended with exit code {code}; its log is in the home's {LOG_FILE}")


@contextmanager
def serve_ui(place: Place, experiment: str, *, host: str = "127.0.0.1", port: int | None = None) -> Iterator[UiServer]:
    """Start the UI, or find the one that a tracking server has; it ends with the block.

    Args:
        place: whose tracker is shown.
        experiment: whose page is opened.
        host: the address to listen on.
        port: must be free; by default 5000, or a free one where that is taken.

    Raises:
        InputError: the port is taken, there is no database yet, or the tracker has no page that this could open.
        JobError: the server does not start.
    """
    if place.uri.startswith(("http://", "https://")):
        yield UiServer(_page(place.uri, place.shown_uri, experiment), None)
        return
    if not place.uri.startswith(_DATABASES):
        raise InputError(f"tracker {place.shown_uri} is no database and no web server; open its page where it lives")
    if place.is_local and not place.has_database:
        raise InputError(f"no run is recorded in {place.shown_uri}; start one with `ctr-pipeline run`")
    chosen = _free_port(host, port)
    process = _started(place, host, chosen)
    try:
        base = f"http://{'127.0.0.1' if host == '0.0.0.0' else host}:{chosen}"  # noqa: S104 - a comparison
        _wait_until_it_answers(base, process, place.home.path / LOG_FILE)
        yield UiServer(_page(base, base, experiment), process)
    finally:
        end_group(process)


def end_group(process: "subprocess.Popen[bytes]") -> None:
    """End a process, its group and whatever left the group: politely first."""
    descendants = _descendants(process.pid)
    _tell_group(process.pid, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_GRACE_S)
    _, alive = psutil.wait_procs(descendants, timeout=_GRACE_S / 2)
    _tell_group(process.pid, signal.SIGKILL)
    for left in alive:
        with contextlib.suppress(psutil.NoSuchProcess):
            left.kill()
    process.wait()


def _started(place: Place, host: str, port: int) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "mlflow", "server", "--host", host, "--port", str(port), "--workers", "1"]
    artifacts = place.home.path / "artifacts"
    # The URI may hold a password: the environment is seen by fewer than the command line.
    environment = {
        **os.environ,
        "MLFLOW_BACKEND_STORE_URI": place.uri,
        "MLFLOW_DEFAULT_ARTIFACT_ROOT": artifacts.resolve().as_uri(),
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    with (place.home.path / LOG_FILE).open("wb") as log:
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, start_new_session=True
        )


def _free_port(host: str, port: int | None) -> int:
    wanted = DEFAULT_PORT if port is None else port
    try:
        return _bound(host, wanted)
    except OSError as error:
        if port is not None:
            raise InputError(
                f"--port == {port} on {host} cannot be used ({error.strerror}), must be free; leave it out to have one "
                "chosen"
            ) from error
        return _bound(host, 0)


def _bound(host: str, port: int) -> int:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((host, port))
        return int(probe.getsockname()[1])


def _wait_until_it_answers(base: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise JobError(f"the MLflow server ended with exit code {process.returncode}: {_tail(log)}")
        with contextlib.suppress(OSError), urllib.request.urlopen(f"{base}/health", timeout=_ANSWER_S):  # noqa: S310 - http
            return
        time.sleep(_POLL_S)
    raise JobError(f"the MLflow server at {base} did not answer within {_START_S:.0f} s: {_tail(log)}")


def _page(uri: str, shown: str, experiment: str) -> str:
    """Return the experiment's page, or the server's where it cannot be asked."""
    query = urllib.parse.urlencode({"experiment_name": experiment})
    request = f"{uri.rstrip('/')}/api/2.0/mlflow/experiments/get-by-name?{query}"
    base = shown.rstrip("/")
    try:
        with urllib.request.urlopen(request, timeout=_ANSWER_S * 2) as answer:  # noqa: S310 - http, by the caller
            found = json.loads(answer.read())["experiment"]["experiment_id"]
    except (OSError, ValueError, KeyError):
        return base
    # Said outright, as MLflow takes an experiment that it has not classified for one of language models.
    return f"{base}/#/experiments/{found}/runs?workflowType=machine_learning"


def _descendants(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _tell_group(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, number)


def _tail(log: Path) -> str:
    return " | ".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-_TAIL_LINES:])
