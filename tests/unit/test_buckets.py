"""The mirror of a server's bucket, step by step."""

from __future__ import annotations

import pytest

from gpt_magics.pacing.buckets import DAY, HOUR, MINUTE, Ask, Bucket, Stamp
from gpt_magics.pacing.headers import Reading


def requests(limit: float, remaining: float, reset: float | None = None) -> Reading:
    return Reading("requests", limit, remaining, reset)


def test_the_wait_is_for_what_is_short_not_for_the_reset() -> None:
    """Recorded: limit 30000, remaining 554, reset 58.891 s; the refill is 500 a second."""
    bucket = Bucket(Reading("tokens", 30_000, 554, 58.891), now=100.0)
    assert bucket.rate == 500
    assert bucket.wait(554 - 2, now=100.0) == 0
    assert bucket.wait(1554, now=100.0) == pytest.approx(2.0, abs=0.01)
    assert bucket.wait(30_000, now=100.0) == pytest.approx(58.892, abs=0.01)


def test_the_level_refills_linearly_up_to_the_limit() -> None:
    bucket = Bucket(requests(60, 10), now=0.0)
    assert [bucket.level(now) for now in (0.0, 5.0, 50.0, 500.0)] == [10, 15, 60, 60]


def test_a_clock_that_goes_back_takes_nothing_away() -> None:
    bucket = Bucket(requests(60, 10), now=10.0)
    assert bucket.level(5.0) == 10


def test_a_request_is_charged_when_it_is_sent() -> None:
    bucket = Bucket(requests(60, 10), now=0.0)
    bucket.take(4, now=1.0)
    assert bucket.level(1.0) == pytest.approx(7)


def test_a_margin_keeps_early_arrivals_from_being_refused() -> None:
    bucket = Bucket(requests(60, 0), now=0.0)
    wait = bucket.wait(1, now=0.0)
    assert 1.0 < wait < 1.01


def test_what_costs_nothing_never_waits() -> None:
    assert Bucket(requests(60, 0), now=0.0).wait(0, now=0.0) == 0


def test_a_cost_above_the_limit_may_go_when_the_bucket_is_full() -> None:
    bucket = Bucket(requests(60, 0), now=0.0)
    assert bucket.wait(1000, now=0.0) == pytest.approx(60)
    assert bucket.wait(1000, now=60.0) == 0


def test_a_stale_remaining_does_not_forget_what_is_in_flight() -> None:
    bucket = Bucket(requests(10_000, 100), now=0.0)
    first = bucket.take(1, now=0.0)
    for _ in range(5):
        bucket.take(1, now=0.0)
    bucket.correct(requests(10_000, 99), first)  # the server had not seen the other five
    assert bucket.level(0.0) == 94


def test_answers_out_of_order_do_not_raise_the_level() -> None:
    bucket = Bucket(requests(600, 50), now=0.0)
    first, second = bucket.take(10, now=0.0), bucket.take(10, now=0.0)
    bucket.correct(requests(600, 30), second)
    bucket.correct(requests(600, 40), first)
    assert bucket.level(0.0) == 30


def test_bad_news_is_believed_at_once() -> None:
    """Another program with the same key has used some."""
    bucket = Bucket(requests(600, 500), now=0.0)
    bucket.correct(requests(600, 20), bucket.take(1, now=0.0))
    assert bucket.level(0.0) == 20


def test_good_news_is_believed_when_the_next_answer_confirms_it() -> None:
    bucket = Bucket(requests(600, 20), now=0.0)
    stamps = [bucket.take(1, now=0.0) for _ in range(3)]
    bucket.correct(requests(600, 300), stamps[0])
    assert bucket.level(0.0) == 17
    bucket.correct(requests(600, 299), stamps[1])
    assert bucket.level(0.0) == 298


def test_refill_lost_while_the_bucket_was_full_is_not_counted_by_a_late_answer() -> None:
    bucket = Bucket(requests(60, 60), now=0.0)
    slow = [bucket.take(1, now=0.0) for _ in range(3)]  # answered after a minute
    for _ in range(30):
        bucket.take(1, now=50.0)  # full again long before
    assert bucket.level(50.0) == 30
    for number, stamp in enumerate(slow, 1):
        bucket.correct(requests(60, 60 - number), stamp)
    assert bucket.level(51.0) == 31


def test_reset_zero_is_fine() -> None:
    bucket = Bucket(requests(60, 60, 0.0), now=0.0)
    bucket.correct(requests(60, 59, 0.0), bucket.take(1, now=0.0))
    assert bucket.level(0.0) == 59
    assert bucket.window == MINUTE


def test_a_limit_that_changes_is_taken_over() -> None:
    bucket = Bucket(requests(60, 50), now=0.0)
    first = bucket.take(1, now=0.0)
    bucket.take(1, now=0.0)
    bucket.correct(requests(600, 500), first)
    assert (bucket.limit, bucket.rate, bucket.level(0.0)) == (600, 10, 499)
    bucket.correct(requests(30, 3), bucket.take(1, now=0.0))
    assert (bucket.limit, bucket.level(0.0), bucket.level(1e6)) == (30, 3, 30)


def test_a_day_is_recognised_after_two_readings() -> None:
    """Recorded: limit 10000, remaining 9999, reset 8.64 s."""
    bucket = Bucket(requests(10_000, 9_999, 8.64), now=0.0)
    bucket.correct(requests(10_000, 9_999, 8.64), Stamp(0.0, 0.0))
    assert bucket.window == MINUTE
    bucket.correct(requests(10_000, 9_998, 17.28), bucket.take(1, now=0.0))
    assert bucket.window == DAY
    assert bucket.rate == pytest.approx(10_000 / 86_400)


def test_one_reading_proves_the_window_when_much_is_used() -> None:
    bucket = Bucket(requests(100, 100), now=0.0)
    bucket.correct(requests(100, 50, 1800.0), bucket.take(1, now=0.0))
    assert bucket.window == HOUR


@pytest.mark.parametrize(("remaining", "reset"), [(59, 60.0), (59, 30.0), (10, 41.0), (59, None)])
def test_a_countdown_that_fits_no_window_changes_nothing(
    remaining: float, reset: float | None
) -> None:
    bucket = Bucket(requests(60, 60), now=0.0)
    bucket.correct(requests(60, remaining, reset), bucket.take(1, now=0.0))
    assert bucket.window == MINUTE


def test_what_never_reached_the_server_is_given_back() -> None:
    bucket = Bucket(requests(60, 10), now=0.0)
    bucket.refund(5, bucket.take(5, now=0.0))
    assert bucket.level(0.0) == 10


def test_it_is_not_given_back_twice_when_a_later_answer_knew() -> None:
    bucket = Bucket(requests(60, 10), now=0.0)
    lost, later = bucket.take(1, now=0.0), bucket.take(1, now=0.0)
    for _ in range(2):  # the second confirms the first
        bucket.correct(requests(60, 9), later)
    assert bucket.level(0.0) == 9
    bucket.refund(1, lost)
    assert bucket.level(0.0) == 9


def test_requests_that_are_never_answered_do_not_fill_the_memory() -> None:
    bucket = Bucket(requests(60, 60), now=0.0)
    for now in range(10_000):
        bucket.take(1, now=float(now))
    assert len(bucket._unanswered) < 5_000  # noqa: SLF001 - the memory is the point


def test_its_repr_says_where_it_stands() -> None:
    assert repr(Bucket(requests(60, 59), now=0.0)) == "<Bucket requests: 59 of 60 per 60 s>"


@pytest.mark.parametrize(
    ("dimension", "cost"),
    [
        ("requests", 1),
        ("tokens", 250),
        ("project-tokens", 250),
        ("input-tokens", 250),
        ("api_key-requests", 1),
        ("input-images", 0),
        ("max_parallel_requests", 0),
    ],
)
def test_an_ask_costs_by_the_name_of_the_dimension(dimension: str, cost: float) -> None:
    assert Ask(tokens=250).on(dimension) == cost
