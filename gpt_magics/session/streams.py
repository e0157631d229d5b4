"""Response bodies: metered while they are read, and read across threads and loops."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import httpx2

from gpt_magics.session.loop import LoopThread

# More than this of an answer in one piece is not kept to find its usage in.
_MOST_KEPT = 4_000_000
_EVENT = b"\ndata:"


class MeteredStream(httpx2.AsyncByteStream):
    """A response body that holds its slot until it is read, closed or dropped by a cancel."""

    def __init__(self, inner: Any, content_type: str, ended: Callable[[bytes, int], None]) -> None:
        self._inner = inner
        self._ended = ended
        self._told = "event-stream" in content_type or "json" in content_type
        self._tail = b""
        self._events = 0
        self._open = True

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._inner:
            self._events += chunk.count(b"data:")
            if self._told:
                self._tail = _last_events(self._tail + chunk)
            yield chunk

    async def aclose(self) -> None:
        """Close the body and settle, once."""
        try:
            await self._inner.aclose()
        finally:
            if self._open:
                self._open = False
                self._ended(self._tail, self._events)


class BridgedStream(httpx2.AsyncByteStream):
    """A response body that lives on the session's loop, read from another loop."""

    def __init__(self, inner: Any, thread: LoopThread) -> None:
        self._inner, self._thread = inner, thread

    async def __aiter__(self) -> AsyncIterator[bytes]:
        chunks = aiter(self._inner)
        while (chunk := await asyncio.wrap_future(self._thread.submit(_next(chunks)))) is not None:
            yield chunk

    async def aclose(self) -> None:
        """Close the body on the loop that owns it."""
        if not self._thread.is_closed:  # else the session has closed it
            await asyncio.wrap_future(self._thread.submit(self._inner.aclose()))


class SyncBridgedStream(httpx2.SyncByteStream):
    """The same, read from a plain thread."""

    def __init__(self, inner: Any, thread: LoopThread) -> None:
        self._inner, self._thread = inner, thread

    def __iter__(self) -> Iterator[bytes]:
        chunks = aiter(self._inner)
        while (chunk := self._thread.run(_next(chunks))) is not None:
            yield chunk

    def close(self) -> None:
        """Close the body on the loop that owns it."""
        if not self._thread.is_closed:
            self._thread.run(self._inner.aclose())


async def _next(chunks: AsyncIterator[bytes]) -> bytes | None:
    return await anext(chunks, None)


def _last_events(body: bytes) -> bytes:
    """The last two events of a stream (the usage comes in one of them), or a body without any."""
    last = body.rfind(_EVENT)
    before = body.rfind(_EVENT, 0, max(last, 0))
    return body[max(before + 1, 0) :][-_MOST_KEPT:]
