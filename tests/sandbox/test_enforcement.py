"""Limits that real servers enforce in other shapes than one evenly refilling bucket."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpt_magics.sandbox.buckets import FixedWindow, Quantum
from gpt_magics.sandbox.limits import Allowance

STEPS = st.lists(st.tuples(st.floats(0, 5), st.integers(1, 300)), min_size=1, max_size=60)


def admitted(allowance: Allowance, moments: list[float], tokens: int = 1) -> list[float]:
    return [now for now in moments if allowance.admit(tokens, now) is None]


def test_sixty_a_minute_in_quanta_of_a_second_is_one_a_second() -> None:
    allowance = Allowance(now=0, rpm=60, quantum=1)
    assert admitted(allowance, [0, 0.5, 0.9, 1, 1.2, 2]) == [0, 1, 2]


def test_a_quantum_shows_in_no_header_and_refuses_in_the_words_of_the_limit() -> None:
    allowance, plain = Allowance(now=0, rpm=60, quantum=1), Allowance(now=0, rpm=60)
    allowance.admit(1, 0)
    plain.admit(1, 0)
    refusal = allowance.admit(1, 0.25)
    assert allowance.headers(0.25) == plain.headers(0.25)
    assert refusal is not None
    said = refusal.message("gpt-4o")
    assert "on requests per min (RPM): Limit 60, Used 1, Requested 1." in said
    assert "Please try again in 750ms." in said
    assert refusal.headers() == {"retry-after": "1", "retry-after-ms": "750"}


def test_a_quantum_holds_at_least_one_request() -> None:
    allowance = Allowance(now=0, rpm=6, quantum=1)
    assert admitted(allowance, [0, 9.9, 10]) == [0, 10]


def test_more_tokens_than_a_quantum_are_let_in_when_it_is_full_and_leave_a_debt() -> None:
    allowance = Allowance(now=0, tpm=6000, quantum=1)
    assert allowance.admit(1000, 0) is None
    refusal = allowance.admit(1, 1)
    assert refusal is not None
    assert refusal.wait == pytest.approx((1000 - 100 + 1) / 100 - 1)
    refusal = allowance.admit(1000, 1)
    assert refusal is not None
    assert refusal.wait == pytest.approx(9)
    assert allowance.admit(1000, 10) is None


def test_more_tokens_than_the_limit_are_too_many_whatever_the_quantum() -> None:
    refusal = Allowance(now=0, tpm=6000, quantum=1).admit(6001, 0)
    assert refusal is not None
    assert refusal.wait is None


def test_a_daily_limit_has_no_quantum() -> None:
    assert admitted(Allowance(now=0, rpd=100, quantum=1), [0, 0, 0]) == [0, 0, 0]


def test_refused_requests_leave_no_debt() -> None:
    bucket = Quantum(6000, 60, quantum=1, fill=1, now=0)
    bucket.take(50, 0)
    bucket.take(5000, 0)
    assert bucket.level(0) == 0
    bucket.take(5000, 0)
    assert bucket.level(0.5) == 50


@given(
    tpm=st.integers(1, 300),
    rpm=st.integers(1, 60),
    quantum=st.one_of(st.none(), st.floats(0.1, 60)),
    fixed=st.booleans(),
    steps=STEPS,
)
def test_whoever_waits_as_long_as_told_is_admitted(
    tpm: int, rpm: int, quantum: float | None, *, fixed: bool, steps: list[tuple[float, int]]
) -> None:
    allowance = Allowance(now=0, rpm=rpm, tpm=tpm, quantum=quantum, fixed_windows=fixed)
    now = 0.0
    for later, amount in steps:
        now += later
        refusal = allowance.admit(amount, now)
        if refusal is not None and refusal.wait is not None:
            now += int(refusal.headers()["retry-after-ms"]) / 1000
            assert allowance.admit(amount, now) is None


@given(rpm=st.integers(1, 600), quantum=st.floats(0.1, 60), steps=STEPS)
def test_what_is_admitted_in_any_interval_fits_the_quantum_and_its_refill(
    rpm: int, quantum: float, steps: list[tuple[float, int]]
) -> None:
    allowance, now = Allowance(now=0, rpm=rpm, quantum=quantum), 0.0
    times: list[float] = []
    for later, _ in steps:
        now += later / 5
        times += admitted(allowance, [now])
    most = max(1, rpm * quantum / 60)
    for first, begin in enumerate(times):
        for last in range(first, len(times)):
            assert last - first + 1 <= most + rpm / 60 * (times[last] - begin) + 1e-6


def test_a_fixed_window_begins_with_its_first_request_and_ends_at_once() -> None:
    allowance = Allowance(now=0, rpm=2, fixed_windows=True)
    assert admitted(allowance, [100, 159, 159.9, 160, 160, 219, 220]) == [100, 159, 160, 160, 220]


def test_a_fixed_window_tells_the_seconds_to_its_end() -> None:
    window = FixedWindow(10, 60, fill=1, now=0)
    assert (window.reset(5), window.wait(10, 5)) == (0, 0)
    window.take(10, 5)
    assert (window.remaining(20), window.reset(20), window.wait(1, 20)) == (0, 45, 45)


def test_a_rival_draws_its_share_in_the_long_run() -> None:
    allowance = Allowance(now=0, rpm=600, tpm=60_000, rival=0.4, seed="a")
    allowance.admit(0, 3600)
    assert allowance.rival_drawn == pytest.approx(0.4 * 600 * 60, rel=0.03)


def test_a_rival_comes_at_moments_drawn_from_its_seed() -> None:
    def seen(seed: str) -> list[dict[str, str]]:
        allowance = Allowance(now=0, rpm=600, tpm=60_000, rival=0.4, seed=seed)
        return [allowance.headers(now / 10) for now in range(50)]

    assert seen("a") == seen("a") != seen("b")


def test_a_rival_leaves_the_rest_of_the_limits_to_us() -> None:
    allowance = Allowance(now=0, rpm=600, tpm=60_000, rival=0.25, seed="a")
    ours = admitted(allowance, [now / 7 for now in range(4200)], tokens=100)
    assert len(ours) == 4200
    assert allowance.rival_drawn == pytest.approx(0.25 * 6000, rel=0.05)


def test_we_and_a_rival_have_no_more_than_the_limit_together() -> None:
    allowance = Allowance(now=0, rpm=600, rival=0.5, seed="a")
    ours = admitted(allowance, [now / 8 for now in range(4800)])
    assert len(ours) < 4800
    assert len(ours) + allowance.rival_drawn <= 600 + 10 * 600


def test_a_rival_that_meets_an_empty_limit_goes_away() -> None:
    allowance = Allowance(now=0, rpm=60, fill=0, rival=0.5, seed="a")
    ours = admitted(allowance, [now / 100 for now in range(60_000)])
    assert allowance.rival_drawn < 10
    assert len(ours) == pytest.approx(600, abs=10)


def test_a_rival_draws_tokens_where_nothing_else_is_limited() -> None:
    allowance = Allowance(now=0, tpm=100_000, rival=0.5, seed="a")
    left = [allowance.standings(now)[0].remaining for now in range(600)]
    assert allowance.rival_drawn == pytest.approx(500, rel=0.15)
    assert 95_000 < min(left) < 99_000


def test_a_rival_of_a_daily_limit_takes_its_share_of_the_day_only() -> None:
    allowance = Allowance(now=0, rpm=600, rpd=1440, rival=0.5, seed="a")
    allowance.standings(600)
    assert allowance.rival_drawn == pytest.approx(3000, rel=0.1)
    assert int(allowance.headers(600)["x-ratelimit-remaining-requests"]) > 1400


def test_a_rival_takes_from_the_quantum_as_well() -> None:
    allowance = Allowance(now=0, rpm=60, quantum=1, rival=0.9, seed="a")
    ours = admitted(allowance, [float(now) for now in range(0, 600, 2)])
    assert len(ours) < 250


def test_a_rival_without_any_limit_does_nothing() -> None:
    allowance = Allowance(now=0, rival=0.5)
    assert allowance.admit(10, 1000) is None
    assert allowance.rival_drawn == 0


def test_a_long_silence_is_caught_up_with_at_once_and_counted() -> None:
    allowance = Allowance(now=0, rpm=60_000, rival=0.5, seed="a")
    allowance.standings(30 * 86_400)
    assert allowance.rival_drawn == pytest.approx(500 * 30 * 86_400, rel=0.001)


def test_a_cut_takes_what_no_longer_fits() -> None:
    allowance = Allowance(now=0, rpm=600, quantum=1)
    allowance.change(0, rpm=60)
    assert allowance.headers(0)["x-ratelimit-limit-requests"] == "60"
    assert allowance.headers(0)["x-ratelimit-remaining-requests"] == "60"
    assert admitted(allowance, [0, 0, 0.99, 1]) == [0, 1]


def test_a_raise_leaves_the_level_and_refills_faster() -> None:
    allowance = Allowance(now=0, tpm=600)
    allowance.admit(600, 0)
    allowance.change(1, tpm=6000)
    assert allowance.headers(1)["x-ratelimit-limit-tokens"] == "6000"
    assert allowance.headers(1)["x-ratelimit-remaining-tokens"] == "10"
    assert allowance.headers(2)["x-ratelimit-remaining-tokens"] == "110"


def test_a_limit_that_is_new_starts_full_and_the_others_stay() -> None:
    allowance = Allowance(now=0, rpm=60)
    allowance.change(0, tpm=100, rpm=None)
    assert allowance.headers(0)["x-ratelimit-remaining-tokens"] == "100"
    assert allowance.headers(0)["x-ratelimit-limit-requests"] == "60"


def test_a_rival_keeps_its_share_of_the_changed_limit() -> None:
    allowance = Allowance(now=0, rpm=60, rival=0.5, seed="a")
    allowance.change(0, rpm=6000)
    allowance.standings(60)
    assert allowance.rival_drawn == pytest.approx(3000, rel=0.1)
