"""What a failed attempt means: try again, give this request up, or stop the whole queue.

Sources: OpenAI's error codes guide (platform.openai.com/docs/guides/error-codes) and rate-limit
guide; recorded bodies of LiteLLM's proxy, Azure and nginx. The SDK's own retries ignore
``error.code`` and so repeat billing refusals; these rules do not.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum

_STOP_CODES = frozenset(
    {
        "insufficient_quota",
        "credit_balance_exhausted",
        "billing_hard_limit_reached",
        "billing_not_active",
        "account_deactivated",
        "invalid_api_key",
    }
)
_SPEND_LIMIT = re.compile(r"\w*spend_limit_exceeded\Z")
_STOP_STATUSES = frozenset({401, 402, 403})
_RETRY_STATUSES = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 520, 522, 524, 529})
# What vLLM and Ollama say, whose code is only the status.
_NO_MODEL = re.compile(r"\bmodel\b.*(not found|does not exist)", re.IGNORECASE)
_TOO_LARGE = re.compile(r"request too large|maximum context length", re.IGNORECASE)

_FIRST_BACKOFF, _LONGEST_BACKOFF = 0.5, 30.0
_OVERLOAD_FACTOR = 4.0
# A server's own delay gets jitter upward only: earlier would be refused again.
_JITTER = 0.25
_LONGEST_JITTER = 2.0
# Being told to wait is not a fault of the request, so it may be told so more often.
_REFUSALS_PER_ATTEMPT = 4


class Kind(Enum):
    """How an attempt failed."""

    STATUS = "status"  # a response with an error status
    TIMEOUT = "timeout"  # no complete response in time
    CONNECT = "connect"  # never reached a server
    DISCONNECT = "disconnect"  # the connection broke in the middle


@dataclass(frozen=True, slots=True)
class Failure:
    """One failed attempt, in the words of the wire.

    ``after`` is the delay in seconds that the server asked for, if it did.
    """

    kind: Kind
    status: int | None = None
    code: str = ""
    message: str = ""
    after: float | None = None


@dataclass(frozen=True, slots=True)
class Retry:
    """Try again after ``after`` seconds; ``whole_lane`` if everybody has to wait."""

    reason: str
    after: float
    whole_lane: bool = False


@dataclass(frozen=True, slots=True)
class GiveUp:
    """This request cannot succeed."""

    reason: str


@dataclass(frozen=True, slots=True)
class StopQueue:
    """No request like this one can succeed: stop what is queued behind it."""

    reason: str


Verdict = Retry | GiveUp | StopQueue


def judge(
    failure: Failure,
    *,
    attempt: int,
    max_attempts: int,
    server_seen: bool,
    jitter: float,
    never_fits: bool = False,
) -> Verdict:
    """Decide what follows from the ``attempt``-th failure (from 1) of a request.

    Args:
        failure: what happened.
        attempt: how many attempts of this request have failed, this one included.
        max_attempts: how many attempts a request has.
        server_seen: whether this server has ever answered in this session.
        jitter: a random number from 0 to 1.
        never_fits: whether the request costs more than a whole limit. LiteLLM refuses such a one
            with an ordinary 429 and a Retry-After, for ever.
    """
    if failure.kind is Kind.CONNECT:
        # A server that never answered is more likely a wrong address than a hiccup.
        if attempt >= (max_attempts if server_seen else min(2, max_attempts)):
            return StopQueue("unreachable server")
        return Retry("unreachable server", _backoff(attempt, jitter))
    if failure.kind is not Kind.STATUS:
        if attempt >= max_attempts:
            return GiveUp(failure.kind.value)
        return Retry(failure.kind.value, _backoff(attempt, jitter))
    if never_fits and failure.status == 429:  # noqa: PLR2004
        return GiveUp("request too large")
    return _judge_status(failure, attempt, max_attempts, jitter)


def _judge_status(failure: Failure, attempt: int, max_attempts: int, jitter: float) -> Verdict:
    reason = reason_of(failure)
    if failure.code in _STOP_CODES or _SPEND_LIMIT.match(failure.code):
        return StopQueue(reason)
    if failure.status in _STOP_STATUSES or _is_unknown_model(failure):
        return StopQueue(reason)
    if _TOO_LARGE.search(failure.message) or failure.status not in _RETRY_STATUSES:
        return GiveUp(reason)
    limited = failure.status == 429  # noqa: PLR2004
    if attempt >= max_attempts * (_REFUSALS_PER_ATTEMPT if limited else 1):
        return GiveUp(reason)
    return Retry(reason, _delay(failure, attempt, jitter), whole_lane=is_refusal(failure))


def is_refusal(failure: Failure) -> bool:
    """Whether the server had no room, rather than a fault."""
    return failure.status in (429, 529) or _overloaded(failure)


def reason_of(failure: Failure) -> str:
    """A short, stable class of a failure, for counting and for people."""
    if failure.kind is Kind.CONNECT:
        return "unreachable server"
    if failure.kind is not Kind.STATUS:
        return str(failure.kind.value)
    return _code_reason(failure) or _status_reason(failure)


def _code_reason(failure: Failure) -> str:
    """What the code says that a status does not."""
    if failure.code == "invalid_api_key" or failure.status == 401:  # noqa: PLR2004
        return "wrong key"
    if _is_unknown_model(failure):
        return "unknown model"
    if failure.code in _STOP_CODES or _SPEND_LIMIT.match(failure.code):
        return "credit or spend limit reached"
    return ""


def _status_reason(failure: Failure) -> str:
    status = failure.status or 0
    if _TOO_LARGE.search(failure.message):
        return "request too large"
    if _overloaded(failure):
        return "server overloaded"
    if is_refusal(failure):
        return "rate limit"
    return "server error" if status >= 500 else f"refused ({status})"  # noqa: PLR2004


def _is_unknown_model(failure: Failure) -> bool:
    said = failure.status == 404 and _NO_MODEL.search(failure.message)  # noqa: PLR2004
    return failure.code == "model_not_found" or bool(said)


def _overloaded(failure: Failure) -> bool:
    return failure.status == 503 or failure.code == "server_is_overloaded"  # noqa: PLR2004


def _delay(failure: Failure, attempt: int, jitter: float) -> float:
    if failure.after:  # a delay of 0 says nothing
        return failure.after + min(_LONGEST_JITTER, _JITTER * failure.after) * jitter
    return _backoff(attempt, jitter) * (_OVERLOAD_FACTOR if _overloaded(failure) else 1.0)


def _backoff(attempt: int, jitter: float) -> float:
    longest = min(_LONGEST_BACKOFF, _FIRST_BACKOFF * 2.0 ** min(attempt - 1, 10))
    return longest * (1 - _JITTER + _JITTER * jitter)
