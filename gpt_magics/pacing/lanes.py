"""One lane: all requests to one server, with one key, for one model.

A lane decides who may start, strictly first come, first served, interactive before batch. It is
synchronous and owns no clock: its caller tells it the time, starts what it returns, and comes back
after ``wait`` seconds or at the next event.

Rule 1: whoever is at the head goes first, however large; smaller ones never overtake within a
        queue (smallest-first starves large prompts).
Rule 2: the first request goes alone, because only an answer tells the limits.
Rule 3: what started stays charged until an answer's headers say otherwise.
Rule 4: a refusal pauses everybody, unless it only says that fewer may be in flight.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from gpt_magics.pacing.account import Account
from gpt_magics.pacing.buckets import Ask, Bucket
from gpt_magics.pacing.concurrency import Concurrency
from gpt_magics.pacing.headers import Reading
from gpt_magics.pacing.limits import Limits
from gpt_magics.pacing.pace import Throttle
from gpt_magics.pacing.tickets import Ticket

__all__ = ["Lane", "LimitView", "Ticket"]


_NEVER: tuple[Ticket | None, float, float] = (None, 0.0, 0.0)


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

    def __init__(self, *, max_in_flight: int, account: Account | None = None) -> None:
        self.concurrency = Concurrency(max_in_flight)
        self._account = account or Account()
        self._account.open(self)
        self._limits = Limits(self, self._account)
        self._throttle = Throttle()
        self._interactive: deque[Ticket] = deque()
        self._batch: deque[Ticket] = deque()
        self._flying: set[Ticket] = set()
        self._paused_until = self._full_at = float("-inf")
        self._learned = False
        # Who could not start when, and for how many seconds; void as soon as anything changes.
        self._looked_at = _NEVER

    def __repr__(self) -> str:
        return f"<Lane {self.in_flight} in flight, {self.queued} queued>"

    @property
    def in_flight(self) -> int:
        """How many requests are out."""
        return len(self._flying)

    @property
    def flying(self) -> Collection[Ticket]:
        """The requests that are out."""
        return self._flying

    @property
    def queued(self) -> int:
        """How many requests wait."""
        return len(self._interactive) + len(self._batch)

    @property
    def head(self) -> Ticket | None:
        """Who goes next."""
        if self._interactive:
            return self._interactive[0]
        return self._batch[0] if self._batch else None

    @property
    def buckets(self) -> dict[str, Bucket]:
        """The limits that the server has reported, by dimension."""
        return self._limits.buckets

    # The queue.

    def join(self, ticket: Ticket) -> None:
        """Queue a request."""
        (self._interactive if ticket.interactive else self._batch).append(ticket)

    def leave(self, ticket: Ticket) -> None:
        """Take a waiting request out of the queue, for instance because it was cancelled."""
        queue = self._interactive if ticket.interactive else self._batch
        if ticket in queue:
            queue.remove(ticket)
            self._account.unclaim(ticket)

    def clear(self) -> list[Ticket]:
        """Empty the queue and return who waited, because going on is pointless.

        Whoever tries next goes alone again, to learn whether it is still so.
        """
        self._learned = False
        waiting = [*self._interactive, *self._batch]
        for ticket in waiting:
            self._account.unclaim(ticket)
        self._interactive.clear()
        self._batch.clear()
        return waiting

    def start(self, now: float, room: int) -> list[Ticket]:
        """Charge and return the requests that may be sent now, at most ``room``."""
        started: list[Ticket] = []
        while len(started) < room and self._has_slot() and (head := self.head) is not None:
            delay = self._delay(head, now)
            if delay > 0:
                self._looked_at = (head, now, delay)
                break
            (self._interactive if head.interactive else self._batch).popleft()
            self._send(head, now)
            started.append(head)
        if self.queued and not self._has_slot():
            self._full_at = now
        return started

    def wait(self, now: float) -> float | None:
        """Seconds until the head may start by time alone; ``None`` if an event must come first."""
        head = self.head
        if head is None or not self._has_slot():
            return None
        known_head, known_at, delay = self._looked_at
        if known_head is head and known_at == now:  # ``start`` has just found out
            return delay
        return self._delay(head, now)

    # What becomes of requests.

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
        self._looked_at = _NEVER
        sent = now if ticket.sent is None else ticket.sent
        if not self._learned:
            self._learned = True
            self._limits.first_answer(now - sent, worked)
        if refused:
            ticket.refund()
        else:
            self._limits.let_in(ticket)
        if readings and not self.buckets:
            self.concurrency.open()
        charged = sent if worked is None else min(now, max(sent, now - worked))
        self._limits.answered(ticket, readings, now, charged=charged)
        ticket.close()

    def succeeded(self, ticket: Ticket, now: float) -> None:
        """The server had room for this request, which is answered now."""
        sent = now if ticket.sent is None else ticket.sent
        self.concurrency.answered(used=self._full_at >= sent, seconds=now - sent)
        for bucket in self.buckets.values():
            bucket.confirmed()

    def refused(
        self,
        ticket: Ticket,
        readings: Sequence[Reading],
        now: float,
        *,
        pause: float,
        limited: bool = True,
        reached: Reading | None = None,
    ) -> bool:
        """The server had no room for this request, and asks for a pause of so many seconds.

        Call it after ``answered``. Returns whether everybody has to wait; if not, only this
        request has to: the server's capacity is known better now, and the others keep to it.

        ``limited`` tells a rate limit from a server that is overloaded; ``reached`` is the limit
        that the refusal names.
        """
        self._limits.ended(ticket)
        # Those sent after it may have overtaken it.
        abreast = max(ticket.abreast, len(self._flying | {ticket}))
        if reached is not None and self._limits.heard(ticket, reached, now):
            pass  # a limit that headers do not tell of, known from now on
        elif not limited or not self._limits.explain(ticket, readings, now):
            # Where limits are told, they may yet be the reason; elsewhere it holds no more.
            told = limited and bool(readings)
            if self.concurrency.refused(in_flight=abreast, sure=not told) and not told:
                return False
        self.pause(now + pause)
        return True

    def pause(self, until: float) -> None:
        """Start nothing before ``until``. Pauses only grow."""
        self._paused_until = max(self._paused_until, until)
        self._looked_at = _NEVER

    def slow_down(self, ticket: Ticket, now: float) -> None:
        """The answer to this request asked for fewer requests a second."""
        self._throttle.halve(now, now if ticket.sent is None else ticket.sent)
        self._looked_at = _NEVER

    def released(self, ticket: Ticket, *, reached_server: bool = True) -> None:
        """End a request's time in flight. What never reached the server is given back."""
        self._flying.discard(ticket)
        self._looked_at = _NEVER
        self._limits.ended(ticket)
        if not reached_server:
            ticket.refund()
        ticket.close()

    def resize(self, max_in_flight: int) -> None:
        """Change how many requests may be in flight at most."""
        self.concurrency.ceiling = max_in_flight
        if self.buckets:
            self.concurrency.open()

    # What others want to know.

    def waiting_for(self, now: float) -> tuple[str, float]:
        """What the head waits for, and how many seconds at least.

        The first is a dimension, or ``"pause"``, ``"slot"``, ``"first answer"``, ``"slow down"``
        or ``""``.
        """
        head = self.head
        if head is None:
            return "", 0.0
        if not self._has_slot():
            return ("slot" if self._learned else "first answer"), 0.0
        if self._paused_until > now:
            return "pause", self._paused_until - now
        waits = {**self._limits.waits(head, now), "slow down": self._throttle.wait(now)}
        slowest = max(waits, key=lambda dimension: waits[dimension])
        return (slowest, waits[slowest]) if waits[slowest] > 0 else ("", 0.0)

    def never_fits(self, ask: Ask) -> bool:
        """Whether a request costs more than a whole limit, so that no waiting will help."""
        return self._limits.never_fit(ask)

    def cost(self, ask: Ask, bucket: Bucket) -> float:
        """What a request is expected to take from a bucket."""
        return self._limits.cost(ask, bucket)

    def limits(self, now: float) -> list[LimitView]:
        """The headroom on every dimension that the server has reported."""
        return [
            LimitView(b.dimension, b.limit, max(0.0, b.level(now)), b.rate, b.window)
            for b in self.buckets.values()
        ]

    def _has_slot(self) -> bool:
        return len(self._flying) < (self.concurrency.cap if self._learned else 1)

    def _delay(self, head: Ticket, now: float) -> float:
        delay = max(0.0, self._paused_until - now, self._throttle.wait(now))
        if not self._learned:
            return max(delay, self._limits.courtesy(head, now))
        return max(delay, self._limits.wait(head, now))

    def _send(self, ticket: Ticket, now: float) -> None:
        ticket.sent = now
        self._flying.add(ticket)
        ticket.abreast = len(self._flying)
        self._account.unclaim(ticket)
        self._throttle.take(now)
        self._limits.charge(ticket, now)
