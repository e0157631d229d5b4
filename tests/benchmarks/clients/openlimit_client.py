"""openlimit around AsyncOpenAI with its aiohttp transport. It is told both limits."""

from __future__ import annotations

import asyncio
import sys
from contextlib import AbstractAsyncContextManager
from types import ModuleType

import tiktoken
from clients.openai_httpx import gather
from openai import DefaultAioHttpClient
from scenarios import Task

# openlimit imports it for its Redis limiter, and it breaks on Python 3.11 and newer.
sys.modules["aioredis"] = ModuleType("aioredis")


class _QuarterOfBytes:
    """Stands in for tiktoken's vocabulary where it cannot be downloaded."""

    def encode(self, text: str) -> list[int]:
        return [0] * (len(text.encode()) // 4)


try:
    tiktoken.get_encoding("cl100k_base")
except OSError:
    tiktoken.get_encoding = lambda _name: _QuarterOfBytes()  # type: ignore[assignment,return-value]

from openlimit import ChatRateLimiter  # noqa: E402 - it loads the vocabulary when imported

NO_LIMIT = 10**9


def run(task: Task) -> list[str | None]:
    return asyncio.run(_run(task))


async def _run(task: Task) -> list[str | None]:
    limiter = ChatRateLimiter(task.rpm or NO_LIMIT, task.tpm or NO_LIMIT)

    def admission(body: dict[str, object]) -> AbstractAsyncContextManager[object]:
        limit: AbstractAsyncContextManager[object] = limiter.limit(**body)
        return limit

    return await gather(task, DefaultAioHttpClient(), admission)
