"""The mirror against a server's bucket that the test keeps itself."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from gpt_magics.pacing.buckets import DAY, HOUR, MINUTE, Ask, Bucket, Burst
from gpt_magics.pacing.bunches import Stamp
from gpt_magics.pacing.headers import Reading
from gpt_magics.pacing.lanes import Lane, Ticket

TINY = 1e-6


class ServerBucket:
    """What OpenAI keeps: a level that refills linearly. It answers with whole units."""

    def __init__(self, limit: float, level: float, window: float = MINUTE) -> None:
        self.limit, self.window = limit, window
        self._level, self._at = level, 0.0

    @property
    def rate(self) -> float:
        return self.limit / self.window

    def level(self, now: float) -> float:
        return min(self.limit, self._level + self.rate * (now - self._at))

    def charge(self, cost: float, now: float) -> bool:
        level = self.level(now)
        if level + TINY < cost:
            return False
        self._level, self._at = level - cost, now
        return True

    def change(self, limit: float, now: float) -> None:
        self._level, self._at = min(limit, self.level(now)), now
        self.limit = limit

    def reading(self, now: float) -> Reading:
        remaining = math.floor(self.level(now) + TINY)
        return Reading("tokens", self.limit, remaining, (self.limit - self.level(now)) / self.rate)


@dataclass
class Sent:
    at: float
    stamp: Stamp
    reading: Reading | None  # None: it is lost on its way, and not charged


class PromptServer(RuleBasedStateMachine):
    """Requests are charged as they are sent; answers come in any order, or never."""

    @initialize(limit=st.integers(10, 100_000), fill=st.floats(0, 1), start=st.floats(0, 1e6))
    def open(self, limit: int, fill: float, start: float) -> None:
        self.now = 0.0
        self.server = ServerBucket(limit, limit * fill)
        self.now = start
        self.model = Bucket(self.server.reading(start), now=start)
        self.in_flight: list[Sent] = []

    @rule(seconds=st.one_of(st.floats(0, 0.1), st.floats(0, 100)))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(share=st.floats(0, 1), charged=st.floats(0.1, 1), lost=st.booleans(), wait=st.booleans())
    def send(self, share: float, charged: float, lost: bool, wait: bool) -> None:  # noqa: FBT001
        """The server may charge less than was estimated; never more."""
        cost = max(1, round(share * self.model.limit))
        delay = self.model.wait(cost, self.now)
        if delay and not wait:
            return
        self.now += delay
        assert self.model.wait(cost, self.now) < TINY, "having waited, it may start"
        stamp = self.model.take(cost, self.now)
        reading = None
        if not lost:
            assert self.server.charge(math.ceil(cost * charged), self.now), "an avoidable 429"
            reading = self.server.reading(self.now)
        self.in_flight.append(Sent(self.now, stamp, reading))

    @precondition(lambda self: self.in_flight)
    @rule(data=st.data())
    def answer(self, data: st.DataObject) -> None:
        sent = self.in_flight.pop(data.draw(st.integers(0, len(self.in_flight) - 1)))
        if sent.reading is None:
            self.model.refund(sent.stamp)
        else:
            self.model.correct(sent.reading, sent.stamp, charged=sent.at, now=self.now)

    @invariant()
    def the_model_never_exceeds_the_server(self) -> None:
        slack = TINY * (1 + self.server.limit)
        assert self.model.level(self.now) <= self.server.level(self.now) + slack

    @invariant()
    def nobody_waits_for_ever(self) -> None:
        longest = self.model.wait(10 * self.model.limit, self.now)
        refill = self.model.rate - self.model.leak
        debt = max(0.0, -self.model.level(self.now))
        assert longest <= (self.model.limit + debt) / refill + TINY


TestPromptServer = PromptServer.TestCase


class ChangingServer(RuleBasedStateMachine):
    """Limits that change and money that other programs spend: one fresh answer mends the model."""

    @initialize(limit=st.integers(10, 10_000))
    def open(self, limit: int) -> None:
        self.now = 0.0
        self.server = ServerBucket(limit, limit)
        self.model = Bucket(self.server.reading(0.0), now=0.0)

    @rule(seconds=st.floats(0, 100))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(limit=st.integers(10, 10_000))
    def the_limit_changes(self, limit: int) -> None:
        self.server.change(limit, self.now)

    @rule(share=st.floats(0, 1))
    def somebody_else_spends(self, share: float) -> None:
        self.server.charge(round(share * self.server.level(self.now)), self.now)

    @rule(cost=st.integers(1, 5))
    def ask(self, cost: int) -> None:
        self.now += self.model.wait(cost, self.now)
        stamp = self.model.take(cost, self.now)
        self.server.charge(cost, self.now)
        self.model.correct(self.server.reading(self.now), stamp, charged=self.now, now=self.now)
        assert self.model.limit == self.server.limit
        assert self.model.level(self.now) <= self.server.level(self.now) + TINY * 1e4

    @rule()
    def ask_twice(self) -> None:
        """Good news is believed when it is confirmed."""
        self.ask(1)
        self.ask(1)
        short = self.server.level(self.now) - self.model.level(self.now)
        assert short <= 2 + self.model.rate * 0.06


TestChangingServer = ChangingServer.TestCase


@dataclass(order=True)
class Event:
    at: float
    number: int
    what: str


@given(
    delays=st.lists(st.tuples(st.floats(0, 0.5), st.floats(0, 40)), min_size=2, max_size=60),
    gaps=st.lists(st.floats(0, 3), min_size=60, max_size=60),
    limit=st.integers(10, 2_000),
    fill=st.floats(0, 1),
)
def test_requests_held_up_on_their_way_cost_no_more_than_they_are(
    delays: list[tuple[float, float]], gaps: list[float], limit: int, fill: float
) -> None:
    """The model may be too high by what overtook and by the refill of the longest way; no more.

    Each request reaches the server after a delay of its own, is charged there and then, and is
    answered after another. Nothing is refused, so that every answer counts.
    """
    held_up = max(way for way, _ in delays)
    server = ServerBucket(limit, limit * fill)
    model = Bucket(server.reading(0.0), now=0.0)
    stamps: dict[int, Stamp] = {}
    sent_at_of: dict[int, float] = {}
    readings: dict[int, Reading] = {}
    arrived: set[int] = set()
    worst_overtaking = 0
    events = []
    sent_at = 0.0
    for number, ((way, back), gap) in enumerate(zip(delays, gaps, strict=False)):
        sent_at += gap
        events += [
            Event(sent_at, number, "sent"),
            Event(sent_at + way, number, "took"),
            Event(sent_at + way + back, number, "told"),
        ]
    order = {"sent": 0, "took": 1, "told": 2}
    for event in sorted(events, key=lambda e: (e.at, order[e.what], e.number)):
        number, now = event.number, event.at
        if event.what == "sent":
            stamps[number], sent_at_of[number] = model.take(1, now), now
        elif event.what == "took":
            server._level, server._at = server.level(now) - 1, now  # noqa: SLF001
            arrived.add(number)
            before = sum(1 for other in range(number) if other not in arrived)
            worst_overtaking = max(worst_overtaking, before)
            reading = server.reading(now)
            readings[number] = Reading("tokens", limit, max(0, reading.remaining), None)
        else:
            model.correct(readings[number], stamps[number], charged=sent_at_of[number], now=now)
        on_their_way = len(stamps) - len(arrived)
        truth = server.level(now) - on_their_way
        if server.level(now) < 0:
            return  # more than the server has: only a refusal would tell
        allowed = worst_overtaking + server.rate * held_up
        assert model.level(now) <= truth + allowed + TINY * limit


@given(
    limit=st.integers(50, 100_000),
    window=st.sampled_from([MINUTE, HOUR, DAY]),
    costs=st.lists(st.integers(1, 10), min_size=3, max_size=20),
)
def test_the_window_is_found_by_what_is_used(limit: int, window: float, costs: list[int]) -> None:
    server = ServerBucket(limit, limit, window)
    model = Bucket(server.reading(0.0), now=0.0)
    used = 0
    for cost in costs:
        used += cost
        if used > limit:
            break
        server.charge(cost, 0.0)
        model.correct(server.reading(0.0), model.take(cost, 0.0), charged=0.0, now=0.0)
    assert model.window == window
    assert model.rate == pytest.approx(server.rate)


@given(
    limit=st.floats(1, 1e9),
    remaining=st.floats(0, 1),
    now=st.floats(0, 1e7),
    cost=st.floats(0, 1e10),
    reset=st.one_of(st.none(), st.floats(0, 1e300)),
)
def test_having_waited_a_request_may_start(
    limit: float, remaining: float, now: float, cost: float, reset: float | None
) -> None:
    model = Bucket(Reading("tokens", limit, limit * remaining, reset), now=now)
    reading = Reading("tokens", limit, limit * remaining, reset)
    model.correct(reading, model.take(0.0, now), charged=now, now=now)
    for _ in range(3):  # a clock's rounding may leave a rest
        now += model.wait(cost, now)
    assert model.wait(cost, now) < TINY


@given(
    bunches=st.lists(
        st.lists(
            st.tuples(st.integers(1, 50), st.floats(0, 1), st.floats(0, 1)),
            min_size=1,
            max_size=12,
        ),
        min_size=1,
        max_size=4,
    )
)
def test_a_bunch_may_arrive_and_be_answered_in_any_order(
    bunches: list[list[tuple[int, float, float]]],
) -> None:
    """No answer makes the model too high, and in the end it is low by no more than the bunch."""
    limit, left = 6_000.0, 6_000.0
    lane = Lane(max_in_flight=100)
    for number, bunch in enumerate([[(1, 0.0, 0.0)], *bunches]):
        now = number * 0.2
        for bucket in lane.buckets.values():
            bucket.burst = Burst.FINE  # else one of them goes on trial
        tickets = [Ticket(Ask(tokens=cost)) for cost, _, _ in bunch]
        for ticket in tickets:
            lane.join(ticket)
        assert lane.start(now, 100) == tickets
        left = min(limit, left + 100 * 0.2 * bool(number))
        remaining = {}
        for place in sorted(range(len(bunch)), key=lambda place: bunch[place][1]):
            left -= bunch[place][0]
            remaining[place] = left
        for place in sorted(range(len(bunch)), key=lambda place: bunch[place][2]):
            reading = Reading("tokens", limit, remaining[place], None)
            lane.answered(tickets[place], [reading], now)
            lane.released(tickets[place])
            (view,) = lane.limits(now)
            assert view.level <= left + TINY * limit
        # News that is good only because of the order waits for the next answer to confirm it.
        assert view.level >= left - sum(cost for cost, _, _ in bunch) - TINY * limit
