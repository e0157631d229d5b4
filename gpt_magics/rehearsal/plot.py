"""Time and cost from a hundred rows to a billion, as plain SVG, both axes logarithmic.

Cost grows with the rows alone, so it is a second scale of the same axis.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from html import escape

from gpt_magics.rehearsal.outcome import Outcome, rehearse
from gpt_magics.rehearsal.plan import Plan
from gpt_magics.wording import count, exact

_DECADES = tuple(10**power for power in range(2, 10))
ROWS = tuple(round(10 ** (power / 2)) for power in range(4, 19))
_MOST = 20_000  # a line of 2.5 pixels needs no more
# Okabe and Ito's colours, which nobody confuses, a little lighter on dark.
THEMES = {
    "light": {
        "text": "#1f2328",
        "quiet": "#59636e",
        "grid": "#d1d9e0",
        "lines": ("#0072b2", "#d55e00", "#007a5a"),
    },
    "dark": {
        "text": "#f0f6fc",
        "quiet": "#9198a1",
        "grid": "#3d444d",
        "lines": ("#56b4e9", "#f0a35e", "#3fc79a"),
    },
}
_WIDTH, _HEIGHT = 700, 400
_LEFT, _RIGHT, _TOP, _BOTTOM = 66, 532, 66, 348
_LABEL_HEIGHT = 16.0
_FONT = "-apple-system, 'Segoe UI', 'Noto Sans', Helvetica, Arial, sans-serif"
_HOUR, _DAY, _YEAR = 3600.0, 86_400.0, 31_557_600.0
_TICKS = (
    (0.1, "0.1 s"),
    (1.0, "1 s"),
    (10.0, "10 s"),
    (60.0, "1 min"),
    (600.0, "10 min"),
    (_HOUR, "1 hour"),
    (10 * _HOUR, "10 hours"),
    (4 * _DAY, "4 days"),
    (40 * _DAY, "40 days"),
    (_YEAR, "1 year"),
    (10 * _YEAR, "10 years"),
    (100 * _YEAR, "100 years"),
    (1000 * _YEAR, "1000 years"),
)


def ten_times(plan: Plan) -> dict[str, Plan]:
    """A plan, and the same with limits ten and a hundred times as high, each with its name."""
    return {_name(each): each for each in (plan, _times(plan, 10), _times(plan, 100))}


def picture(plans: Mapping[str, Plan], theme: str) -> str:
    """Draw the time of up to three plans by their rows, whatever rows they have themselves.

    Args:
        plans: by name; the first one's cost is shown.
        theme: ``"light"`` or ``"dark"``.
    """
    found = {name: [_outcome(plan, rows) for rows in ROWS] for name, plan in plans.items()}
    times = [outcome.seconds for outcomes in found.values() for outcome in outcomes]
    drawing = _Drawing(theme, min(times), max(times))
    drawing.scales()
    first, outcomes = next(iter(plans.values())), next(iter(found.values()))
    drawing.costs(first.model, [outcome.cost for outcome in outcomes])
    for number, outcomes in enumerate(found.values()):
        drawing.line(number, [outcome.seconds for outcome in outcomes])
    drawing.labels({name: outcomes[-1].seconds for name, outcomes in found.items()})
    return drawing.document("Time and cost of a batch by its rows, at " + "; ".join(plans))


def _outcome(plan: Plan, rows: int) -> Outcome:
    return rehearse(replace(plan, rows=rows), most=_MOST)


def _times(plan: Plan, factor: int) -> Plan:
    limits = {name: getattr(plan, name) for name in ("rpm", "tpm", "rpd")}
    return replace(plan, **{name: n * factor for name, n in limits.items() if n is not None})


def _name(plan: Plan) -> str:
    known = (("RPM", plan.rpm), ("TPM", plan.tpm), ("RPD", plan.rpd))
    return ", ".join(f"{_round(n)} {unit}" for unit, n in known if n) or "no limits"


def _round(n: int) -> str:
    return exact(n) if n < 100_000 else count(n)  # noqa: PLR2004 - longer ones are hard to read


class _Drawing:
    """Collects elements in one theme's colours; ``least`` and ``most`` are seconds."""

    def __init__(self, theme: str, least: float, most: float) -> None:
        self._parts: list[str] = []
        colours = THEMES[theme]
        self._text, self._quiet = str(colours["text"]), str(colours["quiet"])
        self._grid, self._lines = str(colours["grid"]), colours["lines"]
        self._low, self._high = _edges(least, most)

    def scales(self) -> None:
        """Draw both axes with their units, and lines across for times."""
        for seconds, said in _TICKS:
            if self._low <= seconds <= self._high:
                y = self._y(seconds)
                self._stroke(f"M{_LEFT} {y:.1f}H{_RIGHT}", self._grid, 1)
                self._say(_LEFT - 8, y + 4, said, self._quiet, anchor="end")
        for rows in _DECADES:
            self._say(_x(rows), _BOTTOM + 20, count(rows), self._quiet, anchor="middle")
        self._say((_LEFT + _RIGHT) / 2, _BOTTOM + 42, "rows", self._text, anchor="middle")
        self._say(_LEFT - 8, _TOP - 36, "time", self._text, anchor="end")

    def costs(self, model: str, costs: Sequence[float | None]) -> None:
        """Draw what so many rows cost, above them."""
        if None in costs:
            return
        for rows, cost in zip(ROWS, costs, strict=True):
            if rows in _DECADES:
                said = _dollars(cost or 0.0)
                self._say(_x(rows), _TOP - 14, said, self._quiet, anchor="middle")
        self._say(
            (_LEFT + _RIGHT) / 2, _TOP - 36, f"cost with {model}", self._text, anchor="middle"
        )

    def line(self, number: int, times: Sequence[float]) -> None:
        """Draw one plan's times."""
        points = [
            f"{_x(r):.1f} {self._y(max(s, self._low)):.1f}"
            for r, s in zip(ROWS, times, strict=True)
        ]
        self._stroke("M" + "L".join(points), self._colour(number), 2.5)

    def labels(self, ends: Mapping[str, float]) -> None:
        """Write each plan's name at the end of its line; none over another."""
        above = -math.inf
        colours = {name: self._colour(number) for number, name in enumerate(ends)}
        for name in sorted(ends, key=lambda name: self._y(ends[name])):
            above = max(above + _LABEL_HEIGHT, self._y(ends[name]) + 4)
            self._say(_RIGHT + 8, above, name, colours[name], bold=True)

    def document(self, title: str) -> str:
        """The whole SVG."""
        opening = (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
            f'width="{_WIDTH}" height="{_HEIGHT}" font-family="{_FONT}" font-size="13" '
            f'role="img" aria-label="{escape(title)}">'
        )
        return "\n".join([opening, *self._parts, "</svg>\n"])

    def _colour(self, number: int) -> str:
        return self._lines[number % len(self._lines)]

    def _y(self, seconds: float) -> float:
        share = math.log(seconds / self._low) / math.log(self._high / self._low)
        return _BOTTOM - share * (_BOTTOM - _TOP)

    def _stroke(self, path: str, colour: str, width: float) -> None:
        self._parts.append(
            f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="{width:g}" '
            'stroke-linejoin="round"/>'
        )

    def _say(
        self,
        x: float,
        y: float,
        said: str,
        colour: str,
        *,
        anchor: str = "start",
        bold: bool = False,
    ) -> None:
        weight = ' font-weight="600"' if bold else ""
        self._parts.append(
            f'<text x="{x:.1f}" y="{y:.1f}" fill="{colour}" text-anchor="{anchor}"{weight}>'
            f"{escape(said)}</text>"
        )


def _x(rows: int) -> float:
    share = math.log(rows / ROWS[0]) / math.log(ROWS[-1] / ROWS[0])
    return _LEFT + share * (_RIGHT - _LEFT)


def _edges(least: float, most: float) -> tuple[float, float]:
    """The ticks around all times."""
    ticks = [seconds for seconds, _ in _TICKS]
    low = max((t for t in ticks if t <= least), default=ticks[0])
    high = min((t for t in ticks if t >= most), default=ticks[-1])
    return low, max(high, 10 * low)


def _dollars(cost: float) -> str:
    return f"${count(cost)}" if cost >= 10 else f"${cost:.2g}"  # noqa: PLR2004 - two digits
