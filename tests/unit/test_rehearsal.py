"""Rehearsals that can be reckoned by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from gpt_magics.errors import OptionError
from gpt_magics.rehearsal import Plan, rehearse

DRAINED = Plan(rows=300, rpm=1200, fill=0.05, latency=0.3)


def test_a_batch_at_a_limit_of_requests_takes_what_the_limit_dictates() -> None:
    outcome = rehearse(DRAINED)
    assert outcome.ideal == pytest.approx((300 - 60) / 20 + 0.3)
    assert outcome.ideal <= outcome.seconds <= 1.02 * outcome.ideal
    assert (outcome.answered, outcome.failed, outcome.requests) == (300, 0, 300)
    assert outcome.bound == "requests"


def test_a_batch_at_a_limit_of_tokens_takes_what_the_limit_dictates() -> None:
    outcome = rehearse(Plan(rows=150, tpm=600_000, fill=0.1, latency=0.3, max_tokens=1008))
    assert outcome.ideal == pytest.approx((150 * 1008 - 60_000) / 10_000 + 0.3)
    assert outcome.ideal <= outcome.seconds <= 1.03 * outcome.ideal
    assert outcome.bound == "tokens"


def test_without_limits_what_may_be_in_flight_decides() -> None:
    outcome = rehearse(Plan(rows=400, max_in_flight=10, latency=0.5))
    assert outcome.ideal == pytest.approx(20.0)
    assert outcome.ideal <= outcome.seconds <= 1.1 * outcome.ideal
    assert outcome.bound == "in flight"


def test_a_single_row_takes_one_answers_time() -> None:
    outcome = rehearse(Plan(rows=1, rpm=500, latency=0.8))
    assert outcome.seconds == outcome.ideal == pytest.approx(0.8)
    assert outcome.span == 0.0
    assert outcome.bound == "latency"


def test_a_server_without_headers_is_found_to_hold_eight() -> None:
    outcome = rehearse(Plan(rows=1000, capacity=8, headers=False, latency=0.3))
    assert outcome.bound == "in flight"
    assert outcome.seconds <= outcome.ideal / 0.9
    assert outcome.refused <= 0.02 * outcome.requests


def test_a_limit_in_shorter_pieces_costs_one_refusal() -> None:
    outcome = rehearse(Plan(rows=120, rpm=60, quantum=1.0, latency=0.3))
    assert outcome.ideal == pytest.approx(119.3)
    assert outcome.seconds <= outcome.ideal / 0.95
    assert outcome.refused == 1


def test_a_rival_takes_its_share() -> None:
    alone = rehearse(replace(DRAINED, rows=1000))
    outcome = rehearse(replace(DRAINED, rows=1000, rival=0.5))
    assert outcome.ideal == alone.ideal
    assert 1.7 * alone.seconds < outcome.seconds < 2.3 * alone.seconds
    assert outcome.answered == 1000


def test_errors_and_hangs_are_tried_again() -> None:
    plan = Plan(rows=200, latency=0.3, error_rate=0.05, hang_rate=0.01, timeout=5.0)
    outcome = rehearse(plan)
    assert outcome.answered == 200
    assert outcome.requests == 200 + outcome.retries
    assert 5.0 < outcome.seconds < 20.0


def test_rows_that_always_fail_are_given_up() -> None:
    outcome = rehearse(Plan(rows=5, latency=0.3, error_rate=1.0, max_attempts=3))
    assert (outcome.answered, outcome.failed) == (0, 5)
    assert (outcome.requests, outcome.retries) == (15, 10)
    assert (outcome.tokens_in, outcome.tokens_out) == (0, 0)


def test_a_limit_of_the_day_that_is_used_up_stops_the_queue() -> None:
    outcome = rehearse(Plan(rows=60, rpd=50, fill=0.0))
    assert outcome.stopped == "rate limit"
    assert (outcome.answered, outcome.failed, outcome.requests) == (0, 60, 1)


def test_prompts_take_turns_with_their_sizes() -> None:
    outcome = rehearse(Plan(rows=5, tokens=(100, 1000), output_tokens=7))
    assert (outcome.tokens_in, outcome.tokens_out) == (2300, 35)


def test_answers_are_cut_at_max_tokens() -> None:
    assert rehearse(Plan(rows=2, output_tokens=70, max_tokens=50)).tokens_out == 100


def test_the_price_is_the_models() -> None:
    plan = Plan(rows=1000, tokens=1000, output_tokens=1000, model="gpt-4.1-mini")
    assert rehearse(plan).cost == pytest.approx(0.40 + 1.60)
    assert rehearse(replace(plan, model="nobody-sells-this")).cost is None
    assert rehearse(replace(plan, model="")).cost is None


@pytest.mark.parametrize(
    "options",
    [
        {"rpm": 6000},  # used up early
        {"rpm": 6000, "tpm": 900_000, "fill": 0.0, "rival": 0.2},
        {"rpm": 60_000},  # never used up
        {"rpm": 5400},  # used up after the part
        {"rpm": 6000, "rpd": 9000},  # that of the day, too
        {"error_rate": 0.02, "hang_rate": 0.002, "timeout": 5.0},
    ],
)
def test_a_part_tells_how_long_the_whole_takes(options: dict[str, Any]) -> None:
    plan = Plan(rows=16_000, latency=1.0, max_in_flight=100, **options)
    whole, part = rehearse(plan), rehearse(plan, most=4000)
    assert whole.simulated == 16_000
    assert part.simulated <= 4000
    assert part.seconds == pytest.approx(whole.seconds, rel=0.03)
    assert part.retries == pytest.approx(whole.retries, rel=0.3, abs=20)
    assert part.answered + part.failed == 16_000
    assert part.requests == 16_000 + part.retries


def test_a_billion_rows_need_a_part_only() -> None:
    outcome = rehearse(Plan(rows=10**9, rpm=600, latency=0.3), most=4000)
    assert outcome.seconds == pytest.approx(outcome.ideal, rel=0.001)
    assert outcome.answered == 10**9
    assert outcome.tokens_in == pytest.approx(500 * 10**9, rel=0.001)


def test_a_part_that_is_stopped_stops_the_whole() -> None:
    outcome = rehearse(Plan(rows=10**6, rpd=50, fill=0.0), most=4000)
    assert outcome.stopped == "rate limit"
    assert outcome.failed == 10**6


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"rows": 0}, "rows=0"),
        ({"rows": 2.5}, "rows=2.5"),
        ({"rows": True}, "rows=True"),
        ({"rpm": 0}, "rpm=0"),
        ({"tokens": ()}, "tokens="),
        ({"tokens": (5, 0)}, "tokens="),
        ({"fill": 1.1}, "fill=1.1"),
        ({"rival": float("nan")}, "rival=nan"),
        ({"error_rate": "half"}, "error_rate='half'"),
        ({"timeout": 0.0}, "timeout=0.0"),
        ({"latency": -1.0}, "latency=-1.0"),
        ({"latency": 60.0}, "below the timeout of 60 s"),
        ({"quantum": 61.0}, "quantum=61.0"),
        ({"max_in_flight": 10**6}, "at most 10000"),
        ({"tpm": 1000, "tokens": 1001}, "a request takes 1001 tokens"),
        ({"tpm": 1000, "max_tokens": 1001}, "a request takes 1001 tokens"),
    ],
)
def test_a_plan_that_cannot_work_says_why(options: dict[str, Any], said: str) -> None:
    with pytest.raises(OptionError) as error:
        Plan(**{"rows": 1, **options})
    assert said in str(error.value)
