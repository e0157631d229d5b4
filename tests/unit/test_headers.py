"""What is read off rate-limit headers, from values recorded in the wild."""

from __future__ import annotations

import pytest

from gpt_magics.pacing import headers as module
from gpt_magics.pacing.headers import (
    Reading,
    duration,
    readings,
    retry_after,
    seconds_until,
    try_again_in,
)


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


def said(**headers: str) -> list[tuple[str, str]]:
    return [(name.replace("_", "-").lower(), value) for name, value in headers.items()]


def test_azure_and_github_models_state_the_window() -> None:
    headers = said(
        x_ratelimit_limit_requests="2500",
        x_ratelimit_remaining_requests="2499",
        x_ratelimit_renewalperiod_requests="60",
        x_ratelimit_reset_requests="24",
    )
    assert readings(headers) == (Reading("requests", 2500, 2499, 24, 60),)


ANTHROPIC = [
    ("anthropic-ratelimit-input-tokens-limit", "80000"),
    ("anthropic-ratelimit-input-tokens-remaining", "79000"),
    ("anthropic-ratelimit-input-tokens-reset", "2025-08-21T12:40:59Z"),
    ("anthropic-ratelimit-output-tokens-limit", "16000"),
    ("anthropic-ratelimit-output-tokens-remaining", "16000"),
    ("anthropic-ratelimit-output-tokens-reset", "2025-08-21T12:41:00Z"),
    ("anthropic-ratelimit-requests-limit", "1000"),
    ("anthropic-ratelimit-requests-remaining", "999"),
    ("anthropic-ratelimit-requests-reset", "2025-08-21T12:40:59Z"),
    ("anthropic-ratelimit-tokens-limit", "96000"),
    ("anthropic-ratelimit-tokens-remaining", "95000"),
    ("anthropic-ratelimit-tokens-reset", "2025-08-21T12:40:59Z"),
]
HALF_PAST = 1_755_780_029.0  # 12:40:29


def test_anthropic_names_the_moment_and_output_tokens_are_left_out() -> None:
    assert readings(ANTHROPIC, wall_now=HALF_PAST) == (
        Reading("input-tokens", 80_000, 79_000, 30),
        Reading("requests", 1000, 999, 30),
        Reading("tokens", 96_000, 95_000, 30),
    )
    assert {reading.reset for reading in readings(ANTHROPIC)} == {None}


def test_mistrals_minute_is_in_the_name() -> None:
    headers = said(
        x_ratelimit_limit_req_minute="23",
        x_ratelimit_remaining_req_minute="0",
        x_ratelimit_limit_tokens_minute="356250",
        x_ratelimit_remaining_tokens_minute="356000",
        x_ratelimit_tokens_query_cost="52",
    )
    assert readings(headers) == (
        Reading("requests", 23, 0, None, 60),
        Reading("tokens", 356_250, 356_000, None, 60),
    )


def test_mistrals_older_names_count_tokens_and_each_limit_once() -> None:
    headers = said(
        x_ratelimitbysize_limit_minute="500000",
        x_ratelimitbysize_remaining_minute="467993",
        ratelimitbysize_limit="500000",
        ratelimitbysize_remaining="467993",
        ratelimitbysize_reset="40",
        ratelimitbysize_query_cost="32007",
        x_ratelimitbysize_limit_month="1000000000",
        x_ratelimitbysize_remaining_month="999967993",
    )
    assert readings(headers) == (
        Reading("tokens", 500_000, 467_993, 40, 60),
        Reading("tokens-month", 1e9, 999_967_993, None, 2_592_000),
    )


def test_cerebras_has_a_limit_for_the_minute_and_the_day() -> None:
    headers = said(
        x_ratelimit_limit_requests_day="10000",
        x_ratelimit_remaining_requests_day="9500",
        x_ratelimit_reset_requests_day="33011.382867",
        x_ratelimit_limit_tokens_minute="200000",
        x_ratelimit_remaining_tokens_minute="195000",
        x_ratelimit_reset_tokens_minute="30.2",
    )
    assert readings(headers) == (
        Reading("requests-day", 10_000, 9500, 33_011.382867, 86_400),
        Reading("tokens", 200_000, 195_000, 30.2, 60),
    )


def test_a_gateway_counts_requests_without_saying_so() -> None:
    headers = said(x_ratelimit_limit_day="50", x_ratelimit_remaining_day="49")
    assert readings(headers) == (Reading("requests-day", 50, 49, None, 86_400),)
    headers = said(x_ratelimit_limit_tokens_1h="9", x_ratelimit_remaining_tokens_1h="8")
    assert readings(headers) == (Reading("tokens-1h", 9, 8, None, 3600),)


def test_openrouter_names_no_unit_and_counts_milliseconds_since_1970() -> None:
    headers = said(
        X_RateLimit_Limit="50", X_RateLimit_Remaining="0", X_RateLimit_Reset="1791331200000"
    )
    assert readings(headers, wall_now=1_791_331_190.0) == (Reading("gateway-requests", 50, 0, 10),)
    assert readings(headers) == (Reading("gateway-requests", 50, 0, None),)


def test_togethers_tokens_are_per_second() -> None:
    headers = said(x_tokenlimit_limit="3000", x_tokenlimit_remaining="2900")
    assert readings(headers) == (Reading("tokens-second", 3000, 2900, None, 1),)


@pytest.mark.parametrize(
    ("headers", "read"),
    [
        (
            said(ratelimit_limit="100", ratelimit_remaining="9", ratelimit_reset="6"),
            [Reading("gateway-requests", 100, 9, 6)],
        ),
        (
            said(ratelimit_limit="100, 100;w=60, 1000;w=3600", ratelimit_remaining="9"),
            [Reading("gateway-requests", 100, 9, None, 60)],
        ),
        (
            said(ratelimit="limit=100, remaining=50, reset=5"),
            [Reading("gateway-requests", 100, 50, 5)],
        ),
        (
            said(ratelimit='"default";r=50;t=30', ratelimit_policy='"default";q=100;w=60'),
            [Reading("gateway-requests", 100, 50, 30, 60)],
        ),
        (
            said(
                ratelimit='"burst";r=5;t=3, "daily-tokens";r=954, "open";r=1',
                ratelimit_policy='"burst";q=10;w=60, "daily-tokens";q=1000;w=86400;qu="tokens",'
                '"open";q=5;qu="concurrent-requests"',
            ),
            [
                Reading("burst-requests", 10, 5, 3, 60),
                Reading("daily-tokens-tokens", 1000, 954, None, 86_400),
            ],
        ),
        (said(ratelimit='"default";r=50;t=30'), []),
        (said(ratelimit='"default"', ratelimit_policy='"default";q=1;;'), []),
    ],
)
def test_the_ietf_draft_is_read_in_all_its_versions(
    headers: list[tuple[str, str]], read: list[Reading]
) -> None:
    assert readings(headers) == tuple(read)


def test_one_limit_in_several_dialects_is_one_limit() -> None:
    headers = said(
        ratelimit_limit="10",
        ratelimit_remaining="9",
        ratelimit_policy='"default";q=10;w=1',
        ratelimit='"default";r=9;t=1',
        x_ratelimit_limit="10",
        x_ratelimit_remaining="9",
    )
    assert readings(headers) == (Reading("gateway-requests", 10, 9, 1, 1),)


ONE = [("x-ratelimit-limit-requests", "10"), ("x-ratelimit-remaining-requests", "9")]


def test_a_header_that_comes_twice_counts_once_if_it_says_the_same() -> None:
    assert readings([*ONE, *ONE]) == (Reading("requests", 10, 9, None),)


@pytest.mark.parametrize("other", ["11", "", " 10"])
def test_two_headers_that_disagree_say_nothing(other: str) -> None:
    twice = [*ONE, ("x-ratelimit-limit-requests", other), ("x-ratelimit-limit-requests", "10")]
    assert readings(twice) == ()


@pytest.mark.parametrize(
    "number",
    [
        "nan",
        "inf",
        "-inf",
        "1e3",
        "1_0",
        "+5",
        "0x10",
        "٣",
        "5.",
        ".5",
        "9" * 25,
        "7" * 10_000,
        " ",
    ],
)
def test_what_is_no_plain_number_says_nothing(number: str) -> None:
    headers = [*ONE[:1], ("x-ratelimit-remaining-requests", number)]
    assert readings(headers) == ()
    assert readings([("x-ratelimit-limit-requests", number), *ONE[1:]]) == ()


def test_a_server_that_makes_up_names_does_not_fill_the_memory() -> None:
    for n in range(5000):
        readings([(f"x-ratelimit-limit-{n}", "1"), (f"x-{n}", "1")])
    assert len(module._places) <= 1024  # noqa: SLF001 - memory shows nowhere else


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("6m0s", 360),
        ("30.5", 30.5),
        ("1970-01-01T00:20:00Z", 200),
        ("1970-01-01T01:20:00+01:00", 200),
        ("1970-01-01T00:00:00Z", 0),
        ("1000000100", 1_000_000_100 - 1000),
        ("1000000100000", 1_000_000_100 - 1000),
        ("soon", None),
        ("9999-99-99", None),
        ("0001-01-01T00:00:00+23:00", 0),
        ("", None),
    ],
)
def test_a_reset_is_a_duration_or_a_moment(text: str, seconds: float | None) -> None:
    assert seconds_until(text, 1000.0) == seconds


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
        ({"retry-after-ms": "0", "retry-after": "1"}, 1),
        ({"x-ratelimit-timeremaining": "55"}, 55),
        ({"retry-after": "3", "x-ratelimit-timeremaining": "55"}, 3),
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
        ("Please retry in 41.065029449s.", 41.065029449),
        ("Requests have exceeded the limit. Please retry after 26 seconds.", 26),
        ("Rate limit of 5 per 0s exceeded. Please wait 0 seconds", 0),
        ("Try again in 5 minutes.", 300),
        ("Try again in 1 month.", None),
        ("Try again in 5 parsecs.", None),
        ("Try again later.", None),
        ("", None),
    ],
)
def test_the_message_may_tell_when_to_try_again(message: str, seconds: float | None) -> None:
    assert try_again_in(message) == (seconds if seconds is None else pytest.approx(seconds))
