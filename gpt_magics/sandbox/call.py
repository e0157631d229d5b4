"""One admitted request on its way to an answer."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiohttp import web

from gpt_magics.sandbox.wire import Json, encode

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from gpt_magics.sandbox.faults import Fate
    from gpt_magics.sandbox.stats import Stats

_JSON = {"content-type": "application/json"}


@dataclass
class Call:
    """An admitted request with all that an endpoint needs to answer it.

    Attributes:
        request: as aiohttp has it.
        raw: the body's bytes.
        body: the body's JSON, ``{}`` if it is none.
        model: the model asked for; "" on routes without one.
        headers: what every answer to it carries.
        fate: what goes wrong with it.
        stats: where its outcome is counted.
        began: when it arrived, by ``time.perf_counter``.
    """

    request: web.Request
    raw: bytes
    body: Json
    model: str
    headers: dict[str, str]
    fate: Fate
    stats: Stats
    began: float

    @property
    def name(self) -> str:
        """The id in the path."""
        return self.request.match_info.get("name", "")

    def answer(self, body: object) -> web.Response:
        """Answer with JSON."""
        return web.Response(body=encode(body), headers={**self.headers, **_JSON})

    async def stream(self, events: list[bytes], end: bytes, *, pace: float) -> web.StreamResponse:
        """Answer with server-sent events, ``pace`` a second, or all at once if it is 0."""
        if self.fate.breaks:
            events, end = events[: len(events) // 2], b""
        kind = {"content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache"}
        response = await self.open_stream({**self.headers, **kind})
        for each in events if pace else ():
            await response.write(each)
            await asyncio.sleep(1 / pace)
        rest = (b"" if pace else b"".join(events)) + end
        if self.fate.breaks:
            await response.write(rest)
            self.cut_off()
            return response
        # Counted before the end leaves: whoever has read it finds it in the stats.
        self.stats.answered += 1
        if rest:
            await response.write(rest)
        return response

    async def open_stream(self, headers: dict[str, str], status: int = 200) -> web.StreamResponse:
        """Send the head of a streamed answer."""
        headers = {**headers, "openai-processing-ms": milliseconds_since(self.began)}
        response = web.StreamResponse(status=status, headers=headers)
        await response.prepare(self.request)
        return response

    def cut_off(self) -> None:
        """Close the connection in the middle of a stream."""
        self.stats.broken += 1
        if self.request.transport is not None:
            self.request.transport.close()


@dataclass(frozen=True)
class Endpoint:
    """A route, how it is answered, and for model routes the texts that are charged.

    Attributes:
        method: GET, POST, DELETE or ``*``.
        path: below /v1.
        answer: makes the response.
        texts: reads the texts out of the body; ``None`` on routes without a model.
        slow: whether the latency applies.
    """

    method: str
    path: str
    answer: Callable[[Call], Awaitable[web.StreamResponse]]
    texts: Callable[[Json], list[str]] | None = None
    slow: bool = False


def milliseconds_since(began: float) -> str:
    """Return what ``openai-processing-ms`` says."""
    return str(round((time.perf_counter() - began) * 1000))


def wall_clock() -> int:
    """Return the unix time that goes into ``created`` fields."""
    return int(time.time())
