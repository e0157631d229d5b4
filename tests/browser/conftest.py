"""One Chromium and one JupyterLab server for all browser tests."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest
from labdriver import ARTIFACTS, Lab, Server, serve
from playwright.sync_api import sync_playwright

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Page

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
]


def chromium() -> str | None:
    """The browser to drive: the one asked for, else the system's, else Playwright's own."""
    if asked := os.environ.get("GPT_MAGICS_CHROMIUM"):
        return asked
    names = ("/usr/bin/chromium", "chromium", "chromium-browser", "google-chrome")
    return next(filter(None, map(shutil.which, names)), None)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    ARTIFACTS.mkdir(exist_ok=True)
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=chromium(), args=ARGUMENTS)
        yield launched
        launched.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """An empty page, sharp enough for pictures that people look at."""
    context = browser.new_context(
        viewport={"width": 960, "height": 640}, device_scale_factor=2, color_scheme="light"
    )
    yield context.new_page()
    context.close()


@pytest.fixture(scope="session")
def lab_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serve(tmp_path_factory.mktemp("lab")) as server:
        yield server


@pytest.fixture
def lab(lab_server: Server, browser: Browser) -> Iterator[Lab]:
    """JupyterLab, ready to open notebooks; each test's kernels and pages end with it."""
    opened = Lab(lab_server, browser)
    yield opened
    opened.close()
