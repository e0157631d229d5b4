"""A mirror of the server's bucket: how much of a limit is left right now.

OpenAI's limiter behaves as a linearly refilling bucket: capacity = limit, refill = limit / window
(checked on recorded headers: limit 30000, remaining 554, reset 58.891 s). After the answer to
request k the server's level is known as of the moment k was charged:

    level = remaining_k + rate x (now - charged_k) - cost of everything sent after k

Overwriting the level with ``remaining_k`` alone while requests are in flight is the classic bug: it
forgets what the server has yet to see. Five things stand between that formula and the truth:

Rule 1: requests sent within a twentieth of a second may arrive in any order. Such a bunch is read
        as one: of its answers the lowest line counts, and what it has in flight is still to come.
Rule 2: bad news is believed at once, good news when the next answer confirms it. A request that
        was held up on its way was charged later than it was sent and makes the level look high.
Rule 3: while a bucket is full, refill is lost; where that may have happened, the lower bound holds.
Rule 4: strangers draw on the same bucket. What they take between two answers is expected to go on
        (``leak``), and what they take in bursts is learned from refusals (``spare``).
Rule 5: a limit may be enforced in shorter pieces than its headers tell (60 a minute as 1 a second).
        More than a second's worth at once is tried with a single request first (``burst``).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import Enum

from gpt_magics.pacing.bunches import Bunch, Stamp
from gpt_magics.pacing.headers import Reading
from gpt_magics.pacing.pace import Pace
from gpt_magics.pacing.strangers import Sample, Strangers

MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0

# A request may overtake another on the wire; arriving this much early must not cost a 429.
_MARGIN_SECONDS = 0.004
_REMEMBERED_BUNCHES = 512
_WINDOW_TOLERANCE = 0.03
# Requests sent within this time may overtake one another.
_TOGETHER_SECONDS = 0.05
# A share of the limit that is missing only because sums of floats are rounded.
_ROUNDING = 1e-9
# With this share of the bucket used, one reading is proof enough of its window.
_PLAIN_EVIDENCE = 0.25
# OpenAI: "60,000 requests/minute may be enforced as 1,000 requests/second"; Azure counts over 1 or
# 10 seconds. What goes clearly beyond is a trial; a hair beyond might get in by the refill alone.
_QUANTA_SECONDS = (1.0, 10.0)
_CLEARLY_SECONDS = 0.04
# Evenly spaced requests keep this much below the rate, as clocks and ways differ.
_EVEN = 0.985


class Burst(Enum):
    """What is known of taking more than a second's worth at once."""

    UNTRIED = "untried"
    FINE = "fine"
    REFUSED = "refused"  # requests are spaced evenly


@dataclass(frozen=True, slots=True)
class Ask:
    """What a request costs on every dimension: so many requests, so many tokens.

    ``least`` are the tokens that it costs however short the answer: those of its prompt.
    ``kind`` names what is alike, such as a job's template, so that what the server really charges
    can be learned.
    """

    tokens: float = 0.0
    requests: float = 1.0
    least: float = 0.0
    kind: str = ""

    def on(self, dimension: str) -> float:
        """The cost on a dimension named by its header suffix; unknown ones cost nothing."""
        return self.of(_unit(dimension))

    def of(self, unit: str) -> float:
        """The cost in a bucket's unit."""
        if unit == "tokens":
            return self.tokens
        if unit == "input tokens":
            return self.least or self.tokens
        return self.requests if unit == "requests" else 0.0


def _unit(dimension: str) -> str:
    if "parallel" in dimension:  # LiteLLM's max_parallel_requests: no bucket, never refills
        return ""
    if "token" in dimension:
        return "input tokens" if "input" in dimension else "tokens"
    return "requests" if "request" in dimension else ""


class Bucket:
    """One dimension of one server-side limit. Times are seconds, on any steady clock.

    Args:
        reading: the first word of it.
        now: when the request that brought it was charged.
        cost: what that request took; the reading knows of it.
    """

    __slots__ = (
        "_asked",
        "_at",
        "_bunches",
        "_candidate",
        "_last_cost",
        "_level",
        "_newest",
        "_pace",
        "_passed",
        "_rate",
        "_rumour",
        "_strangers",
        "_taken",
        "burst",
        "dimension",
        "lanes",
        "limit",
        "unit",
        "window",
    )

    def __init__(self, reading: Reading, *, now: float, cost: float = 0.0) -> None:
        self.dimension = reading.dimension
        self.unit = _unit(reading.dimension)
        self.limit = reading.limit
        self.window = reading.window or MINUTE
        self.lanes = 1
        self.burst = Burst.UNTRIED
        self._level = self._rumour = reading.remaining
        self._at = now
        self._taken = self._asked = 0.0
        self._last_cost = cost
        never = float("-inf")
        self._bunches = deque([Bunch(never, never, 0.0, 0.0)] * 2, maxlen=_REMEMBERED_BUNCHES)
        self._newest: Bunch | None = None
        self._candidate: float | None = None
        self._strangers = Strangers()
        self._pace = Pace()
        self._passed = 0  # how many of the quanta did not hold
        self._learn_window(reading)
        self._rate = self.limit / self.window
        self._pace.take(cost, self._rate, now)

    def __repr__(self) -> str:
        return f"<Bucket {self.dimension}: {self._level:g} of {self.limit:g} per {self.window:g} s>"

    @property
    def rate(self) -> float:
        """Refill in units a second."""
        return self._rate

    @property
    def leak(self) -> float:
        """Units a second that strangers are expected to take."""
        return self._strangers.leak

    @property
    def spare(self) -> float:
        """Units kept in hand, because strangers take some between an answer and its use."""
        return self._strangers.spare

    def level(self, now: float) -> float:
        """What is left at ``now``; negative while more is in flight than the server allows."""
        level = self._level
        if now > self._at:
            level += (self._rate - self._strangers.leak) * (now - self._at)
        return min(self.limit, level)

    def wait(self, cost: float, now: float) -> float:
        """Seconds until ``cost`` fits.

        A cost above the whole limit never fits; it may go when the bucket is full, so that the
        server's own refusal reaches the user instead of an endless wait.
        """
        if cost <= 0:
            return 0.0
        rate, strangers = self._rate, self._strangers
        needed = min(cost + strangers.spare + rate * _MARGIN_SECONDS, self.limit)
        short = needed - self.level(now)
        wait = short / (rate - strangers.leak) if short > _ROUNDING * self.limit else 0.0
        if self.burst is Burst.REFUSED:
            return max(wait, self._pace.ahead(now))
        return wait

    def is_burst(self, cost: float, now: float) -> bool:
        """Whether ``cost`` is more than a second's worth at once, and nobody has tried that."""
        if self.burst is not Burst.UNTRIED or self.window > MINUTE:
            return False
        ahead, seconds = self._pace.ahead(now), cost / self._rate
        if ahead + seconds <= _QUANTA_SECONDS[self._passed] or ahead <= _ROUNDING or cost <= 0:
            return False
        clearly = max(seconds / 2, _CLEARLY_SECONDS)
        return ahead + seconds > _QUANTA_SECONDS[self._passed] + clearly

    def take(self, cost: float, now: float, asked: float | None = None, kind: str = "") -> Stamp:
        """Charge a request that is sent now.

        Args:
            cost: what it is expected to take.
            now: the time.
            asked: its own estimate, if experience made another cost of it.
            kind: what it is alike.
        """
        self._advance(now)
        self._level -= cost
        self._rumour -= cost
        self._last_cost = cost
        self._taken += cost
        self._asked += cost if asked is None else asked
        self._strangers.note(kind)
        even = _EVEN if self.burst is Burst.REFUSED else 1.0
        self._pace.take(cost, self._rate * even, now)
        bunch = self._bunches[-1]
        if now - bunch.began > _TOGETHER_SECONDS:
            bunch = Bunch(now, now, self._taken, self._asked)
            self._bunches.append(bunch)
        bunch.last, bunch.taken, bunch.asked = now, self._taken, self._asked
        bunch.total += cost
        bunch.open += cost
        return Stamp(cost, cost if asked is None else asked, bunch, bunch.total)

    def close(self, stamp: Stamp) -> None:
        """The request was answered, or never will be: it is no longer on its way."""
        if stamp.open:
            stamp.open = False
            bunch = stamp.bunch
            bunch.open = max(0.0, bunch.open - stamp.cost)

    def refund(self, stamp: Stamp) -> None:
        """Give back what the server did not charge.

        If a later request was answered since, its answer knew that already.
        """
        if stamp.refunded:
            return
        stamp.refunded = True
        self.close(stamp)
        bunch = stamp.bunch
        self._pace.give_back(stamp.cost, self.rate)
        self._untake(stamp)
        if self.is_old(stamp):
            return
        # With what came back the bucket may have been full before later requests were sent.
        most = self.limit - (self._taken - bunch.taken) - (bunch.total - stamp.place)
        self._level = max(self._level, min(self._level + stamp.cost, most))
        self._rumour = max(self._rumour, min(self._rumour + stamp.cost, most))

    def _untake(self, stamp: Stamp) -> None:
        self._taken -= stamp.cost
        self._asked -= stamp.asked
        for bunch in reversed(self._bunches):
            if bunch.began < stamp.bunch.began:
                break
            bunch.taken -= stamp.cost
            bunch.asked -= stamp.asked

    def correct(
        self, reading: Reading, stamp: Stamp, *, charged: float, now: float
    ) -> Sample | None:
        """Take the server's word for the level after the request with ``stamp``.

        A reading older than one already used is ignored: it knows less.

        Args:
            reading: the server's word.
            stamp: of the request that it answers.
            charged: when the server charged it, as far as is known.
            now: the time.

        Returns:
            What a span of requests really took, whenever one has come to its end.
        """
        self.close(stamp)
        bunch = stamp.bunch
        if self.is_old(stamp):
            return None
        self._newest = bunch
        changed = reading.limit != self.limit
        self.limit = reading.limit
        changed |= self._learn_window(reading)
        self._rate = self.limit / self.window
        if changed:
            self._strangers.forget()
        line = reading.remaining - self.rate * charged
        if bunch.low is None or line < bunch.low or changed:
            bunch.low, bunch.charged = line, charged
        self._believe(self._told(bunch, now), now, changed=changed)
        if bunch.open > _ROUNDING * self.limit:  # rounding leaves a rest of what was open
            return None
        return self._strangers.look(bunch, unit=stamp.cost, limit=self.limit, rate=self.rate)

    def told(self, reading: Reading, *, charged: float, now: float) -> float:
        """The level at ``now`` that a reading implies, whatever else is believed."""
        line = reading.remaining - self._rate * charged
        for bunch in reversed(self._bunches):
            if bunch.began <= charged:
                low = line if bunch.low is None else min(line, bunch.low)
                level = min(self.limit, low + self._rate * now)
                return level - (self._taken - bunch.taken) - bunch.open
        return min(self.limit, line + self._rate * now) - self._taken

    def is_old(self, stamp: Stamp) -> bool:
        """Whether an answer to a later request is known, so that this one has no news."""
        return self._newest is not None and stamp.bunch.began < self._newest.began

    @property
    def unit_cost(self) -> float:
        """What the last request took."""
        return self._last_cost

    def allow_bursts(self) -> None:
        """More than a second's worth at once was let in; try ten, then anything."""
        if self.burst is Burst.UNTRIED:
            self._passed += 1
            if self._passed == len(_QUANTA_SECONDS):
                self.burst = Burst.FINE

    def refuse_bursts(self) -> None:
        """From now on requests are spaced evenly: the server enforces a shorter limit, too."""
        if self.burst is not Burst.REFUSED:
            self.burst = Burst.REFUSED
            self._pace = Pace()

    def surprised(self, cost: float) -> None:
        """The server had no room though there should have been: strangers took it."""
        self._strangers.surprised(cost, self.limit)

    def confirmed(self) -> None:
        """The server had room, as expected."""
        self._strangers.confirmed()

    def _told(self, bunch: Bunch, now: float) -> float:
        """The level at ``now`` by the word of a bunch."""
        assert bunch.low is not None  # noqa: S101 - set by its answers
        level = bunch.low + self._rate * now
        if now > bunch.charged:
            level -= self._strangers.leak * (now - bunch.charged)
        level = min(level, self.limit)  # if it was full, refill was lost; this is the lower bound
        level -= self._taken - bunch.taken + bunch.open
        before = self._bunches[-2]
        if bunch is self._bunches[-1] and before.last >= bunch.began - _TOGETHER_SECONDS:
            level -= before.open
        return level

    def _believe(self, told: float, now: float, *, changed: bool) -> None:
        self._advance(now)
        if told <= self._level or changed:
            self._level = told
        else:
            self._level = max(self._level, min(told, self._rumour))
        self._rumour = told

    def _advance(self, now: float) -> None:
        """Let the bucket refill up to ``now``."""
        if now > self._at:
            refill = (self._rate - self._strangers.leak) * (now - self._at)
            self._level += refill
            self._rumour += refill
            self._at = now
        self._level = min(self._level, self.limit)
        self._rumour = min(self._rumour, self.limit)

    def _learn_window(self, reading: Reading) -> bool:
        """Whether the window turned out to be another one."""
        before = self.window
        if reading.window is not None:
            self.window = reading.window
            return self.window != before
        used = reading.limit - reading.remaining
        if not reading.reset or used < 1:
            return False
        seen = _standard_window(reading.reset * reading.limit / used)
        if seen is None:
            return False
        # Two readings in a row, or much of the bucket used: a fixed-window server's countdown
        # looks like a longer window only by chance.
        if seen == self._candidate or used > _PLAIN_EVIDENCE * reading.limit:
            self.window = seen
        self._candidate = seen
        return self.window != before


def _standard_window(seconds: float) -> float | None:
    for window in (MINUTE, HOUR, DAY):
        if abs(seconds - window) <= _WINDOW_TOLERANCE * window:
            return window
    return None
