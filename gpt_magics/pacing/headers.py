"""What a response's headers say about limits. Malformed headers say nothing; they never raise."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

_HEADER = re.compile(r"x-ratelimit-([\w.]+-)?(limit|remaining|reset)-([\w-]+)\Z")
_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|us|µs|ns|h|m|s|d)")
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
_TRY_AGAIN = re.compile(r"try again in ((?:\d+(?:\.\d+)?(?:ms|h|m|s|d))+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Reading:
    """One dimension of a rate limit as a response reported it.

    Attributes:
        dimension: the header's suffix, such as ``requests``, ``tokens`` or ``project-tokens``,
            after whose limit it is if the header says so (LiteLLM's ``api_key-requests``).
        limit: the capacity of the server's bucket.
        remaining: what is left of it after the request that was answered.
        reset: seconds until the bucket is FULL again (not until the next request fits), if told.
    """

    dimension: str
    limit: float
    remaining: float
    reset: float | None


def duration(text: str) -> float | None:
    """Seconds in a Go-style duration (``6m0s``, ``1.5s``, ``12ms``) or a bare number of seconds.

    Negative, empty and unreadable durations are ``None``: unknown. Azure has sent ``-1``.
    """
    text = text.strip()
    number = _number(text)
    if number is not None:
        return number if number >= 0 else None
    total, position = 0.0, 0
    for part in _DURATION_PART.finditer(text):
        if part.start() != position:
            return None
        total += float(part[1]) * _UNIT_SECONDS[part[2]]
        position = part.end()
    return total if position and position == len(text) and math.isfinite(total) else None


def readings(headers: Iterable[tuple[str, str]]) -> tuple[Reading, ...]:
    """Every complete rate-limit dimension among ``headers`` (pairs of lower-case name, value)."""
    found: dict[str, dict[str, str]] = {}
    for name, value in headers:
        if name.startswith("x-ratelimit-") and (match := _HEADER.match(name)):
            found.setdefault((match[1] or "") + match[3], {})[match[2]] = value
    return tuple(
        reading
        for dimension, values in found.items()
        if (reading := _reading(dimension, values)) is not None
    )


def retry_after(headers: Mapping[str, str], *, wall_now: float) -> float | None:
    """Seconds that ``retry-after-ms`` or ``retry-after`` (seconds or an HTTP date) ask for.

    ``wall_now`` is the time of day as a Unix timestamp; only dates need it.
    """
    milliseconds = _number(headers.get("retry-after-ms", ""))
    if milliseconds is not None and milliseconds >= 0:
        return milliseconds / 1000
    text = headers.get("retry-after", "").strip()
    seconds = _number(text)
    if seconds is not None:
        return seconds if seconds >= 0 else None
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - wall_now)
    except (ValueError, TypeError, OverflowError):
        return None


def try_again_in(message: str) -> float | None:
    """Seconds in OpenAI's "Please try again in 35.883s", if the message says so."""
    match = _TRY_AGAIN.search(message)
    return duration(match[1]) if match else None


def _reading(dimension: str, values: dict[str, str]) -> Reading | None:
    limit, remaining = _number(values.get("limit", "")), _number(values.get("remaining", ""))
    if limit is None or limit <= 0 or remaining is None or remaining < 0:
        return None
    return Reading(dimension, limit, min(remaining, limit), duration(values.get("reset", "")))


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
