from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

import gpt_magics
from gpt_magics import api, configuration
from gpt_magics.pacing import retries
from gpt_magics.sandbox import Sandbox

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from served import Serve

    from gpt_magics.session.session import Session


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "slow: takes half a minute of real time")


@pytest.fixture(scope="session", autouse=True)
def imported() -> None:
    """Import now what the first request would: seconds in which a drained bucket refills."""
    with Sandbox() as box:
        gpt_magics.ask("hello", model="sandbox-echo", base_url=box.url, api_key=box.key)
        api.close()


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """A new session and configuration; no key, no address and no .env of the user's."""
    for name in list(os.environ):
        if name.startswith(("OPENAI_", "GPT_MAGICS_")):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    api.close()
    configuration.reset()
    yield
    api.close()
    configuration.reset()


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Open a sandbox and configure it as the server; it answers with the last user message."""
    opened: list[Sandbox] = []

    def open_one(**options: Any) -> Sandbox:
        box = Sandbox(**options).start()
        opened.append(box)
        gpt_magics.configure(base_url=box.url, api_key=box.key, model="sandbox-echo")
        return box

    yield open_one
    api.close()
    for box in opened:
        box.close()


@pytest.fixture
def session(fresh: None) -> Session:  # noqa: ARG001 - the session of this test, not the last one's
    """Make the session of this test; ask for it after ``serve``."""
    return api.running_session()


@pytest.fixture
def short_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    """Repeat a failed attempt almost at once, so that a test need not wait."""
    monkeypatch.setattr(retries, "_FIRST_BACKOFF", 0.002)
    monkeypatch.setattr(retries, "_LONGEST_BACKOFF", 0.01)
