"""AsyncOpenAI with its aiohttp transport, and a semaphore."""

from __future__ import annotations

import asyncio

from clients.openai_httpx import gather
from openai import DefaultAioHttpClient
from scenarios import Task


def run(task: Task) -> list[str | None]:
    return asyncio.run(_run(task))


async def _run(task: Task) -> list[str | None]:
    return await gather(task, DefaultAioHttpClient())
