from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpt_magics.sandbox.limits import Allowance, Bucket, Refusal, duration

STEPS = st.lists(
    st.tuples(st.floats(0, 30), st.integers(1, 200)), min_size=1, max_size=60
)  # (seconds later, amount)


@given(capacity=st.integers(1, 500), fill=st.floats(0, 1), steps=STEPS)
def test_a_bucket_is_never_above_its_capacity_nor_below_zero(
    capacity: int, fill: float, steps: list[tuple[float, int]]
) -> None:
    bucket, now = Bucket(capacity, 60, fill=fill, now=0), 0.0
    for later, amount in steps:
        now += later
        bucket.take(amount, now)
        assert 0 <= bucket.level(now) <= capacity
        assert 0 <= bucket.remaining(now) <= capacity
        assert bucket.reset(now) <= 60 + 1e-9


@given(tpm=st.integers(1, 300), rpm=st.integers(1, 60), fill=st.floats(0, 1), steps=STEPS)
def test_what_is_admitted_in_any_interval_fits_capacity_and_refill(
    tpm: int, rpm: int, fill: float, steps: list[tuple[float, int]]
) -> None:
    allowance, now = Allowance(now=0, rpm=rpm, tpm=tpm, fill=fill), 0.0
    admitted: list[tuple[float, int]] = []
    for later, amount in steps:
        now += later
        if allowance.admit(amount, now) is None:
            admitted.append((now, amount))
    for start, (begin, _) in enumerate(admitted):
        for end in range(start, len(admitted)):
            span = admitted[end][0] - begin
            taken = sum(amount for _, amount in admitted[start : end + 1])
            assert taken <= tpm + tpm / 60 * span + 1e-6
            assert end - start + 1 <= rpm + rpm / 60 * span + 1e-6


@given(tpm=st.integers(1, 300), rpm=st.integers(1, 60), steps=STEPS)
def test_whoever_waits_as_long_as_told_is_admitted(
    tpm: int, rpm: int, steps: list[tuple[float, int]]
) -> None:
    allowance, now = Allowance(now=0, rpm=rpm, tpm=tpm), 0.0
    for later, amount in steps:
        now += later
        refusal = allowance.admit(amount, now)
        if refusal is not None and refusal.wait is not None:
            now += int(refusal.headers()["retry-after-ms"]) / 1000
            assert allowance.admit(amount, now) is None
        assert (refusal is not None and refusal.wait is None) == (amount > tpm)


def test_a_drained_bucket_has_its_first_unit_after_a_unit_s_time() -> None:
    allowance = Allowance(now=0, rpm=600, fill=0)
    assert allowance.admit(1, 0.099) is not None
    assert allowance.admit(1, 0.1) is None


def test_headers_show_whole_units_and_the_time_to_full() -> None:
    allowance = Allowance(now=0, rpm=600, tpm=30_000)
    allowance.admit(29_446, 0)
    assert allowance.headers(0) == {
        "x-ratelimit-limit-requests": "600",
        "x-ratelimit-remaining-requests": "599",
        "x-ratelimit-reset-requests": "100ms",
        "x-ratelimit-limit-tokens": "30000",
        "x-ratelimit-remaining-tokens": "554",
        "x-ratelimit-reset-tokens": "58.892s",
    }


def test_a_daily_limit_shows_in_place_of_the_other() -> None:
    allowance = Allowance(now=0, rpm=500, rpd=10_000)
    allowance.admit(1, 0)
    assert allowance.headers(0) == {
        "x-ratelimit-limit-requests": "10000",
        "x-ratelimit-remaining-requests": "9999",
        "x-ratelimit-reset-requests": "8.64s",
    }


def test_no_limit_has_no_headers() -> None:
    assert Allowance(now=0).headers(0) == {}
    assert Allowance(now=0).admit(10**9, 0) is None


def test_refused_requests_are_charged_only_on_demand() -> None:
    mild, harsh = Allowance(now=0, tpm=100), Allowance(now=0, tpm=100)
    for allowance in (mild, harsh):
        allowance.admit(60, 0)
        assert allowance.admit(60, 0, charge_refused=allowance is harsh) is not None
    assert mild.admit(40, 0) is None
    assert harsh.admit(40, 0) is not None


def test_a_refusal_reads_like_openai_s() -> None:
    refusal = Refusal("requests", "min", limit=600, used=600, requested=1, wait=0.1)
    assert refusal.message("gpt-4o-mini") == (
        "Rate limit reached for gpt-4o-mini in organization org-sandbox on requests per min (RPM): "
        "Limit 600, Used 600, Requested 1. Please try again in 100ms. "
        "Visit https://platform.openai.com/account/rate-limits to learn more."
    )
    assert refusal.headers() == {"retry-after": "1", "retry-after-ms": "100"}


def test_a_request_beyond_the_whole_limit_is_too_large() -> None:
    refusal = Allowance(now=0, tpm=1000).admit(5000, 0)
    assert refusal is not None
    assert refusal.headers() == {}
    assert refusal.message("gpt-4o").startswith("Request too large for gpt-4o in organization")
    assert "Limit 1000, Requested 5000." in refusal.message("gpt-4o")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (0.006, "6ms"),
        (0.12, "120ms"),
        (0.9999, "1s"),
        (1.5, "1.5s"),
        (8.64, "8.64s"),
        (60, "1m0s"),
        (360, "6m0s"),
        (3723, "1h2m3s"),
        (86_400, "24h0m0s"),
    ],
)
def test_durations_look_like_go_s(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@given(st.floats(0, 100_000))
def test_a_duration_says_the_time_to_the_millisecond(seconds: float) -> None:
    units = {"h": 3600, "m": 60, "s": 1, "ms": 0.001}
    found = re.findall(r"([\d.]+)(ms|h|m|s)", duration(seconds))
    assert "".join(number + unit for number, unit in found) == duration(seconds)
    assert sum(float(n) * units[u] for n, u in found) == pytest.approx(seconds, abs=0.00051)
