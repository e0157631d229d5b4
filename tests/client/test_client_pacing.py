"""Never faster than the server allows, never much slower than it could be."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from served import AMPLE, contents, refusals, user
from waiting import eventually

import gpt_magics
from gpt_magics import api

if TYPE_CHECKING:
    from openai import AsyncOpenAI
    from served import Serve

# How late a busy machine may make a run that the limit itself would end sooner.
LATE = 1.0


async def polls_and_uploads(client: AsyncOpenAI) -> int:
    """Three requests, then polling until done, then a prompt of its own: how many in all."""
    file = await client.files.create(file=("a.txt", b"text"), purpose="assistants")
    store = await client.vector_stores.create(name="mine")
    made = await client.vector_stores.files.create_and_poll(
        file.id, vector_store_id=store.id, poll_interval_ms=1
    )
    assert made.status == "completed"
    begun = await client.responses.create(model="sandbox-echo", input="later", background=True)
    polls = 1
    while (begun := await client.responses.retrieve(begun.id)).status != "completed":
        polls += 1
    assert begun.output_text == "later"
    return 3 + polls + 1 + polls


@pytest.mark.parametrize("shared", [False, True], ids=["a bucket per model", "one bucket"])
def test_polls_and_uploads_wait_their_turn(serve: Serve, shared: bool) -> None:  # noqa: FBT001
    # 12 requests (10 without a model, 2 with one each from its own bucket, or 12 from one).
    box = serve(rpm=120, fill=9 / 120, polls=3, shared_bucket=shared)
    sent = asyncio.run(polls_and_uploads(gpt_magics.client()))
    assert box.stats()["requests"] == sent == 12
    assert refusals(box) == 0
    assert box.stats()["span"] < 2 + LATE


@pytest.mark.slow
def test_three_requests_a_minute_are_kept(serve: Serve) -> None:
    box = serve(rpm=3, polls=0, shared_bucket=True)

    async def four_requests() -> None:
        client = gpt_magics.client()
        file = await client.files.create(file=("a.txt", b"text"), purpose="assistants")
        store = await client.vector_stores.create(name="mine")
        await client.vector_stores.files.create_and_poll(
            file.id, vector_store_id=store.id, poll_interval_ms=1
        )

    asyncio.run(four_requests())
    assert (box.stats()["requests"], refusals(box)) == (4, 0)
    assert 19.9 < box.stats()["span"] < 20 + LATE


def test_a_drained_request_limit_costs_one_refusal_and_no_more_time_than_it_must(
    serve: Serve,
) -> None:
    box = serve(rpm=1200, fill=0.0, latency=0.1)
    rows = [f"row {number}" for number in range(40)]
    job = gpt_magics.batch(rows)
    assert job.result() == rows
    assert sorted(set(contents(box))) == sorted(rows)
    assert refusals(box) <= 1
    assert box.stats()["span"] < 39 / 20 + LATE
    assert job.failures == []


def test_a_token_limit_paces_by_what_a_request_may_cost(serve: Serve) -> None:
    # 20 rows of 100 tokens from 600 at hand and 1,000 more a second.
    box = serve(tpm=60_000, fill=0.01, latency=0.05)
    rows = [f"row {number}" for number in range(20)]
    assert gpt_magics.batch(rows, max_tokens=100).result() == rows
    assert refusals(box) <= 1
    assert box.stats()["span"] < 1.4 + LATE


def test_large_prompts_are_not_overtaken(serve: Serve) -> None:
    box = serve(tpm=60_000, fill=0.01, latency=0.02)
    rows = [f"row {n} " + "x" * (2000 if n % 5 == 2 else 0) for n in range(20)]
    assert gpt_magics.batch(rows).result() == rows
    arrived = list(dict.fromkeys(contents(box)))
    # What is sent together arrives in any order; smallest-first would put row 2 behind 16 others.
    assert all(abs(arrived.index(row) - place) < 8 for place, row in enumerate(rows))
    assert refusals(box) <= 1


def test_a_full_bucket_is_used_at_once(serve: Serve) -> None:
    box = serve(rpm=600, latency=0.05)
    rows = [f"row {number}" for number in range(100)]
    assert gpt_magics.batch(rows).result() == rows
    assert refusals(box) == 0
    assert box.stats()["span"] < LATE  # drained, the same would take 10 s


def test_own_code_beside_a_batch_meets_no_refusal_of_its_own(serve: Serve) -> None:
    box = serve(rpm=1200, fill=0.0)
    rows = [f"row {number}" for number in range(30)]
    job = gpt_magics.batch(rows)
    sync = gpt_magics.sync_client()
    for _ in range(5):
        sync.chat.completions.create(model="sandbox-echo", messages=user("hello"))
    assert not job.ended  # they went ahead of the rows
    assert job.result() == rows
    assert refusals(box) <= 1


def test_two_jobs_at_once_share_the_limit(serve: Serve) -> None:
    box = serve(rpm=1200, fill=0.0, latency=0.05)
    first = gpt_magics.batch([f"first {number}" for number in range(20)])
    second = gpt_magics.batch([f"second {number}" for number in range(20)])
    assert first.result() == [f"first {number}" for number in range(20)]
    assert second.result() == [f"second {number}" for number in range(20)]
    assert refusals(box) <= 1
    assert 1.5 < box.stats()["span"] < 40 / 20 + LATE


def test_a_question_goes_ahead_of_a_batch(serve: Serve) -> None:
    box = serve(rpm=600, fill=0.0, latency=0.02)
    job = gpt_magics.batch([f"row {number}" for number in range(60)])
    eventually(lambda: job.progress.done > 0)
    sent = len(box.bodies)
    gpt_magics.ask("question")
    assert contents(box).index("question") <= sent + 3
    assert not job.ended
    job.cancel()


def test_a_server_that_reports_no_limits_is_met_with_care(serve: Serve) -> None:
    box = serve(headers=False, max_in_flight=8, latency=0.02)
    rows = [f"row {number}" for number in range(60)]
    job = gpt_magics.batch(rows)
    assert job.result() == rows
    stats = box.stats()
    assert 4 < stats["max_in_flight"] <= 8
    assert stats["overloaded"] == job.retry_reasons["server overloaded"] < 20


def test_max_in_flight_is_kept(serve: Serve) -> None:
    box = serve(rpm=AMPLE, latency=0.02)
    gpt_magics.configure(max_in_flight=7)
    gpt_magics.batch([f"row {number}" for number in range(50)]).result()
    assert box.stats()["max_in_flight"] == 7


def test_a_job_may_ask_for_more_in_flight_than_the_session(serve: Serve) -> None:
    box = serve(rpm=AMPLE, latency=0.2)
    gpt_magics.configure(max_in_flight=5)
    gpt_magics.batch([f"row {number}" for number in range(41)], max_in_flight=40).result()
    assert box.stats()["max_in_flight"] == 40


def test_limits_tell_what_is_left(serve: Serve) -> None:
    serve(rpm=600, tpm=90_000)
    gpt_magics.ask("hello")
    (lane,) = gpt_magics.limits().lanes
    assert (lane.model, lane.in_flight, lane.queued) == ("sandbox-echo", 0, 0)
    assert {limit.dimension: limit.limit for limit in lane.limits} == {
        "requests": 600,
        "tokens": 90_000,
    }
    assert all(0.9 * limit.limit < limit.level <= limit.limit for limit in lane.limits)


def test_what_is_refused_is_visible(serve: Serve) -> None:
    box = serve(rpm=300, fill=0.0)
    gpt_magics.ask("hello")
    now = gpt_magics.limits()
    assert (now.refused, now.retries, now.requests) == (1, 1, 2)
    assert refusals(box) == 1
    assert api.running_session().meter.retries == {"rate limit": 1}
