"""What a response's headers say about limits. Malformed headers say nothing; they never raise.

Every dialect that is read here, with its source, is in ``docs/dialects.md``. ``readings`` runs for
every answer, so a header's name is taken apart only once: the cache tells what it means.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import NamedTuple

_LIMIT, _REMAINING, _RESET, _WINDOW = range(4)
_PARTS = {
    "": _LIMIT,  # the whole of a structured header
    "limit": _LIMIT,
    "remaining": _REMAINING,
    "reset": _RESET,
    "renewalperiod": _WINDOW,  # Azure and GitHub Models: the window's length in seconds
}
_WINDOWS = {
    "second": "1",
    "minute": "60",
    "1h": "3600",
    "hour": "3600",
    "day": "86400",
    "month": "2592000",
}

# Limits whose headers name no unit and so mean requests. A gateway may send the same one in
# several dialects; the first of these that is complete counts, and under one name.
_STRUCTURED, _POLICY, _DRAFT, _TRADITION = " ratelimit", " policy", " ratelimit-", " x-ratelimit-"
_UNNAMED = frozenset({_STRUCTURED, _POLICY, _DRAFT, _TRADITION})
_UNNAMED_REQUESTS = "gateway-requests"
_NOTHING = ("", "", "", "")

_PART = "(?P<part>limit|remaining|reset|renewalperiod)"
# Names of headers, and the dimension that they are about. Anthropic's output tokens are left out:
# nobody knows a request's beforehand, and charging its prompt to them would stall long prompts.
_DIALECTS = [
    (re.compile(name + r"\Z"), dimension)
    for name, dimension in (
        (
            rf"x-ratelimit-(?P<whose>[a-z0-9_.]+-)?{_PART}-(?P<unit>[a-z0-9_-]+)",
            "{whose}{unit}",
        ),
        (
            rf"anthropic-ratelimit-(?P<unit>requests|tokens|input-tokens)-{_PART}",
            "{unit}",
        ),
        (rf"x-ratelimit-{_PART}", _TRADITION),
        (rf"ratelimit-{_PART}", _DRAFT),
        (r"ratelimit(?P<part>)", _STRUCTURED),
        (r"ratelimit-policy(?P<part>)", _POLICY),
        # Mistral's older names, where only the shortest tells the minute's reset.
        (r"x-ratelimitbysize-(?P<part>limit|remaining)-(?P<unit>minute|month)", "tokens-{unit}"),
        (r"ratelimitbysize-(?P<part>reset)", "tokens"),
        (rf"x-tokenlimit-{_PART}", "tokens-second"),
    )
]
_Place = tuple[str, int, str]  # a header's dimension, which part of it, and the window in its name
_places: dict[str, _Place | None] = {}  # what the headers seen so far are about
_MOST_NAMES = 1024
_LONGEST_NAME = 100

_FIRST_NUMBER = re.compile(r"([0-9]{1,20})\s*(?:[,;]|\Z)")
_QUOTA_WINDOW = re.compile(r"([0-9]{1,20})\s*;\s*w(?:indow)?=([0-9]{1,9})")
_ITEM = re.compile(r'\s*"?([A-Za-z0-9_.:/-]{0,40})"?((?:\s*;\s*[a-z]+=[^;,]*)+)\s*(?:,|\Z)')
_PARAMETER = re.compile(r'([a-z]+)="?([^;,"]*)"?')
_OLDER_STRUCTURED = re.compile(r"\s*limit=([0-9]+)\s*,\s*remaining=([0-9]+)\s*,\s*reset=([0-9]+)")

_DECIMAL = re.compile(r"[0-9]+\.[0-9]+\Z")
_LONGEST_NUMBER = 24
_LONGEST_VALUE = 64
_LONGEST_STRUCTURED = 500
_CONTRADICTION = "?"
# Seconds since 1970 and milliseconds since 1970 are this large; durations are not.
_LEAST_EPOCH, _LEAST_EPOCH_MS = 1e9, 1e11

_DURATION_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|us|µs|ns|h|m|s|d)")
_UNIT_SECONDS = {
    "ns": 1e-9,
    "us": 1e-6,
    "µs": 1e-6,
    "ms": 1e-3,
    "s": 1.0,
    "m": 60.0,
    "h": 3600.0,
    "d": 86400.0,
}
_NUMBER = r"[0-9]{1,12}(?:\.[0-9]{1,12})?"
_SECONDS = re.compile(r"([0-9]{1,18}(?:\.[0-9]{1,18})?)(m?s)?\Z")
_TRY_AGAIN = re.compile(
    r"(?:try again in|retry (?:in|after)|please wait) "
    rf"(?:((?:{_NUMBER}(?:ms|h|m|s|d)(?![a-z]{{2}}))+)"
    rf"|({_NUMBER}) (millisecond|second|minute|hour|day)s?\b)",
    re.IGNORECASE,
)
_WORD_SECONDS = {"millisecond": 1e-3, "second": 1.0, "minute": 60.0, "hour": 3600.0, "day": 86400.0}
_LONGEST_MESSAGE = 4000
_REACHED = re.compile(
    r"\bon (requests|tokens) per (min|hour|day)\b[^:]{0,40}: "
    r"Limit ([0-9,]{1,18}), Used ([0-9,]{1,18})",
    re.IGNORECASE,
)
_PER = {"min": ("minute", 60.0), "hour": ("hour", 3600.0), "day": ("day", 86400.0)}


class Reading(NamedTuple):
    """One dimension of a rate limit as a response reported it.

    Attributes:
        dimension: the header's suffix, such as ``requests``, ``tokens`` or ``project-tokens``,
            after whose limit it is if the header says so (LiteLLM's ``api_key-requests``). A
            window that is not a minute stays part of it: ``requests-day``.
        limit: the capacity of the server's bucket.
        remaining: what is left of it after the request that was answered.
        reset: seconds until the bucket is FULL again (not until the next request fits), if told.
        window: seconds in which the server refills the whole limit, if the headers state it.
    """

    dimension: str
    limit: float
    remaining: float
    reset: float | None
    window: float | None = None


def duration(text: str) -> float | None:
    """Seconds in a Go-style duration (``6m0s``, ``1.5s``, ``12ms``) or a bare number of seconds.

    Negative, empty and unreadable durations are ``None``: unknown. Azure has sent ``-1``.
    """
    plain = _SECONDS.match(text)
    if plain is None:
        return _go_duration(text)
    return float(plain[1]) / 1000 if plain[2] == "ms" else float(plain[1])


def readings(
    headers: Iterable[tuple[str, str]], *, wall_now: float | None = None
) -> tuple[Reading, ...]:
    """Every complete rate-limit dimension among ``headers`` (pairs of lower-case name, value).

    ``wall_now`` is the time of day as a Unix timestamp. Some servers name the moment of the reset
    (Anthropic, OpenRouter); without ``wall_now`` such a reset is unknown.
    """
    found: dict[str, list[str]] = {}
    for name, value in headers:
        try:
            place = _places[name]
        except KeyError:
            place = _learn(name)
        if place is not None:
            dimension, part, window = place
            cells = found.get(dimension)
            if cells is None:
                cells = found[dimension] = ["", "", "", window]
            # Two headers of one name that disagree are two servers' words: whose is whose?
            before = cells[part]
            cells[part] = value if not before or before == value else _CONTRADICTION
    if not found:
        return ()
    unnamed = () if _UNNAMED.isdisjoint(found) else _unnamed(found, wall_now)
    read = [_reading(dimension, cells, wall_now) for dimension, cells in found.items()]
    return tuple(filter(None, read)) + unnamed


def retry_after(headers: Mapping[str, str], *, wall_now: float) -> float | None:
    """Seconds that a server asks to wait, by the first of these headers that says something.

    ``retry-after-ms``; ``retry-after`` (seconds or an HTTP date); ``x-ratelimit-timeremaining``
    (GitHub Models). Azure sends ``retry-after-ms: 0`` beside ``retry-after: 1``, so 0 milliseconds
    say nothing. ``wall_now`` is the time of day as a Unix timestamp; only dates need it.
    """
    milliseconds = _number(headers.get("retry-after-ms", ""))
    if milliseconds:
        return milliseconds / 1000
    text = headers.get("retry-after", "").strip()
    seconds = _number(text)
    if seconds is None and 0 < len(text) <= _LONGEST_VALUE:
        seconds = _seconds_until_date(text, wall_now)
    return _number(headers.get("x-ratelimit-timeremaining", "")) if seconds is None else seconds


def reached(message: str) -> Reading | None:
    """The limit that a refusal names, which the headers may not tell of.

    "Rate limit reached for gpt-4o on requests per min (RPM): Limit 3, Used 3, Requested 1."
    (OpenAI, Groq; OpenAI's request headers tell of the day where there is a limit a day.) Its
    dimension is called ``requests-minute``, so that it is none that headers have.
    """
    match = _REACHED.search(message[:_LONGEST_MESSAGE])
    if match is None:
        return None
    window, seconds = _PER[match[2].lower()]
    limit, used = (float(match[group].replace(",", "") or 0) for group in (3, 4))
    if limit <= 0:
        return None
    dimension = f"{match[1].lower()}-{window}"
    return Reading(dimension, limit, max(0.0, limit - used), None, seconds)


def try_again_in(message: str) -> float | None:
    """Seconds that an error's message asks to wait, if it says so.

    "Please try again in 35.883s" (OpenAI, Groq), "Please retry in 41.07s" (Gemini), "Please retry
    after 26 seconds" (Azure), "Please wait 0 seconds" (GitHub Models).
    """
    match = _TRY_AGAIN.search(message[:_LONGEST_MESSAGE])
    if match is None:
        return None
    if match[1]:
        return duration(match[1])
    return float(match[2]) * _WORD_SECONDS[match[3].lower()]


def seconds_until(text: str, wall_now: float | None) -> float | None:
    """Seconds until a reset: a duration, an RFC 3339 time, or seconds or milliseconds since 1970.

    A moment that has passed is 0; without ``wall_now`` a moment is unknown.
    """
    seconds = duration(text)
    if seconds is None:
        moment = _rfc3339(text)
    elif seconds < _LEAST_EPOCH:
        return seconds
    else:
        moment = seconds if seconds < _LEAST_EPOCH_MS else seconds / 1000
    if moment is None or wall_now is None:
        return None
    return max(0.0, moment - wall_now)


def _learn(name: str) -> _Place | None:
    """Take a header's name apart and remember it; a server that makes up names is forgotten."""
    if len(_places) >= _MOST_NAMES:
        _places.clear()
    place = _places[name] = _place(name)
    return place


def _place(name: str) -> _Place | None:
    """The dimension that a header is about, and which part of it; ``None`` for other headers."""
    if "limit" not in name or len(name) > _LONGEST_NAME:
        return None
    for pattern, template in _DIALECTS:
        if match := pattern.match(name):
            groups = match.groupdict("")
            dimension, window = _dimension(template.format(**groups))
            return dimension, _PARTS[groups["part"]], window
    return None


def _dimension(suffix: str) -> tuple[str, str]:
    """A header's suffix in our words, and the window in it: ``req-minute`` is ``requests``, 60.

    A minute is what everybody means who says nothing, so it is not part of the name; other windows
    are: ``day`` is ``requests-day``.
    """
    unit, _, window = suffix.rpartition("-")
    if window not in _WINDOWS:
        return suffix, ""
    unit = "requests" if unit in ("", "req") else unit
    return (unit if window == "minute" else f"{unit}-{window}"), _WINDOWS[window]


def _reading(dimension: str, cells: list[str], wall_now: float | None) -> Reading | None:
    limit_text, remaining_text, reset, window_text = cells
    limit, window = _capacity(limit_text, window_text)
    remaining = _number(remaining_text)
    if not limit or remaining is None:
        return None
    until = seconds_until(reset, wall_now) if reset else None
    left = remaining if remaining < limit else limit  # noqa: FURB136 - min() takes six times as long
    # Half the time of ``Reading(...)``, which only does the same.
    return tuple.__new__(Reading, (dimension, limit, left, until, window))


@lru_cache(maxsize=256)
def _capacity(limit: str, window: str) -> tuple[float | None, float | None]:
    return _number(limit), _number(window) or None


def _unnamed(found: dict[str, list[str]], wall_now: float | None) -> tuple[Reading, ...]:
    """Take the limits out of ``found`` that name no unit, and read the best of them."""
    structured, policy, draft, tradition = (
        found.pop(name, _NOTHING) for name in (_STRUCTURED, _POLICY, _DRAFT, _TRADITION)
    )
    if read := _structured(structured[_LIMIT], policy[_LIMIT]):
        return read
    for limit_text, remaining_text, reset, _ in (draft, tradition):
        limit, window = _quota(limit_text)
        remaining = _number(remaining_text)
        if limit and remaining is not None:
            until = seconds_until(reset, wall_now)
            return (Reading(_UNNAMED_REQUESTS, limit, min(remaining, limit), until, window),)
    return ()


def _quota(text: str) -> tuple[float | None, float | None]:
    """Limit and window of ``100`` or of ``100, 100;w=60, 5000;w=3600``."""
    text = text[:_LONGEST_STRUCTURED].strip()
    match = _FIRST_NUMBER.match(text)
    if match is None:
        return None, None
    windows = dict(_QUOTA_WINDOW.findall(text))
    return _number(match[1]), _number(windows.get(match[1], "")) or None


def _structured(current: str, policies: str) -> tuple[Reading, ...]:
    """The IETF draft's ``RateLimit`` (what is left) by its ``RateLimit-Policy`` (of how much)."""
    older = _OLDER_STRUCTURED.match(current[:_LONGEST_STRUCTURED])
    if older:
        said = {"r": older[2], "t": older[3]}
        read = [_policy_reading("default", said, {"q": older[1]})]
    else:
        quotas = _items(policies)
        read = [
            _policy_reading(name, said, quotas.get(name, {}))
            for name, said in _items(current).items()
        ]
    return tuple(filter(None, read))


def _policy_reading(name: str, said: dict[str, str], policy: dict[str, str]) -> Reading | None:
    """One named policy; units that no request is counted in, such as bytes, say nothing."""
    unit = policy.get("qu", "tokens" if "token" in name else "requests")
    limit, left = _number(policy.get("q", "")), _number(said.get("r", ""))
    if not limit or left is None or unit not in ("requests", "tokens"):
        return None
    dimension = f"{'gateway' if name == 'default' else name}-{unit}"
    window = _number(policy.get("w", "")) or None
    return Reading(dimension, limit, min(left, limit), _number(said.get("t", "")), window)


def _items(text: str) -> dict[str, dict[str, str]]:
    """The parameters of each named item in a structured header; nothing if it is malformed."""
    found: dict[str, dict[str, str]] = {}
    position, text = 0, text[:_LONGEST_STRUCTURED]
    while match := _ITEM.match(text, position):
        found[match[1]] = {key: value.strip() for key, value in _PARAMETER.findall(match[2])}
        position = match.end()
    return found if position == len(text) else {}


@lru_cache(maxsize=1024)
def _go_duration(text: str) -> float | None:
    text = text.strip()
    if len(text) > _LONGEST_VALUE:
        return None
    total, position = 0.0, 0
    for part in _DURATION_PART.finditer(text):
        if part.start() != position:
            return None
        total += float(part[1]) * _UNIT_SECONDS[part[2]]
        position = part.end()
    return total if position and position == len(text) else None


def _rfc3339(text: str) -> float | None:
    if len(text) > _LONGEST_VALUE or "-" not in text:
        return None
    try:
        moment = datetime.fromisoformat(text.strip())
        return moment.replace(tzinfo=moment.tzinfo or UTC).timestamp()
    except (ValueError, OverflowError):
        return None


def _seconds_until_date(text: str, wall_now: float) -> float | None:
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - wall_now)
    except (ValueError, TypeError, OverflowError):
        return None


def _number(text: str) -> float | None:
    """A plain number; none of the signs, exponents, infinities and scripts that ``float`` takes."""
    if not text.isascii() or len(text) > _LONGEST_NUMBER:
        return None
    if text.isdecimal() or _DECIMAL.match(text):
        return float(text)
    return None
