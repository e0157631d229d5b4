"""Numbers in words: the same for the panel, the static summary and one-line outputs.

`panel.js` says them in the same way; a browser test compares the two, number by number.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

_KILO = 1_000
_EXACT_BELOW = 10_000  # up to here every digit is shown
_MINUTE, _HOUR, _DAY = 60, 3_600, 86_400
_MOST_DECIMALS = 12
_MOST_ORIGINS = 4


def money(cost: float | None, *, known: bool = True) -> str:
    """Say a cost in dollars; what is not known is never shown as $0.

    Args:
        cost: dollars, or ``None`` if no part of it is known.
        known: false if the price of some part is unknown, so that `cost` is a lower bound.
    """
    if cost is None or not math.isfinite(cost) or (cost == 0 and not known):
        return "unknown cost"
    return f"${_dollars(cost)}" if known else f"≥ ${_dollars(cost)}"


def count(n: float) -> str:
    """Say a whole number in at most five characters or so: 1,204, 16k, 1.2M."""
    whole = math.floor(n + 0.5)
    if whole < _EXACT_BELOW:
        return f"{whole:,}"
    scaled, unit = float(whole), ""
    for unit in ("k", "M", "B", "T"):  # noqa: B007  # the unit that ended the loop is the answer
        scaled = scaled / _KILO
        shown = _round(scaled, 1 if scaled < 100 else 0)  # noqa: PLR2004
        if shown < _KILO:
            break
    return f"{shown:,.1f}".removesuffix(".0") + unit


def exact(n: float) -> str:
    """Say a whole number with all its digits: 12,345."""
    return f"{math.floor(n + 0.5):,}"


def duration(seconds: float) -> str:
    """Say how long: 45 ms, 0.8 s, 35 s, 1 min 15 s, 2 h 5 min, 3 d 4 h."""
    if seconds < 0.1 and seconds > 0:  # noqa: PLR2004
        return f"{max(1, math.floor(seconds * 1000 + 0.5))} ms"
    tenths = _round(max(0.0, seconds), 1)
    if tenths < 10:  # noqa: PLR2004
        return f"{tenths:.1f}".removesuffix(".0") + " s"
    whole = math.floor(seconds + 0.5)
    for size, unit, part, parts in ((_DAY, "d", _HOUR, "h"), (_HOUR, "h", _MINUTE, "min")):
        if whole >= size:
            return _two(whole // size, unit, whole % size // part, parts)
    return _two(whole // _MINUTE, "min", whole % _MINUTE, "s")


def pace(per_second: float, unit: str = "rows") -> str:
    """Say how fast: 9.9 rows/s, 12 rows/min. With an empty unit: 3,333/s."""
    value, per = per_second, "s"
    for slower in ("min", "h"):
        if value >= 0.1 or value <= 0:  # noqa: PLR2004
            break
        value, per = value * 60, slower
    shown = _round(value, 1)
    number = f"{shown:.1f}".removesuffix(".0") if shown < 10 else count(value)  # noqa: PLR2004
    return f"{number} {unit}/{per}" if unit else f"{number}/{per}"


def origins_words(origins: Iterable[tuple[str, int]]) -> str:
    """Who sent how many requests, most first."""
    most = sorted(origins, key=lambda origin: -origin[1])
    said = [f"{who} {exact(number)}" for who, number in most[:_MOST_ORIGINS]]
    if len(most) > _MOST_ORIGINS:
        said.append(f"{len(most) - _MOST_ORIGINS} others")
    return ", ".join(said)


def _dollars(cost: float) -> str:
    if cost >= 10 or cost == 0:  # noqa: PLR2004
        return f"{_round(cost, 2):,.2f}"
    if cost >= 0.01:  # noqa: PLR2004
        cents = cost * 100
        whole_cents = abs(cents - math.floor(cents + 0.5)) < 1e-6  # noqa: PLR2004
        return f"{_round(cost, 4):.{2 if whole_cents else 4}f}"
    decimals = 2
    while cost * 10**decimals < 10 and decimals < _MOST_DECIMALS:  # noqa: PLR2004
        decimals += 1
    return f"{_round(cost, decimals):.{decimals}f}"


def _two(much: int, unit: str, rest: int, small: str) -> str:
    head = f"{much} {unit}" if much else ""
    tail = f"{rest} {small}" if rest or not much else ""
    return f"{head} {tail}".strip()


def _round(value: float, digits: int) -> float:
    """Round half up, as the browser's side does: Python's own rule would differ on ties."""
    scale = 10.0**digits
    return math.floor(value * scale + 0.5) / scale
