"""The pulse of a job, on a clock that the test moves."""

from __future__ import annotations

import pytest

from gpt_magics.jobs.pulse import Pulse


class Clock:
    def __init__(self, now: float = 0.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def beaten(clock: Clock, every: float, rows: int) -> Pulse:
    pulse = Pulse(clock)
    for _ in range(rows):
        clock.now += every
        pulse.beat()
    return pulse


def test_before_two_rows_there_is_no_rate() -> None:
    clock = Clock()
    assert Pulse(clock).rate == 0
    assert beaten(clock, 1.0, 1).rate == 0


@pytest.mark.parametrize("every", [0.01, 0.5, 3.0, 20.0, 30.0, 600.0])
def test_the_rate_is_rows_a_second_however_slow(every: float) -> None:
    assert beaten(Clock(), every, 50).rate == pytest.approx(1 / every)


def test_the_rate_is_of_late() -> None:
    clock = Clock()
    pulse = beaten(clock, 1.0, 100)
    for _ in range(200):
        clock.now += 0.1
        pulse.beat()
    assert pulse.rate == pytest.approx(10, rel=0.05)


def test_a_job_that_stands_still_slows_down() -> None:
    clock = Clock()
    pulse = beaten(clock, 1.0, 30)
    clock.now += 1000
    assert pulse.rate < 0.002


def test_rows_that_end_at_one_moment_are_fast_not_infinite() -> None:
    assert 0 < beaten(Clock(), 0.0, 50).rate < 1e6


def test_the_history_counts_every_row_in_equal_stretches() -> None:
    clock = Clock()
    pulse = beaten(clock, 0.25, 8)
    assert pulse.history == [0, 1, 1, 1, 1, 1, 1, 1, 1]
    clock.now += 1.0
    assert pulse.history == [0, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0]


def test_a_long_history_loses_detail_not_rows() -> None:
    pulse = beaten(Clock(), 7.0, 1000)
    assert len(pulse.history) <= 60
    assert sum(pulse.history) == 1000


def test_time_stands_still_once_it_stopped() -> None:
    clock = Clock()
    pulse = beaten(clock, 1.0, 5)
    rate, history = pulse.rate, pulse.history
    pulse.stop()
    clock.now += 100
    assert (pulse.seconds, pulse.rate, pulse.history) == (5, rate, history)


def test_a_job_that_stops_at_time_zero_has_stopped() -> None:
    clock = Clock()
    pulse = Pulse(clock)
    pulse.stop()
    clock.now = 9.0
    assert pulse.seconds == 0


def test_a_pause_is_left_out() -> None:
    clock = Clock(100.0)
    pulse = beaten(clock, 1.0, 5)
    pulse.stop()
    clock.now += 1000
    pulse.go_on()
    assert pulse.rate == 0, "the rows before the pause are not of late"
    for _ in range(5):
        clock.now += 2.0
        pulse.beat()
    assert pulse.seconds == 15
    assert pulse.rate == pytest.approx(0.5)
    assert sum(pulse.history) == 10


def test_going_on_without_a_stop_changes_nothing() -> None:
    clock = Clock()
    pulse = beaten(clock, 1.0, 5)
    pulse.go_on()
    assert (pulse.seconds, pulse.rate) == (5, 1)
