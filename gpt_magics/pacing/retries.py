"""What a failed attempt means: try again, give this request up, or stop the whole queue.

The policy is the table ``RULES``: the first row that matches a failure decides.
``docs/failures.md`` shows the same table to people; a test keeps the two equal. The SDK's own
retries ignore ``error.code`` and so repeat billing refusals; these rules do not.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from enum import Enum

_FIRST_BACKOFF, _LONGEST_BACKOFF = 0.5, 30.0
_OVERLOAD_FACTOR = 4.0
# After a timeout the request has waited for long already.
_AT_ONCE = 0.1
# A server's own delay gets jitter upward only: earlier would be refused again.
_JITTER = 0.25
_LONGEST_JITTER = 2.0
# Beyond this a row does not wait: the queue stops, and says when it may go on.
_LONGEST_DELAY = 900.0
# Being told to wait is not a fault of the request, so it may be told so more often.
_REFUSALS_PER_ATTEMPT = 4
_UNSEEN_ATTEMPTS = 2
_LONGEST_MESSAGE = 4000


class Kind(Enum):
    """How an attempt failed."""

    STATUS = "status"  # a response with an error status
    TIMEOUT = "timeout"  # no complete response in time
    CONNECT = "connect"  # never reached a server
    DISCONNECT = "disconnect"  # the connection broke in the middle


class Outcome(Enum):
    """What follows from a failure."""

    RETRY = "retry"
    RETRY_LANE = "retry, whole lane"
    FAIL_ROW = "fail the row"
    STOP = "stop the queue"


class Backoff(Enum):
    """How long to wait before the next attempt where the server asks for nothing."""

    NONE = "none"
    USUAL = "usual"  # 0.5 s, doubling to 30 s
    LONG = "long"  # four times the usual
    AT_ONCE = "at once"  # 0.1 s, then the usual


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
    """Try again after ``after`` seconds.

    ``whole_lane`` if everybody has to wait; ``halve_rate`` if everybody has to go on at half the
    speed.
    """

    reason: str
    after: float
    whole_lane: bool = False
    halve_rate: bool = False


@dataclass(frozen=True, slots=True)
class GiveUp:
    """This request cannot succeed."""

    reason: str


@dataclass(frozen=True, slots=True)
class StopQueue:
    """No request like this one can succeed: stop what is queued behind it.

    ``after`` is in how many seconds it may go on, where that is all that keeps it from going on.
    """

    reason: str
    after: float | None = None


Verdict = Retry | GiveUp | StopQueue


@dataclass(frozen=True, slots=True)
class Rule:
    """One row of the policy. It matches a failure that meets all that the row names.

    Attributes:
        reason: a short, stable class of failure; ``{status}`` stands for the status.
        outcome: what follows, while there are attempts left.
        source: where this is documented or was recorded.
        kind: how the attempt failed.
        statuses: the HTTP statuses; ``None`` for any.
        codes: the error's code or type; ``*`` in front stands for any beginning. Empty for any.
        said: a pattern in the error's message; empty for any.
        backoff: how long to wait where the server asks for nothing.
        halve_rate: whether the lane has to slow down.
        stop_at_last: whether the queue stops, rather than the row fails, after the last attempt.
    """

    reason: str
    outcome: Outcome
    source: str
    kind: Kind = Kind.STATUS
    statuses: frozenset[int] | None = None
    codes: tuple[str, ...] = ()
    said: str = ""
    backoff: Backoff = Backoff.NONE
    halve_rate: bool = False
    stop_at_last: bool = False

    def matches(self, failure: Failure) -> bool:
        """Whether this row is about such a failure."""
        return (
            failure.kind is self.kind
            and (self.statuses is None or failure.status in self.statuses)
            and (not self.codes or any(_is_code(failure.code, code) for code in self.codes))
            and (not self.said or _says(failure.message, self.said))
        )


_NO_MONEY = "credit or spend limit reached"
_TOO_LARGE = "request too large"
_OVERLOADED = "server overloaded"
_UNREACHABLE = "unreachable server"

_OPENAI = "developers.openai.com/api/docs/guides/error-codes"
_ANTHROPIC = "docs.claude.com/en/api/errors"
_OPENROUTER = "openrouter.ai/docs/api/reference/errors-and-debugging"
_GEMINI = "Gemini: recorded bodies"
_AZURE = "learn.microsoft.com/en-us/answers/questions/5896505"
_GROQ = "console.groq.com/docs/rate-limits"
_RECORDED = "recorded bodies"
_RFC = "RFC 9110"


def _on(*statuses: int) -> frozenset[int]:
    return frozenset(statuses)


RULES = (
    # Who may not go on at all.
    Rule("wrong key", Outcome.STOP, _OPENAI, codes=("invalid_api_key",)),
    Rule("wrong key", Outcome.STOP, _RFC, statuses=_on(401)),
    Rule(
        "wrong key",
        Outcome.STOP,
        _GEMINI,
        statuses=_on(400, 403),
        said=r"API key not valid",
    ),
    Rule(
        _NO_MONEY,
        Outcome.STOP,
        _OPENAI,
        codes=(
            "insufficient_quota",
            "credit_balance_exhausted",
            "billing_hard_limit_reached",
            "billing_not_active",
            "account_deactivated",
            "organization_usage_limit_exceeded",
            "*spend_limit_exceeded",
        ),
    ),
    Rule(
        _NO_MONEY,
        Outcome.STOP,
        "platform.claude.com/docs/en/api/rate-limits",
        codes=("billing_error", "enforced_spend_limit_reached"),
    ),
    Rule(
        _NO_MONEY,
        Outcome.STOP,
        "portkey.ai/error-library (10489); Anthropic: " + _RECORDED,
        statuses=_on(400, 429),
        said=r"credit balance is too low|reached your (specified )?(workspace )?API usage limits",
    ),
    Rule(_NO_MONEY, Outcome.STOP, "LiteLLM's proxy: its own tests", codes=("budget_exceeded",)),
    Rule(_NO_MONEY, Outcome.STOP, _OPENROUTER, statuses=_on(402)),
    Rule("unknown model", Outcome.STOP, _OPENAI, codes=("model_not_found",)),
    Rule(
        "unknown model",
        Outcome.STOP,
        "vLLM, Ollama: " + _RECORDED,
        statuses=_on(404),
        said=r"\bmodel\b[^\n]{0,300}(not found|does not exist)",
    ),
    Rule(
        "rate limit",
        Outcome.STOP,
        _GEMINI + " (a quota of the day)",
        statuses=_on(429),
        codes=("quota_of_the_day",),
    ),
    # What is wrong with this one request.
    Rule(
        "content filter",
        Outcome.FAIL_ROW,
        _AZURE + "; " + _OPENROUTER,
        statuses=_on(400, 403, 422),
        codes=(
            "content_filter",
            "content_policy_violation",
            "ResponsibleAIPolicyViolation",
            "moderation_flagged",
        ),
    ),
    Rule(
        "content filter",
        Outcome.FAIL_ROW,
        "portkey.ai/error-library (10014); " + _OPENROUTER,
        statuses=_on(400, 403),
        said=r"content management policy|your input was flagged",
    ),
    Rule(
        _TOO_LARGE,
        Outcome.FAIL_ROW,
        _OPENAI + "; " + _OPENROUTER,
        codes=(
            "context_length_exceeded",
            "string_above_max_length",
            "max_tokens_exceeded",
            "token_limit_exceeded",
            "string_too_long",
            "request_too_large",
            "payload_too_large",
        ),
    ),
    Rule(
        _TOO_LARGE,
        Outcome.FAIL_ROW,
        _GROQ + "; " + _RECORDED,
        said=r"request too large|maximum context length|prompt is too long"
        r"|exceeds the (maximum number of tokens|context length)",
    ),
    Rule(_TOO_LARGE, Outcome.FAIL_ROW, _RFC, statuses=_on(413)),
    # Who may not go on, without a better word for it.
    Rule("refused ({status})", Outcome.STOP, _OPENAI + " (region, permission)", statuses=_on(403)),
    # What passes.
    Rule(
        "rate limit",
        Outcome.RETRY_LANE,
        _OPENAI,
        statuses=_on(429),
        codes=("slow_down",),
        backoff=Backoff.USUAL,
        halve_rate=True,
    ),
    Rule(
        "rate limit",
        Outcome.RETRY_LANE,
        _OPENAI + "; " + _GROQ + "; " + _GEMINI,
        statuses=_on(429),
        backoff=Backoff.USUAL,
    ),
    Rule(
        _OVERLOADED,
        Outcome.RETRY_LANE,
        _OPENAI,
        statuses=_on(503),
        codes=("slow_down",),
        backoff=Backoff.LONG,
        halve_rate=True,
    ),
    Rule(
        _OVERLOADED,
        Outcome.RETRY_LANE,
        _OPENAI + "; " + _ANTHROPIC,
        codes=("server_is_overloaded", "overloaded_error"),
        backoff=Backoff.LONG,
    ),
    Rule(
        _OVERLOADED,
        Outcome.RETRY_LANE,
        _ANTHROPIC + "; nginx: " + _RECORDED,
        statuses=_on(503, 529),
        backoff=Backoff.LONG,
    ),
    Rule(
        "server error",
        Outcome.RETRY,
        _OPENAI + "; Cloudflare's 520 to 524",
        statuses=_on(500, 502, 504, 520, 521, 522, 523, 524),
        backoff=Backoff.USUAL,
    ),
    Rule(
        "refused ({status})",
        Outcome.RETRY,
        _RFC + "; RFC 8470",
        statuses=_on(408, 409, 425),
        backoff=Backoff.USUAL,
    ),
    Rule(
        "timeout",
        Outcome.RETRY,
        "the row has waited its time-out already",
        kind=Kind.TIMEOUT,
        backoff=Backoff.AT_ONCE,
    ),
    Rule(
        "disconnect",
        Outcome.RETRY,
        _RECORDED,
        kind=Kind.DISCONNECT,
        backoff=Backoff.USUAL,
    ),
    Rule(
        _UNREACHABLE,
        Outcome.RETRY,
        "a server that never answered is likely a wrong address",
        kind=Kind.CONNECT,
        backoff=Backoff.USUAL,
        stop_at_last=True,
    ),
    # What is left is final for its request.
    Rule("server error", Outcome.FAIL_ROW, _RFC, statuses=frozenset(range(500, 600))),
    Rule("refused ({status})", Outcome.FAIL_ROW, _RFC),
)
"""The policy; the first row that matches decides, and the last one matches what is left."""


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
    rule = rule_of(failure)
    reason = reason_of(failure)
    if rule.outcome is Outcome.STOP:
        return StopQueue(reason)
    if rule.outcome is Outcome.FAIL_ROW:
        return GiveUp(reason)
    if never_fits and failure.status == 429:  # noqa: PLR2004
        return GiveUp(_TOO_LARGE)
    asked = _asked(failure)
    if asked is not None and asked > _LONGEST_DELAY:
        return StopQueue(reason, asked)
    if attempt >= _allowed(failure, max_attempts, server_seen=server_seen):
        # One that has never said a word will not answer the next row either.
        mute = failure.kind is Kind.TIMEOUT and not server_seen
        return StopQueue(reason) if rule.stop_at_last or mute else GiveUp(reason)
    return Retry(
        reason,
        _backoff(rule.backoff, attempt, jitter) if asked is None else _later(asked, jitter),
        whole_lane=rule.outcome is Outcome.RETRY_LANE,
        halve_rate=rule.halve_rate,
    )


def rule_of(failure: Failure) -> Rule:
    """The row of the policy that decides about a failure."""
    return next((rule for rule in RULES if rule.matches(failure)), RULES[-1])


def is_refusal(failure: Failure) -> bool:
    """Whether the server had no room, rather than a fault."""
    limited = failure.kind is Kind.STATUS and failure.status == 429  # noqa: PLR2004
    return limited or rule_of(failure).outcome is Outcome.RETRY_LANE


def reason_of(failure: Failure) -> str:
    """A short, stable class of a failure, for counting and for people."""
    return rule_of(failure).reason.format(status=failure.status or 0)


def _is_code(code: str, wanted: str) -> bool:
    return code.endswith(wanted[1:]) if wanted.startswith("*") else code == wanted


def _says(message: str, pattern: str) -> bool:
    return re.search(pattern, message[:_LONGEST_MESSAGE], re.IGNORECASE) is not None


def _allowed(failure: Failure, max_attempts: int, *, server_seen: bool) -> int:
    if failure.status == 429:  # noqa: PLR2004
        return max_attempts * _REFUSALS_PER_ATTEMPT
    if failure.kind is Kind.CONNECT and not server_seen:
        return min(_UNSEEN_ATTEMPTS, max_attempts)
    return max_attempts


def _asked(failure: Failure) -> float | None:
    """The delay that the server asked for; 0 says nothing."""
    asked = failure.after
    return asked if asked is not None and 0 < asked < math.inf else None


def _later(asked: float, jitter: float) -> float:
    return asked + min(_LONGEST_JITTER, _JITTER * asked) * jitter


def _backoff(backoff: Backoff, attempt: int, jitter: float) -> float:
    if backoff is Backoff.AT_ONCE:
        attempt -= 1
    longest = min(_LONGEST_BACKOFF, _FIRST_BACKOFF * 2.0 ** min(attempt - 1, 10))
    if backoff is Backoff.AT_ONCE and attempt < 1:
        longest = min(_AT_ONCE, longest)
    factor = _OVERLOAD_FACTOR if backoff is Backoff.LONG else 1.0
    return longest * factor * (1 - _JITTER + _JITTER * jitter)
