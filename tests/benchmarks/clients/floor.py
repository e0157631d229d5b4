"""Raw aiohttp and a semaphore: the least that any Python client can do. It never retries."""

from __future__ import annotations

import asyncio

import aiohttp
from scenarios import Task


def run(task: Task) -> list[str | None]:
    return asyncio.run(_run(task))


async def _run(task: Task) -> list[str | None]:
    free = asyncio.Semaphore(task.in_flight)
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=task.in_flight),
        timeout=aiohttp.ClientTimeout(task.timeout),
        headers={"authorization": "Bearer sandbox"},
    ) as session:

        async def ask(prompt: str) -> str | None:
            url = f"{task.base_url}/chat/completions"
            try:
                async with free, session.post(url, json=task.body(prompt)) as answer:
                    if answer.status != 200:
                        return None
                    text: str = (await answer.json())["choices"][0]["message"]["content"]
                    return text
            except (aiohttp.ClientError, TimeoutError):
                return None

        return await asyncio.gather(*map(ask, task.prompts))
