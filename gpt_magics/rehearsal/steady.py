"""What is true of a part is true of the rest: more rows than anybody wants to simulate.

Rule 1: a part is simulated. Its second half tells the steady pace, unless a limit that was full at
        the start was not yet used up by then.
Rule 2: then the pace under that limit is taken from a second part, which begins with nothing
        left. A batch takes the longer of the two: until the limit is used up the first line is
        above, from then on the second.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

from gpt_magics.rehearsal.client import Client, Tally
from gpt_magics.rehearsal.plan import Bound, Plan

_TURNS = 20  # a part is so many times as large as what is in flight at once
_ENDLESS = 10**15
_COUNTS = ("answered", "failed", "requests", "admitted", "refused", "retries")
_TOKENS = ("tokens_in", "tokens_out")


@dataclass(frozen=True, slots=True)
class _Part:
    """The beginning of an endless batch, halfway and at its end."""

    half: Tally
    whole: Tally

    @property
    def pace(self) -> float:
        """Seconds a row."""
        return (self.whole.ended - self.half.ended) / (self.whole.rows - self.half.rows)

    def seconds(self, rows: int) -> float:
        """When so many rows have ended, if it goes on like this."""
        return self.whole.ended + (rows - self.whole.rows) * self.pace


def part_size(plan: Plan, most: int) -> int:
    """How many rows a part has, if up to ``most`` are simulated."""
    return max(most // 2, _TURNS * plan.max_in_flight)


def extrapolate(plan: Plan, size: int) -> tuple[Tally, int]:
    """What happens, and how many rows were simulated for it, in parts of ``size`` rows."""
    begun = _part(replace(plan, rows=_ENDLESS), size)
    if begun.whole.stopped is not None:
        return _cut_short(plan, begun.whole), plan.rows
    seconds = begun.seconds(plan.rows)
    bound = _later_bound(plan, begun, seconds)
    if bound is None:
        return _extended(plan, begun, begun, seconds), begun.whole.rows
    # A limit of the day is not reached yet where one of the minute decides.
    rpd = plan.rpd if bound.name == "rpd" else None
    drained = _part(replace(plan, rows=_ENDLESS, fill=0.0, rpd=rpd), size)
    head = bound.head / (bound.each * begun.whole.admitted / begun.whole.rows)
    seconds = max(seconds, (plan.rows - head) * drained.pace)
    return _extended(plan, begun, drained, seconds), begun.whole.rows + drained.whole.rows


@lru_cache(maxsize=16)
def _part(plan: Plan, size: int) -> _Part:
    client = Client(plan)
    tally = client.run(size // 2)
    half = replace(tally, waited=tally.waited.copy())
    return _Part(half, client.run(size))


def _later_bound(plan: Plan, part: _Part, seconds: float) -> Bound | None:
    """The limit that decides in the end, if it did not do so within the part."""
    each = part.whole.admitted / part.whole.rows
    # A rival takes its share in the long run.
    share = max(1.0 - plan.rival, 0.01)
    lines = {b.seconds(plan.rows * each) / share: b for b in plan.bounds()}
    latest = max(lines, default=0.0)
    return lines[latest] if latest > seconds else None


def _extended(plan: Plan, part: _Part, steady: _Part, seconds: float) -> Tally:
    """The part's counts, and the rest at the steady rates."""
    begun, half, whole = part.whole, steady.half, steady.whole
    rest = (plan.rows - begun.rows) / (whole.rows - half.rows)
    waited = {reason: s - half.waited.get(reason, 0.0) for reason, s in whole.waited.items()}
    found = replace(begun, ended=seconds, waited=waited)
    for name in _COUNTS + _TOKENS:
        more = (getattr(whole, name) - getattr(half, name)) * rest
        setattr(found, name, getattr(begun, name) + round(more))
    found.failed = plan.rows - found.answered
    found.requests = plan.rows + found.retries  # nothing is in flight at the end
    found.last = found.ended - (begun.ended - begun.last)
    return found


def _cut_short(plan: Plan, tally: Tally) -> Tally:
    """A batch that is stopped early, however long it would have been."""
    return replace(tally, failed=plan.rows - tally.answered)
