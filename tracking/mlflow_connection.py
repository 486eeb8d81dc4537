"""The door to MLflow: reached with patience that is bounded, without chatter, its errors turned into ours.

MLflow takes its patience (seven retries, some four minutes) and its verbosity from environment variables only. They are
set around each call and put back after it, so that neither the process nor its children inherit them; a value that the
user set is left as it is.
"""

import logging
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Final
from urllib.parse import urlsplit

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # read once, while mlflow is imported

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from tracking.errors import InputError, ProblemError, TrackingError
from tracking.secrets import redact_url

_QUIET: Final = MappingProxyType(
    {
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
        "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # stdout belongs to `--json`
    }
)
_FIRST_CONTACT: Final = MappingProxyType(
    {
        **_QUIET,
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
        "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
        "MLFLOW_HTTP_REQUEST_TIMEOUT": "4",
    }
)
_CALL: Final = MappingProxyType(
    {
        **_QUIET,
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
        "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
        "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    }
)
_LOUD_LOGGERS: Final = ("mlflow.store.db.utils", "alembic", "urllib3.connectionpool")
_UNREACHABLE: Final = re.compile(
    r"failed with exception|Max retries exceeded|Connection refused|timed out|Name or service not known"
    r"|unable to open database file|could not connect|connection to server",
    re.IGNORECASE,
)
_NOT_FOUND: Final = frozenset({"RESOURCE_DOES_NOT_EXIST", "ENDPOINT_NOT_FOUND", "NOT_FOUND"})


class Connection:
    """One tracking server or database.

    Args:
        uri: any tracking URI that MLflow understands.
    """

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._client: MlflowClient | None = None

    @property
    def tracking_uri(self) -> str:
        """The URI with its credentials: for MLflow only, never for a message."""
        return self._uri

    @property
    def shown_uri(self) -> str:
        """The URI without credentials."""
        return redact_url(self._uri)

    @contextmanager
    def client(self, doing: str) -> Iterator[MlflowClient]:
        """Lend the client for some calls; reaches for the server at the first use.

        Args:
            doing: for the message, such as "read run 123".

        Yields:
            The client.

        Raises:
            TrackingError: the server cannot be reached or refuses.
            InputError: what was asked for does not exist.
        """
        with self._errors_as_ours(doing):
            if self._client is None:
                with _environment(_FIRST_CONTACT):
                    client = MlflowClient(self._uri, registry_uri=self._uri)
                    client.search_experiments(max_results=1)
                self._client = client
            with _environment(_CALL):
                yield self._client

    @contextmanager
    def _errors_as_ours(self, doing: str) -> Iterator[None]:
        try:
            yield
        except ProblemError:
            raise
        except MlflowException as error:
            raise self._problem(doing, str(error), error.error_code) from error
        except Exception as error:
            # MLflow lets errors of requests, sqlalchemy, boto3 and its plugins through; those of our code go on.
            if type(error).__module__.partition(".")[0] not in {"requests", "sqlalchemy", "botocore", "urllib3"}:
                raise
            raise self._problem(doing, str(error), None) from error

    def _problem(self, doing: str, message: str, code: str | None) -> ProblemError:
        text = " ".join(self._censored(message).split())
        if _UNREACHABLE.search(text) or code == "TEMPORARILY_UNAVAILABLE":
            return TrackingError(
                f"tracking server {self.shown_uri} cannot be reached (could not {doing}): start it or correct the URI; "
                "outputs are kept, `ctr-pipeline sync RUN` sends them later"
            )
        if "out-of-date database schema" in text or "Can't locate revision" in text:
            return TrackingError(
                f"tracking database {self.shown_uri} belongs to another MLflow version: back it up and run `mlflow db "
                "upgrade URI`, or use the MLflow version that wrote it"
            )
        if code in _NOT_FOUND:
            return InputError(f"could not {doing} in {self.shown_uri}: {_cut(text)}")
        return TrackingError(f"tracking server {self.shown_uri} refused to {doing}: {_cut(text)}")

    def _censored(self, message: str) -> str:
        _, found, _ = urlsplit(self._uri).netloc.rpartition("@")
        credentials = urlsplit(self._uri).netloc.rpartition("@")[0] if found else ""
        return re.sub(r"//[^/@\s]+@", "//", message.replace(credentials, "***") if credentials else message)


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    ours = {key: value for key, value in values.items() if key not in os.environ}
    levels = {name: logging.getLogger(name).level for name in _LOUD_LOGGERS}
    os.environ.update(ours)
    for name in levels:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for key in ours:
            os.environ.pop(key, None)
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)


def _cut(text: str) -> str:
    return text if len(text) <= 300 else f"{text[:297]}..."  # noqa: PLR2004 - a line that one still reads
