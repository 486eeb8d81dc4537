"""A fresh MLflow database in milliseconds: copied from one that was migrated once.

MLflow builds a new database by replaying all its migrations, which takes seconds, and two processes that do so at once
on one file break it. So one migrated template per MLflow version is kept, made under a lock, and copied.
"""

import os
import re
import shutil
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Final

import filelock
from mlflow.version import VERSION

from tracking.errors import TrackingError
from tracking.mlflow_connection import Connection

_LOCK_SECONDS: Final = 60


def sqlite_path(uri: str) -> Path | None:
    """Find the file of a SQLite URI.

    Args:
        uri: any tracking URI.

    Returns:
        Its path; None for another kind of URI.
    """
    # As SQLAlchemy reads it: up to a question mark, nothing unquoted.
    found = re.fullmatch(r"sqlite(?:\+\w+)?:///([^?]+)(?:\?.*)?", uri)
    return Path(found[1]) if found and found[1] != ":memory:" else None


def prepare_sqlite(path: Path, template_folder: Path, artifact_root: Path | None = None) -> None:
    """Make a migrated MLflow database where there is none; leave an existing file alone.

    Safe when several processes call it at once.

    Args:
        path: the database.
        template_folder: where the template of this MLflow version is kept between calls.
        artifact_root: where MLflow's own "Default" experiment keeps its artifacts; `artifacts` beside the database if
            not given.

    Raises:
        TrackingError: another process holds the lock for too long, or the folder cannot be written.
    """
    if path.exists():
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(path.with_name(f"{path.name}.lock"), timeout=_LOCK_SECONDS):
            if not path.exists():
                template = _template(template_folder)
                _copy(template, path, artifact_root or path.parent / "artifacts")
    except filelock.Timeout as error:
        raise TrackingError(
            f"{error.lock_file} was held for over {_LOCK_SECONDS} s: end the process that holds it"
        ) from error
    except OSError as error:
        raise TrackingError(
            f"{path}: the tracking database cannot be made ({error.strerror}): make room, or choose a folder that can "
            "be written"
        ) from error


def _template(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    template = folder / f"mlflow-{VERSION}.db"
    with filelock.FileLock(folder / f"mlflow-{VERSION}.db.lock", timeout=_LOCK_SECONDS):
        if not template.exists():
            with tempfile.TemporaryDirectory(dir=folder) as aside:
                fresh = Path(aside) / "mlflow.db"
                with Connection(f"sqlite:///{fresh}").client("make a database") as client:
                    client.search_experiments(max_results=1)
                os.replace(fresh, template)  # noqa: PTH105 - whole or not at all
    return template


def _copy(template: Path, path: Path, artifact_root: Path) -> None:
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder:
        aside = Path(folder) / path.name
        shutil.copyfile(template, aside)
        with closing(sqlite3.connect(aside)) as database, database:
            database.execute(
                "UPDATE experiments SET artifact_location = ? WHERE experiment_id = 0",
                (f"{artifact_root.resolve().as_uri()}/0",),
            )
        os.replace(aside, path)  # noqa: PTH105 - whole or not at all
