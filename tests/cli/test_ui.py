"""`ui`: it starts, answers, tells its page, and leaves nothing running."""

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from ctr_pipeline.workflows import ui
from ctr_pipeline.workflows.execution import Home
from ctr_pipeline.workflows.place import Place
from tests.house.project import ROOT
from tests.plugins.mlflow_fixtures import free_port
from tests.plugins.run_fixtures import FinishedRun
from tracking.errors import InputError, JobError


@pytest.mark.server
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_ui_shows_the_home_and_ends_with_all_its_processes(run_copy: FinishedRun, number: signal.Signals) -> None:
    command = [sys.executable, "-m", "ctr_pipeline", "ui", "--no-browser", "--json", "--port", str(free_port())]
    environment = {**os.environ, "CTR_HOME": str(run_copy.home.path), "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, cwd=run_copy.project, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        told = ""
        while not told.rstrip().endswith("}"):
            line = process.stdout.readline()
            assert line, "the command ended before it told its URL"
            told += line
        url = json.loads(told)["url"]
        descendants = psutil.Process(process.pid).children(recursive=True)
        base, _, page = url.partition("/#/")
        with urllib.request.urlopen(f"{base}/version", timeout=10) as answer:  # noqa: S310 - loopback
            assert answer.status == 200
        assert page == "experiments/1/runs?workflowType=machine_learning"
        process.send_signal(number)
        assert process.wait(60) == 0
    _, alive = psutil.wait_procs(descendants, timeout=10)
    assert alive == []


def test_a_port_that_was_asked_for_must_be_free() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=rf"--port == {port} on 127\.0\.0\.1 cannot be used .*, must be free"):
            ui._free_port("127.0.0.1", port)


def test_another_port_is_chosen_where_the_usual_one_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        usual = taken.getsockname()[1]
        monkeypatch.setattr(ui, "DEFAULT_PORT", usual)
        assert ui._free_port("127.0.0.1", None) not in {0, usual}


def test_a_server_is_opened_not_started(tmp_path: Path) -> None:
    place = Place(tmp_path, Home(tmp_path / ".ctr"), "http://user:word@127.0.0.1:9/")  # pragma: allowlist secret
    with ui.serve_ui(place, "ctr-pipeline") as server:
        assert server.url == "http://127.0.0.1:9"
        server.wait()


@pytest.mark.server
def test_a_servers_page_is_that_of_the_experiment(mlflow_server: str, tmp_path: Path) -> None:
    place = Place(tmp_path, Home(tmp_path / ".ctr"), mlflow_server)
    with ui.serve_ui(place, "Default") as server:
        assert server.url == f"{mlflow_server}/#/experiments/0/runs?workflowType=machine_learning"


def test_a_tracker_without_a_page_says_so(tmp_path: Path) -> None:
    home = Home(tmp_path / ".ctr")
    with (
        pytest.raises(InputError, match="tracker databricks is no database and no web server"),
        ui.serve_ui(Place(tmp_path, home, "databricks"), "ctr-pipeline"),
    ):
        pass
    with (
        pytest.raises(InputError, match=r"no run is recorded in .*; start one"),
        ui.serve_ui(Place(tmp_path, home, home.tracking_uri), "ctr-pipeline"),
    ):
        pass


def test_a_server_that_does_not_start_tells_its_last_words(finished_run: FinishedRun, tmp_path: Path) -> None:
    home = Home(tmp_path / ".ctr")
    home.path.mkdir()
    place = replace(finished_run.place, home=home, uri="mysql+nothing://host/base")
    with (
        pytest.raises(JobError, match=r"the MLflow server ended with exit code \d+: "),
        ui.serve_ui(place, "ctr-pipeline"),
    ):
        pass


def test_a_server_that_is_silent_is_given_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(ui, "_START_S", 0.0)
    log = tmp_path / "ui.log"
    log.write_text("still starting\n", encoding="utf-8")
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, start_new_session=True) as process:
        with pytest.raises(JobError, match=r"did not answer within 0 s: still starting"):
            ui._wait_until_it_answers("http://127.0.0.1:9", process, log)
        ui.end_group(process)
        assert process.returncode == -signal.SIGTERM
        ui.end_group(process)


def test_a_process_that_left_the_group_and_ignores_is_ended_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ui, "_GRACE_S", 0.2)
    stubborn = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready', flush=True); "
    stubborn += "time.sleep(600)"
    parent = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {stubborn!r}], start_new_session=True)"
    command = [sys.executable, "-c", f"{parent}.wait()"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        (child,) = psutil.Process(process.pid).children()
        ui.end_group(process)
        psutil.wait_procs([child], timeout=5)
        assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE


def test_a_server_that_ends_with_an_error_is_told() -> None:
    with (
        subprocess.Popen([sys.executable, "-c", "raise SystemExit(3)"]) as process,
        pytest.raises(JobError, match="ended with exit code 3"),
    ):
        ui.UiServer("http://127.0.0.1:9", process).wait()
