"""The choke point: every request of the kernel passes ``PacedHttpClient.send``.

Chats, streams, polls, uploads and the user's own SDK calls all end in the http client's public
``send``; so this is where a request waits for its slot, is counted, paid for, and retried.
Subclassing the client (rather than passing a transport) keeps the environment's proxies.

Whatever thread or loop calls, the request itself runs on the session's loop: one client belongs
to one loop.
"""

from __future__ import annotations

import asyncio
import random
import re
import time
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

import httpx2
from openai import DefaultAioHttpClient, DefaultHttpxClient
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception

from gpt_magics.errors import QueueStoppedError
from gpt_magics.pacing.headers import readings
from gpt_magics.pacing.retries import Failure, GiveUp, Retry, StopQueue, Verdict, is_refusal, judge
from gpt_magics.session.call import Call, call_of_own_code, current_call
from gpt_magics.session.failures import failure_of_exception, failure_of_response, never_reached
from gpt_magics.session.loop import LoopThread, wait
from gpt_magics.session.metering import Meter
from gpt_magics.session.pacer import LaneKey, Pacer, Slot
from gpt_magics.session.streams import BridgedStream, MeteredStream, SyncBridgedStream
from gpt_magics.settings import Secret
from gpt_magics.spend.budget import Reservation

# An upload up to this size is buffered, so that it can be sent again.
_REPLAYABLE_BYTES = 8_000_000
KEY_STAND_IN = "kept-by-gpt_magics"
"""What the SDK is given for a key; the real one is put in at the choke point."""

_ERROR_STATUS = 400
_REFUSED_STATUS = 429
_MILLISECONDS = re.compile(r"[0-9]{1,9}")
_ENCODING_HEADERS = {"content-encoding", "content-length", "transfer-encoding"}


class AttemptFailedError(Exception):
    """One failed attempt and what follows from it; it never leaves this module."""

    def __init__(self, verdict: Verdict, outcome: httpx2.Response | Exception) -> None:
        super().__init__(verdict)
        self.verdict = verdict
        self.outcome = outcome


@dataclass(frozen=True, slots=True, eq=False)
class _Errand:
    """A request on its way: all that an attempt needs."""

    request: httpx2.Request
    call: Call
    reservation: Reservation
    stream: bool
    options: dict[str, Any]
    replayable: bool


class PacedHttpClient(DefaultAioHttpClient):
    """The SDK's aiohttp-backed client with the pacer in front of the wire."""

    def __init__(
        self,
        *,
        thread: LoopThread,
        pacer: Pacer,
        meter: Meter,
        base_url: str,
        api_key: Secret,
        key: int,
        timeout: float,
        max_attempts: int,
    ) -> None:
        super().__init__(timeout=httpx2.Timeout(timeout, connect=min(timeout, 10.0)))
        self._thread, self._pacer, self._meter = thread, pacer, meter
        self._address, self._key, self._max_attempts = base_url, key, max_attempts
        self._api_key = api_key
        self._server_seen = False
        self._retrying = AsyncRetrying(
            retry=retry_if_exception(_is_retry), wait=_own_wait, sleep=asyncio.sleep
        )

    async def send(
        self, request: httpx2.Request, *, stream: bool = False, **options: Any
    ) -> httpx2.Response:
        """Send a request through the pacer, from any loop."""
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
        """Reserve, queue, send, retry, settle; on the session's loop.

        Returns an error response, or raises the transport's exception, when the call has failed
        for good, as the SDK expects; ``call`` then holds failure and verdict.
        """
        body = await _replayable_body(request)
        if call is None:
            call = call_of_own_code(body)
        call.base_url = self._address
        if request.headers.get("authorization") == f"Bearer {KEY_STAND_IN}":
            request.headers["authorization"] = f"Bearer {self._api_key}"
        errand = _Errand(
            request, call, self._meter.reserve(call), stream, options, replayable=body is not None
        )
        try:
            return await self._retrying.copy()(self._attempt, errand)
        except AttemptFailedError as failed:
            errand.reservation.release()
            return self._failed(failed, call)
        except BaseException:
            if call.in_flight:
                call.in_flight = False
                self._meter.settle_abandoned(call, errand.reservation)
            errand.reservation.release()
            raise

    async def _attempt(self, errand: _Errand) -> httpx2.Response:
        call = errand.call
        slot = await self._pacer.acquire(
            self._lane_key(call), call.ask, interactive=call.interactive
        )
        self._count(call)
        try:
            response = await self._send_in_time(errand)
            self._server_seen = True
            if response.status_code >= _ERROR_STATUS:
                await response.aread()
                await response.aclose()
        except (httpx2.RequestError, TimeoutError) as error:
            call.in_flight = False
            reached = not never_reached(error)
            slot.release(reached_server=reached)
            if reached:
                self._meter.count_abandoned(call)
            raise self._failed_attempt(errand, slot, failure_of_exception(error), error) from error
        except BaseException:
            slot.release()
            raise  # ``in_flight`` stays set: what was cancelled in flight may be billed
        # From here to the end without an await: nobody may start between a refusal's headers and
        # its pause.
        call.in_flight = False
        slot.answered(
            readings(response.headers.multi_items()),
            worked=_seconds_worked(response),
            refused=response.status_code == _REFUSED_STATUS,
        )
        if response.status_code >= _ERROR_STATUS:
            slot.release()
            failure = failure_of_response(response, wall_now=time.time())
            raise self._failed_attempt(errand, slot, failure, response)
        self._succeed(response, errand, slot)
        return response

    async def _send_in_time(self, errand: _Errand) -> httpx2.Response:
        # httpx's timeouts are per read: a server that drips bytes would hold a request for ever.
        seconds = errand.call.timeout or errand.request.extensions.get("timeout", {}).get("read")
        async with asyncio.timeout(seconds):
            return await super().send(errand.request, stream=errand.stream, **errand.options)

    def _count(self, call: Call) -> None:
        call.attempts += 1
        call.in_flight = True
        self._meter.requests += 1
        self._meter.by_origin[call.origin] += 1

    def _succeed(self, response: httpx2.Response, errand: _Errand, slot: Slot) -> None:
        call, reservation = errand.call, errand.reservation
        slot.succeeded()
        call.request_id = response.headers.get("x-request-id")
        if not errand.stream:
            self._meter.settle(call, reservation, response.content)
            slot.release()
            return

        def ended(tail: bytes, events: int) -> None:
            slot.release()
            self._meter.settle_stream(call, reservation, tail, events=events)

        kind = response.headers.get("content-type", "")
        response.stream = MeteredStream(response.stream, kind, ended)

    def _failed_attempt(
        self, errand: _Errand, slot: Slot, failure: Failure, outcome: httpx2.Response | Exception
    ) -> AttemptFailedError:
        call = errand.call
        verdict = judge(
            failure,
            attempt=call.attempts,
            max_attempts=call.max_attempts or self._max_attempts,
            server_seen=self._server_seen,
            never_fits=slot.lane.never_fits(call.ask),
            jitter=random.random(),  # noqa: S311 - jitter is no secret
        )
        refused = is_refusal(failure)
        self._meter.refused += refused
        if refused:
            slot.refused(pause=verdict.after if isinstance(verdict, Retry) else 0.0)
        if isinstance(verdict, Retry) and not errand.replayable:
            verdict = GiveUp(verdict.reason)
        if isinstance(verdict, Retry):
            call.retries[verdict.reason] += 1
            self._meter.retries[verdict.reason] += 1
        call.failure, call.verdict = failure, verdict
        return AttemptFailedError(verdict, outcome)

    def _failed(self, failed: AttemptFailedError, call: Call) -> httpx2.Response:
        if isinstance(failed.verdict, StopQueue):
            reason = failed.verdict.reason
            stopped = QueueStoppedError(f"Not sent: {reason}.", reason=reason, attempts=0)
            self._pacer.stop(self._lane_key(call), stopped)
        if isinstance(failed.outcome, TimeoutError):
            raise httpx2.ReadTimeout("No complete answer in time.") from None
        if isinstance(failed.outcome, Exception):
            raise failed.outcome
        return failed.outcome

    def _lane_key(self, call: Call) -> LaneKey:
        return LaneKey(self._address, self._key, call.model)


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
            if stream or name.lower() not in _ENCODING_HEADERS
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


def _seconds_worked(response: httpx2.Response) -> float | None:
    """How long OpenAI, and who is like it, says that it worked on an answer."""
    text = response.headers.get("openai-processing-ms", "")
    return int(text) / 1000 if _MILLISECONDS.fullmatch(text) else None


def _is_retry(error: BaseException) -> bool:
    return isinstance(error, AttemptFailedError) and isinstance(error.verdict, Retry)


def _own_wait(state: RetryCallState) -> float:
    """Seconds to sleep, holding no slot. A pause of the whole lane is waited for in the queue."""
    failed = state.outcome.exception() if state.outcome else None
    verdict = failed.verdict if isinstance(failed, AttemptFailedError) else None
    if not isinstance(verdict, Retry) or verdict.whole_lane:
        return 0.0
    return verdict.after
