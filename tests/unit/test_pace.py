"""Even spacing, and what is left of it after the server asked to slow down."""

from __future__ import annotations

import pytest

from gpt_magics.pacing.pace import Pace, Throttle


def steady(throttle: Throttle, rate: float, *, seconds: float, start: float = 0.0) -> float:
    """Send so many a second, without waiting; returns the end."""
    number = 0
    while number / rate < seconds:
        throttle.take(start + number / rate)
        number += 1
    return start + seconds


def eager(throttle: Throttle, start: float, *, seconds: float) -> int:
    """Send whenever the throttle lets; returns how many were sent."""
    now, number = start, 0
    while (now := now + throttle.wait(now)) < start + seconds:
        throttle.take(now)
        number += 1
        now += 0.001  # a request is no time at all only on paper
    return number


def test_who_has_sent_nothing_is_not_ahead() -> None:
    assert Pace().ahead(0.0) == 0


def test_what_is_taken_at_once_is_that_many_seconds_ahead() -> None:
    pace = Pace()
    for _ in range(3):
        pace.take(2.0, 4.0, 10.0)
    assert pace.ahead(10.0) == 1.5
    assert pace.ahead(11.0) == 0.5
    assert repr(pace) == "<Pace due at 11.5 s>"


def test_a_pause_gives_no_credit() -> None:
    pace = Pace()
    pace.take(1.0, 1.0, 0.0)
    assert pace.ahead(100.0) == 0
    pace.take(1.0, 1.0, 100.0)
    assert pace.ahead(100.0) == 1


def test_what_was_not_sent_after_all_is_not_ahead() -> None:
    pace = Pace()
    pace.take(1.0, 1.0, 0.0)
    pace.take(3.0, 1.0, 0.0)
    pace.give_back(3.0, 1.0)
    assert pace.ahead(0.0) == 1


def test_a_clock_that_goes_back_does_not_shorten_the_schedule() -> None:
    pace = Pace()
    pace.take(1.0, 1.0, 10.0)
    pace.take(1.0, 1.0, 5.0)
    assert pace.ahead(10.0) == 2


def test_until_the_server_asks_nothing_is_held_back() -> None:
    throttle = Throttle()
    steady(throttle, 100.0, seconds=1.0)
    assert not throttle.is_on
    assert throttle.wait(0.0) == 0
    assert repr(throttle) == "<Throttle off>"


@pytest.mark.parametrize("rate", [0.5, 10.0, 200.0])
def test_it_halves_the_rate_of_lately(rate: float) -> None:
    throttle = Throttle()
    now = steady(throttle, rate, seconds=60.0)
    throttle.halve(now, sent=now)
    assert throttle.is_on
    sent = eager(throttle, now, seconds=12.0)
    assert sent == pytest.approx(rate / 2 * 12, rel=0.1, abs=1)


def test_what_was_long_ago_is_not_lately() -> None:
    throttle = Throttle()
    now = steady(throttle, 1_000.0, seconds=10.0)
    now = steady(throttle, 2.0, seconds=60.0, start=now)
    throttle.halve(now, sent=now)
    assert eager(throttle, now, seconds=12.0) == pytest.approx(12, abs=1)


def test_asked_again_later_it_halves_again() -> None:
    throttle = Throttle()
    now = steady(throttle, 20.0, seconds=30.0)
    throttle.halve(now, sent=now)
    first = eager(throttle, now, seconds=10.0)
    throttle.halve(now + 10.0, sent=now + 9.0)
    second = eager(throttle, now + 10.0, seconds=10.0)
    assert first == pytest.approx(100, rel=0.05)
    assert second == pytest.approx(50, rel=0.05)


def test_asked_by_many_that_were_on_their_way_it_halves_once() -> None:
    throttle = Throttle()
    now = steady(throttle, 20.0, seconds=30.0)
    for number in range(20):
        throttle.halve(now + number / 100, sent=now - 1.0 + number / 20)
    assert eager(throttle, now + 1.0, seconds=10.0) == pytest.approx(100, rel=0.05)


def test_it_recovers_step_by_step_until_it_holds_nothing_back() -> None:
    throttle = Throttle()
    now = steady(throttle, 20.0, seconds=30.0)
    throttle.halve(now, sent=now)
    begun, gaps = now, []
    while throttle.is_on:
        throttle.take(now)
        gaps.append(throttle.wait(now))
        now += gaps[-1]
    assert gaps[0] == pytest.approx(0.1, rel=0.05)
    assert gaps == pytest.approx(sorted(gaps, reverse=True)), "it never slows down by itself"
    assert gaps[-2] <= 0.05 / 3, "far above what was sent before, so that nothing saved leaps out"
    assert 300 <= now - begun <= 400


def test_who_did_nothing_for_long_has_recovered_with_the_next_request() -> None:
    throttle = Throttle()
    now = steady(throttle, 20.0, seconds=30.0)
    throttle.halve(now, sent=now)
    throttle.take(now + 3600.0)
    assert not throttle.is_on


def test_even_the_slowest_sender_is_let_go_on() -> None:
    throttle = Throttle()
    throttle.halve(0.0, sent=0.0)
    assert throttle.wait(0.0) == 0
    throttle.take(0.0)
    assert 0 < throttle.wait(0.0) <= 10
