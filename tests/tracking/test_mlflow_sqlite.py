import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Final

import filelock
import pytest
from mlflow import MlflowClient

from tracking.errors import InputError, TrackingError
from tracking.mlflow_sqlite import prepare_sqlite, sqlite_path
from tracking.mlflow_tracker import MlflowTracker
from tracking.records import DatasetInput

CREATE: Final = """
import sys
from pathlib import Path
from tracking.mlflow_tracker import MlflowTracker
from tracking.records import DatasetInput
folder = Path(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
tracker = MlflowTracker(f"sqlite:///{folder / 'mlflow.db'}", templates=folder / "templates")
run_id = tracker.create_run(experiment="shared", name="r", start_ms=1, tags={})
data = DatasetInput("d", "ab", "file:///d", 1, (), "raw")
tracker.log(run_id, [data], folder=folder, timestamp_ms=1)
print(tracker.run(run_id).datasets == (data,))
"""


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("sqlite:////a/b c%20#1.db", Path("/a/b c%20#1.db")),
        ("sqlite+pysqlite:///a.db?timeout=9", Path("a.db")),
        ("sqlite:///rel.db", Path("rel.db")),
        ("sqlite:///:memory:", None),
        ("sqlite://", None),
        ("http://host/sqlite", None),
    ],
)
def test_a_sqlite_uri_names_its_file(uri: str, path: Path | None) -> None:
    assert sqlite_path(uri) == path


def test_processes_that_begin_at_once_share_one_new_database_and_experiment(
    tmp_path: Path, mlflow_templates: Path
) -> None:
    (tmp_path / "templates").symlink_to(mlflow_templates)
    command = [sys.executable, "-c", CREATE, str(tmp_path)]
    root = Path(__file__).parents[2]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "cwd": root}
    racers = [subprocess.Popen(command, **pipes) for _ in range(3)]  # type: ignore[call-overload] # pipes as keywords
    for racer in racers:
        assert racer.stdout.readline() == "ready\n"
    for racer in racers:
        racer.stdin.write("go\n")
        racer.stdin.flush()
    for racer in racers:
        output, _ = racer.communicate(timeout=120)
        assert output == "True\n"
    tracker = MlflowTracker(f"sqlite:///{tmp_path / 'mlflow.db'}")
    assert len(tracker.runs("shared")) == 3
    assert tracker.runs("shared")[0].datasets == (DatasetInput("d", "ab", "file:///d", 1, (), "raw"),)


def test_a_copy_keeps_mlflows_default_experiment_beside_itself(tmp_path: Path, mlflow_templates: Path) -> None:
    prepare_sqlite(tmp_path / "new" / "mlflow.db", mlflow_templates)
    default = MlflowClient(f"sqlite:///{tmp_path / 'new' / 'mlflow.db'}").get_experiment("0")
    assert default.artifact_location == (tmp_path / "new" / "artifacts" / "0").as_uri()
    assert sorted(file.name for file in (tmp_path / "new").iterdir()) == ["mlflow.db", "mlflow.db.lock"]


def test_a_database_that_exists_is_left_alone(tmp_path: Path, mlflow_templates: Path) -> None:
    database = tmp_path / "mlflow.db"
    database.write_bytes(b"mine")
    prepare_sqlite(database, mlflow_templates)
    assert database.read_bytes() == b"mine"


def test_a_template_is_made_once(tmp_path: Path) -> None:
    prepare_sqlite(tmp_path / "a.db", tmp_path / "templates")
    (template,) = (tmp_path / "templates").glob("*.db")
    made = template.stat()
    prepare_sqlite(tmp_path / "b.db", tmp_path / "templates")
    assert (template.stat().st_ino, template.stat().st_mtime_ns) == (made.st_ino, made.st_mtime_ns)
    with closing(sqlite3.connect(tmp_path / "b.db")) as database:
        assert database.execute("SELECT count(*) FROM experiments").fetchone() == (1,)


def test_a_lock_that_is_never_freed_is_named(
    tmp_path: Path, mlflow_templates: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tracking.mlflow_sqlite._LOCK_SECONDS", 0)
    with (
        filelock.FileLock(tmp_path / "mlflow.db.lock"),
        pytest.raises(TrackingError, match=r"mlflow\.db\.lock was held for over 0 s: end the process that holds it"),
    ):
        prepare_sqlite(tmp_path / "mlflow.db", mlflow_templates)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path, mlflow_templates: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(TrackingError, match=r"mlflow\.db: the tracking database cannot be made \(.*\): make room, or"):
        prepare_sqlite(tmp_path / "file" / "mlflow.db", mlflow_templates)


def test_a_deleted_experiment_is_named(sqlite_tracker: MlflowTracker) -> None:
    run_id = sqlite_tracker.create_run(experiment="old", name="r", start_ms=1, tags={})
    client = MlflowClient(sqlite_tracker.uri)
    client.delete_experiment(client.get_run(run_id).info.experiment_id)
    with pytest.raises(InputError, match=r"^experiment 'old' was deleted from sqlite:.*: restore it or choose another"):
        sqlite_tracker.create_run(experiment="old", name="r", start_ms=1, tags={})


def test_artifacts_lie_under_the_given_root_in_a_folder_per_experiment(tmp_path: Path, mlflow_templates: Path) -> None:
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    for root, start in ((tmp_path / "kept", (tmp_path / "kept").as_uri()), ("s3://bucket/ctr/", "s3://bucket/ctr")):
        tracker = MlflowTracker(uri, root, templates=mlflow_templates)
        run_id = tracker.create_run(experiment=f"ads/{start}", name="r", start_ms=1, tags={})
        assert tracker.run(run_id).artifact_uri.startswith(f"{start}/ads-")
        assert tracker.run(run_id).artifact_uri.endswith(f"/{run_id}/artifacts")
