"""The session: this kernel's one client. Everything that is sent goes through it.

``session()`` makes it at first use and ``close_session()`` ends it. Its state is touched on its
loop only; other threads read numbers, or wait for what they submitted.
"""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from openai import AsyncOpenAI, OpenAI, OpenAIError

from gpt_magics.errors import RequestError
from gpt_magics.prompts.prompt import Prompt
from gpt_magics.session.call import Call
from gpt_magics.session.chat import complete, stream
from gpt_magics.session.choke_point import AttemptFailedError
from gpt_magics.session.failures import explain
from gpt_magics.session.line import Line
from gpt_magics.session.loop import LoopThread
from gpt_magics.session.metering import Meter
from gpt_magics.session.pacer import Pacer
from gpt_magics.session.wire import json_body
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
    """One loop, one pacer, one meter, and a line for each (address, key)."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.thread = LoopThread()
        self.pacer = Pacer(self.thread.loop, max_in_flight=settings.max_in_flight)
        self.budget = Budget("session", settings.budget, _spent_before)
        self.meter = Meter(self.budget, Prices(settings.prices))
        self._lines: dict[Connection, Line] = {}

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
        line = self._line(connection, settings)
        started = self.thread.loop.time()
        fields = prompt.body(max_tokens_field=_max_tokens_field(settings.base_url))
        body = _json(fields)
        _estimate(prompt, call, settings, size=len(body))
        try:
            if on_text is None:
                found = await complete(line, body, call, seconds=settings.timeout)
            else:
                found = await stream(line, fields, call, on_text, seconds=settings.timeout)
        except (OpenAIError, AttemptFailedError):
            raise explain(call, connection, settings.server) from None
        return _answer(found, call, self.thread.loop.time() - started)

    def client(self, settings: Settings) -> AsyncOpenAI:
        """A paced ``AsyncOpenAI``; it may be used from any event loop."""
        return self.thread.run(self._line_on_loop(settings)).client

    def sync_client(self, settings: Settings) -> OpenAI:
        """A paced ``OpenAI``; it may be used from any thread."""
        return self.thread.run(self._line_on_loop(settings)).sync_client()

    def close(self) -> None:
        """Close the sockets and end the thread."""

        async def shutdown() -> None:
            for line in self._lines.values():
                await line.close()

        if not self.thread.is_current:
            self.thread.run(shutdown())
            self.thread.close()

    async def _line_on_loop(self, settings: Settings) -> Line:
        return self._line(settings.connection(), settings)

    def _line(self, connection: Connection, settings: Settings) -> Line:
        # Kept until the session ends: dropping an unclosed client can hang the next one.
        line = self._lines.get(connection)
        if line is None:
            line = self._lines[connection] = Line(
                connection,
                settings,
                thread=self.thread,
                pacer=self.pacer,
                meter=self.meter,
                key=len(self._lines),
            )
        return line


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


def _max_tokens_field(base_url: str) -> str:
    # OpenAI's reasoning models refuse max_tokens; many other servers know nothing else.
    return "max_completion_tokens" if base_url.startswith(OPENAI_URL) else "max_tokens"


def _json(fields: Mapping[str, object]) -> bytes:
    try:
        return json_body(fields)
    except UnicodeEncodeError as error:
        raise RequestError(
            f"Not sent: the prompt holds {error.object[error.start]!r}, half of a character.",
            reason="prompt",
            attempts=0,
        ) from None


def _estimate(prompt: Prompt, call: Call, settings: Settings, *, size: int) -> None:
    call.model = prompt.model
    call.max_tokens = prompt.max_tokens
    call.prompt_tokens = estimate_messages(prompt.messages)
    call.prompt_bytes = size
    call.timeout = settings.timeout
    call.deadline = settings.deadline
    call.max_attempts = settings.max_attempts


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
