"""AsyncOpenAI and a semaphore: what most people write today."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext

from openai import AsyncOpenAI, DefaultAsyncHttpxClient, OpenAIError
from scenarios import Task


def run(task: Task) -> list[str | None]:
    return asyncio.run(gather(task, DefaultAsyncHttpxClient()))


async def gather(
    task: Task,
    http_client: DefaultAsyncHttpxClient,
    admission: Callable[[dict[str, object]], AbstractAsyncContextManager[object]] = nullcontext,
) -> list[str | None]:
    """Ask for every row; ``admission`` is entered before each request."""
    free = asyncio.Semaphore(task.in_flight)
    async with AsyncOpenAI(
        base_url=task.base_url, api_key="sandbox", timeout=task.timeout, http_client=http_client
    ) as client:

        async def ask(prompt: str) -> str | None:
            body = task.body(prompt)
            try:
                async with free, admission(body):
                    answer = await client.chat.completions.create(**body)  # type: ignore[call-overload]
                    text: str | None = answer.choices[0].message.content
                    return text
            except OpenAIError:
                return None

        return await asyncio.gather(*map(ask, task.prompts))
