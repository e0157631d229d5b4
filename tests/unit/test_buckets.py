"""The mirror of a server's bucket, step by step."""

from __future__ import annotations

import gc
from dataclasses import dataclass
from itertools import pairwise

import pytest

from gpt_magics.pacing.buckets import DAY, HOUR, MINUTE, Ask, Bucket, Burst
from gpt_magics.pacing.bunches import Bunch, Stamp
from gpt_magics.pacing.headers import Reading
from gpt_magics.pacing.strangers import Sample


def requests(limit: float, remaining: float, reset: float | None = None) -> Reading:
    return Reading("requests", limit, remaining, reset)


def answer(bucket: Bucket, stamp: Stamp, reading: Reading, now: float = 0.0) -> Sample | None:
    """The server charged the request at ``now`` and answered at once."""
    return bucket.correct(reading, stamp, charged=now, now=now)


def ask(bucket: Bucket, reading: Reading, now: float = 0.0) -> Sample | None:
    """One request, sent, charged and answered at ``now``."""
    return answer(bucket, bucket.take(1, now), reading, now)


# Level and wait.


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
    assert bucket.wait(12, now=5.0) == bucket.wait(12, now=10.0)


def test_a_clock_that_goes_back_and_forth_gives_nothing_twice() -> None:
    bucket = Bucket(requests(60, 10), now=10.0)
    stamp = bucket.take(1, now=5.0)
    assert bucket.level(5.0) == bucket.level(10.0) == 9
    bucket.correct(requests(60, 9), stamp, charged=5.0, now=4.0)
    assert bucket.level(10.0) <= 9
    assert bucket.level(11.0) <= 10


def test_a_request_is_charged_when_it_is_sent() -> None:
    bucket = Bucket(requests(60, 10), now=0.0)
    bucket.take(4, now=1.0)
    assert bucket.level(1.0) == pytest.approx(7)


def test_a_margin_keeps_early_arrivals_from_being_refused() -> None:
    bucket = Bucket(requests(60, 0), now=0.0)
    wait = bucket.wait(1, now=0.0)
    assert 1.0 < wait < 1.01


def test_what_costs_nothing_never_waits() -> None:
    bucket = Bucket(requests(60, 0), now=0.0)
    bucket.take(1, now=0.0)
    bucket.refuse_bursts()
    bucket.surprised(1)
    assert bucket.wait(0, now=0.0) == 0


def test_a_cost_above_the_limit_may_go_when_the_bucket_is_full() -> None:
    bucket = Bucket(requests(60, 0), now=0.0)
    assert bucket.wait(1000, now=0.0) == pytest.approx(60)
    assert bucket.wait(1000, now=60.0) == 0


# The server's word.


def test_a_stale_remaining_does_not_forget_what_is_in_flight() -> None:
    bucket = Bucket(requests(10_000, 100), now=0.0)
    first = bucket.take(1, now=0.0)
    for _ in range(5):
        bucket.take(1, now=1.0)
    before = bucket.level(1.0)
    bucket.correct(requests(10_000, 99), first, charged=0.0, now=1.0)  # it had not seen the others
    assert bucket.level(1.0) == before == pytest.approx(94 + 10_000 / 60)


def test_answers_out_of_order_do_not_raise_the_level() -> None:
    bucket = Bucket(requests(600, 50), now=0.0)
    early = [bucket.take(10, now=0.0) for _ in range(2)]
    late = bucket.take(10, now=0.1)
    bucket.correct(requests(600, 5), late, charged=0.1, now=0.2)  # somebody else has taken some
    for stamp, remaining in zip(early, (40, 30), strict=True):
        bucket.correct(requests(600, remaining), stamp, charged=0.0, now=0.2)
    assert bucket.level(0.2) <= 6, "they know less than the late one did"


def test_bad_news_is_believed_at_once() -> None:
    """Another program with the same key has used some."""
    bucket = Bucket(requests(600, 500), now=0.0)
    ask(bucket, requests(600, 20))
    assert bucket.level(0.0) == 20


def test_good_news_is_believed_when_the_next_answer_confirms_it() -> None:
    bucket = Bucket(requests(600, 20), now=0.0)
    ask(bucket, requests(600, 300))
    assert bucket.level(0.0) == 19
    ask(bucket, requests(600, 310), now=1.0)
    assert bucket.level(1.0) == 309, "the more modest of the two"


def test_good_news_that_is_not_confirmed_is_forgotten() -> None:
    bucket = Bucket(requests(600, 20), now=0.0)
    ask(bucket, requests(600, 300))
    ask(bucket, requests(600, 28), now=1.0)
    ask(bucket, requests(600, 300), now=2.0)
    assert bucket.level(2.0) <= 28 + 10 - 1


def test_a_reading_counts_from_when_its_request_was_charged() -> None:
    bucket = Bucket(requests(600, 20), now=0.0)
    stamp = bucket.take(1, now=0.0)
    bucket.correct(requests(600, 5), stamp, charged=2.0, now=3.0)
    assert bucket.level(3.0) == 15


def test_a_bunch_may_arrive_in_any_order_and_is_read_as_one() -> None:
    """Its lowest answer counts, less those of it that the server may not have seen yet."""
    bucket = Bucket(requests(6_000, 100), now=0.0)
    first, second, third = (bucket.take(1, now=0.0) for _ in range(3))
    levels = []
    for stamp, remaining in ((second, 99), (first, 97), (third, 98)):  # as they arrived: 2, 3, 1
        answer(bucket, stamp, requests(6_000, remaining))
        levels.append(bucket.level(0.0))
    assert max(levels) <= 97
    ask(bucket, requests(6_000, 96))
    assert bucket.level(0.0) == 96, "once all is answered, nothing is missing"


def test_the_bunch_before_may_still_be_on_its_way() -> None:
    bucket = Bucket(requests(60, 50), now=0.0)
    for now in (0.0, 0.04):
        bucket.take(1, now)
    quick = [bucket.take(1, now=0.06) for _ in range(2)]
    for remaining, stamp in zip((49, 48), quick, strict=True):  # these have overtaken them
        bucket.correct(requests(60, remaining), stamp, charged=0.06, now=0.06)
    assert bucket.level(0.06) == pytest.approx(46, abs=0.1)


def test_once_all_is_answered_nothing_is_missing() -> None:
    """The last one's answer came first: those before it might have been on their way still."""
    bucket = Bucket(requests(600, 100), now=0.0)
    early = [bucket.take(1, now=0.04) for _ in range(20)]
    late = bucket.take(1, now=0.1)
    bucket.correct(requests(600, 80), late, charged=0.1, now=0.3)
    for number, stamp in enumerate(early):
        bucket.correct(requests(600, 99 - number), stamp, charged=0.04, now=0.4)
    assert bucket.level(0.4) == pytest.approx(83, abs=1.5)
    assert bucket.level(0.4) <= 83


def test_refill_lost_while_the_bucket_was_full_is_not_counted_by_a_late_answer() -> None:
    bucket = Bucket(requests(60, 60), now=0.0)
    slow = [bucket.take(1, now=0.0) for _ in range(3)]  # answered after a minute
    for _ in range(30):
        bucket.take(1, now=50.0)  # full again long before
    assert bucket.level(50.0) == 30
    for number, stamp in enumerate(slow, 1):
        bucket.correct(requests(60, 60 - number), stamp, charged=0.0, now=51.0)
    assert 28 < bucket.level(51.0) <= 31


def test_reset_zero_is_fine() -> None:
    bucket = Bucket(requests(60, 60, 0.0), now=0.0)
    ask(bucket, requests(60, 59, 0.0))
    assert bucket.level(0.0) == 59
    assert bucket.window == MINUTE


def test_a_limit_that_changes_is_taken_over() -> None:
    bucket = Bucket(requests(60, 50), now=0.0)
    first = bucket.take(1, now=0.0)
    bucket.take(1, now=1.0)
    bucket.correct(requests(600, 500), first, charged=0.0, now=1.0)
    assert (bucket.limit, bucket.rate, bucket.level(1.0)) == (600, 10, 509)
    ask(bucket, requests(30, 3), now=2.0)
    assert (bucket.limit, bucket.level(2.0), bucket.level(1e6)) == (30, 3, 30)


# The window.


def test_a_day_is_recognised_after_two_readings() -> None:
    """Recorded: limit 10000, remaining 9999, reset 8.64 s."""
    bucket = Bucket(requests(10_000, 10_000, 0.0), now=0.0)
    ask(bucket, requests(10_000, 9_999, 8.64))
    assert bucket.window == MINUTE
    ask(bucket, requests(10_000, 9_998, 17.28))
    assert bucket.window == DAY
    assert bucket.rate == pytest.approx(10_000 / 86_400)


def test_one_reading_proves_the_window_when_much_is_used() -> None:
    bucket = Bucket(requests(100, 100), now=0.0)
    ask(bucket, requests(100, 50, 1800.0))
    assert bucket.window == HOUR


@pytest.mark.parametrize(("remaining", "reset"), [(59, 60.0), (59, 30.0), (10, 41.0), (59, None)])
def test_a_countdown_that_fits_no_window_changes_nothing(
    remaining: float, reset: float | None
) -> None:
    bucket = Bucket(requests(60, 60), now=0.0)
    ask(bucket, requests(60, remaining, reset))
    assert bucket.window == MINUTE


def test_the_countdown_of_a_fixed_window_changes_nothing() -> None:
    """Its first answer looks like an hour's bucket; the next one does not."""
    bucket = Bucket(requests(60, 59, 60.0), now=0.0)
    for now in range(1, 60):
        ask(bucket, requests(60, 59 - now, 60.0 - now), now=float(now))
    assert bucket.window == MINUTE


def test_a_window_that_the_headers_state_needs_no_proof() -> None:
    bucket = Bucket(Reading("requests", 10, 0, 1800.0, window=1.0), now=0.0)
    assert bucket.rate == 10
    assert bucket.wait(5, now=0.0) == pytest.approx(0.5, abs=0.01)
    ask(bucket, Reading("requests", 10, 0, 1800.0, window=DAY))
    assert bucket.rate == 10 / DAY


# What was not charged.


def test_what_never_reached_the_server_is_given_back_once() -> None:
    bucket = Bucket(requests(60, 10), now=0.0)
    stamp = bucket.take(5, now=0.0)
    for _ in range(2):
        bucket.refund(stamp)
        assert bucket.level(0.0) == 10


def test_it_is_not_given_back_when_a_later_answer_knew() -> None:
    bucket = Bucket(requests(60, 10), now=0.0)
    lost = bucket.take(1, now=0.0)
    for now, remaining in ((1.0, 10), (2.0, 10)):  # the second confirms the first
        ask(bucket, requests(60, remaining), now)
    assert bucket.level(2.0) == 10
    bucket.refund(lost)
    assert bucket.level(2.0) == 10


def test_it_is_not_given_back_twice_when_its_bunch_is_answered() -> None:
    bucket = Bucket(requests(60, 10), now=0.0)
    lost, sent = bucket.take(1, now=0.0), bucket.take(1, now=0.0)
    answer(bucket, sent, requests(60, 9))
    bucket.refund(lost)
    assert bucket.level(0.0) == 9
    ask(bucket, requests(60, 9), now=1.0)
    assert bucket.level(1.0) == 9


def test_an_answer_that_comes_after_a_refund_counts_what_was_sent_since() -> None:
    bucket = Bucket(requests(600, 100), now=0.0)
    first = bucket.take(1, now=0.0)
    lost = bucket.take(10, now=1.0)
    bucket.take(5, now=2.0)
    bucket.refund(lost)
    bucket.correct(requests(600, 60), first, charged=0.0, now=3.0)  # bad news
    assert bucket.level(3.0) == 60 + 30 - 5


def test_a_refund_never_raises_the_level_above_what_the_server_can_have() -> None:
    """The bucket was full before the second was sent, so that one is missing whatever came back."""
    bucket = Bucket(requests(60, 60), now=0.0)
    lost = bucket.take(1, now=0.0)
    bucket.take(1, now=30.0)
    bucket.refund(lost)
    assert bucket.level(30.0) == 59


def test_a_refund_within_a_full_bucket_leaves_what_was_sent_with_it() -> None:
    bucket = Bucket(requests(6_000, 6_000), now=0.0)
    lost = bucket.take(10, now=0.0)
    bucket.take(100, now=0.04)
    bucket.refund(lost)
    assert bucket.level(0.04) == 5_900, "what flew over in between is not there"


# Strangers on the same bucket.


@dataclass
class Shared:
    """A bucket at a server, on which somebody else draws, too."""

    model: Bucket
    drain: float
    level: float = 3_000.0
    now: float = 0.0

    def ask_for(self, seconds: int) -> None:
        """One request a second."""
        for _ in range(seconds):
            self.now += 1.0
            self.level = min(6_000.0, self.level + 100.0 - self.drain) - 1
            ask(self.model, requests(6_000, self.level), self.now)


def test_what_strangers_take_steadily_is_expected_to_go_on() -> None:
    shared = Shared(Bucket(requests(6_000, 3_000), now=0.0), drain=80.0)
    shared.ask_for(20)
    assert shared.model.leak == pytest.approx(80, rel=0.02)
    predicted = shared.model.level(shared.now + 10)
    assert predicted == pytest.approx(shared.level + 10 * 20, abs=20)
    needed = shared.level + 100
    assert shared.model.wait(needed, shared.now) == pytest.approx(5, rel=0.1)


def test_strangers_who_leave_are_forgotten() -> None:
    shared = Shared(Bucket(requests(6_000, 3_000), now=0.0), drain=80.0)
    shared.ask_for(20)
    shared.drain = 0.0
    shared.ask_for(10)
    assert shared.model.leak < 2


def test_strangers_who_take_everything_do_not_stop_us_for_good() -> None:
    shared = Shared(Bucket(requests(6_000, 5_000), now=0.0), drain=150.0, level=5_000.0)
    shared.ask_for(30)
    assert shared.model.leak == pytest.approx(90, rel=0.02)
    assert shared.model.wait(shared.level + 100, shared.now) <= 11


def test_our_own_requests_are_no_strangers() -> None:
    shared = Shared(Bucket(requests(6_000, 3_000), now=0.0), drain=0.0)
    shared.ask_for(20)
    assert shared.model.leak == 0


def test_a_nearly_full_bucket_tells_nothing_of_strangers() -> None:
    """What it could not hold looks as if somebody had taken it."""
    bucket = Bucket(requests(6_000, 6_000), now=0.0)
    for number in range(20):
        ask(bucket, requests(6_000, 5_999), now=number * 5.0)
    assert bucket.leak == 0


def test_a_bucket_that_was_full_in_between_tells_nothing_of_strangers() -> None:
    bucket = Bucket(requests(6_000, 4_801), now=0.0)
    ask(bucket, requests(6_000, 4_800), now=0.0)
    ask(bucket, requests(6_000, 5_999), now=60.0)  # full since the 12th second
    answer(bucket, bucket.take(1_200, now=60.5), requests(6_000, 4_799), now=60.5)
    assert bucket.leak == 0


def test_large_requests_far_apart_tell_nothing_of_strangers() -> None:
    """Each answer is far below full, and yet the bucket was full before each request."""
    bucket = Bucket(requests(6_000, 6_000), now=0.0)
    for number in range(10):
        now = number * 120.0
        answer(bucket, bucket.take(1_500, now), requests(6_000, 4_500), now)
    assert bucket.leak == 0


def test_what_is_still_in_flight_is_not_taken_for_strangers() -> None:
    bucket = Bucket(requests(6_000, 3_000), now=0.0)
    ask(bucket, requests(6_000, 2_999), now=0.0)
    late, early = bucket.take(20, now=5.0), bucket.take(1, now=5.0)
    bucket.correct(requests(6_000, 2_998), early, charged=5.0, now=5.0)
    assert bucket.leak == 0
    bucket.correct(requests(6_000, 2_998), late, charged=5.0, now=6.0)
    assert bucket.leak > 0, "all is answered, and 480 more are gone than we took"


def test_a_refusal_that_the_books_do_not_explain_keeps_some_in_hand() -> None:
    bucket = Bucket(requests(60, 2), now=0.0)
    assert bucket.wait(1, now=0.0) == 0
    bucket.surprised(1)
    assert bucket.spare > 0
    assert bucket.wait(1, now=0.0) == pytest.approx(bucket.spare - 1, abs=0.01)


def test_what_is_in_hand_costs_no_throughput() -> None:
    bucket = Bucket(requests(60, 0), now=0.0)
    bucket.surprised(1)
    now, starts = 0.0, []
    for _ in range(10):
        now += bucket.wait(1, now)
        bucket.take(1, now)
        starts.append(now)
    assert starts[-1] - starts[0] == pytest.approx(9)


def test_what_is_in_hand_fades_with_what_is_let_in() -> None:
    bucket = Bucket(requests(60, 30), now=0.0)
    bucket.surprised(1)
    first = bucket.spare
    for _ in range(1_000):
        bucket.confirmed()
    assert 0 < bucket.spare < first / 4


def test_a_storm_of_refusals_keeps_no_more_than_a_tenth_in_hand() -> None:
    bucket = Bucket(requests(60, 30), now=0.0)
    for _ in range(100):
        bucket.surprised(1)
    assert bucket.spare == 6


def test_whatever_is_in_hand_a_full_bucket_lets_everybody_go() -> None:
    bucket = Bucket(requests(60, 60), now=0.0)
    for _ in range(100):
        bucket.surprised(58)
    assert bucket.wait(58, now=0.0) == 0


@pytest.mark.parametrize(
    "changed", [requests(600, 300), Reading("requests", 6_000, 3_000, None, window=HOUR)]
)
def test_a_limit_that_changes_makes_it_forget_the_strangers(changed: Reading) -> None:
    shared = Shared(Bucket(requests(6_000, 3_000), now=0.0), drain=80.0)
    shared.ask_for(20)
    shared.model.surprised(1)
    ask(shared.model, changed, shared.now)
    assert (shared.model.leak, shared.model.spare) == (0, 0)
    assert shared.model.level(shared.now) == changed.remaining


# What requests of one kind are really charged.


def spent(*bunches: str, asked: float, charged: float) -> list[Sample]:
    """What bunches of requests, ten a second, tell of their charge; each letter is a kind."""
    bucket, left = Bucket(Reading("tokens", 60_000, 30_000, None), now=0.0), 30_000.0
    samples = []
    for number, kinds in enumerate(bunches):
        now = number / 10
        left += 100.0 * bool(number)
        for stamp in [bucket.take(asked, now, asked, kind) for kind in kinds]:
            left -= charged
            samples.append(answer(bucket, stamp, Reading("tokens", 60_000, left, None), now))
    return [sample for sample in samples if sample is not None]


def test_requests_that_cost_plainly_less_show_it_at_the_second_answer() -> None:
    assert spent("a", "a", asked=4_000, charged=100) == [
        Sample("a", asked=4_000, consumed=pytest.approx(100))
    ]


def test_requests_that_cost_what_was_asked_show_it_after_some_time() -> None:
    samples = spent(*"a" * 50, asked=100, charged=100)
    assert samples
    assert all(sample.consumed == pytest.approx(sample.asked) for sample in samples)


def test_requests_of_several_kinds_tell_of_none() -> None:
    assert spent("a", *["ab"] * 10, asked=4_000, charged=100) == []
    assert spent("a", *["ab"] * 3, "b", "b", asked=4_000, charged=100)[0].kind == "b"


# Bursts.


def sent_at_once(bucket: Bucket, cost: float = 1, most: int = 100_000) -> int:
    """How many start at the time 0 before one is a trial."""
    number = 0
    while number < most and not bucket.is_burst(cost, now=0.0):
        bucket.take(cost, now=0.0)
        number += 1
    return number


def test_more_than_a_seconds_worth_is_a_trial_then_more_than_ten_then_nothing() -> None:
    bucket = Bucket(requests(6_000, 6_000), now=0.0)
    assert bucket.burst is Burst.UNTRIED
    assert sent_at_once(bucket) == pytest.approx(100, abs=5)
    bucket.allow_bursts()
    assert bucket.burst is Burst.UNTRIED
    assert 100 + sent_at_once(bucket) == pytest.approx(1_000, abs=10)
    bucket.allow_bursts()
    assert bucket.burst is Burst.FINE
    assert sent_at_once(bucket, most=3_000) == 3_000


def test_the_first_request_counts_towards_the_second() -> None:
    bucket = Bucket(requests(60, 59), now=0.0, cost=1)
    assert bucket.is_burst(1, now=0.0)
    assert not bucket.is_burst(1, now=1.0), "a second later it is no burst"


def test_a_single_large_request_is_no_burst() -> None:
    bucket = Bucket(Reading("tokens", 6_000, 6_000, None), now=0.0)
    assert not bucket.is_burst(3_000, now=0.0)
    bucket.take(3_000, now=0.0)
    assert bucket.is_burst(3_000, now=0.0)


def test_what_was_given_back_is_no_part_of_a_burst() -> None:
    bucket = Bucket(requests(60, 60), now=0.0)
    bucket.refund(bucket.take(1, now=0.0))
    assert not bucket.is_burst(1, now=0.0)


def test_even_requests_are_no_burst() -> None:
    bucket = Bucket(requests(6_000, 6_000), now=0.0)
    for number in range(1_000):
        assert not bucket.is_burst(1, now=number / 100)
        bucket.take(1, now=number / 100)


@pytest.mark.parametrize("window", [HOUR, DAY])
def test_an_hours_or_a_days_limit_needs_no_trial(window: float) -> None:
    bucket = Bucket(Reading("requests", 86_400, 86_400, None, window=window), now=0.0)
    assert sent_at_once(bucket, most=1_000) == 1_000


def test_a_dimension_that_costs_nothing_needs_no_trial() -> None:
    assert sent_at_once(Bucket(requests(60, 60), now=0.0), cost=0, most=1_000) == 1_000


@pytest.mark.parametrize("allowed", [0, 1, 2])
def test_after_a_refused_burst_requests_are_spaced_evenly(allowed: int) -> None:
    bucket = Bucket(requests(600, 600), now=0.0)
    for _ in range(allowed):
        bucket.allow_bursts()
    bucket.refuse_bursts()
    bucket.allow_bursts()
    now, starts = 0.0, []
    for _ in range(101):
        assert not bucket.is_burst(1, now)
        now += bucket.wait(1, now)
        bucket.take(1, now)
        starts.append(now)
        bucket.refuse_bursts()  # the same news again changes nothing
    gaps = [after - before for before, after in pairwise(starts)]
    assert min(gaps) > 0.1, "never faster than the rate"
    assert starts[-1] < 10 / 0.98, "and hardly slower"


# Odds and ends.


def test_requests_that_are_never_answered_do_not_fill_the_memory() -> None:
    bucket = Bucket(requests(60, 60), now=0.0)
    for now in range(10_000):
        bucket.take(1, now=float(now))
    assert sum(isinstance(each, Bunch) for each in gc.get_objects()) < 5_000


def test_its_repr_says_where_it_stands() -> None:
    assert repr(Bucket(requests(60, 59), now=0.0)) == "<Bucket requests: 59 of 60 per 60 s>"


@pytest.mark.parametrize(
    ("dimension", "cost"),
    [
        ("requests", 1),
        ("requests-day", 1),
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
