"""MLflow for tests: a fresh SQLite file in milliseconds, and one real server for the whole session."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tracking.mlflow_sqlite import prepare_sqlite
from tracking.mlflow_tracker import MlflowTracker

_START_SECONDS: Final = 180.0


@pytest.fixture(scope="session")
def mlflow_templates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose migrated SQLite template is made once; give it to `MlflowTracker(templates=...)`."""
    folder = tmp_path_factory.mktemp("mlflow-templates")
    prepare_sqlite(folder / "first.db", folder)
    return folder


@pytest.fixture
def sqlite_tracker(tmp_path: Path, mlflow_templates: Path) -> MlflowTracker:
    """A tracker on an empty SQLite database of its own."""
    return MlflowTracker(f"sqlite:///{tmp_path / 'mlflow.db'}", tmp_path / "artifacts", templates=mlflow_templates)


@pytest.fixture(scope="session")
def mlflow_server(tmp_path_factory: pytest.TempPathFactory, mlflow_templates: Path) -> Iterator[str]:
    """URI of a real `mlflow server` on loopback that proxies artifacts; the session shares it."""
    folder = tmp_path_factory.mktemp("mlflow-server")
    database = folder / "mlflow.db"
    prepare_sqlite(database, mlflow_templates)
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{database}", "--artifacts-destination", str(folder / "artifacts")]
    with (folder / "log.txt").open("wb") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder, start_new_session=True)
        try:
            uri = f"http://127.0.0.1:{port}"
            wait_until_ready(uri, server, folder / "log.txt")
            yield uri
        finally:
            # The whole group: the server's workers are processes of their own.
            os.killpg(server.pid, signal.SIGTERM)
            try:
                server.wait(timeout=10)
            except subprocess.TimeoutExpired:
                os.killpg(server.pid, signal.SIGKILL)


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until_ready(uri: str, server: "subprocess.Popen[bytes]", log: Path) -> None:
    """Poll a server's health until it answers; fail with its log when it ends or takes too long."""
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        try:
            with urllib.request.urlopen(f"{uri}/health", timeout=5):  # noqa: S310 - a loopback URI
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    pytest.fail(f"mlflow server at {uri} did not start:\n{log.read_text(errors='replace')[-3000:]}")
