"""async-batch-llm set to spread its requests evenly: no more than one second's worth at once."""

from __future__ import annotations

import asyncio

from clients.abl import gather
from scenarios import Task

ONE_SECOND = 1.0


def run(task: Task) -> list[str | None]:
    return asyncio.run(gather(task, ONE_SECOND))
