"""What other servers say about the same limits."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gpt_magics.sandbox import SandboxOptions
from gpt_magics.sandbox.dialects import rfc3339
from gpt_magics.sandbox.gate import Entry, Gate, Verdict

WALL = 1_795_309_323.4  # 2026-11-22T01:02:03.4Z


class Server:
    """A gate that is asked at moments of our choice."""

    def __init__(self, **options: Any) -> None:
        self.gate = Gate(SandboxOptions(**options), now=0)

    def ask(self, tokens: int = 0, now: float = 0.0) -> Verdict:
        entry = Entry(None, "gpt-4o", tokens)
        return self.gate.check(entry, now, at_work=0, billed=0, wall=WALL + now)


def body(verdict: Verdict) -> Any:
    assert verdict.problem is not None
    assert (verdict.problem.status, verdict.problem.code) == (429, "rate_limit_exceeded")
    return json.loads(verdict.problem.body())


def test_azure_writes_resets_as_bare_seconds() -> None:
    server = Server(dialect="azure", rpm=60, tpm=6000, rpd=1000)
    assert server.ask(250).headers == {
        "x-ratelimit-limit-requests": "60",
        "x-ratelimit-remaining-requests": "59",
        "x-ratelimit-reset-requests": "1",
        "x-ratelimit-limit-tokens": "6000",
        "x-ratelimit-remaining-tokens": "5750",
        "x-ratelimit-reset-tokens": "3",
    }


def test_azure_knows_no_tokens_in_every_fifth_answer() -> None:
    server = Server(dialect="azure", rpm=60, tpm=6000)
    seen = [server.ask().headers for _ in range(10)]
    silent = [each["x-ratelimit-remaining-tokens"] == "-1" for each in seen]
    assert silent == [False, False, False, False, True] * 2
    assert seen[4]["x-ratelimit-limit-tokens"] == "-1"
    assert seen[4]["x-ratelimit-reset-tokens"] == "0"
    assert seen[4]["x-ratelimit-remaining-requests"] == "55"


def test_azure_refuses_in_its_own_words() -> None:
    server = Server(dialect="azure", tpm=600)
    server.ask(600)
    refused = server.ask(370)
    assert body(refused)["error"]["code"] == "429"
    assert "exceeded token rate limit" in body(refused)["error"]["message"]
    assert "Please retry after 37 seconds." in body(refused)["error"]["message"]
    assert refused.headers["retry-after"] == "37"
    assert refused.headers["retry-after-ms"] == "37000"


def test_anthropic_tells_points_in_time_and_round_tokens() -> None:
    server = Server(dialect="anthropic", rpm=50, tpm=40_000)
    headers = server.ask(1200).headers
    assert headers == {
        "anthropic-ratelimit-requests-limit": "50",
        "anthropic-ratelimit-requests-remaining": "49",
        "anthropic-ratelimit-requests-reset": "2026-11-22T01:02:04Z",
        "anthropic-ratelimit-tokens-limit": "40000",
        "anthropic-ratelimit-tokens-remaining": "39000",
        "anthropic-ratelimit-tokens-reset": "2026-11-22T01:02:05Z",
        "anthropic-ratelimit-input-tokens-limit": "40000",
        "anthropic-ratelimit-input-tokens-remaining": "39000",
        "anthropic-ratelimit-input-tokens-reset": "2026-11-22T01:02:05Z",
    }


def test_anthropic_waits_in_whole_seconds_and_has_no_code() -> None:
    server = Server(dialect="anthropic", rpm=50)
    for _ in range(50):
        server.ask()
    refused = server.ask(now=0.5)
    assert refused.headers["retry-after"] == "1"
    assert "retry-after-ms" not in refused.headers
    assert not [name for name in refused.headers if name.startswith("x-ratelimit")]
    assert body(refused)["type"] == "error"
    assert body(refused)["error"]["type"] == "rate_limit_error"
    assert "50 requests per minute" in body(refused)["error"]["message"]


def test_a_point_in_time_is_cut_to_seconds() -> None:
    assert rfc3339(WALL) == "2026-11-22T01:02:03Z"


def test_groq_counts_requests_by_the_day_and_waits_in_whole_seconds() -> None:
    server = Server(dialect="groq", rpm=1, rpd=14_400, tpm=6000)
    headers = server.ask(100).headers
    assert headers["x-ratelimit-limit-requests"] == "14400"
    assert headers["x-ratelimit-reset-requests"] == "6s"
    assert headers["x-ratelimit-limit-tokens"] == "6000"
    refused = server.ask(100, now=0.5)
    assert refused.headers["retry-after"] == "60"
    assert "retry-after-ms" not in refused.headers
    assert "Please try again in 59.5s." in body(refused)["error"]["message"]


def test_groq_without_a_daily_limit_tells_that_of_the_minute() -> None:
    assert Server(dialect="groq", rpm=30).ask().headers["x-ratelimit-limit-requests"] == "30"


def test_openrouter_says_nothing_before_a_429() -> None:
    server = Server(dialect="openrouter", rpm=2)
    assert server.ask().headers == {}
    server.ask(now=10)
    refused = server.ask(now=20)
    told = {
        "X-RateLimit-Limit": "2",
        "X-RateLimit-Remaining": "0",
        "X-RateLimit-Reset": str(int((WALL + 60) * 1000)),
    }
    assert refused.headers == told
    assert body(refused)["error"]["code"] == 429
    assert body(refused)["error"]["message"] == "Rate limit exceeded: free-models-per-min. "
    assert body(refused)["error"]["metadata"]["headers"] == told
    assert server.ask(now=60).fate is not None


def test_litellm_tells_the_limits_of_the_key_without_a_reset() -> None:
    server = Server(dialect="litellm", rpm=5, tpm=1000)
    assert server.ask(100).headers == {
        "x-ratelimit-api_key-limit-requests": "5",
        "x-ratelimit-api_key-remaining-requests": "4",
        "x-ratelimit-api_key-limit-tokens": "1000",
        "x-ratelimit-api_key-remaining-tokens": "900",
    }


def test_litellm_sends_everyone_away_for_a_whole_window() -> None:
    server = Server(dialect="litellm", rpm=1)
    server.ask()
    refused = server.ask(now=50)
    assert refused.headers == {
        "retry-after": "60",
        "rate_limit_type": "requests",
        "reset_at": "2026-11-22 01:03:53 UTC",
    }
    assert body(refused)["error"]["code"] == "429"
    assert (
        "Limit type: requests. Current limit: 1, Remaining: 0."
        in (body(refused)["error"]["message"])
    )
    assert server.ask(now=60).fate is not None


@pytest.mark.parametrize("name", ["azure", "anthropic", "groq", "openrouter", "litellm"])
def test_what_can_never_fit_is_too_large_in_every_dialect(name: str) -> None:
    refused = Server(dialect=name, tpm=100).ask(101)
    assert "Request too large" in body(refused)["error"]["message"]
    assert "retry-after" not in refused.headers


@pytest.mark.parametrize("name", ["azure", "anthropic", "groq", "openrouter", "litellm"])
def test_headers_can_be_left_out_in_every_dialect(name: str) -> None:
    server = Server(dialect=name, rpm=1, headers=False)
    assert server.ask().headers == {}
    assert not [each for each in server.ask().headers if "ratelimit" in each.lower()]
