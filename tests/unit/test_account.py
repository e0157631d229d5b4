"""Lanes of one key: which limits they share, and whose turn it is."""

from __future__ import annotations

import pytest
from test_lanes import Level, Server, World

from gpt_magics.pacing.account import Account
from gpt_magics.pacing.buckets import DAY, Ask
from gpt_magics.pacing.headers import Reading
from gpt_magics.pacing.lanes import Lane, Ticket


def requests(limit: float, remaining: float) -> Reading:
    return Reading("requests", limit, remaining, None)


def lanes(number: int = 2) -> list[Lane]:
    account = Account()
    return [Lane(max_in_flight=1_000, account=account) for _ in range(number)]


def answer(lane: Lane, ticket: Ticket, now: float, *known: Reading) -> None:
    lane.answered(ticket, known, now)
    lane.succeeded(ticket, now)
    lane.released(ticket)


def ask(lane: Lane, now: float, *known: Reading, cost: int = 1) -> None:
    """One request, sent and answered at ``now``."""
    ticket = Ticket(Ask(requests=cost))
    lane.join(ticket)
    assert lane.start(now, 1) == [ticket]
    answer(lane, ticket, now, *known)


def level(lane: Lane, now: float = 0.0) -> float:
    (view,) = lane.limits(now)
    return view.level


def let_bursts_in(lane: Lane) -> None:
    for bucket in lane.buckets.values():
        bucket.allow_bursts()
        bucket.allow_bursts()


class Apart(World):
    """Each lane's model has a limit of its own."""

    def __init__(self, **servers: tuple[Server, Lane]) -> None:
        super().__init__(Server(), *(lane for _, lane in servers.values()))
        self._servers = {id(lane): server for server, lane in servers.values()}

    def server_of(self, lane: Lane) -> Server:
        return self._servers[id(lane)]


class Uneven(Server):
    """Some answers take ten times as long as others, so that they come in any order."""

    number = 0

    def work(self, now: float) -> float:
        self.number += 1
        return now + self.seconds * (0.2 + self.number * 37 % 19 / 10)


# A limit that holds over all models.


@pytest.mark.parametrize("fill", [5, 100, 600])
@pytest.mark.parametrize("joins", [0.0, 0.1, 1.0, 20.0])
def test_two_models_under_one_limit_use_it_up_and_never_exceed_it(
    fill: float, joins: float
) -> None:
    one, two = lanes()
    world = World(Server(requests=Level(600, fill)), one, two)
    world.send([Ask()] * 300, one)
    world.at(joins, lambda: world.send([Ask()] * 300, two) and None)
    world.run()
    assert world.refused == []
    assert len(world.answered) == 600
    assert world.now == pytest.approx((600 - fill) / 10, rel=0.02, abs=joins + 1.5)


def test_requests_in_turn_are_charged_to_one_and_the_same_bucket() -> None:
    one, two = lanes()
    ask(one, 0.0, requests(60, 40))
    ask(two, 0.0, requests(60, 39))
    ask(one, 0.0, requests(60, 38))
    assert level(one) == level(two) == 38
    ticket = Ticket(Ask())
    two.join(ticket)
    two.start(0.0, 1)
    assert level(one) == level(two) == 37, "before any answer tells"


@pytest.mark.parametrize("fill", [20, 60])
@pytest.mark.parametrize("number", [2, 3, 8])
def test_models_that_start_together_under_one_limit_find_that_they_share_it(
    number: int, fill: float
) -> None:
    """Each one's first answer tells another level than the last one's."""
    all_lanes = lanes(number)
    world = World(Server(requests=Level(60, fill)), *all_lanes)
    for lane in all_lanes:
        world.send([Ask()] * (240 // number), lane)
    world.run()
    assert len(world.refused) <= 0.02 * 240
    assert world.now == pytest.approx(240 - fill, rel=0.02)


@pytest.mark.parametrize("fill", [60, 600])
@pytest.mark.parametrize("joins", [0.0, 1.0])
def test_answers_in_any_order_do_not_make_them_move_apart(fill: float, joins: float) -> None:
    one, two = lanes()
    world = World(Uneven(requests=Level(600, fill)), one, two)
    world.send([Ask()] * 500, one)
    world.at(joins, lambda: world.send([Ask()] * 500, two) and None)
    world.run()
    assert len(world.refused) <= 0.02 * 1_000
    assert world.now == pytest.approx((1_000 - fill) / 10, rel=0.02, abs=1.0)


def test_answers_in_reverse_order_do_not_make_them_move_apart() -> None:
    one, two = lanes()
    ask(one, 0.0, requests(600, 599))
    ask(two, 0.0, requests(600, 598))
    let_bursts_in(one)
    sent = []
    for _ in range(50):
        for lane in (one, two):
            ticket = Ticket(Ask())
            lane.join(ticket)
            assert lane.start(1.0, 1) == [ticket]
            sent.append((lane, ticket, requests(600, 599 - len(sent))))
    for lane, ticket, reading in reversed(sent):
        answer(lane, ticket, 1.5, reading)
    assert level(one, 1.5) == level(two, 1.5)
    assert 504 <= level(one, 1.5) <= 505


def test_a_shared_limit_on_tokens_is_not_exceeded_by_two_kinds_of_requests() -> None:
    one, two = lanes()
    world = World(Server(tokens=Level(60_000, 30_000)), one, two)
    world.send([Ask(tokens=1_000, kind="summary")] * 100, one)
    world.at(1.0, lambda: world.send([Ask(tokens=100, kind="title")] * 1_000, two) and None)
    world.run()
    assert world.refused == []
    assert world.now == pytest.approx(170, rel=0.02)


# A limit of each model's own.


@pytest.mark.parametrize("joins", [0.0, 0.9, 20.0])
def test_two_models_with_limits_of_their_own_both_run_at_full_speed(joins: float) -> None:
    one, two = lanes()
    servers = Server(requests=Level(600)), Server(requests=Level(600))
    world = Apart(one=(servers[0], one), two=(servers[1], two))
    world.send([Ask()] * 900, one)
    world.at(joins, lambda: world.send([Ask()] * 900, two) and None)
    world.run()
    assert world.refused == []
    assert world.now <= joins + 30 + 3, "900 of 600 a minute take 30 s, be it beside each other"


def test_a_first_answer_that_tells_another_level_is_of_another_limit() -> None:
    one, two = lanes()
    ask(one, 0.0, requests(600, 100))
    ask(two, 0.0, requests(600, 599))
    assert (level(one), level(two)) == (100, 599)


def test_another_capacity_is_another_limit() -> None:
    one, two = lanes()
    ask(one, 0.0, requests(600, 500))
    ask(two, 0.0, requests(501, 500))
    assert (level(one), level(two)) == (500, 500)
    assert [view.limit for lane in (one, two) for view in lane.limits(0.0)] == [600, 501]


def test_two_that_looked_alike_move_apart_after_two_answers_that_contradict() -> None:
    one, two = lanes()
    ask(one, 0.0, requests(600, 599))
    ask(two, 0.0, requests(600, 599))  # it may be the same, and nearly is
    ask(one, 1.0, requests(600, 300), cost=300)
    assert level(two, 1.0) == 300
    ask(two, 2.0, requests(600, 599))
    assert level(two, 2.0) <= 310, "one answer may be a chance"
    ask(two, 3.0, requests(600, 599))
    assert level(two, 3.0) >= 597
    for now, remaining in ((4.0, 329), (5.0, 338)):
        ask(one, now, requests(600, remaining))
        ask(two, now, requests(600, 599))
    assert level(one, 5.0) == pytest.approx(338, abs=1)
    assert level(two, 5.0) == 599


def test_those_in_flight_move_along() -> None:
    one, two = lanes()
    ask(one, 0.0, requests(600, 599))
    ask(two, 0.0, requests(600, 599))
    ask(one, 1.0, requests(600, 300), cost=300)
    late = [Ticket(Ask()) for _ in range(10)]
    for ticket in late:
        two.join(ticket)
    let_bursts_in(two)
    assert two.start(2.0, 100) == late
    for now in (3.0, 4.0):
        ask(two, now, requests(600, 599))
    assert level(two, 4.0) <= 590, "those ten may be still to come"
    for now, remaining in ((5.0, 339), (6.0, 348)):
        ask(one, now, requests(600, remaining))
    assert level(one, 6.0) == pytest.approx(348, abs=1), "and the neighbour has them back"
    for ticket in late:
        answer(two, ticket, 7.0)
    assert two.in_flight == 0


def test_who_moved_out_is_not_suspected_by_the_next() -> None:
    one, two, three = lanes(3)
    ask(one, 0.0, requests(600, 599))
    ask(two, 0.0, requests(600, 599))
    ask(one, 1.0, requests(600, 300), cost=300)
    for now in (2.0, 3.0):
        ask(two, now, requests(600, 599))
    before = level(one, 4.0), level(two, 4.0)
    three.join(Ticket(Ask()))
    three.start(4.0, 1)
    assert (level(one, 4.0), level(two, 4.0)) == (before[0] - 1, before[1])


# A lane that knows nothing yet.


def test_its_first_request_is_charged_to_its_neighbours_until_it_is_answered() -> None:
    one, two = lanes()
    ask(one, 0.0, requests(600, 100))
    first = Ticket(Ask())
    two.join(first)
    two.start(0.0, 1)
    assert level(one) == 99
    answer(two, first, 0.0, requests(600, 599))
    assert level(one) == 100, "it was another limit"


def test_its_first_request_waits_for_limits_that_may_hold_here_too() -> None:
    one, two = lanes()
    ask(one, 0.0, requests(60, 0))
    two.join(Ticket(Ask()))
    assert two.start(0.0, 1) == []
    wait = two.wait(0.0)
    assert wait == pytest.approx(1, abs=0.01)
    assert len(two.start(wait, 1)) == 1


def test_its_first_request_waits_half_a_minute_at_most() -> None:
    """Most models have limits of their own."""
    one, two = lanes()
    ask(one, 0.0, Reading("tokens", 6_000, 0, None))
    two.join(Ticket(Ask(tokens=5_000)))
    assert two.wait(10.0) == pytest.approx(30)
    assert two.wait(25.0) == pytest.approx(15), "counted from when it was first asked"
    assert two.start(39.9, 1) == []
    assert len(two.start(40.0, 1)) == 1


def test_a_limit_per_day_is_nobody_elses() -> None:
    one, two = lanes()
    ask(one, 0.0, Reading("requests", 1_000, 0, None, window=DAY))
    two.join(Ticket(Ask()))
    assert len(two.start(0.0, 1)) == 1


def test_a_lane_alone_has_nobody_to_be_polite_to() -> None:
    (lane,) = lanes(1)
    lane.join(Ticket(Ask(tokens=5_000)))
    assert len(lane.start(0.0, 1)) == 1
    assert repr(lane) == "<Lane 1 in flight, 0 queued>"


def test_polls_whose_answers_tell_no_limits_wait_for_nobodys() -> None:
    rows, polls = lanes()
    ask(rows, 0.0, requests(60, 5))
    ask(polls, 0.0)
    for _ in range(20):
        ask(polls, 0.0)
    assert level(rows) == 5, "nor do they take anything"
    ask(rows, 0.0, requests(60, 0))
    for _ in range(20):
        ask(polls, 0.0)
    assert level(rows) == 0


# Whose turn it is.


def together(tokens: float) -> tuple[World, Lane, Lane]:
    """Two lanes that have found that they share a limit on tokens."""
    one, two = lanes()
    world = World(Server(tokens=Level(60_000, tokens)), one, two)
    for lane in (one, two):
        world.send([Ask(tokens=10)], lane)
        world.run(world.now + 1.0)
    return world, one, two


def test_a_large_request_in_one_lane_is_not_starved_by_small_ones_in_another() -> None:
    world, small, large = together(10_000)
    world.send([Ask(tokens=500)] * 2_000, small)
    world.run(40.0)
    (giant,) = world.send([Ask(tokens=50_000)], large)
    world.run(120.0)
    assert giant.sent is not None
    assert giant.sent - 40 <= 51, "the limit refills by a thousand a second"
    assert world.refused == []


def test_of_two_large_requests_the_first_does_not_wait_for_the_second() -> None:
    world, one, two = together(10_000)
    (first,) = world.send([Ask(tokens=30_000)], one)
    world.run(3.0)
    (second,) = world.send([Ask(tokens=25_000)], two)
    world.run()
    assert first.sent is not None
    assert second.sent is not None
    assert first.sent == pytest.approx(20, abs=0.1)
    assert second.sent == pytest.approx(45, abs=0.1)


def test_small_ones_in_another_lane_go_on_after_the_large_one() -> None:
    world, small, large = together(10_000)
    world.send([Ask(tokens=500)] * 200, small)
    world.run(40.0)
    world.send([Ask(tokens=50_000)], large)
    world.run()
    assert len(world.answered) == 203
    assert world.now == pytest.approx((200 * 500 + 50_000 - 10_000) / 1_000, rel=0.03)


def test_a_person_does_not_wait_for_a_large_request_in_another_lane() -> None:
    world, one, large = together(10_000)
    world.send([Ask(tokens=50_000)], large)
    world.run(10.0)
    person = Ticket(Ask(tokens=500), interactive=True)
    one.join(person)
    world.run(11.0)
    assert person.sent == 10.0


@pytest.mark.parametrize("leaves", ["leave", "clear"])
def test_a_large_request_that_leaves_is_waited_for_no_longer(leaves: str) -> None:
    world, small, large = together(10_000)
    (giant,) = world.send([Ask(tokens=50_000)], large)
    world.run(3.0)
    (waiting,) = world.send([Ask(tokens=500)], small)
    assert small.start(3.0, 1) == [], "the large one was first"
    if leaves == "leave":
        large.leave(giant)
    else:
        large.clear()
    assert small.start(3.0, 1) == [waiting]


def test_its_repr_counts_its_lanes() -> None:
    account = Account()
    for _ in range(3):
        Lane(max_in_flight=1, account=account)
    assert repr(account) == "<Account of 3 lanes>"
