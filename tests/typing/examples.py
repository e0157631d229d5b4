"""What users may write, checked by mypy and never run."""

from __future__ import annotations

from typing import assert_type

from openai import AsyncOpenAI, OpenAI

import gpt_magics
from gpt_magics.session.headroom import Headroom


def ask_once() -> str:
    answer = gpt_magics.ask("Why?", model="gpt-4.1-mini", system="Be brief.", max_tokens=50)
    assert_type(answer, gpt_magics.Answer)
    assert_type(answer.cost, float | None)
    return answer.text


def ask_for_every_row() -> list[str | None]:
    job = gpt_magics.batch(
        ["one", "two"], "Count on from {text}.", max_in_flight=100, timeout=60, budget=0.5
    )
    assert_type(job, gpt_magics.Job)
    job.pause()
    job.resume()
    return job.result()


async def await_a_job() -> list[str | None]:
    return await gpt_magics.batch(["one", "two"])


def own_code() -> None:
    assert_type(gpt_magics.client(), AsyncOpenAI)
    assert_type(gpt_magics.sync_client(base_url="http://127.0.0.1:8765/v1"), OpenAI)
    assert_type(gpt_magics.limits(), Headroom)
    gpt_magics.configure(budget=2.0, model="gpt-4.1")
