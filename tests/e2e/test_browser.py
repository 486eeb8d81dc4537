"""What a colleague sees who opens the UI and compares two runs."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.workplace import Workplace, wait_for
from tests.plugins.mlflow_fixtures import free_port

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [pytest.mark.slow, pytest.mark.browser]

_PATIENCE_MS = 60_000


@dataclass(frozen=True, slots=True)
class Ui:
    """The UI on two finished runs: of other parameters, and of other data."""

    url: str
    reports: tuple[Mapping[str, Any], Mapping[str, Any]]


@pytest.fixture(scope="module")
def ui(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ui]:
    place = Workplace.small(tmp_path_factory.mktemp("browser"))
    first = place.run("run", "--json", "--config", "small.yaml").report
    other = ("--set", "train.max_depth=3", "--set", "features.crosses=[[ad_id, site]]")
    users = ("--config", "sample:simulated_users", "--set", "train.rounds=10", "--set", "evaluate.replicates=100")
    second = place.run("run", "--json", *users, *other[:2], "--set", "name=users").report
    port = free_port()
    process = place.start("ui", "--no-browser", "--port", str(port), "--json")
    try:
        stdout = process.stdout
        assert stdout is not None
        yield Ui(json.loads(_object(stdout))["url"], (first, second))
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.communicate(timeout=30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def test_the_compare_page_shows_parameters_metrics_and_data_versions_of_two_runs(
    page: "Page", ui: Ui, screenshots: Path
) -> None:
    page.goto(ui.url)
    page.wait_for_timeout(8000)
    page.screenshot(path=screenshots / "runs.png")
    print(page.url)
    print(page.locator("body").inner_text()[:3000])
    assert 0


def _object(stream: Any) -> str:
    """Read one JSON object that a command prints before it goes on."""
    lines: list[str] = []
    for line in stream:
        lines.append(line)
        if line.startswith("}"):
            break
    return "".join(lines)
