"""A mistake is one line that names the thing, its value, the rule and the remedy; never a traceback."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from mlflow import MlflowClient

from tests.e2e.click_log import make_log, write_config, write_log
from tests.e2e.workplace import Outcome, Workplace, runs_of
from tests.plugins.mlflow_fixtures import free_port, wait_until_ready
from tracking.mlflow_sqlite import prepare_sqlite

BAD_INPUT: Final = 2
JOB_FAILED: Final = 1


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    return Workplace.small(tmp_path_factory.mktemp("bad-input"))


def assert_one_line(outcome: Outcome, exit_code: int, pattern: str) -> None:
    """Check that a command failed with one line that says all."""
    assert len(outcome.errors) == 1, outcome.stderr
    assert re.fullmatch(f"error: {pattern}", outcome.errors[0]), outcome.errors[0]
    assert "Traceback" not in outcome.stderr + outcome.stdout
    assert outcome.exit_code == exit_code


@pytest.mark.parametrize(
    ("setting", "pattern"),
    [
        pytest.param(
            "train.max_deth=4",
            r"--set: train\.max_deth is no known key; the nearest is train\.max_depth",
            id="misspelt",
        ),
        pytest.param(
            "train.max_depth=deep", r'--set: train\.max_depth == "deep", must be a whole number', id="text for number"
        ),
        pytest.param(
            "train.learning_rate=2",
            r"--set: train\.learning_rate == 2, must be less than or equal to 1",
            id="too large",
        ),
        pytest.param(
            "split.test=tomorrow",
            r'--set: split\.test == "tomorrow", must be a whole number and a unit of .*, such as 1d or 90s',
            id="no duration",
        ),
        pytest.param(
            "data.columns.numeric=[price, price]",
            r".*column 'price' is listed twice; give each column one role",
            id="column listed twice",
        ),
        pytest.param(
            "data.columns.native=[price]",
            r".*column 'price' is listed twice; give each column one role",
            id="column in two roles",
        ),
        pytest.param(
            "data.columns.numeric=[price, click]",
            r".*the label 'click' is listed among the features; take it out of them",
            id="label among the features",
        ),
        pytest.param("train.max_depth", r"--set train\.max_depth must be key=value, such as .*", id="no value"),
    ],
)
def test_a_bad_setting_names_key_value_and_rule(place: Workplace, setting: str, pattern: str) -> None:
    outcome = place.run("run", "--json", "--config", "small.yaml", "--set", setting)
    assert_one_line(outcome, BAD_INPUT, pattern)
    assert outcome.stdout == ""
    assert not list(place.home.glob("runs/*"))


def test_a_bad_key_in_a_file_names_the_file(place: Workplace) -> None:
    config = place.folder / "misspelt.yaml"
    config.write_text((place.folder / "small.yaml").read_text() + "evalute: {replicates: 200}\n", encoding="utf-8")
    outcome = place.run("run", "--config", "misspelt.yaml")
    assert_one_line(outcome, BAD_INPUT, r"misspelt\.yaml: evalute is no known key; the nearest is evaluate")


def test_a_missing_config_file_is_named(place: Workplace) -> None:
    outcome = place.run("run", "--config", "nowhere.yaml")
    assert_one_line(outcome, BAD_INPUT, r"config file nowhere\.yaml does not exist; give the path of a YAML file")


def test_missing_data_are_named(place: Workplace) -> None:
    outcome = place.run("run", "--config", "small.yaml", "--set", "data.uri=nowhere/*.parquet")
    assert_one_line(outcome, BAD_INPUT, r"source 'nowhere/\*\.parquet' .*, must .*; check the path")


def test_a_test_window_outside_the_data_is_told_what_the_data_cover(place: Workplace) -> None:
    outcome = place.run("run", "--config", "small.yaml", "--set", "split.end=2031-01-01")
    assert_one_line(
        outcome,
        BAD_INPUT,
        r"the test window 2030-12-31T00:00:00Z to 2031-01-01T00:00:00Z lies outside the data "
        r"\(2026-01-01T\S+ to 2026-01-05T\S+\), must overlap them; change split\.end or split\.test",
    )


def test_a_column_that_the_data_lack_is_named_with_those_they_have(place: Workplace) -> None:
    outcome = place.run("run", "--config", "small.yaml", "--set", "data.columns.numeric=[price, bid]")
    assert_one_line(outcome, BAD_INPUT, r".*'bid' is .*, must be one of .*ad_id, .*price.*; mend .*")


def test_labels_other_than_0_and_1_are_told_with_their_number(place: Workplace, tmp_path: Path) -> None:
    log = make_log(600)
    labels = log.column("click").to_numpy().copy()
    labels[[3, 5]] = 7
    pq.write_table(
        log.set_column(log.schema.get_field_index("click"), "click", pa.array(labels)), tmp_path / "l.parquet"
    )
    outcome = place.run("run", "--config", str(write_config(tmp_path / "l.yaml", tmp_path / "l.parquet")))
    assert_one_line(
        outcome, BAD_INPUT, r"label column 'click' == 7\.0, must be 0 or 1 in every row; 2 rows .*: drop or mend them"
    )


def test_a_run_that_a_step_refused_is_recorded_as_failed_with_the_reason(tmp_path: Path) -> None:
    place = Workplace.small(tmp_path)
    outcome = place.run("run", "--config", "small.yaml", "--set", "split.end=2031-01-01")
    assert outcome.exit_code == BAD_INPUT
    runs = runs_of(place.client)
    assert {run.info.status for run in runs} == {"FAILED"}
    assert "lies outside the data" in next(filter(None, (run.data.tags.get("ctr.failure") for run in runs)))
    assert not list(place.execution().glob("*.partial"))


@pytest.mark.parametrize(
    ("arguments", "pattern"),
    [
        pytest.param(("rum",), r".*No such command 'rum'.*Did you mean run\?", id="command"),
        pytest.param(("run", "--confg", "small.yaml"), r".*No such option:? '?--confg'?.*--config.*", id="flag"),
        pytest.param(("run", "--engine", "abacus"), r".*'abacus' is not .*'?local'?.*", id="choice"),
    ],
)
def test_a_mistyped_command_is_told_the_nearest(place: Workplace, arguments: tuple[str, ...], pattern: str) -> None:
    outcome = place.run(*arguments)
    assert_one_line(outcome, BAD_INPUT, pattern)


@pytest.mark.server
def test_a_run_whose_server_is_away_keeps_its_outputs_and_sync_sends_them_when_it_has_come_up(
    tmp_path: Path, mlflow_templates: Path
) -> None:
    place = Workplace.small(tmp_path)
    port = free_port()
    uri = f"http://127.0.0.1:{port}"
    outcome = place.run("run", "--json", "--config", "small.yaml", "--set", f"tracking.uri={uri}")
    execution = place.execution()
    assert_one_line(
        outcome,
        JOB_FAILED,
        rf"the run is finished but not logged: tracking server {uri} cannot be reached .* Its outputs are in "
        rf"{execution}; `ctr-pipeline sync {execution.name}` sends them",
    )
    report = json.loads(outcome.stdout)
    assert (report["run_id"], report["status"]) == (None, "FINISHED")
    assert (execution / "train" / "model" / "booster.ubj").is_file()
    with _mlflow_server(tmp_path / "server", port, mlflow_templates):
        place.run("sync", execution.name, "--json").report  # noqa: B018 - asserts that it succeeded
        runs = runs_of(MlflowClient(uri))
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert {run.data.tags["ctr.execution_id"] for run in runs} == {execution.name}
    parent = next(run for run in runs if "ctr.step" not in run.data.tags)
    assert report["metrics"].items() <= parent.data.metrics.items()


def test_a_full_disk_is_told_before_anything_is_computed(tmp_path: Path) -> None:
    place = Workplace.small(tmp_path)
    outcome = _run_on_small_disk(place, place.home, 64)
    assert_one_line(
        outcome, JOB_FAILED, rf"cannot write to {place.home}/.*: no space left; free some space there, or .*"
    )


def test_a_disk_that_a_step_fills_is_told_with_the_step(tmp_path: Path) -> None:
    place = Workplace.small(tmp_path)
    log = write_log(place.folder / "data", make_log(120_000))
    # Room for the pinned copy and what is kept of the code, not for the encoded rows.
    outcome = _run_on_small_disk(place, place.home, log.stat().st_size * 3 // 2 // 1024 + 1_500)
    # The tracker lies on the same disk and may have failed too, which is told below the step's line.
    first = Outcome(outcome.exit_code, outcome.stdout, outcome.errors[0] if outcome.errors else outcome.stderr)
    assert_one_line(first, JOB_FAILED, rf"step preprocess failed (?=.*no space)(?=.*{place.home}/).*; free some .*")
    assert "Traceback" not in outcome.stderr


def test_a_full_disk_of_the_tracker_costs_no_finished_model(tmp_path: Path) -> None:
    place = Workplace.small(tmp_path)
    outcome = _run_on_small_disk(place, place.home / "artifacts", 64)
    execution = place.execution()
    assert_one_line(
        outcome,
        JOB_FAILED,
        r"the run is finished but not logged: .*[Nn]o space left.*; free some space there.*"
        rf"`ctr-pipeline sync {execution.name}` sends them",
    )
    assert (execution / "train" / "model" / "booster.ubj").is_file()
    assert place.run("sync", execution.name).exit_code == 0


def _run_on_small_disk(place: Workplace, folder: Path, size_kib: int) -> Outcome:
    """Run while a folder is a file system of so few KiB; needs root, or user and mount namespaces."""
    unshare = shutil.which("unshare")
    apart = [str(unshare), "--mount", "--map-root-user"]
    if unshare is None or subprocess.run([*apart, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no file system can be mounted here: user and mount namespaces are not allowed")
    folder.mkdir(parents=True)
    inside = f'mount -t tmpfs -o size={size_kib}k tmpfs {folder} && exec "$@"'
    command = [*apart, "sh", "-c", inside, "sh", *place.command("run", "--no-reuse", "--config", "small.yaml")]
    done = subprocess.run(
        command, cwd=place.folder, env=place.environment(), capture_output=True, text=True, check=False, timeout=120
    )
    return Outcome(done.returncode, done.stdout, done.stderr)


@contextmanager
def _mlflow_server(folder: Path, port: int, templates: Path) -> Iterator[None]:
    """Serve an empty MLflow on a port that was chosen before."""
    prepare_sqlite(folder / "mlflow.db", templates)
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{folder / 'mlflow.db'}", "--artifacts-destination", str(folder)]
    with (folder / "log.txt").open("wb") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder, start_new_session=True)
    try:
        wait_until_ready(f"http://127.0.0.1:{port}", server, folder / "log.txt")
        yield
    finally:
        server.terminate()
        server.wait(timeout=20)
