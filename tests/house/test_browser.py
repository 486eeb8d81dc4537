"""The browser that other tests use works, and its pictures land where CI keeps them."""

from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Page


@pytest.fixture
def site(tmp_path: Path) -> Iterator[str]:
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "index.html").write_text(
        "<title>Runs</title><h1 onclick=\"this.textContent='2'\">1</h1>", encoding="utf-8"
    )
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=folder))
    serving = Thread(target=server.serve_forever)
    serving.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        serving.join()
        server.server_close()


@pytest.mark.browser
def test_a_page_is_opened_clicked_and_photographed(page: "Page", site: str, screenshots: Path) -> None:
    page.goto(site)
    assert page.title() == "Runs"
    page.locator("h1").click()
    assert page.locator("h1").inner_text() == "2"
    picture = screenshots / "house-browser.png"
    page.screenshot(path=picture)
    assert picture.read_bytes().startswith(b"\x89PNG")
