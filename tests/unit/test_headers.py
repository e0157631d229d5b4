"""What is read off rate-limit headers, from values recorded in the wild."""

from __future__ import annotations

import pytest

from gpt_magics.pacing.headers import Reading, duration, readings, retry_after, try_again_in


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("58.891s", 58.891),
        ("8.64s", 8.64),
        ("6m0s", 360),
        ("1h2m3s", 3723),
        ("1d2h", 93_600),
        ("12ms", 0.012),
        ("6ms", 0.006),
        ("1m30.5s", 90.5),
        ("500us", 0.0005),
        ("250µs", 0.00025),
        ("100ns", 1e-7),
        ("0s", 0),
        ("60", 60),
        ("0", 0),
        ("1.5", 1.5),
        (" 2s ", 2),
    ],
)
def test_go_durations_and_bare_seconds_are_read(text: str, seconds: float) -> None:
    assert duration(text) == pytest.approx(seconds, rel=1e-12, abs=0)


@pytest.mark.parametrize(
    "text",
    ["", " ", "-1", "-1s", "soon", "1.5.5s", "5 s", "s", "1s soon", "nan", "inf", "9" * 400 + "s"],
)
def test_a_duration_that_cannot_be_is_unknown(text: str) -> None:
    assert duration(text) is None


def test_openai_reports_requests_and_tokens() -> None:
    headers = [
        ("content-type", "application/json"),
        ("x-ratelimit-limit-requests", "10000"),
        ("x-ratelimit-limit-tokens", "30000"),
        ("x-ratelimit-remaining-requests", "9999"),
        ("x-ratelimit-remaining-tokens", "554"),
        ("x-ratelimit-reset-requests", "8.64s"),
        ("x-ratelimit-reset-tokens", "58.891s"),
        ("x-request-id", "req_1"),
    ]
    assert readings(headers) == (
        Reading("requests", 10_000, 9_999, 8.64),
        Reading("tokens", 30_000, 554, 58.891),
    )


def test_any_suffix_is_a_dimension_of_its_own() -> None:
    headers = [
        ("x-ratelimit-limit-project-tokens", "1000"),
        ("x-ratelimit-remaining-project-tokens", "900"),
        ("x-ratelimit-reset-project-tokens", "6m0s"),
        ("x-ratelimit-limit-input-images", "50"),
        ("x-ratelimit-remaining-input-images", "49"),
    ]
    assert readings(headers) == (
        Reading("project-tokens", 1000, 900, 360),
        Reading("input-images", 50, 49, None),
    )


def test_litellm_names_whose_limit_it_is_and_the_limits_are_not_mixed() -> None:
    headers = [
        ("x-ratelimit-api_key-remaining-requests", "4"),
        ("x-ratelimit-api_key-limit-requests", "5"),
        ("x-ratelimit-model_per_key-remaining-requests", "90"),
        ("x-ratelimit-model_per_key-limit-requests", "100"),
        ("llm_provider-x-ratelimit-remaining-requests", "9"),
        ("llm_provider-x-ratelimit-limit-requests", "9"),
    ]
    assert readings(headers) == (
        Reading("api_key-requests", 5, 4, None),
        Reading("model_per_key-requests", 100, 90, None),
    )


def test_azures_bare_integers_are_seconds_and_minus_one_is_unknown() -> None:
    headers = [
        ("x-ratelimit-limit-requests", "60"),
        ("x-ratelimit-remaining-requests", "59"),
        ("x-ratelimit-reset-requests", "1"),
        ("x-ratelimit-limit-tokens", "-1"),
        ("x-ratelimit-remaining-tokens", "-1"),
        ("x-ratelimit-reset-tokens", "-1"),
    ]
    assert readings(headers) == (Reading("requests", 60, 59, 1),)


@pytest.mark.parametrize(
    ("limit", "remaining"),
    [("", "1"), ("many", "1"), ("0", "0"), ("-1", "5"), ("10", "-1"), ("10", ""), ("nan", "1")],
)
def test_a_reading_that_makes_no_sense_is_left_out(limit: str, remaining: str) -> None:
    headers = [
        ("x-ratelimit-limit-requests", limit),
        ("x-ratelimit-remaining-requests", remaining),
        ("x-ratelimit-reset-requests", "1s"),
    ]
    assert readings(headers) == ()


def test_half_a_dimension_is_no_reading() -> None:
    assert readings([("x-ratelimit-remaining-requests", "5")]) == ()


def test_more_remaining_than_the_limit_is_the_limit() -> None:
    headers = [("x-ratelimit-limit-tokens", "10"), ("x-ratelimit-remaining-tokens", "12")]
    assert readings(headers) == (Reading("tokens", 10, 10, None),)


WEDNESDAY = 1_792_567_680.0  # Wed, 21 Oct 2026 07:28:00 GMT


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "191"}, 191),
        ({"retry-after": "0"}, 0),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after-ms": "250"}, 0.25),
        ({"retry-after-ms": "250", "retry-after": "1"}, 0.25),
        ({"retry-after-ms": "-1", "retry-after": "2"}, 2),
        ({"retry-after-ms": "x", "retry-after": "2"}, 2),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:30 GMT"}, 30),
        ({"retry-after": "Wed, 21 Oct 2026 09:28:30 +0200"}, 30),
        ({"retry-after": "Wed, 21 Oct 2026 07:27:00 GMT"}, 0),
        ({"retry-after": "-5"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": ""}, None),
        ({}, None),
    ],
)
def test_retry_after_is_milliseconds_seconds_or_a_date(
    headers: dict[str, str], seconds: float | None
) -> None:
    assert retry_after(headers, wall_now=WEDNESDAY) == seconds


@pytest.mark.parametrize(
    ("message", "seconds"),
    [
        ("Rate limit reached for gpt-4o. Please try again in 35.883s. Visit …", 35.883),
        ("Please try again in 120ms.", 0.12),
        ("please TRY AGAIN IN 6m0s", 360),
        ("Try again in 1h30m", 5400),
        ("Try again later.", None),
        ("", None),
    ],
)
def test_the_message_may_tell_when_to_try_again(message: str, seconds: float | None) -> None:
    assert try_again_in(message) == (seconds if seconds is None else pytest.approx(seconds))
