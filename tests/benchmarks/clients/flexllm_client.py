"""flexllm. It is told the requests a second; it knows no limit of tokens."""

from __future__ import annotations

import asyncio

from flexllm import LLMClient
from scenarios import Task


def run(task: Task) -> list[str | None]:
    return asyncio.run(_run(task))


async def _run(task: Task) -> list[str | None]:
    async with LLMClient(
        provider="openai",
        base_url=task.base_url,
        api_key="sandbox",
        model=task.model,
        concurrency_limit=task.in_flight,
        max_qps=task.rpm / 60 if task.rpm else 0,
        timeout=task.timeout,
    ) as client:
        longest = {} if task.max_tokens is None else {"max_tokens": task.max_tokens}
        messages = [[{"role": "user", "content": prompt}] for prompt in task.prompts]
        answers = await client.chat_batch(messages, show_progress=False, **longest)
        return [answer.content for answer in answers]
