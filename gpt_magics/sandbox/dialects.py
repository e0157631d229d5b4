"""How other servers tell their limits: header names, forms of time, bodies of a 429. Pure.

Limits are enforced alike (but see ``fixed_windows``); a dialect changes what is said about them.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime
from itertools import count
from typing import TYPE_CHECKING

from gpt_magics.sandbox.limits import one_of_each, openai_headers
from gpt_magics.sandbox.wire import Problem

if TYPE_CHECKING:
    from collections.abc import Callable

    from gpt_magics.sandbox.limits import Refusal, Standing
    from gpt_magics.sandbox.wire import Json

Headers = dict[str, str]

_AZURE_SILENCE = 5


class Dialect:
    """OpenAI's words, which the others vary.

    Attributes:
        fixed_windows: whether limits are counted in windows instead of refilling evenly.
    """

    fixed_windows = False

    def headers(self, standings: list[Standing], _refusal: Refusal | None, _wall: float) -> Headers:
        """Return the rate headers of an answer, or of the refusal, at unix time ``wall``."""
        return openai_headers(standings)

    def waits(self, refusal: Refusal, _wall: float) -> Headers:
        """Return the headers that say when to come back."""
        return refusal.headers()

    def problem(self, refusal: Refusal, model: str, wall: float) -> Problem:
        """Return the 429."""
        text, body = refusal.message(model), None
        if refusal.wait is not None:
            body = self._body(refusal, refusal.wait, wall)
        return Problem(429, text, kind=refusal.unit, code="rate_limit_exceeded", instead=body)

    def _body(self, _refusal: Refusal, _wait: float, _wall: float) -> Json | None:
        """Return what the server sends in place of OpenAI's body."""
        return None


class Azure(Dialect):
    """Azure OpenAI: resets in whole seconds; now and then its token figures are -1, -1 and 0.

    Headers: https://github.com/openai/openai-dotnet/issues/838. Words:
    https://learn.microsoft.com/en-us/answers/questions/2140040 and 2184807.
    """

    def __init__(self) -> None:
        self._answers = count(1)

    def headers(self, standings: list[Standing], _refusal: Refusal | None, _wall: float) -> Headers:
        """Return OpenAI's names with bare integers; every fifth answer knows no tokens."""
        found: Headers = {}
        silent = next(self._answers) % _AZURE_SILENCE == 0
        for each in one_of_each(standings, daily=False):
            figures = (each.limit, each.remaining, math.ceil(each.reset))
            if silent and each.unit == "tokens":
                figures = (-1, -1, 0)
            for name, figure in zip(("limit", "remaining", "reset"), figures, strict=True):
                found[f"x-ratelimit-{name}-{each.unit}"] = str(figure)
        return found

    def _body(self, refusal: Refusal, wait: float, _wall: float) -> Json:
        rate = "token" if refusal.unit == "tokens" else "call"
        text = (
            "Requests to the ChatCompletions_Create Operation under Azure OpenAI API version "
            f"2024-10-21 have exceeded {rate} rate limit of your current OpenAI S0 pricing tier. "
            f"Please retry after {math.ceil(wait)} seconds. Please contact Azure support service "
            "if you would like to further increase the default rate limit."
        )
        return {"error": {"code": "429", "message": text}}


class Anthropic(Dialect):
    """Anthropic's own API: points in time instead of durations, tokens to the nearest thousand.

    Headers: https://platform.claude.com/docs/en/api/rate-limits; a recording of them:
    https://rdrr.io/cran/tidyllm/src/tests/testthat/claude/api.anthropic.com/v1/messages-e050b5-POST.R
    """

    def headers(self, standings: list[Standing], _refusal: Refusal | None, wall: float) -> Headers:
        """Return limits with the point in time at which each is full again."""
        found: Headers = {}
        for each in one_of_each(standings, daily=False):
            remaining = each.remaining
            if each.unit == "tokens":
                remaining = min(each.limit, round(remaining, -3))
            for name in ("tokens", "input-tokens") if each.unit == "tokens" else ("requests",):
                found[f"anthropic-ratelimit-{name}-limit"] = str(each.limit)
                found[f"anthropic-ratelimit-{name}-remaining"] = str(remaining)
                found[f"anthropic-ratelimit-{name}-reset"] = rfc3339(wall + each.reset)
        return found

    def waits(self, refusal: Refusal, _wall: float) -> Headers:
        """Return whole seconds only."""
        return _whole_seconds(refusal)

    def _body(self, refusal: Refusal, _wait: float, _wall: float) -> Json:
        what = "input tokens" if refusal.unit == "tokens" else "requests"
        period = "minute" if refusal.period == "min" else "day"
        text = (
            "This request would exceed your organization's rate limit of "
            f"{refusal.limit:,} {what} per {period}."
        )
        return {"type": "error", "error": {"type": "rate_limit_error", "message": text}}


class Groq(Dialect):
    """Groq: OpenAI's names, requests a DAY if there is such a limit, whole seconds to wait.

    https://console.groq.com/docs/rate-limits
    """

    def waits(self, refusal: Refusal, _wall: float) -> Headers:
        """Return whole seconds only."""
        return _whole_seconds(refusal)


class OpenRouter(Dialect):
    """OpenRouter: nothing until a 429; that says when the window ends, in epoch milliseconds.

    https://openrouter.ai/docs/api/reference/limits; a 429 with its body, which repeats the headers:
    https://github.com/Gitlawb/openclaude/issues/936
    """

    fixed_windows = True

    def headers(self, _standings: list[Standing], refusal: Refusal | None, wall: float) -> Headers:
        """Return the limit that was met."""
        if refusal is None or refusal.wait is None:
            return {}
        return {
            "X-RateLimit-Limit": str(refusal.limit),
            "X-RateLimit-Remaining": str(refusal.limit - refusal.used),
            "X-RateLimit-Reset": str(math.ceil((wall + refusal.wait) * 1000)),
        }

    def waits(self, _refusal: Refusal, _wall: float) -> Headers:
        """Return nothing: the reset has to do."""
        return {}

    def _body(self, refusal: Refusal, _wait: float, wall: float) -> Json:
        text = f"Rate limit exceeded: free-models-per-{refusal.period}. "
        told = {"headers": self.headers([], refusal, wall), "provider_name": None}
        return {"error": {"message": text, "code": 429, "metadata": told}}


class LiteLLM(Dialect):
    """LiteLLM's proxy: limits of the key without a reset; after a 429 always a whole window.

    ``litellm/proxy/hooks/parallel_request_limiter_v3.py`` in https://github.com/BerriAI/litellm
    """

    fixed_windows = True

    def __init__(self, window: float) -> None:
        self._window = math.ceil(window)

    def headers(self, standings: list[Standing], refusal: Refusal | None, _wall: float) -> Headers:
        """Return what is left of the window; a 429 does not say."""
        found: Headers = {}
        for each in one_of_each(standings, daily=False) if refusal is None else ():
            found[f"x-ratelimit-api_key-limit-{each.unit}"] = str(each.limit)
            found[f"x-ratelimit-api_key-remaining-{each.unit}"] = str(each.remaining)
        return found

    def waits(self, refusal: Refusal, wall: float) -> Headers:
        """Return the length of the window, however much of it is over."""
        if refusal.wait is None:
            return {}
        return {
            "retry-after": str(self._window),
            "rate_limit_type": refusal.unit,
            "reset_at": self._reset_at(wall),
        }

    def _reset_at(self, wall: float) -> str:
        return f"{datetime.fromtimestamp(wall + self._window, UTC):%Y-%m-%d %H:%M:%S} UTC"

    def _body(self, refusal: Refusal, _wait: float, wall: float) -> Json:
        text = (
            f"Rate limit exceeded for api_key: sandbox. Limit type: {refusal.unit}. "
            f"Current limit: {refusal.limit}, Remaining: {refusal.limit - refusal.used}. "
            f"Limit resets at: {self._reset_at(wall)}"
        )
        return {"error": {"message": text, "type": "None", "param": "None", "code": "429"}}


def rfc3339(unix: float) -> str:
    """Write a point in time as ``2026-11-22T01:02:03Z``, in whole seconds that have passed."""
    return f"{datetime.fromtimestamp(math.floor(unix), UTC):%Y-%m-%dT%H:%M:%SZ}"


def dialect(name: str, *, window: float) -> Dialect:
    """Return the dialect called ``name`` for limits counted over ``window`` seconds."""
    made: dict[str, Callable[[], Dialect]] = {
        "openai": Dialect,
        "azure": Azure,
        "anthropic": Anthropic,
        "groq": Groq,
        "openrouter": OpenRouter,
        "litellm": lambda: LiteLLM(window),
    }
    return made[name]()


def _whole_seconds(refusal: Refusal) -> Headers:
    return {name: value for name, value in refusal.headers().items() if name == "retry-after"}
