"""A chat completion: plain, on the lean wire, or streamed, through the SDK's client."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from openai import AsyncOpenAI, AsyncStream, OpenAIError

from gpt_magics.errors import BrokenStreamError, RequestError
from gpt_magics.pacing.retries import GiveUp, StopQueue
from gpt_magics.session.call import Call, current_call
from gpt_magics.session.line import Line
from gpt_magics.session.wire import Post

_PATH = "/chat/completions"


async def complete(line: Line, body: bytes, call: Call, *, seconds: float) -> dict[str, Any]:
    """Send a request's JSON and return the answer's.

    Args:
        line: to whom.
        body: the request's JSON.
        call: what it is worth and whose it is.
        seconds: for one attempt.

    Raises:
        AttemptFailedError: it failed for good; the call holds failure and verdict.
        RequestError: the answer is none.
    """
    stamp = await line.wire.stamp(_PATH, seconds)
    fields = await line.choke_point.send(Post(line.wire, stamp, body, call))
    if not isinstance(fields, dict):
        raise RequestError(
            "The server's answer is no JSON object.",
            reason="malformed answer",
            attempts=call.attempts,
        )
    return fields


async def stream(
    line: Line,
    body: Mapping[str, object],
    call: Call,
    on_text: Callable[[str], None],
    *,
    seconds: float,
) -> dict[str, Any]:
    """Read a streamed answer; what breaks before any text came is asked for again, once.

    Returns it in the shape of a plain one.

    Raises:
        OpenAIError: it never began; the call holds failure and verdict.
        BrokenStreamError: it broke off.
    """
    streamed = {**body, "stream": True, "stream_options": {"include_usage": True}}
    for last in (False, True):
        pieces: list[str] = []
        token = current_call.set(call)
        try:
            fields = await _read_stream(line.client, streamed, seconds, pieces, on_text)
        except OpenAIError:
            if isinstance(call.verdict, GiveUp | StopQueue):
                raise  # it never began
        except ValueError:
            pass  # the SDK's answer to a malformed event
        else:
            if fields is not None:
                return fields
        finally:
            current_call.reset(token)
        if pieces or last:
            break
    raise _broken(pieces, call)


async def _read_stream(
    client: AsyncOpenAI,
    body: Mapping[str, object],
    seconds: float,
    pieces: list[str],
    on_text: Callable[[str], None],
) -> dict[str, Any] | None:
    """The answer in the shape of a plain one, or ``None`` if the stream was cut short.

    A truncated stream ends without an exception; only its finish reason is missing.
    """
    events = await client.post(
        _PATH,
        body=body,
        cast_to=object,
        options={"timeout": seconds},
        stream=True,
        stream_cls=AsyncStream[object],
    )
    finish_reason, model = None, ""
    async with events:
        async for event in events:
            if not isinstance(event, dict):
                continue
            model = event.get("model") or model
            for choice in event.get("choices") or ():
                text = (choice.get("delta") or {}).get("content")
                finish_reason = choice.get("finish_reason") or finish_reason
                if text:
                    pieces.append(text)
                    on_text(text)
    if finish_reason is None:
        return None
    choice = {"message": {"content": "".join(pieces)}, "finish_reason": finish_reason}
    return {"model": model, "choices": [choice]}


def _broken(pieces: Sequence[str], call: Call) -> BrokenStreamError:
    partial = "".join(pieces)
    return BrokenStreamError(
        f"The answer broke off after {len(partial)} characters. Ask again for a whole one.",
        partial=partial,
        attempts=call.attempts,
    )
