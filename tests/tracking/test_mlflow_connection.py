import json
import logging
import os
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import ErrorCode

from tests.plugins.mlflow_fixtures import free_port
from tracking.errors import InputError, TrackingError
from tracking.mlflow_connection import Connection
from tracking.mlflow_tracker import MlflowTracker


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("http://ann:s3cret@host:5000/path", "http://host:5000/path"),  # pragma: allowlist secret
        ("postgresql://ann:p%40ss@db/mlflow", "postgresql://db/mlflow"),  # pragma: allowlist secret
        ("http://host:5000", "http://host:5000"),
        ("sqlite:////tmp/a b.db", "sqlite:////tmp/a b.db"),
        (
            "arn:aws:sagemaker:eu-west-1:123456789012:mlflow-app/a",
            "arn:aws:sagemaker:eu-west-1:123456789012:mlflow-app/a",
        ),
    ],
)
def test_a_uri_is_shown_without_credentials(uri: str, shown: str) -> None:
    assert Connection(uri).shown_uri == shown


def test_a_server_that_is_away_is_named_within_seconds_with_the_remedy_and_without_the_password() -> None:
    port = free_port()
    tracker = MlflowTracker(f"http://ann:s3cret@127.0.0.1:{port}")  # pragma: allowlist secret
    begin = time.monotonic()
    with pytest.raises(TrackingError) as caught:
        tracker.create_run(experiment="e", name="r", start_ms=1, tags={})
    assert time.monotonic() - begin < 10
    assert str(caught.value) == (
        f"tracking server http://127.0.0.1:{port} cannot be reached (could not create run 'r'): start it or correct "
        "the URI; outputs are kept, `ctr-pipeline sync RUN` sends them later"
    )


def test_a_server_that_never_answers_is_given_up_within_ten_seconds() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        tracker = MlflowTracker(f"http://127.0.0.1:{silent.getsockname()[1]}")
        begin = time.monotonic()
        with pytest.raises(TrackingError, match="cannot be reached"):
            tracker.run("a" * 32)
        assert time.monotonic() - begin < 12


class _Teapot(BaseHTTPRequestHandler):
    """Answers everything with a refusal that quotes the caller's credentials."""

    def do_GET(self) -> None:
        told = "no entry for http://ann:s3cret@x/\nreally"  # pragma: allowlist secret
        body = json.dumps({"error_code": "PERMISSION_DENIED", "message": told}).encode()
        self.send_response(403)
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET  # noqa: N815 - http.server's name

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's name
        """Stay silent."""


@pytest.fixture
def refusing_server() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), _Teapot) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_refusal_is_one_line_without_the_password(refusing_server: str) -> None:
    tracker = MlflowTracker(f"http://ann:s3cret@{refusing_server}")
    with pytest.raises(
        TrackingError, match=rf"^tracking server http://{refusing_server} refused to read run a+: "
    ) as caught:
        tracker.run("a" * 32)
    assert "no entry for http://x/ really" in str(caught.value)
    assert "s3cret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_patience_and_silence_last_for_the_call_only(
    sqlite_tracker: MlflowTracker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "77")
    logger = logging.getLogger("mlflow.store.db.utils")
    before, level = dict(os.environ), logger.level
    with Connection(sqlite_tracker.uri).client("look") as client:
        assert os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] == "2"
        assert os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "77"
        assert client.search_experiments()
    assert dict(os.environ) == before
    assert logger.level == level


def refusal(message: str, code: str) -> MlflowException:
    return MlflowException(message, error_code=ErrorCode.Value(code))


@pytest.mark.parametrize(
    ("raised", "expected", "message"),
    [
        (refusal("x" * 500, "INTERNAL_ERROR"), TrackingError, r"refused to look: x{297}\.\.\.$"),
        (refusal("gone", "RESOURCE_DOES_NOT_EXIST"), InputError, "^could not look in sqlite:.*: gone$"),
        (refusal("busy", "TEMPORARILY_UNAVAILABLE"), TrackingError, "cannot be reached"),
        (
            refusal("Detected out-of-date database schema (found version a, but expected b)", "INTERNAL_ERROR"),
            TrackingError,
            "belongs to another MLflow version: back it up and run `mlflow db upgrade URI`, or use",
        ),
        (ZeroDivisionError("ours"), ZeroDivisionError, "ours"),
        (InputError("ours too"), InputError, "^ours too$"),
    ],
)
def test_errors_are_told_apart(
    sqlite_tracker: MlflowTracker, raised: Exception, expected: type[Exception], message: str
) -> None:
    with pytest.raises(expected, match=message), Connection(sqlite_tracker.uri).client("look"):
        raise raised


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    database = tmp_path / "mlflow.db"
    database.write_bytes(b"no database at all, but long enough to look at" * 100)
    with pytest.raises(TrackingError, match=rf"^tracking server sqlite:///{database} refused to search runs: "):
        MlflowTracker(f"sqlite:///{database}").runs()
