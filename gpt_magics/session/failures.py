"""Foreign failures in our words: SDK and transport on one side, ``pacing.retries`` on the other.

This is the only place where a message for people is made from what a server said, so the only
place that must keep keys out.
"""

from __future__ import annotations

import json
from typing import Any

import aiohttp
import httpx2

from gpt_magics.errors import QueueStoppedError, RequestError
from gpt_magics.pacing import headers
from gpt_magics.pacing.retries import Failure, Kind, StopQueue, reason_of
from gpt_magics.session.call import Call
from gpt_magics.settings import KEY_LIKE, Connection

_LONGEST_MESSAGE = 300
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
    code, message = _error_fields(response)
    after = headers.retry_after(response.headers, wall_now=wall_now)
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
    reason = reason_of(failure)
    said = without_keys(failure.message, connection.api_key)
    words = _WORDS.get(reason, "{server} answered {status}{said_after_colon}").format(
        server=server,
        url=connection.base_url,
        model=call.model,
        said=_sentence(said),
        said_after_colon=f": {_sentence(said)}" if said else " without a message.",
        status=f"{failure.status} ({reason})" if failure.status else reason,
        timeout=f"{call.timeout:g} s" if call.timeout else "its time",
        attempts=_attempts(call.attempts),
    )
    if failure.status == 404 and not connection.base_url.endswith("/v1"):  # noqa: PLR2004
        words += " Most servers want an address that ends in /v1."
    kind = QueueStoppedError if isinstance(call.verdict, StopQueue) else RequestError
    words = without_keys(words, connection.api_key)
    return kind(words, reason=reason, status=failure.status, attempts=call.attempts)


def without_keys(text: str, key: str) -> str:
    """The text without this key and without anything that looks like one."""
    if len(key) >= _SHORTEST_SECRET:
        text = text.replace(key, "[key]")
    return KEY_LIKE.sub("[key]", text)


def _error_fields(response: httpx2.Response) -> tuple[str, str]:
    """The error's code and message. Gemini's body is a list of one; nginx's is HTML."""
    try:
        body: Any = json.loads(response.content)
    except (ValueError, RecursionError):
        return "", f"{response.status_code} {response.reason_phrase}".strip()
    if isinstance(body, list) and body:
        body = body[0]
    error = (body.get("error") or body) if isinstance(body, dict) else body
    if not isinstance(error, dict):
        return "", str(error)
    code = str(error.get("code") or "")
    if not code or code.isdecimal():  # a number only repeats the status
        code = str(error.get("type") or code)
    return code, str(error.get("message") or error.get("detail") or "")


def _sentence(text: str) -> str:
    text = " ".join(text.split())
    if len(text) > _LONGEST_MESSAGE:
        text = text[:_LONGEST_MESSAGE] + "…"
    return text if text.endswith((".", "…", "!", "?")) or not text else text + "."


def _attempts(count: int) -> str:
    return "1 attempt" if count == 1 else f"{count} attempts"
