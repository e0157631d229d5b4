"""Foreign failures in our words: SDK and transport on one side, ``pacing.retries`` on the other.

This is the only place where a message for people is made from what a server said, so the only
place that must keep keys out.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import aiohttp
import httpx2

from gpt_magics.errors import QueueStoppedError, RequestError
from gpt_magics.pacing import headers
from gpt_magics.pacing.retries import Failure, GiveUp, Kind, StopQueue, reason_of
from gpt_magics.session.call import Call
from gpt_magics.settings import KEY_LIKE, Connection
from gpt_magics.wording import duration

_LONGEST_MESSAGE = 300
_MOST_DETAILS = 20
_MODERATED = {"flagged_input", "reasons"}  # what OpenRouter tells of a request that was moderated
_SHORTEST_SECRET = 8  # "sandbox", "ollama" and the like are words, and none of the secret ones

_WORDS = {
    "wrong key": "{server} refused the API key. Check OPENAI_API_KEY, or set another "
    "with gpt_magics.configure(api_key=getpass.getpass()).",
    "unknown model": "{server} does not know the model {model!r}. Check its name (-m), or what "
    "your key may use.",
    "unreachable server": "Cannot reach {url}. Check the address (OPENAI_BASE_URL) and that the "
    "server runs.",
    "credit or spend limit reached": "{server} stopped the account: {said} Nothing more was sent.",
    "timeout": "{server} did not answer within {timeout} in {attempts}.",
    "disconnect": "{server} broke the connection in {attempts}.",
}


def failure_of_response(response: httpx2.Response, *, wall_now: float) -> Failure:
    """An error response, its body already read. ``wall_now``: Unix time, for dates."""
    body = _body(response)
    error = _error(body)
    if error is None:
        code, message = "", _plain_message(body, response)
    else:
        code = _code(error)
        message = str(error.get("message") or error.get("detail") or "")
    after = headers.retry_after(response.headers, wall_now=wall_now)
    if after is None:
        after = _delay_in(error or {}, wall_now)
    if after is None:
        after = headers.try_again_in(message)
    return Failure(Kind.STATUS, response.status_code, code, message, after)


def failure_of_exception(error: Exception) -> Failure:
    """An attempt that ended without a complete response."""
    cause = error.__cause__
    if never_reached(error):
        return Failure(Kind.CONNECT, message=str(cause or error))
    # The aiohttp transport calls a server that hung up a connect timeout.
    if isinstance(cause, aiohttp.ServerDisconnectedError | aiohttp.ClientOSError):
        return Failure(Kind.DISCONNECT, message=str(error))
    if isinstance(error, TimeoutError | httpx2.TimeoutException):
        return Failure(Kind.TIMEOUT, message=str(error))
    return Failure(Kind.DISCONNECT, message=str(error))


def never_reached(error: Exception) -> bool:
    """Whether there was no connection, so that nothing can have been charged."""
    if isinstance(error, httpx2.ConnectError | httpx2.UnsupportedProtocol | httpx2.ProxyError):
        return True
    # Also a refused connection is a connect timeout by the aiohttp transport's word.
    return isinstance(
        error.__cause__, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError
    )


def explain(call: Call, connection: Connection, server: str) -> RequestError:
    """The error that a user sees for a call that failed for good: one clear sentence, no key."""
    failure = call.failure or Failure(Kind.DISCONNECT)
    verdict = call.verdict
    reason = verdict.reason if isinstance(verdict, GiveUp | StopQueue) else reason_of(failure)
    after = verdict.after if isinstance(verdict, StopQueue) else None
    said = without_keys(failure.message, connection.api_key)
    words = _WORDS.get(reason, "{server} answered {status}{said_after_colon}")
    if after is not None:
        words = "{server} asks to wait {after} ({reason}){said_after_colon}"
    words = words.format(
        server=server,
        url=connection.base_url,
        model=call.model,
        reason=reason,
        after=duration(after or 0.0),
        said=_sentence(said),
        said_after_colon=f": {_sentence(said)}" if said else " without a message.",
        status=f"{failure.status} ({reason})" if failure.status else reason,
        timeout=f"{call.timeout:g} s" if call.timeout else "its time",
        attempts=_attempts(call.attempts),
    )
    if failure.status == 404 and not connection.base_url.endswith("/v1"):  # noqa: PLR2004
        words += " Most servers want an address that ends in /v1."
    kind = QueueStoppedError if isinstance(verdict, StopQueue) else RequestError
    words = without_keys(words, connection.api_key)
    return kind(words, reason=reason, status=failure.status, attempts=call.attempts)


def without_keys(text: str, key: str) -> str:
    """The text without this key and without anything that looks like one."""
    if len(key) >= _SHORTEST_SECRET:
        text = text.replace(key, "[key]")
    return KEY_LIKE.sub("[key]", text)


def _body(response: httpx2.Response) -> Any:
    """The JSON of an error response, or ``...`` if it is none. Gemini's is a list of one."""
    try:
        body = json.loads(response.content)
    except (ValueError, RecursionError):
        return ...
    return body[0] if isinstance(body, list) and body else body


def _error(body: Any) -> dict[str, Any] | None:
    error = (body.get("error") or body) if isinstance(body, dict) else None
    return error if isinstance(error, dict) else None


def _plain_message(body: Any, response: httpx2.Response) -> str:
    """What is said where there is no error object; nginx's HTML says only its status."""
    if body is ...:
        return f"{response.status_code} {response.reason_phrase}".strip()
    return str(body.get("error") if isinstance(body, dict) else body)


def _code(error: Mapping[str, Any]) -> str:
    """The word that says the most; a number only repeats the status."""
    if error.get("type") == "insufficient_quota":
        return "insufficient_quota"
    special = _special_code(error)
    words = (special, error.get("code"), error.get("type"), error.get("status"))
    for word in words:
        if isinstance(word, str) and word and not word.isdecimal():
            return word
    return str(error.get("code") or "")


def _special_code(error: Mapping[str, Any]) -> str:
    """What OpenRouter, Anthropic and Gemini say in the details only."""
    metadata = _mapping(error.get("metadata"))
    if _MODERATED & metadata.keys():
        return "moderation_flagged"
    details = error.get("details")
    if _mapping(details).get("error_code") == "enforced_spend_limit_reached":
        return "enforced_spend_limit_reached"
    if any("PerDay" in str(_mapping(v).get("quotaId")) for v in _violations(details)):
        return "quota_of_the_day"
    return str(metadata.get("error_type") or "")


def _violations(details: Any) -> Iterator[Any]:
    """Which quotas a request to Gemini broke."""
    for detail in _list(details):
        yield from _list(_mapping(detail).get("violations"))


def _delay_in(error: Mapping[str, Any], wall_now: float) -> float | None:
    """Seconds that an error's body asks to wait.

    Gemini's ``retryDelay`` ("35s"), LLM7's ``retry_after``, and OpenRouter's metadata, which holds
    the headers of the refusal.
    """
    metadata = _mapping(error.get("metadata"))
    said = {str(k).lower(): str(v) for k, v in _mapping(metadata.get("headers")).items()}
    texts = [
        *(_mapping(detail).get("retryDelay") for detail in _list(error.get("details"))),
        error.get("retry_after"),
        metadata.get("retry_after_seconds"),
        said.get("retry-after"),
        said.get("x-ratelimit-reset"),
    ]
    for text in texts:
        if isinstance(text, str | int | float):
            seconds = headers.seconds_until(str(text), wall_now)
            if seconds is not None:
                return seconds
    return None


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value[:_MOST_DETAILS] if isinstance(value, list) else []


def _sentence(text: str) -> str:
    text = " ".join(text.split())
    if len(text) > _LONGEST_MESSAGE:
        text = text[:_LONGEST_MESSAGE] + "…"
    return text if text.endswith((".", "…", "!", "?")) or not text else text + "."


def _attempts(count: int) -> str:
    return "1 attempt" if count == 1 else f"{count} attempts"
