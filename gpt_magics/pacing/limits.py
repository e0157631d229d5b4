"""The limits of one lane: its buckets, what its requests are really charged, and trials.

Bursts: the first request beyond a second's worth goes alone, and what follows waits a moment for
its refusal. Guesses: where a long answer is allowed (``max_tokens``) and nobody knows whether the
server charges for it in advance, one request alone finds out.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING

from gpt_magics.pacing.account import Account
from gpt_magics.pacing.buckets import MINUTE, Ask, Bucket, Burst
from gpt_magics.pacing.bunches import Stamp
from gpt_magics.pacing.charges import Charges
from gpt_magics.pacing.headers import Reading
from gpt_magics.pacing.tickets import Ticket

if TYPE_CHECKING:
    from gpt_magics.pacing.lanes import Lane

# A refusal comes back at once, an answer later. Where the server does not say how long it worked, a
# share of the time that the first answer took is waited for a refusal.
_SHORTEST_TRIAL, _LONGEST_TRIAL, _TRIAL_SHARE = 0.02, 0.15, 1 / 4
# The first request of a lane waits this long at most for limits that may be another lane's.
_LONGEST_COURTESY = 30.0
# To wait longer than this for what may be no charge at all is worth a refusal.
_WORTH_A_GUESS = 1.0
# When so much more is gone than was taken, a neighbour may draw on the same limit.
_SUSPICIOUS_COSTS = 1.5


class Limits:
    """What the server allows the requests of one lane."""

    def __init__(self, lane: Lane, account: Account) -> None:
        self.buckets: dict[str, Bucket] = {}
        self._lane, self._account = lane, account
        self._charges = Charges()
        self._trial: Ticket | None = None
        self._trial_ends = 0.0
        self._on_trial: list[Bucket] = []
        self._grace = _LONGEST_TRIAL

    def __repr__(self) -> str:
        return f"<Limits {list(self.buckets.values())}>"

    def cost(self, ask: Ask, bucket: Bucket) -> float:
        """What a request is expected to take from a bucket."""
        if bucket.unit == "tokens":
            return self._charges.cost(ask)
        return ask.of(bucket.unit)

    def never_fit(self, ask: Ask) -> bool:
        """Whether a request costs more than a whole limit, so that no waiting will help."""
        return any(ask.on(b.dimension) > b.limit for b in self.buckets.values())

    # Before a request.

    def wait(self, head: Ticket, now: float) -> float:
        """Seconds until every limit has room for the request."""
        delay = 0.0
        for bucket in self.buckets.values():
            delay = max(delay, self._wait(bucket, self.cost(head.ask, bucket), head, now))
        if delay > 0:
            if self._account.is_shared:
                self._claim(head, self.buckets.values())
            return delay
        return self._trial_wait(head.ask, now) if self._trial is not None else 0.0

    def courtesy(self, head: Ticket, now: float) -> float:
        """Seconds that a lane's first request waits for limits that may hold here, too."""
        if head.head_since is None:
            head.head_since = now
        patience = max(0.0, head.head_since + _LONGEST_COURTESY - now)
        known = self._known()
        waits = (self._wait(b, self.cost(head.ask, b), head, now) for b in known)
        wait = min(max(waits, default=0.0), patience)
        if wait > 0:
            self._claim(head, known)
        return wait

    def waits(self, head: Ticket, now: float) -> dict[str, float]:
        """The same by dimension, for people."""
        known = self._known()
        return {b.dimension: self._wait(b, self.cost(head.ask, b), head, now) for b in known}

    def charge(self, ticket: Ticket, now: float) -> None:
        """Take what a request costs; it is sent now."""
        ask = ticket.ask
        for bucket in self._known():
            cost = self.cost(ask, bucket)
            if self._trial in (None, ticket) and bucket.is_burst(cost, now):
                self._begin_trial(ticket, bucket, now)
            stamp = bucket.take(cost, now, ask.of(bucket.unit), ask.kind)
            ticket.charges.append((bucket, stamp))

    def _known(self) -> Collection[Bucket]:
        """The limits that hold here: its own, or those of its neighbours while it has none."""
        return self.buckets.values() or self._account.suspected(self._lane)

    def _claim(self, head: Ticket, known: Iterable[Bucket]) -> None:
        self._account.claim(head, {bucket: self.cost(head.ask, bucket) for bucket in known})

    def _wait(self, bucket: Bucket, cost: float, head: Ticket, now: float) -> float:
        if self._account.is_shared and not head.interactive:
            cost += self._account.claimed(bucket, head)
        wait = bucket.wait(cost, now)
        if wait > _WORTH_A_GUESS and self._may_guess(bucket, head.ask):
            return bucket.wait(head.ask.least, now)
        return wait

    def _may_guess(self, bucket: Bucket, ask: Ask) -> bool:
        alone = not self._lane.in_flight
        return bucket.unit == "tokens" and alone and self._charges.is_unknown(ask)

    # After an answer.

    def answered(
        self, ticket: Ticket, readings: Sequence[Reading], now: float, *, charged: float
    ) -> None:
        """Correct the limits by what an answer reported; ``charged``: when it was charged."""
        for reading in readings:
            self._correct(ticket, reading, charged, now)
        self._give_back_suspicions(ticket)

    def let_in(self, ticket: Ticket) -> None:
        """The server took this request."""
        if ticket is self._trial:
            self._pass_trial()

    def ended(self, ticket: Ticket) -> None:
        """Nothing more will be heard of this request."""
        if ticket is self._trial:  # it told nothing
            self._trial = None

    def first_answer(self, seconds: float, worked: float | None) -> None:
        """How long the first answer took, and how long of that the server says it worked.

        The rest is the way there and back, on which a refusal is, too.
        """
        way = _TRIAL_SHARE * seconds if worked is None else seconds - worked
        self._grace = min(_LONGEST_TRIAL, max(_SHORTEST_TRIAL, way))

    def heard(self, ticket: Ticket, reached: Reading, now: float) -> bool:
        """Learn a limit that a refusal named; whether no header tells of it."""
        bucket = self.buckets.get(reached.dimension)
        if bucket is None:
            bucket = Bucket(reached, now=now)
            if any(
                b.unit == bucket.unit and b.window == bucket.window for b in self.buckets.values()
            ):
                return False
            self.buckets[reached.dimension] = bucket
        elif (stamp := ticket.stamp(bucket)) is not None:
            bucket.correct(reached, stamp, charged=now, now=now)
        return True

    def explain(self, ticket: Ticket, readings: Sequence[Reading], now: float) -> bool:
        """Whether a refusal is explained, and learned from.

        Either its own headers say that a limit is exhausted; then somebody else drew on it. Or
        they say that there is room; then a limit is enforced in shorter pieces, and requests are
        spaced evenly from now on. Where it has no headers, our own books have to explain it.
        """
        if readings:
            return self._blame(ticket, readings) or self._refuse_bursts()
        costs = {b: self.cost(ticket.ask, b) for b in self.buckets.values()}
        return any(bucket.level(now) < cost for bucket, cost in costs.items())

    def _correct(self, ticket: Ticket, reading: Reading, charged: float, now: float) -> None:
        bucket = self.buckets.get(reading.dimension)
        if bucket is None:
            self._meet(ticket, reading, charged, now)
            return
        stamp = ticket.stamp(bucket)
        if stamp is None:
            return
        if self._account.is_shared and not bucket.is_old(stamp):
            moved = self._moved(ticket, bucket, reading, charged, now)
            if moved is not None:
                bucket, stamp = moved
        sample = bucket.correct(reading, stamp, charged=charged, now=now)
        if sample is not None and bucket.unit == "tokens":
            self._charges.learn(sample)

    def _meet(self, ticket: Ticket, reading: Reading, charged: float, now: float) -> None:
        """First sight of a dimension: a neighbour's, if it looks like it, or a new one.

        Others in flight are unknown to a new one, which is why the first request goes alone.
        """
        cost = ticket.ask.on(reading.dimension)
        known = any(b.dimension == reading.dimension for b, _ in ticket.charges)
        shared = self._account.neighbour(
            self._lane, reading, cost=0.0 if known else cost, charged=charged, now=now
        )
        if shared is not None:
            self.buckets[reading.dimension] = shared
            shared.lanes += 1
            if not known:
                ticket.charges.append((shared, shared.take(cost, now)))
            self._correct(ticket, reading, charged, now)
            return
        bucket = self.buckets[reading.dimension] = Bucket(reading, now=charged, cost=cost)
        for other, sent in self._account.unsettled(self._lane):
            other.charges.append((bucket, bucket.take(self.cost(other.ask, bucket), sent)))
        if bucket.unit == "tokens":
            self._charges.bound(ticket.ask, reading.limit - reading.remaining)

    def _moved(
        self, ticket: Ticket, bucket: Bucket, reading: Reading, charged: float, now: float
    ) -> tuple[Bucket, Stamp] | None:
        """The bucket that an answer tells of, with the ticket's charge, if it is another one."""
        stamp = ticket.stamp(bucket)
        assert stamp is not None  # noqa: S101 - the caller has looked
        more = bucket.told(reading, charged=charged, now=now) - bucket.level(now)
        if bucket.lanes > 1:
            if not self._account.is_stranger(self._lane, bucket, reading, more, stamp.cost):
                return None
            other = Bucket(reading, now=charged)
        else:
            found = None
            if more < -_SUSPICIOUS_COSTS * stamp.cost:
                found = self._account.neighbour(
                    self._lane, reading, cost=stamp.cost, charged=charged, now=now
                )
            if found is None:
                return None
            other = found
            other.lanes += 1
        self._move(bucket, other, now)
        moved = ticket.stamp(other)
        return None if moved is None else (other, moved)

    def _move(self, bucket: Bucket, other: Bucket, now: float) -> None:
        """Charge what is in flight on ``other`` instead."""
        bucket.lanes -= 1
        self.buckets[bucket.dimension] = other
        for ticket in self._lane.flying:
            for place, (known, stamp) in enumerate(ticket.charges):
                if known is bucket:
                    bucket.refund(stamp)
                    ticket.charges[place] = (other, other.take(stamp.cost, now))

    def _give_back_suspicions(self, ticket: Ticket) -> None:
        """Give back what was charged to neighbours' limits that turned out not to hold here."""
        for bucket, stamp in ticket.charges:
            if stamp.open and self.buckets.get(bucket.dimension) is not bucket:
                bucket.refund(stamp)

    # Trials.

    def _trial_wait(self, ask: Ask, now: float) -> float:
        """Seconds until a request that would be a burst, too, knows how the trial ended."""
        if not any(b.is_burst(self.cost(ask, b), now) for b in self.buckets.values()):
            return 0.0
        if now < self._trial_ends:
            return self._trial_ends - now
        self._pass_trial()
        return 0.0

    def _begin_trial(self, ticket: Ticket, bucket: Bucket, now: float) -> None:
        if self._trial is None:
            self._trial, self._trial_ends, self._on_trial = ticket, now + self._grace, []
        self._on_trial.append(bucket)

    def _pass_trial(self) -> None:
        self._trial = None
        for bucket in self._on_trial:
            bucket.allow_bursts()

    # Refusals.

    def _blame(self, ticket: Ticket, readings: Sequence[Reading]) -> bool:
        explained = False
        for reading in readings:
            bucket = self.buckets.get(reading.dimension)
            if bucket is None or reading.remaining >= (cost := self.cost(ticket.ask, bucket)):
                continue
            explained = True
            if not self._charges.is_unknown(ticket.ask):  # else it was a guess
                bucket.surprised(cost)
        self._charges.as_estimated(ticket.ask)
        return explained

    def _refuse_bursts(self) -> bool:
        """Space requests evenly; whether that is new."""
        bursts = [b for b in self.buckets.values() if b.unit and b.window <= MINUTE]
        new = any(bucket.burst is not Burst.REFUSED for bucket in bursts)
        for bucket in bursts:
            bucket.refuse_bursts()
        return new
