"""A lane's queue: who may start, told the time by the test."""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Callable, Iterable

import pytest

from gpt_magics.pacing.buckets import DAY, Ask
from gpt_magics.pacing.headers import Reading
from gpt_magics.pacing.lanes import Lane, Ticket

ROUNDING = 1e-9


def requests(limit: float, remaining: float) -> Reading:
    return Reading("requests", limit, remaining, None)


def tokens(limit: float, remaining: float) -> Reading:
    return Reading("tokens", limit, remaining, None)


def joined(lane: Lane, *asks: float, interactive: bool = False) -> list[Ticket]:
    tickets = [Ticket(Ask(tokens=each), interactive) for each in asks]
    for ticket in tickets:
        lane.join(ticket)
    return tickets


def open_lane(*known: Reading, max_in_flight: int = 100) -> Lane:
    """A lane whose first request was answered at time 0, and whose server lets bursts in."""
    lane = open_lane_that_took(0.0, *known, max_in_flight=max_in_flight)
    for bucket in lane.buckets.values():
        bucket.allow_bursts()
        bucket.allow_bursts()
    return lane


def open_lane_that_took(
    seconds: float, *known: Reading, worked: float | None = None, max_in_flight: int = 100
) -> Lane:
    """A lane whose first answer, at time 0, took so long; nobody knows of bursts."""
    lane = Lane(max_in_flight=max_in_flight)
    lane.join(Ticket(Ask()))
    (first,) = lane.start(-seconds, 1)
    lane.answered(first, known, 0.0, worked=worked)
    lane.released(first)
    return lane


def refuse(lane: Lane, ticket: Ticket, now: float, *known: Reading, pause: float = 1.0) -> bool:
    """What the session does with a 429."""
    lane.answered(ticket, known, now, refused=True)
    lane.released(ticket)
    return lane.refused(ticket, known, now, pause=pause)


# A server, and lanes against it, from event to event.


class Level:
    """One limit of a server: it refills linearly."""

    def __init__(self, limit: float, left: float | None = None, window: float = 60.0) -> None:
        self.limit, self.window = limit, window
        self.left = limit if left is None else left
        self._at = 0.0

    @property
    def rate(self) -> float:
        return self.limit / self.window

    def refill(self, now: float) -> float:
        self.left = min(self.limit, self.left + self.rate * (now - self._at))
        self._at = now
        return self.left

    def change(self, limit: float, now: float) -> None:
        self.left, self.limit = min(limit, self.refill(now)), limit


class Server:
    """Whatever fits is let in and charged; the rest is refused and costs nothing.

    Args:
        limits: by dimension; the headers report them in whole units.
        charge: what it charges for a request's tokens.
        quantum: requests are limited over so many seconds, too, of which no header tells.
        places: how many it holds at the same time, of which no header tells either.
        workers: how many it works on at the same time; the others wait inside.
        seconds: how long it works on a request.
    """

    def __init__(
        self,
        *,
        charge: Callable[[Ask], float] = lambda ask: ask.tokens,
        quantum: float | None = None,
        places: int = 10**9,
        workers: int = 10**4,
        seconds: float = 0.3,
        **limits: Level,
    ) -> None:
        self.limits, self.charge = limits, charge
        self.places, self.seconds = places, seconds
        self.inside = 0
        self._told = set(limits)
        self._idle_at = [0.0] * workers
        if quantum is not None:
            limits["quantum"] = Level(limits["requests"].rate * quantum, window=quantum)

    def let_in(self, ask: Ask, now: float) -> bool:
        fits = self.inside < self.places and all(
            level.refill(now) + ROUNDING >= self.cost(ask, name)
            for name, level in self.limits.items()
        )
        if fits:
            self.inside += 1
            for name, level in self.limits.items():
                level.left -= self.cost(ask, name)
        return fits

    def cost(self, ask: Ask, name: str) -> float:
        return self.charge(ask) if name == "tokens" else 1.0

    def work(self, now: float) -> float:
        """When a request that comes now is answered."""
        idle_at = max(now, heapq.heappop(self._idle_at))
        heapq.heappush(self._idle_at, idle_at + self.seconds)
        return idle_at + self.seconds

    def readings(self, now: float) -> list[Reading]:
        return [
            Reading(name, level.limit, math.floor(level.refill(now) + ROUNDING), None)
            for name, level in self.limits.items()
            if name in self._told
        ]

    def retry_after(self, ask: Ask, now: float) -> float:
        waits = (
            (self.cost(ask, name) - level.refill(now)) / level.rate
            for name, level in self.limits.items()
        )
        return max(waits, default=1.0)


class World:
    """Lanes that send to a server. No second of it takes any time."""

    def __init__(self, server: Server, *lanes: Lane) -> None:
        self.server, self.now = server, 0.0
        self.lanes = lanes or (Lane(max_in_flight=1_000),)
        self.sent: list[float] = []
        self.answered: list[float] = []
        self.refused: list[float] = []
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()

    def send(self, asks: Iterable[Ask], lane: Lane | None = None) -> list[Ticket]:
        tickets = [Ticket(ask) for ask in asks]
        for ticket in tickets:
            (lane or self.lanes[0]).join(ticket)
        return tickets

    def at(self, when: float, do: Callable[[], None]) -> None:
        heapq.heappush(self._events, (when, next(self._numbers), do))

    def run(self, until: float = math.inf) -> None:
        """Until this time, or until nothing is left to happen."""
        while (when := self._start()) < math.inf and when <= until:
            self.now = when
            while self._events and self._events[0][0] <= self.now:
                heapq.heappop(self._events)[2]()
        self.now = until if until < math.inf else self.now

    def _start(self) -> float:
        """Send what may be sent; when something happens next."""
        while started := [(lane, each) for lane in self.lanes for each in lane.start(self.now, 1)]:
            for lane, ticket in started:
                self.sent.append(self.now)
                self._transmit(lane, ticket, self.server_of(lane))
        waits = [wait for lane in self.lanes if (wait := lane.wait(self.now)) is not None]
        times = [self.now + wait for wait in waits] + [event[0] for event in self._events[:1]]
        return min(times, default=math.inf)

    def server_of(self, lane: Lane) -> Server:  # noqa: ARG002 - some lanes have one of their own
        return self.server

    def _transmit(self, lane: Lane, ticket: Ticket, server: Server) -> None:
        fits = server.let_in(ticket.ask, self.now)
        known = server.readings(self.now)
        pause = server.retry_after(ticket.ask, self.now)

        def answer() -> None:
            server.inside -= 1
            self.answered.append(self.now)
            lane.answered(ticket, known, self.now)
            lane.succeeded(ticket, self.now)
            lane.released(ticket)

        def turn_away() -> None:
            self.refused.append(self.now)
            everybody = refuse(lane, ticket, self.now, *known, pause=pause)
            self.at(self.now if everybody else self.now + pause, again)

        def again() -> None:
            lane.join(Ticket(ticket.ask, ticket.interactive))

        if fits:
            self.at(server.work(self.now), answer)
        else:
            self.at(self.now + 0.02, turn_away)


def test_the_first_request_goes_alone() -> None:
    lane = Lane(max_in_flight=100)
    first, *others = joined(lane, 1, 1, 1)
    assert lane.start(0.0, 100) == [first]
    assert lane.start(1.0, 100) == []
    assert lane.wait(1.0) is None, "only an answer can help, not time"
    assert lane.waiting_for(1.0) == ("first answer", 0.0)
    lane.answered(first, [requests(100, 99)], 1.0)
    lane.released(first)
    assert lane.start(1.0, 100) == others


def test_after_a_first_request_without_an_answer_the_next_goes_alone_too() -> None:
    lane = Lane(max_in_flight=100)
    first, second, _ = joined(lane, 1, 1, 1)
    lane.start(0.0, 100)
    lane.released(first)
    assert lane.start(0.0, 100) == [second]


def test_first_come_first_served() -> None:
    lane = open_lane(requests(600, 500))
    tickets = joined(lane, *range(1, 20))
    assert lane.start(0.0, 100) == tickets


def test_a_large_prompt_at_the_head_is_not_overtaken_by_small_ones() -> None:
    lane = open_lane(tokens(60_000, 5_000))
    large, *small = joined(lane, 20_000, 10, 10, 10)
    assert lane.start(0.0, 100) == []
    assert lane.wait(0.0) == pytest.approx(15.0, abs=0.01)
    assert lane.start(14.9, 100) == []
    assert lane.start(15.01, 100)[0] is large
    assert lane.start(16.0, 100) == small


def test_interactive_requests_go_before_the_batch() -> None:
    lane = open_lane(requests(600, 500))
    batch = joined(lane, 1, 1)
    person = joined(lane, 1, 1, interactive=True)
    assert lane.start(0.0, 100) == [*person, *batch]


def test_what_starts_is_charged_before_the_next_is_looked_at() -> None:
    lane = open_lane(requests(60, 3.5))
    joined(lane, *[1] * 10)
    assert len(lane.start(0.0, 100)) == 3
    assert [view.level for view in lane.limits(0.0)] == [0.5]


def test_every_dimension_must_have_room() -> None:
    lane = open_lane(requests(600, 500), tokens(6_000, 1_000))
    joined(lane, 900, 900)
    assert len(lane.start(0.0, 100)) == 1
    assert lane.wait(0.0) == pytest.approx(8.0, abs=0.01)
    assert lane.waiting_for(0.0)[0] == "tokens"


def test_no_more_start_than_there_is_room_or_may_be_in_flight() -> None:
    lane = open_lane(requests(600, 500), max_in_flight=5)
    joined(lane, *[1] * 10)
    assert len(lane.start(0.0, 2)) == 2
    assert len(lane.start(0.0, 100)) == 3
    assert lane.in_flight == 5
    assert lane.waiting_for(0.0) == ("slot", 0.0)


def test_a_server_without_limits_is_held_to_an_adaptive_cap() -> None:
    lane = open_lane()
    joined(lane, *[1] * 50)
    assert len(lane.start(0.0, 100)) == lane.concurrency.cap < 50


def test_a_server_that_reports_limits_is_not() -> None:
    lane = open_lane(requests(600, 500))
    joined(lane, *[1] * 50)
    assert len(lane.start(0.0, 100)) == 50


def test_a_pause_only_grows() -> None:
    lane = open_lane(requests(600, 500))
    joined(lane, 1)
    lane.pause(10.0)
    lane.pause(5.0)
    assert lane.waiting_for(4.0) == ("pause", 6.0)
    assert lane.start(9.9, 1) == []
    assert len(lane.start(10.0, 1)) == 1


def test_a_waiter_that_leaves_is_not_started() -> None:
    lane = open_lane(requests(600, 500))
    first, second = joined(lane, 1, 1)
    lane.leave(first)
    lane.leave(first)
    assert lane.queued == 1
    assert lane.start(0.0, 100) == [second]


def test_clear_returns_who_waited() -> None:
    lane = open_lane()
    batch, person = joined(lane, 1)[0], joined(lane, 1, interactive=True)[0]
    assert lane.clear() == [person, batch]
    assert (lane.queued, lane.start(0.0, 100), lane.wait(0.0)) == (0, [], None)


def test_what_never_reached_the_server_is_refunded() -> None:
    lane = open_lane(requests(60, 50), tokens(6000, 5000))
    (ticket,) = joined(lane, 400)
    lane.start(0.0, 1)
    assert [view.level for view in lane.limits(0.0)] == [49, 4600]
    lane.released(ticket, reached_server=False)
    assert [view.level for view in lane.limits(0.0)] == [50, 5000]
    assert lane.in_flight == 0


def test_what_reached_the_server_stays_charged() -> None:
    lane = open_lane(requests(60, 50))
    (ticket,) = joined(lane, 1)
    lane.start(0.0, 1)
    lane.released(ticket)
    assert [view.level for view in lane.limits(0.0)] == [49]


def test_a_limit_that_appears_late_is_kept_from_then_on() -> None:
    lane = open_lane(requests(600, 500))
    (ticket,) = joined(lane, 100)
    lane.start(0.0, 1)
    lane.answered(ticket, [requests(600, 499), tokens(1000, 300)], 0.5)
    assert {view.dimension for view in lane.limits(0.5)} == {"requests", "tokens"}
    lane.released(ticket)
    joined(lane, 900)
    assert lane.start(0.5, 1) == []


def test_a_level_is_never_shown_below_nothing() -> None:
    lane = open_lane(requests(60, 50))
    (ticket,) = joined(lane, 1)
    lane.start(0.0, 1)
    joined(lane, *[1] * 5)
    lane.start(0.0, 5)
    lane.answered(ticket, [requests(60, 0)], 0.0)
    assert [view.level for view in lane.limits(0.0)] == [0]


def test_resize_changes_the_bound() -> None:
    lane = open_lane(requests(600, 500), max_in_flight=2)
    joined(lane, *[1] * 10)
    assert len(lane.start(0.0, 100)) == 2
    lane.resize(6)
    assert len(lane.start(0.0, 100)) == 4
    lane.resize(1)
    assert lane.start(0.0, 100) == []


def test_an_empty_lane_waits_for_nothing() -> None:
    lane = Lane(max_in_flight=1)
    assert (lane.wait(0.0), lane.waiting_for(0.0)) == (None, ("", 0.0))
    assert repr(lane) == "<Lane 0 in flight, 0 queued>"


def test_the_servers_own_word_dates_a_charge_that_was_held_up() -> None:
    """Taken as of its sending, the answer would promise two seconds of refill too much."""
    lane = open_lane(requests(60, 50))
    (ticket,) = joined(lane, 1)
    lane.start(10.0, 1)
    lane.answered(ticket, [requests(60, 9)], 13.0, worked=1.0)
    assert [view.level for view in lane.limits(13.0)] == [10]


def test_a_server_cannot_have_worked_before_the_request_was_sent() -> None:
    lane = open_lane(requests(60, 50))
    (ticket,) = joined(lane, 1)
    lane.start(10.0, 1)
    lane.answered(ticket, [requests(60, 9)], 13.0, worked=500.0)
    assert [view.level for view in lane.limits(13.0)] == [12]


def test_an_ask_that_is_larger_than_a_limit_never_fits() -> None:
    lane = open_lane(requests(600, 500), tokens(1000, 1000))
    assert lane.never_fits(Ask(tokens=1001))
    assert not lane.never_fits(Ask(tokens=1000))


def test_a_request_that_was_refused_was_not_charged() -> None:
    lane = open_lane(requests(60, 50))
    (ticket,) = joined(lane, 1)
    lane.start(0.0, 1)
    refuse(lane, ticket, 0.0, pause=0.0)
    assert [view.level for view in lane.limits(0.0)] == [50]


def test_a_server_that_charges_for_refusals_is_believed() -> None:
    lane = open_lane(requests(60, 50))
    (ticket,) = joined(lane, 1)
    lane.start(0.0, 1)
    refuse(lane, ticket, 0.0, requests(60, 42), pause=0.0)
    assert [view.level for view in lane.limits(0.0)] == [42]


def test_a_person_waits_for_one_slot_of_a_long_batch() -> None:
    world = World(Server(requests=Level(600, 0)))
    world.send([Ask()] * 1_000)
    world.run(20.0)
    person = Ticket(Ask(), interactive=True)
    world.lanes[0].join(person)
    world.run(25.0)
    assert person.sent is not None
    assert person.sent - 20.0 <= 0.1 + 0.01


# What limits are like.


@pytest.mark.parametrize("fill", [0, 5, 300, 600])
def test_a_limit_is_used_to_the_full_and_never_exceeded(fill: float) -> None:
    world = World(Server(requests=Level(600, fill)))
    world.send([Ask()] * 600)
    world.run()
    assert len(world.refused) <= (fill == 0), "an empty bucket refuses the first request"
    assert world.now == pytest.approx((600 - fill) / 10, rel=0.01, abs=1.0)


def test_a_daily_limit_does_not_hold_back_a_batch_that_fits() -> None:
    world = World(Server(requests=Level(10_000, 5_000, window=DAY)))
    world.send([Ask()] * 2_000)
    world.run()
    assert world.refused == []
    assert world.now < 2


@pytest.mark.parametrize("fill", [60, 30, 1])
def test_sixty_a_minute_enforced_as_one_a_second_costs_one_refusal(fill: float) -> None:
    world = World(Server(requests=Level(60, fill), quantum=1.0))
    world.send([Ask()] * 200)
    world.run()
    assert len(world.refused) <= 1
    assert world.now < 200 / 0.95
    assert [when for when in world.refused if when > 1] == [] or fill == 1


@pytest.mark.parametrize("quantum", [1.0, 10.0])
def test_a_shorter_limit_costs_a_few_refusals_at_once_and_then_none(quantum: float) -> None:
    world = World(Server(requests=Level(6_000), quantum=quantum))
    world.send([Ask()] * 5_000)
    world.run()
    assert 1 <= len(world.refused) <= 6
    assert max(world.refused) < 1
    assert world.now < 50 / 0.95 + 1


def test_a_limit_that_is_enforced_as_told_is_no_slower_for_the_trial() -> None:
    """A full bucket: 0.6 s for the first answer and the last, and the trials' two short waits."""
    world = World(Server(requests=Level(1_200)))
    world.send([Ask()] * 1_000)
    world.run()
    assert world.refused == []
    assert 0.6 < world.now < 0.9


def test_what_follows_a_burst_on_trial_waits_a_moment_for_its_refusal() -> None:
    lane = open_lane_that_took(20.0, requests(60, 60))
    tickets = joined(lane, 1, 1, 1)
    assert lane.start(1.0, 100) == tickets[:2], "the second is the trial"
    refuse(lane, tickets[1], 1.1, requests(60, 58), pause=0.0)
    assert lane.start(1.15, 100) == tickets[2:]
    joined(lane, 1)
    assert lane.start(1.9, 100) == [], "refused: so they are spaced evenly"


@pytest.mark.parametrize(
    ("took", "worked", "longest"),
    [(0.01, None, 0.02), (0.3, None, 0.075), (20.0, None, 0.15), (20.0, 19.99, 0.02)],
)
def test_a_trial_lasts_as_long_as_a_refusal_may_take_and_no_longer(
    took: float, worked: float | None, longest: float
) -> None:
    lane = open_lane_that_took(took, requests(60, 60), worked=worked)
    tickets = joined(lane, 1, 1, 1)
    while len(tickets) > 1 and lane.start(1.0, 1):
        tickets.pop(0)
    assert lane.wait(1.0) == pytest.approx(longest)
    assert lane.start(1.0 + longest, 100) == tickets


def test_a_trial_that_is_lost_on_its_way_is_tried_again() -> None:
    lane = open_lane_that_took(20.0, requests(60, 60))
    tickets = joined(lane, *[1] * 4)
    assert lane.start(1.0, 100) == tickets[:2]
    lane.released(tickets[1], reached_server=False)
    assert lane.start(1.0, 100) == [tickets[2]]
    assert lane.start(1.0, 100) == [], "it is on trial, too"


# What requests are charged.

LONG = Ask(tokens=4_000, least=100, kind="summary")
"""A request whose ``max_tokens`` is far above what it really uses."""


def long_answers(server: Server, number: int = 200) -> World:
    world = World(server)
    world.send([LONG] * number)
    world.run()
    return world


@pytest.mark.parametrize("fill", [60_000, 3_000, 150])
def test_max_tokens_that_are_not_charged_hold_nobody_back(fill: float) -> None:
    world = long_answers(Server(tokens=Level(60_000, fill), charge=lambda ask: ask.least))
    assert world.refused == []
    assert world.now == pytest.approx(max(0, 20_000 - fill) / 1_000, rel=0.02, abs=1.0)


@pytest.mark.parametrize("fill", [60_000, 3_000, 150])
def test_max_tokens_that_are_charged_cost_one_refusal(fill: float) -> None:
    """The one that found it out; nobody tries again."""
    world = long_answers(Server(tokens=Level(60_000, fill)))
    assert len(world.refused) == 1
    assert world.refused[0] < 1
    assert world.now == pytest.approx((800_000 - fill) / 1_000, rel=0.01)


def test_a_charge_that_changes_is_learned_again() -> None:
    """The template's rows become longer."""
    charged = [100.0]
    world = World(Server(tokens=Level(60_000, 0), charge=lambda _: charged[0]))
    world.send([LONG] * 2_000)
    world.run(60.0)
    charged[0] = 1_000.0
    before = len(world.refused)
    world.run(200.0)
    assert len(world.refused) - before <= 12
    world.run(500.0)
    late = [when for when in world.refused if when > 200]
    assert late == []


def test_requests_without_a_kind_are_charged_as_estimated() -> None:
    world = World(Server(tokens=Level(60_000, 5_000)))
    world.send([Ask(tokens=4_000)] * 20)
    world.run()
    assert world.refused == []


# Others on the same limit.


def rival(world: World, *, every: float, at_once: int = 1) -> list[float]:
    """A second client that sends, waits for nobody, and does not come again."""
    took: list[float] = []

    def draw() -> None:
        for _ in range(at_once):
            if world.server.let_in(Ask(), world.now):
                world.server.inside -= 1
                took.append(world.now)
        world.at(world.now + every, draw)

    world.at(0.05, draw)
    return took


@pytest.mark.parametrize(("rpm", "at_once"), [(60, 1), (600, 1), (600, 5)])
def test_a_second_client_that_draws_half_leaves_us_the_other_half(rpm: int, at_once: int) -> None:
    world = World(Server(requests=Level(rpm)))
    theirs = rival(world, every=at_once * 120 / rpm, at_once=at_once)
    world.send([Ask()] * 10_000)
    world.run(180.0)
    ours = len(world.sent) - len(world.refused)
    assert (ours + len(theirs)) / (rpm + 3 * rpm) >= 0.95
    assert len(world.refused) <= 0.02 * len(world.sent)
    assert len(theirs) >= 0.95 * 1.5 * rpm, "and they get theirs"


def test_when_the_second_client_leaves_the_whole_limit_is_ours() -> None:
    world = World(Server(requests=Level(600, 0)))
    level = world.server.limits["requests"]

    def draw() -> None:
        level.left = max(0.0, level.refill(world.now) - 1)
        if world.now < 60:
            world.at(world.now + 0.2, draw)

    world.at(0.05, draw)
    world.send([Ask()] * 10_000)
    world.run(70.0)
    before = len(world.answered)
    world.run(130.0)
    assert len(world.answered) - before >= 0.98 * 600


def test_a_limit_that_is_cut_to_a_tenth_is_followed_at_once() -> None:
    world = World(Server(requests=Level(600, 0)))
    world.send([Ask()] * 1_000)
    world.run(20.0)
    level = world.server.limits["requests"]
    level.change(60, 20.0)
    sent, refused = len(world.sent), len(world.refused)
    world.run(80.0)
    assert len(world.sent) - sent - 60 <= 2
    assert len(world.refused) - refused <= 5, "those that were on their way"


def test_a_limit_that_is_raised_is_followed_at_once() -> None:
    world = World(Server(requests=Level(600, 0)))
    world.send([Ask()] * 100_000)
    world.run(20.0)
    world.server.limits["requests"].change(6_000, 20.0)
    sent, refused = len(world.sent), len(world.refused)
    world.run(30.0)
    assert len(world.sent) - sent >= 0.9 * 1_000
    assert len(world.refused) == refused


# Refusals.


def test_one_refusal_pauses_the_whole_lane() -> None:
    lane = open_lane(requests(600, 500))
    joined(lane, *[1] * 5)
    (ticket,) = lane.start(0.0, 1)
    assert refuse(lane, ticket, 0.0, requests(600, 500), pause=7.0)
    assert lane.start(6.9, 100) == []
    assert lane.waiting_for(0.0) == ("pause", 7.0)
    assert lane.start(7.0, 1) != []


def test_a_refusal_that_says_why_keeps_some_in_hand() -> None:
    """Somebody else drew on it; the next one had better not come at the last moment."""
    lane = open_lane(requests(60, 10))
    joined(lane, 1, 1)
    (ticket,) = lane.start(0.0, 1)
    refuse(lane, ticket, 0.0, requests(60, 0), pause=0.0)
    wait = lane.wait(0.0)
    assert wait is not None
    assert wait > 1.5


def test_what_is_kept_in_hand_fades_with_every_success() -> None:
    lane = open_lane(requests(60, 10))
    (ticket,) = joined(lane, 1)
    lane.start(0.0, 1)
    refuse(lane, ticket, 0.0, requests(60, 0), pause=0.0)
    joined(lane, 1)
    before = lane.wait(0.0)
    for _ in range(1_000):
        lane.succeeded(ticket, 0.0)
    after = lane.wait(0.0)
    assert before is not None
    assert after is not None
    assert after < before - 1


def test_a_refusal_in_spite_of_room_spaces_requests_evenly() -> None:
    lane = open_lane(requests(600, 500))
    joined(lane, *[1] * 50)
    ticket, *others = lane.start(1.0, 5)
    refuse(lane, ticket, 1.0, requests(600, 495), pause=0.0)
    for other in others:
        lane.released(other)
    assert [len(lane.start(1.0 + number / 20, 100)) for number in range(5)] == [1, 0, 0, 1, 0]


def test_an_overloaded_server_gets_fewer_at_a_time_whatever_its_limits_say() -> None:
    lane = open_lane(requests(600, 500))
    joined(lane, *[1] * 90)
    first, *others = lane.start(0.0, 10)
    lane.answered(first, [], 0.0)
    lane.released(first)
    assert not lane.refused(first, [], 0.0, pause=2.0, limited=False), "this one alone waits"
    for other in others:
        lane.released(other)
    assert len(lane.start(0.1, 100)) in (8, 9), "it had room for nine"


def test_a_refusal_without_headers_pauses_but_blames_no_limit() -> None:
    lane = open_lane(requests(600, 500))
    joined(lane, *[1] * 90)
    (ticket,) = lane.start(0.0, 1)
    assert refuse(lane, ticket, 0.0, pause=2.0)
    assert len(lane.start(2.0, 100)) > 50


def test_asked_to_slow_down_it_sends_half_as_many_and_recovers() -> None:
    world = World(Server(requests=Level(600, 0)))
    world.send([Ask()] * 10_000)
    world.run(30.0)
    world.lanes[0].slow_down(Ticket(Ask(), sent=29.9), 30.0)
    sent = [len(world.sent)]
    for seconds in (15, 60, 105, 165):
        world.run(30.0 + seconds)
        sent.append(len(world.sent))
    slow, recovering, _, recovered = (after - before for before, after in itertools.pairwise(sent))
    assert slow == pytest.approx(15 * 5, rel=0.05)
    assert recovering == pytest.approx(15 * 5 * (1.1 + 1.21 + 1.331), rel=0.05)
    assert recovered >= 0.98 * 600


def test_asked_by_many_at_once_it_slows_down_once() -> None:
    """Twenty in flight may get the same answer: that is one request to slow down, not twenty."""
    world = World(Server(requests=Level(600, 0)))
    world.send([Ask()] * 10_000)
    world.run(30.0)
    for number in range(20):
        world.lanes[0].slow_down(Ticket(Ask(), sent=29.7 + number / 100), 30.0 + number / 100)
    sent = len(world.sent)
    world.run(45.0)
    assert len(world.sent) - sent == pytest.approx(15 * 5, rel=0.1)


def test_a_lane_that_was_asked_to_slow_down_says_so() -> None:
    lane = open_lane(requests(600, 500))
    lane.slow_down(Ticket(Ask(), sent=-1.0), 0.0)
    joined(lane, 1, 1)
    lane.start(0.0, 1)
    what, seconds = lane.waiting_for(0.0)
    assert what == "slow down"
    assert seconds == lane.wait(0.0) > 0


# Servers that report no limits.


@pytest.mark.parametrize("places", [1, 3, 8, 50])
def test_without_headers_the_places_of_a_server_are_found(places: int) -> None:
    world = World(Server(places=places, seconds=1.0))
    world.send([Ask()] * 10**5)
    world.run(100.0)
    settled = len(world.answered), len(world.refused), len(world.sent)
    world.run(400.0)
    answered, refused, sent = (
        len(now) - before
        for now, before in zip((world.answered, world.refused, world.sent), settled, strict=True)
    )
    assert answered >= 0.9 * 300 * places
    assert refused <= 0.02 * sent


def test_without_headers_a_refusal_makes_nobody_else_wait() -> None:
    lane = open_lane()
    joined(lane, *[1] * 50)
    *inside, last = lane.start(0.0, 100)
    assert not refuse(lane, last, 0.1, pause=30.0)
    assert lane.start(0.1, 100) == [], "the others hold all the places that there are"
    lane.released(inside.pop())
    assert len(lane.start(0.2, 100)) == 1


def test_without_headers_one_that_is_refused_alone_makes_everybody_wait() -> None:
    lane = open_lane()
    joined(lane, 1, 1)
    (ticket,) = lane.start(0.0, 1)
    assert refuse(lane, ticket, 0.1, pause=30.0)
    assert lane.start(30.0, 100) == []
    assert len(lane.start(30.1, 100)) == 1


def test_without_headers_a_few_refusals_together_cut_once() -> None:
    lane = open_lane()
    joined(lane, *[1] * 50)
    tickets = lane.start(0.0, 100)
    for ticket in tickets[5:]:
        refuse(lane, ticket, 0.1)
    for ticket in tickets[:5]:
        lane.answered(ticket, [], 1.0)
        lane.succeeded(ticket, 1.0)
        lane.released(ticket)
    assert len(lane.start(1.0, 100)) in (5, 6)


@pytest.mark.parametrize("workers", [1, 4, 8])
def test_without_headers_a_queue_inside_the_server_is_kept_short(workers: int) -> None:
    """Ollama and vLLM refuse nobody; what is too much waits there, until it times out."""
    world = World(Server(workers=workers, seconds=1.0), Lane(max_in_flight=100))
    world.send([Ask()] * 10**5)
    inside = []
    for _ in range(60):
        world.run(world.now + 5.0)
        inside.append(world.lanes[0].in_flight)
    assert len(world.answered) >= 0.95 * workers * 295
    assert max(inside) <= 8 * workers + 16


def test_limits_that_appear_lift_the_cap() -> None:
    lane = open_lane()
    joined(lane, *[1] * 90)
    first, *_ = lane.start(0.0, 1)
    lane.answered(first, [requests(6_000, 5_000)], 0.1)
    lane.released(first)
    assert len(lane.start(1.0, 100)) > 50
