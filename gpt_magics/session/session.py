"""The session: this kernel's one client. Everything that is sent goes through it.

``session()`` makes it at first use and ``close_session()`` ends it. Its state is touched on its
loop only; other threads read numbers, or wait for what they submitted.
"""

from __future__ import annotations

import atexit
import json
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from openai import AsyncOpenAI, AsyncStream, OpenAI, OpenAIError

from gpt_magics.errors import BrokenStreamError, RequestError
from gpt_magics.pacing.retries import GiveUp, StopQueue
from gpt_magics.prompts.prompt import Prompt
from gpt_magics.session.call import Call, current_call
from gpt_magics.session.failures import explain
from gpt_magics.session.loop import LoopThread
from gpt_magics.session.metering import Meter
from gpt_magics.session.pacer import Pacer
from gpt_magics.session.transport import KEY_STAND_IN, PacedHttpClient, PacedSyncHttpClient
from gpt_magics.settings import OPENAI_URL, Connection, Settings, load
from gpt_magics.spend.budget import Budget
from gpt_magics.spend.prices import Prices
from gpt_magics.spend.tokens import Usage, estimate_messages


@dataclass(frozen=True, slots=True)
class Answer:
    """A model's answer.

    Attributes:
        text: what the model wrote.
        model: the model that wrote it, as the server names it.
        usage: input and output tokens.
        cost: US dollars, or ``None`` if the price is unknown.
        seconds: from asking to the end of the answer, waiting included.
        request_id: the server's id of the request, for support.
        finish_reason: why it ended: ``stop``, ``length`` and so on.
        attempts: how many requests it took.
    """

    text: str
    model: str
    usage: Usage
    cost: float | None
    seconds: float
    request_id: str | None = None
    finish_reason: str | None = None
    attempts: int = 1

    def __str__(self) -> str:
        return self.text


class Session:
    """One loop, one pacer, one meter, and an SDK client for each (address, key)."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.thread = LoopThread()
        self.pacer = Pacer(self.thread.loop, max_in_flight=settings.max_in_flight)
        self.budget = Budget("session", settings.budget, _spent_before)
        self.meter = Meter(self.budget, Prices(settings.prices))
        self._clients: dict[Connection, AsyncOpenAI] = {}
        self._transports: dict[Connection, PacedHttpClient] = {}

    def __repr__(self) -> str:
        return f"<Session {self.settings.server}: {self.pacer!r}>"

    def configure(self, settings: Settings) -> None:
        """Use these settings from now on."""
        self.settings = settings
        self.budget.limit = settings.budget
        self.meter.prices = Prices(settings.prices)
        self.thread.loop.call_soon_threadsafe(self.pacer.resize, settings.max_in_flight)

    async def ask(
        self,
        prompt: Prompt,
        settings: Settings,
        call: Call,
        *,
        on_text: Callable[[str], None] | None = None,
    ) -> Answer:
        """Send one prompt and wait for its answer; on the session's loop.

        Args:
            prompt: what to ask.
            settings: address, key, timeout.
            call: for whom; filled in with attempts, usage and cost.
            on_text: if given, the answer is streamed and each new piece of text is passed to it.

        Raises:
            RequestError: it failed for good; ``QueueStoppedError`` if all others would, too.
            BudgetError: a budget does not cover its worst case; nothing was sent.
        """
        connection = settings.connection()
        _estimate(prompt, call, settings)
        started = self.thread.loop.time()
        token = current_call.set(call)
        try:
            client = self._client(connection, settings)
            body = prompt.body(max_tokens_field=_max_tokens_field(settings.base_url))
            if on_text is None:
                fields = await _complete(client, body, settings.timeout)
            else:
                fields = await _stream(client, body, settings.timeout, call, on_text)
        except OpenAIError:
            raise explain(call, connection, settings.server) from None
        except UnicodeEncodeError as error:
            raise RequestError(
                f"Not sent: the prompt holds {error.object[error.start]!r}, half of a character.",
                reason="prompt",
                attempts=call.attempts,
            ) from None
        except ValueError as error:
            raise RequestError(
                f"{settings.server} sent an answer that is no JSON: {error}",
                reason="malformed answer",
                attempts=call.attempts,
            ) from None
        finally:
            current_call.reset(token)
        return _answer(fields, call, self.thread.loop.time() - started)

    def client(self, settings: Settings) -> AsyncOpenAI:
        """A paced ``AsyncOpenAI``; it may be used from any event loop."""
        connection = settings.connection()
        return self.thread.run(self._client_on_loop(connection, settings))

    def sync_client(self, settings: Settings) -> OpenAI:
        """A paced ``OpenAI``; it may be used from any thread."""
        connection = settings.connection()
        self.thread.run(self._client_on_loop(connection, settings))
        transport = self._transports[connection]
        return OpenAI(
            http_client=PacedSyncHttpClient(transport, self.thread), **_sdk_options(connection)
        )

    def close(self) -> None:
        """Close the sockets and end the thread."""

        async def shutdown() -> None:
            for transport in self._transports.values():
                await transport.shutdown()

        if not self.thread.is_current:
            self.thread.run(shutdown())
            self.thread.close()

    async def _client_on_loop(self, connection: Connection, settings: Settings) -> AsyncOpenAI:
        return self._client(connection, settings)

    def _client(self, connection: Connection, settings: Settings) -> AsyncOpenAI:
        # Kept until the session ends: dropping an unclosed client can hang the next one.
        client = self._clients.get(connection)
        if client is None:
            transport = self._transports[connection] = PacedHttpClient(
                thread=self.thread,
                pacer=self.pacer,
                meter=self.meter,
                base_url=settings.base_url,
                api_key=connection.api_key,
                key=len(self._transports),
                timeout=settings.timeout,
                max_attempts=settings.max_attempts,
            )
            client = self._clients[connection] = AsyncOpenAI(
                http_client=transport, **_sdk_options(connection)
            )
        return client


_session: Session | None = None
_session_lock = threading.Lock()
_spent_before = 0.0  # US dollars spent by sessions that %unload_ext or %reload_ext has ended


def session(overrides: Mapping[str, Any] | None = None) -> Session:
    """This kernel's session, made at first use; ``overrides`` are settings for that moment."""
    global _session  # noqa: PLW0603 - one client per kernel is the point
    with _session_lock:
        if _session is None:
            _session = Session(load(overrides))
            atexit.register(close_session)  # or aiohttp complains of unclosed sockets
        return _session


def current_session() -> Session | None:
    """The session if there is one yet."""
    return _session


def close_session(*, keep_spend: bool = False) -> None:
    """End the session, its thread and its sockets. The next use makes a new one.

    With ``keep_spend`` what it spent still counts against the next one's budget.
    """
    global _session, _spent_before  # noqa: PLW0603
    with _session_lock:
        closing, _session = _session, None
        atexit.unregister(close_session)
        spent = closing.budget.spent if closing is not None else _spent_before
        _spent_before = spent if keep_spend else 0.0
    if closing is not None:
        closing.close()


def _forget_in_child() -> None:
    """A forked child has no loop thread; it makes a session of its own."""
    global _session, _session_lock
    _session, _session_lock = None, threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_in_child)


def _sdk_options(connection: Connection) -> dict[str, Any]:
    return {
        "base_url": connection.base_url,
        # The SDK's frames hold its headers in plain variables, which a verbose traceback shows.
        "api_key": KEY_STAND_IN,
        "organization": connection.organization,
        "project": connection.project,
        "max_retries": 0,  # retries are ours: each one queues, counts and pays again
    }


def _max_tokens_field(base_url: str) -> str:
    # OpenAI's reasoning models refuse max_tokens; many other servers know nothing else.
    return "max_completion_tokens" if base_url.startswith(OPENAI_URL) else "max_tokens"


def _estimate(prompt: Prompt, call: Call, settings: Settings) -> None:
    call.model = prompt.model
    call.max_tokens = prompt.max_tokens
    call.prompt_tokens = estimate_messages(prompt.messages)
    call.prompt_bytes = sum(_size(m.get("content")) for m in prompt.messages)
    call.timeout = settings.timeout
    call.max_attempts = settings.max_attempts


def _size(content: object) -> int:
    if isinstance(content, str):
        return len(content.encode("utf-8", "surrogatepass"))
    return len(json.dumps(content))


async def _complete(
    client: AsyncOpenAI,
    body: Mapping[str, object],
    timeout: float,  # noqa: ASYNC109 - the SDK's name
) -> dict[str, Any]:
    # ``post`` skips the SDK's walk over the parameters' types: half the CPU of ``create``.
    fields = await client.post(
        "/chat/completions", body=body, cast_to=object, options={"timeout": timeout}
    )
    if not isinstance(fields, dict):
        raise RequestError("The server's answer is no JSON object.", reason="malformed answer")
    return fields


async def _stream(
    client: AsyncOpenAI,
    body: Mapping[str, object],
    timeout: float,  # noqa: ASYNC109
    call: Call,
    on_text: Callable[[str], None],
) -> dict[str, Any]:
    """Read a streamed answer; what breaks before any text came is asked for again, once."""
    streamed = {**body, "stream": True, "stream_options": {"include_usage": True}}
    for last in (False, True):
        pieces: list[str] = []
        try:
            fields = await _read_stream(client, streamed, timeout, pieces, on_text)
        except OpenAIError:
            if isinstance(call.verdict, GiveUp | StopQueue):
                raise  # it never began
        except ValueError:
            pass  # the SDK's answer to a malformed event
        else:
            if fields is not None:
                return fields
        if pieces or last:
            break
    raise _broken(pieces, call)


async def _read_stream(
    client: AsyncOpenAI,
    body: Mapping[str, object],
    timeout: float,  # noqa: ASYNC109
    pieces: list[str],
    on_text: Callable[[str], None],
) -> dict[str, Any] | None:
    """The answer in the shape of a plain one, or ``None`` if the stream was cut short.

    A truncated stream ends without an exception; only its finish reason is missing.
    """
    stream = await client.post(
        "/chat/completions",
        body=body,
        cast_to=object,
        options={"timeout": timeout},
        stream=True,
        stream_cls=AsyncStream[object],
    )
    finish_reason, model = None, ""
    async with stream:
        async for event in stream:
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


def _answer(fields: Mapping[str, Any], call: Call, seconds: float) -> Answer:
    try:
        choice = fields["choices"][0]
        message = choice["message"]
        text = message.get("content") or message.get("refusal") or ""
    except (KeyError, IndexError, TypeError, AttributeError):
        raise RequestError(
            "The server's answer holds no text in choices[0].message.",
            reason="malformed answer",
            attempts=call.attempts,
        ) from None
    usage = call.usage or Usage(call.prompt_tokens, len(text) // 4, estimated=True)
    return Answer(
        text=str(text),
        model=str(fields.get("model") or call.model),
        usage=usage,
        cost=call.cost,
        seconds=seconds,
        request_id=call.request_id,
        finish_reason=choice.get("finish_reason"),
        attempts=call.attempts,
    )
