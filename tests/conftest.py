"""What holds for every test: a neutral environment, no network but loopback, steady property tests, a browser."""

import ipaddress
import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

import hypothesis
import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Page

ROOT: Final = Path(__file__).resolve().parent.parent
# Chromium's own services would talk to the network; root, in a container, has no sandbox.
_CHROMIUM_FLAGS: Final = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
# Whoever runs the tests may have set these for other work: another tracker, another repository, real credentials.
_FOREIGN: Final = ("MLFLOW_", "CTR_PIPELINE_", "AWS_", "SAGEMAKER_", "GIT_")
_NEUTRAL: Final = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_SYSTEM": os.devnull,
    "GIT_AUTHOR_NAME": "tests",
    "GIT_AUTHOR_EMAIL": "tests@localhost",
    "GIT_COMMITTER_NAME": "tests",
    "GIT_COMMITTER_EMAIL": "tests@localhost",
}

# A deadline would judge the machine, not the code; CI draws the same examples each time.
hypothesis.settings.register_profile("local", deadline=None)
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "local")

# Here and not in a fixture, because some packages read these once, when they are imported.
for _name in [name for name in os.environ if name.startswith(_FOREIGN)]:
    del os.environ[_name]
os.environ.update(_NEUTRAL)


@pytest.fixture(scope="session", autouse=True)
def _loopback_only() -> Iterator[None]:
    """Fail a test that connects to anything but this machine, whatever the code under test does with the error."""
    connect, connect_ex = socket.socket.connect, socket.socket.connect_ex

    def guarded_connect(self: socket.socket, address: object, /) -> None:
        _require_loopback(self, address)
        connect(self, address)  # type: ignore[arg-type] # socket checks the address itself

    def guarded_connect_ex(self: socket.socket, address: object, /) -> int:
        _require_loopback(self, address)
        return connect_ex(self, address)  # type: ignore[arg-type] # socket checks the address itself

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", guarded_connect)
        patch.setattr(socket.socket, "connect_ex", guarded_connect_ex)
        yield


def _require_loopback(connecting: socket.socket, address: object) -> None:
    if connecting.family not in (socket.AF_INET, socket.AF_INET6) or not isinstance(address, tuple):
        return
    host = str(address[0])
    if host != "localhost" and not _is_local(host):
        pytest.fail(f"a test connected to {host}:{address[1]}, must stay on loopback; start what it needs on 127.0.0.1")


def _is_local(host: str) -> bool:
    try:
        parsed = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return parsed.is_loopback or parsed.is_unspecified


@pytest.fixture(scope="session", autouse=True)
def shared_environments(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of rebuilt environments while tests run, whatever homes they make; parallel workers share it."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base) / "ctr-cache"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CTR_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="session")
def screenshots() -> Path:
    """The folder whose pictures CI keeps; git ignores it."""
    folder = ROOT / ".ci" / "out" / "screenshots"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture
def page(tmp_path: Path) -> "Iterator[Page]":
    """A page of a headless Chromium with an empty profile; the test is skipped where Chromium is not installed."""
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("Chromium is not installed; apt-get install chromium")
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            tmp_path / "chromium",
            executable_path=chromium,
            headless=True,
            args=[*_CHROMIUM_FLAGS],
            viewport={"width": 1400, "height": 1000},
        )
        try:
            yield context.pages[0]
        finally:
            context.close()
