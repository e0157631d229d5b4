"""One lane: all requests to one server, with one key, for one model.

A lane decides who may start, strictly first come, first served, interactive before batch. It is
synchronous and owns no clock: its caller tells it the time, starts what it returns, and comes back
after ``wait`` seconds or at the next event.

Rule 1: whoever is at the head goes first, however large; smaller ones never overtake within a
        queue (smallest-first starves large prompts).
Rule 2: the first request goes alone, because only an answer tells the limits.
Rule 3: what started stays charged until an answer's headers say otherwise.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from gpt_magics.pacing.buckets import Ask, Bucket, Stamp
from gpt_magics.pacing.concurrency import Concurrency
from gpt_magics.pacing.headers import Reading


@dataclass(eq=False, slots=True)
class Ticket:
    """A request's place in its lane. ``sent`` is ``None`` while it waits."""

    ask: Ask
    interactive: bool = False
    sent: float | None = None
    stamps: dict[str, Stamp] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LimitView:
    """What is left of one limit: capacity, level and refill a second, in the dimension's unit."""

    dimension: str
    limit: float
    level: float
    rate: float
    window: float


class Lane:
    """The queue and the limits of one (server, key, model)."""

    def __init__(self, *, max_in_flight: int) -> None:
        self.concurrency = Concurrency(max_in_flight)
        self.in_flight = 0
        self._buckets: dict[str, Bucket] = {}
        self._interactive: deque[Ticket] = deque()
        self._batch: deque[Ticket] = deque()
        self._unanswered: dict[Ticket, None] = {}  # in the order of sending
        self._paused_until = float("-inf")
        self._learned = False

    def __repr__(self) -> str:
        return f"<Lane {self.in_flight} in flight, {self.queued} queued>"

    @property
    def queued(self) -> int:
        """How many requests wait."""
        return len(self._interactive) + len(self._batch)

    def join(self, ticket: Ticket) -> None:
        """Queue a request."""
        (self._interactive if ticket.interactive else self._batch).append(ticket)

    def leave(self, ticket: Ticket) -> None:
        """Take a waiting request out of the queue, for instance because it was cancelled."""
        queue = self._interactive if ticket.interactive else self._batch
        if ticket in queue:
            queue.remove(ticket)

    def clear(self) -> list[Ticket]:
        """Empty the queue and return who waited, because going on is pointless.

        Whoever tries next goes alone again, to learn whether it is still so.
        """
        self._learned = False
        waiting = [*self._interactive, *self._batch]
        self._interactive.clear()
        self._batch.clear()
        return waiting

    def start(self, now: float, room: int) -> list[Ticket]:
        """Charge and return the requests that may be sent now, at most ``room``."""
        started: list[Ticket] = []
        while len(started) < room and self._has_slot() and (head := self._head()) is not None:
            if self._delay(head.ask, now) > 0:
                break
            (self._interactive if head.interactive else self._batch).popleft()
            self._charge(head, now)
            started.append(head)
        return started

    def wait(self, now: float) -> float | None:
        """Seconds until the head may start by time alone; ``None`` if an event must come first."""
        head = self._head()
        if head is None or not self._has_slot():
            return None
        return self._delay(head.ask, now)

    def answered(
        self,
        ticket: Ticket,
        readings: Sequence[Reading],
        now: float,
        *,
        worked: float | None = None,
        refused: bool = False,
    ) -> None:
        """Correct the limits by what the answer to ``ticket`` reported.

        A request that was ``refused`` for want of room was not charged; its own headers say
        otherwise where a server charges it nevertheless.

        ``worked`` are the seconds that the server says it took. A request that had to connect
        first, or that a busy loop held up, came to it later than it was sent; taken as of the
        sending, its word would promise what the bucket had not yet refilled.
        """
        self._learned = True
        sent = now if ticket.sent is None else ticket.sent
        as_of = sent if worked is None else min(now, max(sent, now - worked))
        self._unanswered.pop(ticket, None)
        if refused:
            self._refund(ticket)
        if readings and not self._buckets:
            self.concurrency.open()
        for reading in readings:
            self._correct(ticket, reading, as_of)

    def released(self, ticket: Ticket, *, reached_server: bool = True) -> None:
        """End a request's time in flight. What never reached the server is given back."""
        self.in_flight -= 1
        self._unanswered.pop(ticket, None)
        if not reached_server:
            self._refund(ticket)

    def pause(self, until: float) -> None:
        """Start nothing before ``until``: the server asked for it. Pauses only grow."""
        self._paused_until = max(self._paused_until, until)

    def waiting_for(self, now: float) -> tuple[str, float]:
        """What the head waits for, and how many seconds at least.

        The first is a dimension, or ``"pause"``, ``"slot"``, ``"first answer"`` or ``""``.
        """
        head = self._head()
        if head is None:
            return "", 0.0
        if not self._has_slot():
            return ("slot" if self._learned else "first answer"), 0.0
        if self._paused_until > now:
            return "pause", self._paused_until - now
        waits = {b.dimension: b.wait(head.ask.on(b.dimension), now) for b in self._buckets.values()}
        slowest = max(waits, key=lambda dimension: waits[dimension], default="")
        return (slowest, waits[slowest]) if slowest and waits[slowest] > 0 else ("", 0.0)

    def never_fits(self, ask: Ask) -> bool:
        """Whether a request costs more than a whole limit, so that no waiting will help."""
        return any(ask.on(b.dimension) > b.limit for b in self._buckets.values())

    def resize(self, max_in_flight: int) -> None:
        """Change how many requests may be in flight at most."""
        self.concurrency.ceiling = max_in_flight
        if self._buckets:
            self.concurrency.open()

    def limits(self, now: float) -> list[LimitView]:
        """The headroom on every dimension that the server has reported."""
        return [
            LimitView(b.dimension, b.limit, max(0.0, b.level(now)), b.rate, b.window)
            for b in self._buckets.values()
        ]

    def _head(self) -> Ticket | None:
        if self._interactive:
            return self._interactive[0]
        return self._batch[0] if self._batch else None

    def _has_slot(self) -> bool:
        return self.in_flight < (self.concurrency.cap if self._learned else 1)

    def _delay(self, ask: Ask, now: float) -> float:
        delay = max(0.0, self._paused_until - now)
        for bucket in self._buckets.values():
            delay = max(delay, bucket.wait(ask.on(bucket.dimension), now))
        return delay

    def _refund(self, ticket: Ticket) -> None:
        for dimension, stamp in ticket.stamps.items():
            self._buckets[dimension].refund(ticket.ask.on(dimension), stamp)

    def _charge(self, ticket: Ticket, now: float) -> None:
        ticket.sent = now
        self.in_flight += 1
        self._unanswered[ticket] = None
        for bucket in self._buckets.values():
            ticket.stamps[bucket.dimension] = bucket.take(ticket.ask.on(bucket.dimension), now)

    def _correct(self, ticket: Ticket, reading: Reading, as_of: float) -> None:
        bucket = self._buckets.get(reading.dimension)
        stamp = ticket.stamps.get(reading.dimension)
        if bucket is None:
            # First sight of this dimension: others in flight are unknown to it, which rule 2
            # keeps to a minimum.
            bucket = self._buckets[reading.dimension] = Bucket(reading, now=as_of)
            bucket.correct(reading, Stamp(as_of, 0.0))
        elif stamp is not None:
            others = self._others(reading.dimension)
            bucket.correct(reading, stamp, as_of=as_of, unanswered=others)

    def _others(self, dimension: str) -> Iterator[tuple[Stamp, float]]:
        for ticket in reversed(self._unanswered):
            if dimension in ticket.stamps:
                yield ticket.stamps[dimension], ticket.ask.on(dimension)
