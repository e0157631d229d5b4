"""gpt_magics as a script would use it. It is told nothing of the limits."""

from __future__ import annotations

from scenarios import Task

import gpt_magics
from gpt_magics.errors import GptMagicsError


def run(task: Task) -> list[str | None]:
    job = gpt_magics.batch(
        task.prompts,
        model=task.model,
        base_url=task.base_url,
        api_key="sandbox",
        max_in_flight=task.in_flight,
        max_tokens=task.max_tokens,
        timeout=task.timeout,
    )
    try:
        return job.result()
    except GptMagicsError:  # stopped, for instance by an empty credit balance
        return job.texts
