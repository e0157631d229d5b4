"""The SDK's http clients, with the choke point in front of the wire.

Chats, streams, polls, uploads and the user's own SDK calls all end in the http client's public
``send``. Subclassing the client (rather than passing a transport) keeps the environment's proxies.

Whatever thread or loop calls, the request itself runs on the session's loop: one client belongs
to one loop.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import httpx2
from openai import DefaultAioHttpClient, DefaultHttpxClient

from gpt_magics.session.call import Call, call_of_own_code, current_call
from gpt_magics.session.choke_point import AttemptFailedError, ChokePoint
from gpt_magics.session.errand import ERROR_STATUS, Errand, Reply
from gpt_magics.session.loop import LoopThread, wait
from gpt_magics.session.metering import Meter
from gpt_magics.session.streams import BridgedStream, MeteredStream, SyncBridgedStream
from gpt_magics.settings import Secret

# An upload up to this size is buffered, so that it can be sent again.
_REPLAYABLE_BYTES = 8_000_000
KEY_STAND_IN = "kept-by-gpt_magics"
"""What the SDK is given for a key; the real one is put in when a request is sent."""

DECODED_HEADERS = frozenset({"content-encoding", "content-length", "transfer-encoding"})
"""Headers that are no longer true of a body once it has been read."""


class PacedHttpClient(DefaultAioHttpClient):
    """The SDK's aiohttp-backed client; whatever it sends passes the choke point."""

    def __init__(
        self,
        *,
        thread: LoopThread,
        choke_point: ChokePoint,
        api_key: Secret,
        timeout: float,
        tls: ssl.SSLContext,
    ) -> None:
        super().__init__(timeout=httpx2.Timeout(timeout, connect=min(timeout, 10.0)), verify=tls)
        self._thread, self._choke_point, self._api_key = thread, choke_point, api_key

    async def send(
        self, request: httpx2.Request, *, stream: bool = False, **options: Any
    ) -> httpx2.Response:
        """Send a request through the choke point, from any loop."""
        call = current_call.get()
        if self._thread.is_current:
            return await self.send_paced(request, call, stream=stream, **options)
        sending = self.submit(request, call, stream=stream, **options)
        try:
            response = await asyncio.wrap_future(sending)
        except asyncio.CancelledError:
            self.take_back(sending)
            raise
        if stream:
            response.stream = BridgedStream(response.stream, self._thread)
        return response

    def submit(
        self, request: httpx2.Request, call: Call | None, *, stream: bool, **options: Any
    ) -> Future[httpx2.Response]:
        """Begin to send a request, from another thread."""
        return self._thread.submit(
            self.send_paced(request, call, stream=stream, **options),
            unwanted=httpx2.Response.aclose,
        )

    def take_back(self, sending: Future[httpx2.Response]) -> None:
        """Stop a request, or close its response if it is there by now: it holds a slot."""

        def close(done: Future[httpx2.Response]) -> None:
            if not done.cancelled() and done.exception() is None:
                self._thread.submit(done.result().aclose())

        sending.cancel()
        sending.add_done_callback(close)

    async def aclose(self) -> None:
        """Do nothing: users may close what they were handed; the session closes it for real."""

    async def shutdown(self) -> None:
        """Close the sockets. For the session only."""
        await super().aclose()

    async def send_paced(
        self, request: httpx2.Request, call: Call | None, *, stream: bool, **options: Any
    ) -> httpx2.Response:
        """Send a request through the choke point, on the session's loop.

        Returns an error response, or raises the transport's exception, when the call has failed
        for good, as the SDK expects; ``call`` then holds failure and verdict.
        """
        body = await _replayable_body(request)
        errand = _SdkErrand(
            self, request, call or call_of_own_code(body), stream=stream, options=options
        )
        errand.replayable = body is not None
        try:
            return await self._choke_point.send(errand)
        except AttemptFailedError as failed:
            outcome = failed.outcome
        if isinstance(outcome, httpx2.Response):
            return outcome
        if isinstance(outcome, TimeoutError):
            raise httpx2.ReadTimeout("No complete answer in time.")
        raise outcome

    async def transmit(
        self,
        request: httpx2.Request,
        *,
        seconds: float | None,
        stream: bool = False,
        **options: Any,
    ) -> httpx2.Response:
        """Send a request now, and read the whole of an error. For the choke point's errands."""
        if request.headers.get("authorization") == f"Bearer {KEY_STAND_IN}":
            request.headers["authorization"] = f"Bearer {self._api_key}"
        # httpx's timeouts are per read: a server that drips bytes would hold a request for ever.
        async with asyncio.timeout(seconds):
            response = await super().send(request, stream=stream, **options)
            if response.status_code >= ERROR_STATUS:
                await response.aread()
                await response.aclose()
        return response


class _SdkErrand(Errand[httpx2.Response, httpx2.Response]):
    """A request that the SDK built, and wants a response for."""

    def __init__(
        self,
        http: PacedHttpClient,
        request: httpx2.Request,
        call: Call,
        *,
        stream: bool,
        options: dict[str, Any],
    ) -> None:
        super().__init__(call)
        self._http, self._request, self._stream, self._options = http, request, stream, options

    async def transmit(self) -> Reply[httpx2.Response]:
        """Make one attempt."""
        seconds = self.call.timeout or self._request.extensions.get("timeout", {}).get("read")
        response = await self._http.transmit(
            self._request, seconds=seconds, stream=self._stream, **self._options
        )
        return Reply(response.status_code, response.headers.multi_items(), response)

    def error(self, reply: Reply[httpx2.Response]) -> httpx2.Response:
        """The response, which is what the SDK expects."""
        return reply.answer

    def settle(
        self, reply: Reply[httpx2.Response], meter: Meter, release: Callable[[], None]
    ) -> httpx2.Response:
        """Pay by the usage in the body; a stream's when it ends."""
        response, call, reservation = reply.answer, self.call, self.reservation
        if not self._stream:
            meter.settle(call, reservation, response.content)
            release()
            return response

        def ended(tail: bytes, events: int) -> None:
            release()
            meter.settle_stream(call, reservation, tail, events=events)

        kind = response.headers.get("content-type", "")
        response.stream = MeteredStream(response.stream, kind, ended)
        return response


class PacedSyncHttpClient(DefaultHttpxClient):
    """The same choke point for the SDK's synchronous client: it waits for the session's loop."""

    def __init__(self, paced: PacedHttpClient, thread: LoopThread) -> None:
        super().__init__(timeout=paced.timeout)
        self._paced, self._thread = paced, thread

    def send(
        self, request: httpx2.Request, *, stream: bool = False, **options: Any
    ) -> httpx2.Response:
        """Send a request through the pacer and wait for it."""
        call = current_call.get()
        sending = self._paced.submit(request, call, stream=stream, **options)
        try:
            response = wait(sending)
        except BaseException:
            self._paced.take_back(sending)
            raise
        headers = [
            (name, value)
            for name, value in response.headers.multi_items()
            if stream or name.lower() not in DECODED_HEADERS
        ]
        if stream:
            source = SyncBridgedStream(response.stream, self._thread)
            return httpx2.Response(
                response.status_code, headers=headers, stream=source, request=request
            )
        return httpx2.Response(
            response.status_code, headers=headers, content=response.content, request=request
        )


async def _replayable_body(request: httpx2.Request) -> bytes | None:
    """The request's body, buffered if it is a small upload; ``None`` if it cannot be replayed."""
    try:
        return request.content
    except httpx2.RequestNotRead:
        length = int(request.headers.get("content-length", _REPLAYABLE_BYTES + 1))
        return await request.aread() if length <= _REPLAYABLE_BYTES else None
