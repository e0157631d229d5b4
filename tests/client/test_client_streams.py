"""Streams: whole, cut short, left early; whatever happens, the slot comes back."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import openai
import pytest
from served import AMPLE, Reply, everything_said, stream_reply, stub, user
from waiting import eventually

import gpt_magics
from gpt_magics import api
from gpt_magics.errors import BrokenStreamError, QueueStoppedError, RequestError

if TYPE_CHECKING:
    from openai import AsyncOpenAI
    from served import Serve

TEXT = "one two three four five six seven eight"
STREAM: Any = {"model": "sandbox-echo", "messages": user(TEXT), "stream": True}


def all_slots_back() -> bool:
    session = api.running_session()
    return session.pacer.in_flight == 0 and session.budget.reserved == pytest.approx(0, abs=1e-12)


def test_an_answer_arrives_piece_by_piece(serve: Serve) -> None:
    box = serve()
    pieces: list[str] = []
    answer = gpt_magics.ask(TEXT, on_text=pieces.append)
    assert answer.text == "".join(pieces) == TEXT
    assert len(pieces) == 8
    assert (answer.finish_reason, answer.attempts, answer.model) == ("stop", 1, "sandbox-echo")
    assert not answer.usage.estimated
    tokens = box.stats()["tokens"]
    assert (answer.usage.input, answer.usage.output) == (tokens["prompt"], tokens["completion"])
    assert all_slots_back()


def test_a_stream_that_is_cut_off_keeps_what_came(serve: Serve) -> None:
    serve(break_stream_rate=1.0)
    pieces: list[str] = []
    with pytest.raises(BrokenStreamError) as caught:
        gpt_magics.ask(TEXT, on_text=pieces.append)
    partial = caught.value.partial
    assert partial == "".join(pieces)
    assert TEXT.startswith(partial)
    assert 0 < len(partial) < len(TEXT)
    assert f"broke off after {len(partial)} characters" in str(caught.value)
    assert caught.value.attempts == 1  # what was shown is not asked for again
    assert gpt_magics.limits().tokens_in > 0
    assert all_slots_back()


@pytest.mark.parametrize(
    "broken",
    [
        stream_reply(whole=False),
        Reply(200, b"", "text/event-stream"),
        Reply(200, b"data: {broken\n\ndata: [DONE]\n\n", "text/event-stream"),
        Reply(200, b"data: [DONE]\n\n", "text/event-stream"),
    ],
    ids=["cut off", "empty", "malformed", "only the end"],
)
def test_a_stream_that_breaks_before_anything_was_shown_is_asked_for_again(broken: Reply) -> None:
    with stub(broken, stream_reply("a ", "whole one")) as server:
        pieces: list[str] = []
        answer = gpt_magics.ask("hello", base_url=server.url, on_text=pieces.append)
        assert (answer.text, answer.attempts) == ("a whole one", 2)
        assert pieces == ["a ", "whole one"]
        assert all_slots_back()


def test_it_is_asked_for_again_once(serve: Serve) -> None:
    serve()
    with stub(stream_reply(whole=False)) as server:
        with pytest.raises(BrokenStreamError) as caught:
            gpt_magics.ask("hello", base_url=server.url, on_text=lambda _: None)
        assert (caught.value.partial, caught.value.attempts, len(server.requests)) == ("", 2, 2)
        assert all_slots_back()


def test_a_malformed_event_in_the_middle_keeps_what_came() -> None:
    good = stream_reply("some ", "text", whole=False).body
    with stub(Reply(200, good + b"data: {broken\n\n", "text/event-stream")) as server:
        with pytest.raises(BrokenStreamError) as caught:
            gpt_magics.ask("hello", base_url=server.url, on_text=lambda _: None)
        assert caught.value.partial == "some text"
        assert all_slots_back()


def test_an_error_before_the_stream_is_explained_like_any_other(serve: Serve) -> None:
    box = serve(api_key="right")
    gpt_magics.configure(api_key="sk-wrong-0123456789")
    with pytest.raises(QueueStoppedError, match="refused the API key") as caught:
        gpt_magics.ask("hello", on_text=lambda _: None)
    assert "sk-wrong-0123456789" not in everything_said(caught.value)
    assert box.stats()["requests"] == 1


@pytest.mark.usefixtures("short_backoff")
def test_errors_before_the_stream_are_retried_like_any_other(serve: Serve) -> None:
    serve(error_rate=1.0)
    with pytest.raises(RequestError) as caught:
        gpt_magics.ask("hello", on_text=lambda _: None)
    assert (caught.value.reason, caught.value.attempts) == ("server error", 6)


def test_what_the_display_raises_ends_the_stream(serve: Serve) -> None:
    serve(tokens_per_second=200)

    def show(_: str) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        gpt_magics.ask(TEXT, on_text=show)
    eventually(all_slots_back)


def test_an_interrupt_ends_the_stream(serve: Serve) -> None:
    box = serve(tokens_per_second=20)
    pieces: list[str] = []

    def interrupt() -> None:
        if pieces:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        gpt_magics.ask(TEXT, on_text=pieces.append, on_beat=interrupt)
    eventually(all_slots_back)
    eventually(lambda: box.stats()["in_flight"] == 0)
    assert len(pieces) < 8
    assert 0 <= gpt_magics.limits().tokens_out - len(pieces) <= 2  # no usage came: events count


async def leave_by_with(client: AsyncOpenAI) -> None:
    async with await client.chat.completions.create(**STREAM) as stream:
        async for chunk in stream:
            if chunk.choices[0].delta.content:
                break


async def leave_by_close(client: AsyncOpenAI) -> None:
    stream = await client.chat.completions.create(**STREAM)
    await anext(aiter(stream))
    await stream.close()


async def leave_unread(client: AsyncOpenAI) -> None:
    stream = await client.chat.completions.create(**STREAM)
    await stream.close()


async def leave_by_break(client: AsyncOpenAI) -> None:
    stream = await client.chat.completions.create(**STREAM)
    async for _ in stream:
        break


async def leave_by_timeout(client: AsyncOpenAI) -> None:
    async def read() -> None:
        async for _ in await client.chat.completions.create(**STREAM):
            pass

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(read(), 0.15)


async def leave_by_raw_response(client: AsyncOpenAI) -> None:
    async with client.chat.completions.with_streaming_response.create(**STREAM) as response:
        async for _ in response.iter_lines():
            break


@pytest.mark.parametrize(
    "leave",
    [
        leave_by_with,
        leave_by_close,
        leave_unread,
        leave_by_break,
        leave_by_timeout,
        leave_by_raw_response,
    ],
)
def test_a_stream_left_early_by_own_code_gives_its_slot_back(serve: Serve, leave: Any) -> None:
    box = serve(tokens_per_second=30)
    asyncio.run(leave(gpt_magics.client()))
    eventually(all_slots_back)
    eventually(lambda: box.stats()["in_flight"] == 0)
    assert gpt_magics.limits().tokens_in > 0  # counted, though its usage never came
    assert box.stats()["answered"] == 0


def test_a_truncated_stream_of_own_code_gives_its_slot_back(serve: Serve) -> None:
    serve(break_stream_rate=1.0)

    async def read() -> None:
        async for _ in await gpt_magics.client().chat.completions.create(**STREAM):
            pass

    with pytest.raises(openai.APIConnectionError):
        asyncio.run(read())
    eventually(all_slots_back)


@pytest.mark.parametrize("stream", [True, False], ids=["streams", "whole answers"])
def test_cancelling_at_any_moment_gives_every_slot_back(serve: Serve, *, stream: bool) -> None:
    box = serve(rpm=AMPLE, latency=0.02, jitter=1.0)

    async def ask_and_leave(client: AsyncOpenAI, after: float) -> None:
        async def ask() -> None:
            made: Any = await client.chat.completions.create(**{**STREAM, "stream": stream})
            if stream:
                async with made:
                    async for _ in made:
                        pass

        asking = asyncio.create_task(ask())
        await asyncio.sleep(after)
        asking.cancel()
        await asyncio.wait([asking])

    async def many() -> None:
        client = gpt_magics.client()
        await asyncio.gather(*(ask_and_leave(client, 0.0004 * n) for n in range(150)))

    asyncio.run(many())
    eventually(all_slots_back)
    eventually(lambda: box.stats()["in_flight"] == 0)
    assert gpt_magics.ask("still works").text == "still works"


def test_a_batch_cancelled_in_flight_gives_every_slot_back(serve: Serve) -> None:
    box = serve(rpm=AMPLE, latency=5.0)
    job = gpt_magics.batch([f"row {number}" for number in range(50)], timeout=20)
    eventually(lambda: box.stats()["in_flight"] > 0)
    job.cancel()
    job.wait()
    eventually(all_slots_back)
    eventually(lambda: box.stats()["in_flight"] == 0)
