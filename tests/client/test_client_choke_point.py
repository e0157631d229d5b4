"""Whatever the user calls, it passes the pacer and is counted."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import openai
import pytest
from served import AMPLE, contents, refusals, user

import gpt_magics
from gpt_magics import api

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from openai import AsyncOpenAI, OpenAI
    from served import Serve

MODEL = "gpt-4o-mini"


async def chat(client: AsyncOpenAI) -> None:
    answer = await client.chat.completions.create(model="sandbox-echo", messages=user("hello"))
    assert answer.choices[0].message.content == "hello"


async def raw_chat(client: AsyncOpenAI) -> None:
    raw = await client.chat.completions.with_raw_response.create(
        model=MODEL, messages=user("hello")
    )
    assert raw.headers["x-request-id"].startswith("req_")


async def stream(client: AsyncOpenAI) -> None:
    pieces = await client.chat.completions.create(
        model="sandbox-echo", messages=user("one two three"), stream=True
    )
    got = [chunk.choices[0].delta.content or "" async for chunk in pieces if chunk.choices]
    assert "".join(got) == "one two three"


async def stream_with_helper(client: AsyncOpenAI) -> None:
    async with client.chat.completions.stream(
        model="sandbox-echo", messages=user("one two")
    ) as events:
        final = await events.get_final_completion()
    assert final.choices[0].message.content == "one two"


async def response(client: AsyncOpenAI) -> None:
    answer = await client.responses.create(model="sandbox-echo", input="hello")
    assert answer.output_text == "hello"


async def background_response(client: AsyncOpenAI) -> None:
    answer = await client.responses.create(model="sandbox-echo", input="later", background=True)
    polls = 0
    while answer.status in {"queued", "in_progress"}:
        answer = await client.responses.retrieve(answer.id)
        polls += 1
    assert (answer.status, answer.output_text, polls) == ("completed", "later", 4)


async def upload(client: AsyncOpenAI) -> None:
    made = await client.files.create(file=("rows.jsonl", b"{}\n" * 500), purpose="batch")
    assert made.bytes == 1500


async def embeddings(client: AsyncOpenAI) -> None:
    made = await client.embeddings.create(model=MODEL, input=["a", "b"])
    assert len(made.data) == 2


async def models(client: AsyncOpenAI) -> None:
    assert MODEL in [model.id async for model in client.models.list()]


async def vector_store(client: AsyncOpenAI) -> None:
    file = await client.files.create(file=("a.txt", b"text"), purpose="assistants")
    store = await client.vector_stores.create(name="mine")
    made = await client.vector_stores.files.create_and_poll(
        file.id, vector_store_id=store.id, poll_interval_ms=1
    )
    assert made.status == "completed"


async def unknown_model(client: AsyncOpenAI) -> None:
    with pytest.raises(openai.NotFoundError):
        await client.chat.completions.create(model="nonesuch", messages=user("hello"))


@pytest.mark.parametrize(
    ("way", "requests"),
    [
        (chat, 1),
        (raw_chat, 1),
        (stream, 1),
        (stream_with_helper, 1),
        (response, 1),
        (background_response, 5),
        (upload, 1),
        (embeddings, 1),
        (models, 1),
        (vector_store, 7),
        (unknown_model, 1),
    ],
)
def test_every_way_to_call_the_sdk_is_counted(
    serve: Serve, way: Callable[[AsyncOpenAI], Coroutine[Any, Any, None]], requests: int
) -> None:
    box = serve(polls=3)
    asyncio.run(way(gpt_magics.client()))
    session = api.running_session()
    assert session.meter.requests == box.stats()["requests"] == requests
    assert session.meter.by_origin == {"your own code": requests}
    assert session.pacer.in_flight == 0


def test_all_of_them_at_once_from_an_event_loop_of_the_users(serve: Serve) -> None:
    box = serve(polls=3)

    async def at_once() -> None:
        client = gpt_magics.client()
        ways = (chat, stream, response, background_response, upload, embeddings, models)
        await asyncio.gather(*(way(client) for way in (*ways, vector_store) for _ in range(4)))

    asyncio.run(at_once())
    session = api.running_session()
    assert session.meter.requests == box.stats()["requests"] == 4 * (6 + 5 + 7)
    assert session.meter.requests == session.meter.by_origin.total()
    assert (session.pacer.in_flight, refusals(box)) == (0, 0)


def test_one_client_serves_one_event_loop_after_the_other(serve: Serve) -> None:
    box = serve()
    client = gpt_magics.client()
    for _ in range(3):
        asyncio.run(chat(client))
    assert box.stats()["answered"] == 3


def test_closing_the_client_that_was_handed_out_closes_nothing(serve: Serve) -> None:
    box = serve()

    async def close_then_ask() -> None:
        async with gpt_magics.client() as client:
            await chat(client)
        await chat(gpt_magics.client())

    asyncio.run(close_then_ask())
    assert gpt_magics.ask("still there").text == "still there"
    assert box.stats()["answered"] == 3


def sync_chat(client: OpenAI) -> int:
    answer = client.chat.completions.create(model="sandbox-echo", messages=user("hello"))
    assert answer.choices[0].message.content == "hello"
    return 1


def sync_stream(client: OpenAI) -> int:
    pieces = client.chat.completions.create(
        model="sandbox-echo", messages=user("one two three"), stream=True
    )
    got = [chunk.choices[0].delta.content or "" for chunk in pieces if chunk.choices]
    assert "".join(got) == "one two three"
    return 1


def sync_early_end(client: OpenAI) -> int:
    with client.chat.completions.create(
        model="sandbox-echo", messages=user("one two three"), stream=True
    ) as pieces:
        next(iter(pieces))
    return 1


def sync_store(client: OpenAI) -> int:
    file = client.files.create(file=("a.txt", b"text"), purpose="assistants")
    store = client.vector_stores.create(name="mine")
    made = client.vector_stores.files.create_and_poll(
        file.id, vector_store_id=store.id, poll_interval_ms=1
    )
    assert made.status == "completed"
    return 7


def sync_models(client: OpenAI) -> int:
    assert MODEL in [model.id for model in client.models.list()]
    return 1


def test_the_sync_client_passes_the_same_pacer_from_any_thread(serve: Serve) -> None:
    box = serve(polls=3, rpm=AMPLE)
    client = gpt_magics.sync_client()
    work = [sync_chat, sync_stream, sync_early_end, sync_store, sync_models] * 6
    with ThreadPoolExecutor(8) as threads:
        sent = sum(threads.map(lambda way: way(client), work))
    session = api.running_session()
    assert session.meter.requests == box.stats()["requests"] == sent == 66
    assert session.pacer.in_flight == 0


def test_magic_job_and_own_code_are_counted_apart_by_who_asked(serve: Serve) -> None:
    box = serve()
    gpt_magics.ask("one")
    job = gpt_magics.batch(["two", "three"])
    job.result()
    sync_chat(gpt_magics.sync_client())
    counted: dict[str, Any] = gpt_magics.limits().by_origin
    assert counted == {"a cell": 1, job.id: 2, "your own code": 1}
    assert contents(box) == ["one", "two", "three", "hello"]
