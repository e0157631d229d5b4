"""async-batch-llm. It is told both limits; a 429 pauses it for 1 s rather than its 300 s."""

from __future__ import annotations

import asyncio
import logging

from async_batch_llm import CharacterTokenEstimator, ProcessorConfig, llm, process_prompts
from async_batch_llm.core.config import RateLimitConfig
from scenarios import Task

logging.disable(logging.WARNING)


def run(task: Task) -> list[str | None]:
    return asyncio.run(gather(task))


async def gather(task: Task, burst: float | None = None) -> list[str | None]:
    """Ask for every row; ``burst`` is how many seconds' worth may start at once (default 60)."""
    longest = {} if task.max_tokens is None else {"max_tokens": task.max_tokens}
    batch = await process_prompts(
        llm(
            f"openai-compatible:{task.model}",
            base_url=task.base_url,
            api_key="sandbox",
            generation_config=longest,
        ),
        task.prompts,
        config=ProcessorConfig(
            concurrency=task.in_flight,
            attempt_timeout=task.timeout,
            max_requests_per_minute=task.rpm,
            max_tokens_per_minute=task.tpm,
            token_estimator=CharacterTokenEstimator(expected_output_tokens=task.max_tokens or 256),
            rate_limit=RateLimitConfig(cooldown_seconds=1.0, slow_start_items=0),
            quota_burst_seconds=burst if task.rpm or task.tpm else None,
        ),
    )
    return [result.output for result in batch.in_input_order().results]
