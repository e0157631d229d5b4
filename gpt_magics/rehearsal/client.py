"""The client's side: a bounded set of rows at work, one lane, retries, on a virtual clock.

What ``jobs.runner``, ``session.pacer`` and ``session.choke_point`` do with tasks and timers is done
here with a heap of events: the lane and the policy are the same objects, called in the same order.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import cycle

from gpt_magics.pacing.buckets import Ask
from gpt_magics.pacing.headers import reached
from gpt_magics.pacing.lanes import Lane, Ticket
from gpt_magics.pacing.retries import Failure, Kind, Retry, StopQueue, is_refusal, judge
from gpt_magics.rehearsal.plan import Plan
from gpt_magics.rehearsal.server import NO_REPLY, Reply, Server

_TOO_MANY_REQUESTS = 429
_TIMEOUT = Failure(Kind.TIMEOUT, message="No complete answer in time.")
# A loop's clock does not come back earlier, however short the wait.
_TICK = 1e-6
# With the timer due so soon, an answer does not wake the queue: the timer will.
_NAP = 0.002
# How often it is noted what the head of the queue waits for: so many times in the ideal time.
_LOOKS = 400


@dataclass(slots=True)
class Tally:
    """What has happened so far.

    Attributes:
        answered: rows with an answer.
        failed: rows that ended without one, or never began.
        requests: requests sent.
        admitted: those that the server let in.
        refused: those that it had no room for.
        retries: attempts that failed and were repeated.
        tokens_in: of the prompts that were answered.
        tokens_out: of their answers.
        first: when the first request was let in.
        last: when the latest was let in.
        ended: when the latest row ended.
        waited: seconds by what the queue waited for.
        stopped: why the whole queue was stopped, if it was.
    """

    answered: int = 0
    failed: int = 0
    requests: int = 0
    admitted: int = 0
    refused: int = 0
    retries: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    first: float | None = None
    last: float = 0.0
    ended: float = 0.0
    waited: dict[str, float] = field(default_factory=dict)
    stopped: str | None = None

    @property
    def rows(self) -> int:
        """Rows that have ended."""
        return self.answered + self.failed

    @property
    def span(self) -> float:
        """Seconds from the first to the latest request that was let in."""
        return self.last - (self.last if self.first is None else self.first)


@dataclass(eq=False, slots=True)
class Attempt(Ticket):
    """A row's place in the lane; each attempt has a new one.

    Attributes:
        size: the prompt's tokens.
        charge: the tokens that the server charges for it.
        number: which attempt of the row it is, from 1.
        reply: what becomes of it.
    """

    size: int = 0
    charge: int = 0
    number: int = 1
    reply: Reply = NO_REPLY


class Client:
    """Works a plan off. Times are virtual seconds, from 0."""

    def __init__(self, plan: Plan) -> None:
        self.tally = Tally()
        self._plan = plan
        self._now = 0.0
        self._server = Server(plan)
        self._at_work = 0  # requests that the server is busy with
        self._lane = Lane(max_in_flight=plan.max_in_flight)
        self._random = random.Random(f"{plan.seed} client")  # noqa: S311 - jitter is no secret
        asks = {size: _ask(plan, size) for size in plan.sizes}
        self._fresh = cycle([(asks[size], size) for size in plan.sizes])
        self._answer_tokens = plan.answer_tokens
        self._left = plan.rows
        self._events: list[tuple[float, int, Callable[[Attempt], None], Attempt]] = []
        self._numbered = 0
        self._timer = 0.0
        self._server_seen = False
        self._looked, self._look_next = 0.0, 0.0
        self._look_every = min(plan.ideal, 3600.0) / _LOOKS
        self._blamed = "requests"
        for _ in range(min(plan.max_in_flight, plan.rows)):
            self._next_row()

    def __repr__(self) -> str:
        return f"<Client at {self._now:g} s: {self._lane}>"

    def run(self, rows: int) -> Tally:
        """Go on until so many rows have ended; memory does not grow with their number."""
        tally, events = self.tally, self._events
        while tally.rows < rows:
            if events and events[0][0] <= self._timer:
                self._now, _, happens, attempt = heappop(events)
                happens(attempt)
                if events and events[0][0] <= self._now:
                    continue  # all that is new at one moment is told before anybody starts
                if self._timer > self._now + _NAP:
                    self._wake()
            elif self._timer < math.inf:
                self._now = self._timer
                self._pump()
            else:
                raise RuntimeError(f"Nothing will ever happen again: {self!r}")
            if self._now >= self._look_next:
                self._look()
        return tally

    # Who starts.

    def _pump(self) -> None:
        """Start whoever may start, one by one, and set the timer for the next."""
        lane, now = self._lane, self._now
        while started := lane.start(now, 1):
            self._send(started[0])
            wait = lane.wait(now)
            if wait is None or wait > 0:
                break
        else:
            wait = lane.wait(now)
        self._timer = math.inf if wait is None else now + max(wait, _TICK)

    def _wake(self) -> None:
        """Something has changed; mostly it is still too early for the next."""
        wait = self._lane.wait(self._now)
        if wait is None or wait > 0:
            self._timer = math.inf if wait is None else self._now + max(wait, _TICK)
        else:
            self._pump()

    def _send(self, attempt: Ticket) -> None:
        assert isinstance(attempt, Attempt)  # noqa: S101 - nobody else joins this lane
        tally, now = self.tally, self._now
        tally.requests += 1
        reply = attempt.reply = self._server.meet(attempt.charge, self._at_work, now)
        if reply.admitted:
            self._at_work += 1
            tally.admitted += 1
            tally.last = now
            if tally.first is None:
                tally.first = now
        timeout = self._plan.timeout
        if reply.after < timeout:
            self._later(reply.after, self._replied, attempt)
        else:
            self._later(timeout, self._timed_out, attempt)

    def _later(self, after: float, happens: Callable[[Attempt], None], attempt: Attempt) -> None:
        self._numbered += 1
        heappush(self._events, (self._now + after, self._numbered, happens, attempt))

    # What comes back.

    def _replied(self, attempt: Attempt) -> None:
        lane, now, reply = self._lane, self._now, attempt.reply
        self._at_work -= reply.admitted
        self._server_seen = True
        failure = reply.failure
        refused = failure is not None and failure.status == _TOO_MANY_REQUESTS
        lane.answered(attempt, reply.readings, now, refused=refused)
        if failure is None:
            lane.succeeded(attempt, now)
            lane.released(attempt)
            self._answered(attempt)
        else:
            lane.released(attempt)
            self._failed(attempt, failure)

    def _timed_out(self, attempt: Attempt) -> None:
        self._at_work -= 1
        self._lane.released(attempt)
        self._failed(attempt, _TIMEOUT)

    def _failed(self, attempt: Attempt, failure: Failure) -> None:
        verdict = judge(
            failure,
            attempt=attempt.number,
            max_attempts=self._plan.max_attempts,
            server_seen=self._server_seen,
            never_fits=self._lane.never_fits(attempt.ask),
            jitter=self._random.random(),
        )
        after = verdict.after if isinstance(verdict, Retry) else 0.0
        if is_refusal(failure) and self._refused(attempt, failure, after):
            after = 0.0  # the whole lane waits, in the queue
        if isinstance(verdict, Retry):
            if verdict.halve_rate:
                self._lane.slow_down(attempt, self._now)
            self.tally.retries += 1
            self._later(after, self._repeat, attempt)
            return
        if isinstance(verdict, StopQueue):
            self._stop(verdict.reason)
        self._gone()

    def _refused(self, attempt: Attempt, failure: Failure, pause: float) -> bool:
        self.tally.refused += 1
        limited = failure.status == _TOO_MANY_REQUESTS
        self._blamed = _exhausted(attempt) if limited else "in flight"
        return self._lane.refused(
            attempt,
            attempt.reply.readings,
            self._now,
            pause=pause,
            limited=limited,
            reached=reached(failure.message),
        )

    # What becomes of rows.

    def _next_row(self) -> None:
        if self._left:
            self._left -= 1
            ask, size = next(self._fresh)
            self._lane.join(Attempt(ask, size=size, charge=int(ask.tokens)))

    def _repeat(self, attempt: Attempt) -> None:
        if self.tally.stopped is None:
            self._lane.join(
                Attempt(
                    attempt.ask,
                    size=attempt.size,
                    charge=attempt.charge,
                    number=attempt.number + 1,
                )
            )
        else:
            self._gone()

    def _answered(self, attempt: Attempt) -> None:
        tally = self.tally
        tally.answered += 1
        tally.tokens_in += attempt.size
        tally.tokens_out += self._answer_tokens
        tally.ended = self._now
        self._next_row()

    def _gone(self) -> None:
        self.tally.failed += 1
        self.tally.ended = self._now
        self._next_row()

    def _stop(self, reason: str) -> None:
        """Send nothing more; what is in flight comes to its end."""
        self.tally.stopped = reason
        self.tally.failed += self._left + len(self._lane.clear())
        self._left = 0

    # What it waited for.

    def _look(self) -> None:
        now = self._now
        waited, obstacle = self.tally.waited, self._obstacle()
        waited[obstacle] = waited.get(obstacle, 0.0) + now - self._looked
        self._looked, self._look_next = now, now + self._look_every

    def _obstacle(self) -> str:
        if self._lane.head is None:
            return "in flight" if self._left else "latency"
        reason, _ = self._lane.waiting_for(self._now)
        if reason in ("pause", "slow down"):
            return self._blamed
        return {"slot": "in flight", "first answer": "latency", "": "latency"}.get(reason, reason)


def _ask(plan: Plan, size: int) -> Ask:
    return Ask(tokens=plan.charge(size), least=size, kind="rehearsal")


def _exhausted(attempt: Attempt) -> str:
    """Which limit a refusal is about: the one with the least left, as a share."""
    told = attempt.reply.readings
    return min(told, key=lambda r: r.remaining / r.limit).dimension if told else "requests"
