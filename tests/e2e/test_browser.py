"""What a colleague sees who opens the UI and compares two runs."""

import json
import os
import signal
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.e2e.workplace import Workplace
from tests.plugins.mlflow_fixtures import free_port

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

pytestmark = [pytest.mark.slow, pytest.mark.browser]

# The page's own scripts are some megabytes, and a busy machine draws slowly.
_PATIENCE_MS: Final = 90_000
_WIDE: Final = (1600, 1400)
_NARROW: Final = (700, 1400)


@dataclass(frozen=True, slots=True)
class Ui:
    """The UI on two finished runs that differ in parameters and in data."""

    experiment_url: str
    reports: tuple[Mapping[str, Any], Mapping[str, Any]]

    @property
    def runs_url(self) -> str:
        """The experiment's table of runs, whichever page MLflow would open first."""
        place = self.experiment_url.partition("?")[0].removesuffix("/runs")
        return f"{place}/runs?workflowType=machine_learning"


@pytest.fixture(scope="module")
def ui(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ui]:
    place = Workplace.small(tmp_path_factory.mktemp("browser"))
    first = place.run("run", "--json", "--config", "small.yaml").report
    users = ("--config", "sample:simulated_users", "--set", "train.rounds=10", "--set", "evaluate.replicates=100")
    second = place.run("run", "--json", *users, "--set", "train.max_depth=3").report
    process = place.start("ui", "--no-browser", "--port", str(free_port()), "--json")
    try:
        assert process.stdout is not None
        yield Ui(_first_object(process.stdout)["url"], (first, second))
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.communicate(timeout=30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()


def test_the_compare_page_shows_parameters_metrics_and_data_versions_of_two_runs(
    page: "Page", ui: Ui, screenshots: Path
) -> None:
    page.set_default_timeout(_PATIENCE_MS)
    page.set_viewport_size({"width": _WIDE[0], "height": _WIDE[1]})
    page.goto(ui.runs_url)
    for report in ui.reports:
        page.locator(f"[row-id='{report['run_id']}'] .ag-checkbox-input").click()
    _photograph(page, screenshots / "mlflow-runs-wide.png", _WIDE)
    page.get_by_role("button", name="Compare", exact=True).click()

    first, second = ui.reports
    params = _row(page, "train.max_depth", "6")
    assert _values(params) == {"6", "3"}
    # As params they stand among what differs, as tags below.
    for name in ("data_version", "code_version"):
        rows = page.get_by_role("row").filter(has=page.get_by_role("rowheader", name=name, exact=True))
        rows.nth(1).wait_for()
        assert rows.count() == 2
        for place in range(2):
            assert _values(rows.nth(place)) == {first[name], second[name]}
    shown = page.locator("body").inner_text()
    for metric in ("test.auc", "test.calibration", "best_round"):
        assert metric in shown
    for report in ui.reports:
        assert report["run_id"] in shown
        assert f"{report['metrics']['test.auc']:.3f}".rstrip("0") in shown
    # The params scroll in a box of their own, within a page that scrolls.
    _row(page, "data_version", first["data_version"]).scroll_into_view_if_needed()
    _photograph(page, screenshots / "mlflow-compare-wide.png", _WIDE)
    _photograph(page, screenshots / "mlflow-compare-narrow.png", _NARROW)


def _row(page: "Page", name: str, value: str) -> "Locator":
    row = page.get_by_role("row").filter(has=page.get_by_role("rowheader", name=name, exact=True)).first
    row.get_by_text(value, exact=True).wait_for()
    return row


def _values(row: "Locator") -> set[str]:
    return {text.strip() for text in row.get_by_role("cell").all_inner_texts()}


def _photograph(page: "Page", path: Path, size: tuple[int, int]) -> None:
    page.set_viewport_size({"width": size[0], "height": size[1]})
    page.screenshot(path=path)
    assert path.read_bytes().startswith(b"\x89PNG")


def _first_object(lines: Iterable[str]) -> dict[str, Any]:
    """Read the JSON object that a command prints before it goes on."""
    read: list[str] = []
    for line in lines:
        read.append(line)
        if line.startswith("}"):
            break
    values: dict[str, Any] = json.loads("".join(read))
    return values
