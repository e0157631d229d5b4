"""A lane's queue: who may start, told the time by the test."""

from __future__ import annotations

import pytest

from gpt_magics.pacing.buckets import Ask
from gpt_magics.pacing.headers import Reading
from gpt_magics.pacing.lanes import Lane, Ticket


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
    """A lane whose first request was answered at time 0."""
    lane = Lane(max_in_flight=max_in_flight)
    lane.join(Ticket(Ask()))
    (first,) = lane.start(0.0, 1)
    lane.answered(first, known, 0.0)
    lane.released(first)
    return lane


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
    joined(lane, *[1] * 10)
    assert len(lane.start(0.0, 100)) == 4


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
