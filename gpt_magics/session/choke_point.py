"""The choke point: every request of the kernel, on whichever wire, passes ``ChokePoint.send``.

Here it waits for its slot, is counted, paid for, and repeated. There is one for each address and
key; all of it runs on the session's loop.
"""

from __future__ import annotations

import asyncio
import random
import re
import time
from collections.abc import Mapping
from dataclasses import replace

import httpx2
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception

from gpt_magics.errors import QueueStoppedError
from gpt_magics.pacing.headers import reached, readings
from gpt_magics.pacing.retries import Failure, GiveUp, Retry, StopQueue, Verdict, is_refusal, judge
from gpt_magics.session.call import Call
from gpt_magics.session.errand import A, Errand, R
from gpt_magics.session.failures import failure_of_exception, failure_of_response, never_reached
from gpt_magics.session.metering import Meter
from gpt_magics.session.pacer import LaneKey, Pacer, Slot

_REFUSED_STATUS = 429
_SHORT_BACKOFF_SECONDS = 0.1
_MILLISECONDS = re.compile(r"[0-9]{1,9}")


class AttemptFailedError(Exception):
    """A failed attempt and what follows from it; it never leaves the session's room."""

    def __init__(self, verdict: Verdict, outcome: httpx2.Response | Exception) -> None:
        super().__init__(verdict)
        self.verdict = verdict
        self.outcome = outcome


class ChokePoint:
    """The way to one server with one key.

    Args:
        pacer: the session's.
        meter: the session's.
        address: the server's.
        key: the key's number.
        max_attempts: how often a call is sent that does not say it itself.
    """

    def __init__(
        self, pacer: Pacer, meter: Meter, *, address: str, key: int, max_attempts: int
    ) -> None:
        self._pacer, self._meter = pacer, meter
        self._address, self._key, self._max_attempts = address, key, max_attempts
        self._server_seen = False
        self._retrying = AsyncRetrying(
            retry=retry_if_exception(_is_retry), wait=_own_wait, sleep=asyncio.sleep
        )

    async def send(self, errand: Errand[A, R]) -> R:
        """Reserve, queue, send, repeat, settle.

        Raises:
            AttemptFailedError: it failed for good; its call holds failure and verdict.
            BudgetError: a budget does not cover its worst case; nothing was sent.
            QueueStoppedError: its lane was stopped while it waited.
        """
        call = errand.call
        call.base_url = self._address
        errand.reservation = self._meter.reserve(call)
        try:
            return await self._until_answered(errand)
        except AttemptFailedError as failed:
            errand.reservation.release()
            if isinstance(failed.verdict, StopQueue):
                self._stop_queue(call, failed.verdict)
            raise
        except BaseException:
            if call.in_flight:
                call.in_flight = False
                self._meter.settle_abandoned(call, errand.reservation)
            errand.reservation.release()
            raise

    async def _until_answered(self, errand: Errand[A, R]) -> R:
        """Attempt it; tenacity comes in with the first failure, as most calls know none."""
        try:
            return await self._attempt(errand)
        except AttemptFailedError as failed:
            if not _is_retry(failed):
                raise
            failures = [failed]

        async def turn() -> R:
            if failures:
                raise failures.pop()
            return await self._attempt(errand)

        return await self._retrying.copy()(turn)

    async def _attempt(self, errand: Errand[A, R]) -> R:
        call = errand.call
        slot = await self._pacer.acquire(
            self._lane_key(call), call.ask, interactive=call.interactive
        )
        self._count(call)
        try:
            reply = await errand.transmit()
        except (httpx2.RequestError, TimeoutError) as error:
            call.in_flight = False
            reached = not never_reached(error)
            slot.release(reached_server=reached)
            if reached:
                self._meter.count_abandoned(call)
            forget_frames(error)
            raise self._failed(errand, slot, failure_of_exception(error), error) from error
        except BaseException as error:
            slot.release()
            forget_frames(error)
            raise  # ``in_flight`` stays set: what was cancelled in flight may be billed
        # From here to the end without an await: nobody may start between a refusal's headers and
        # its pause.
        call.in_flight = False
        self._server_seen = True
        told = dict(reply.headers)
        slot.answered(
            readings(reply.headers, wall_now=time.time()),
            worked=_seconds_worked(told),
            refused=reply.status == _REFUSED_STATUS,
        )
        if reply.failed:
            slot.release()
            response = errand.error(reply)
            failure = failure_of_response(response, wall_now=time.time())
            raise self._failed(errand, slot, failure, response)
        slot.succeeded()
        call.request_id = told.get("x-request-id")
        return errand.settle(reply, self._meter, slot.release)

    def _count(self, call: Call) -> None:
        call.attempts += 1
        call.in_flight = True
        call.sent = asyncio.get_running_loop().time()
        self._meter.requests += 1
        self._meter.by_origin[call.origin] += 1

    def _failed(
        self,
        errand: Errand[A, R],
        slot: Slot,
        failure: Failure,
        outcome: httpx2.Response | Exception,
    ) -> AttemptFailedError:
        call = errand.call
        call.seconds += asyncio.get_running_loop().time() - call.sent
        verdict = judge(
            failure,
            attempt=call.attempts,
            max_attempts=call.max_attempts or self._max_attempts,
            server_seen=self._server_seen,
            never_fits=slot.lane.never_fits(call.ask),
            jitter=random.random(),  # noqa: S311 - jitter is no secret
        )
        if is_refusal(failure):
            verdict = self._refused(slot, failure, verdict)
        elif isinstance(verdict, Retry):
            call.seconds += verdict.after
        if isinstance(verdict, Retry):
            verdict = self._repeated(errand, verdict)
        call.failure, call.verdict = failure, verdict
        return AttemptFailedError(verdict, outcome)

    def _refused(self, slot: Slot, failure: Failure, verdict: Verdict) -> Verdict:
        """Tell the lane, which knows whether everybody has to wait, or this request alone."""
        self._meter.refused += 1
        limited = failure.status == _REFUSED_STATUS
        if not isinstance(verdict, Retry):
            slot.refused(pause=0.0, limited=limited)
            return verdict
        if verdict.halve_rate:
            slot.slow_down()
        whole_lane = slot.refused(
            pause=verdict.after, limited=limited, reached=reached(failure.message)
        )
        after = verdict.after
        if not whole_lane and not failure.after:
            # Fewer are let out from now on, so that it only has to let a place become free.
            after = min(after, _SHORT_BACKOFF_SECONDS)
        return replace(verdict, whole_lane=whole_lane, after=after)

    def _repeated(self, errand: Errand[A, R], verdict: Retry) -> Retry | GiveUp:
        """Count the repetition, unless there can be none."""
        call = errand.call
        if not errand.replayable:
            return GiveUp(verdict.reason)
        if call.deadline is not None and call.seconds >= call.deadline:
            return GiveUp("timeout")
        call.retries[verdict.reason] += 1
        self._meter.retries[verdict.reason] += 1
        return verdict

    def _stop_queue(self, call: Call, verdict: StopQueue) -> None:
        stopped = QueueStoppedError(
            f"Not sent: {verdict.reason}.", reason=verdict.reason, attempts=0
        )
        self._pacer.stop(self._lane_key(call), stopped)

    def _lane_key(self, call: Call) -> LaneKey:
        return LaneKey(self._address, self._key, call.model)


def forget_frames(error: BaseException) -> None:
    """Drop the transport's frames from an error and its causes: they hold headers, and so the key.

    A notebook in ``%xmode Verbose`` shows a frame's variables.
    """
    waiting: list[BaseException | None] = [error]
    while waiting:
        each = waiting.pop()
        if each is not None and each.__traceback__ is not None:
            each.__traceback__ = None
            waiting += [each.__cause__, each.__context__]


def _seconds_worked(headers: Mapping[str, str]) -> float | None:
    """How long OpenAI, and who is like it, says that it worked on an answer."""
    text = headers.get("openai-processing-ms", "")
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
