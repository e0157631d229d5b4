"""A mirror of the server's bucket: how much of a limit is left right now.

OpenAI's limiter behaves as a linearly refilling bucket: capacity = limit, refill = limit / window
(checked on recorded headers: limit 30000, remaining 554, reset 58.891 s). After the answer to
request k the server's level is known as of the moment k was sent:

    level = remaining_k + rate x (now - sent_k) - cost of everything sent after k

and never above the limit in between: while the bucket is full, refill is lost. Overwriting the
level with ``remaining_k`` alone while requests are in flight is the classic bug: it forgets what
the server has yet to see.

Requests that are sent together may arrive in any order. So those sent shortly before k that have
no answer yet count as unseen by the answer to k, too, and the answers of such a bunch are read as
if all had been sent at the same moment.

A request that was held up on its way (a new connection, a busy loop, a slow link) was charged later
than ``sent_k`` says, and makes the level look too high. Where the server tells how long it worked,
that dates the charge; and bad news is believed at once, and good news when the
next answer confirms it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from gpt_magics.pacing.headers import Reading

MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0

# A request may overtake another on the wire; arriving this much early must not cost a 429.
_MARGIN_SECONDS = 0.004
_WINDOW_TOLERANCE = 0.03
# Requests sent within this time may overtake one another.
_TOGETHER_SECONDS = 0.05
# A share of the limit that is missing only because sums of floats are rounded.
_ROUNDING = 1e-9
# With this share of the bucket used, one reading is proof enough of its window.
_PLAIN_EVIDENCE = 0.25
# How many sent requests are remembered for a server that stops to report a limit.
_MOST_UNANSWERED = 4096


@dataclass(frozen=True, slots=True)
class Ask:
    """What a request costs on every dimension: so many requests, so many tokens."""

    tokens: float = 0.0
    requests: float = 1.0

    def on(self, dimension: str) -> float:
        """The cost on a dimension named by its header suffix; unknown ones cost nothing."""
        if "parallel" in dimension:  # LiteLLM's max_parallel_requests: no bucket, never refills
            return 0.0
        if "token" in dimension:
            return self.tokens
        return self.requests if "request" in dimension else 0.0


@dataclass(frozen=True, slots=True)
class Stamp:
    """When a request was sent, and how much had been taken up to and including it."""

    sent: float
    taken: float


class Bucket:
    """One dimension of one server-side limit. Times are seconds, on any steady clock."""

    __slots__ = (
        "_at",
        "_bunch",
        "_candidate",
        "_level",
        "_newest",
        "_rumour",
        "_taken",
        "_unanswered",
        "dimension",
        "limit",
        "window",
    )

    def __init__(self, reading: Reading, *, now: float, window: float = MINUTE) -> None:
        self.dimension = reading.dimension
        self.limit = reading.limit
        self.window = window
        self._level = reading.remaining
        self._at = now
        self._taken = 0.0
        self._newest = Stamp(float("-inf"), float("-inf"))
        self._candidate: float | None = None
        # When the present bunch began, and its lowest level, extrapolated to time 0.
        self._bunch = (float("-inf"), 0.0)
        # What was sent after the newest request that is answered, in order.
        self._unanswered: deque[Stamp] = deque(maxlen=_MOST_UNANSWERED)
        # The level that the last answer alone implies, extrapolated to time 0, where levels of
        # different moments can be compared. It may be better news than is believed yet.
        self._rumour = reading.remaining - self.rate * now

    def __repr__(self) -> str:
        return f"<Bucket {self.dimension}: {self._level:g} of {self.limit:g} per {self.window:g} s>"

    @property
    def rate(self) -> float:
        """Refill in units a second."""
        return self.limit / self.window

    def level(self, now: float) -> float:
        """What is left at ``now``; negative while more is in flight than the server allows."""
        return min(self.limit, self._level + self.rate * max(0.0, now - self._at))

    def wait(self, cost: float, now: float) -> float:
        """Seconds until ``cost`` fits.

        A cost above the whole limit never fits; it may go when the bucket is full, so that the
        server's own refusal reaches the user instead of an endless wait.
        """
        if cost <= 0:
            return 0.0
        needed = min(cost + self.rate * _MARGIN_SECONDS, self.limit)
        short = needed - self.level(now)
        return short / self.rate if short > _ROUNDING * self.limit else 0.0

    def take(self, cost: float, now: float) -> Stamp:
        """Charge a request that is sent now."""
        self._level = self.level(now) - cost
        self._at = now
        self._taken += cost
        self._rumour = min(self._rumour, self.limit - self.rate * now) - cost
        stamp = Stamp(now, self._taken)
        self._unanswered.append(stamp)
        return stamp

    def refund(self, cost: float, stamp: Stamp) -> None:
        """Give back what never reached the server.

        If a later request was answered since, its answer knew that already.
        """
        if stamp.taken <= self._newest.taken:
            return
        # With what came back the bucket may have been full before later requests were sent.
        level, at = self._replayed(self.limit, stamp)
        most = level - self.rate * at
        believed = min(self._level - self.rate * self._at + cost, most)
        self._level, self._at = believed + self.rate * at, at
        self._rumour = min(self._rumour + cost, most)

    def correct(
        self,
        reading: Reading,
        stamp: Stamp,
        *,
        as_of: float | None = None,
        unanswered: Iterable[tuple[Stamp, float]] = (),
    ) -> None:
        """Take the server's word for the level after the request with ``stamp``.

        A reading older than one already used is ignored: it knows less.

        Args:
            reading: the server's word.
            stamp: of the request that it answers.
            as_of: when the server charged it, if that is known better than by its sending.
            unanswered: the other requests in flight, newest first, with what they cost.
        """
        charged = stamp.sent if as_of is None else as_of
        if stamp.taken < self._newest.taken:
            if stamp.sent < self._newest.sent - _TOGETHER_SECONDS:
                return
            stamp = self._newest
        self._newest = stamp
        while self._unanswered and self._unanswered[0].taken <= stamp.taken:
            self._unanswered.popleft()
        changed = reading.limit != self.limit
        self.limit = reading.limit
        changed |= self._learn_window(reading)
        remaining = self._least_of_bunch(reading.remaining, stamp, charged, new=changed)
        level, at = self._replayed(
            remaining - _unseen(unanswered, stamp), Stamp(charged, stamp.taken)
        )
        told = level - self.rate * at
        believed = self._level - self.rate * self._at
        if told > believed and not changed:
            believed = max(believed, min(told, self._rumour))
        else:
            believed = told
        self._rumour = told
        self._level, self._at = believed + self.rate * at, at

    def _least_of_bunch(
        self, remaining: float, stamp: Stamp, charged: float, *, new: bool
    ) -> float:
        """What remained at ``charged`` by the lowest word from requests sent at about this time.

        The lowest is the last that the server charged, whichever is answered last.
        """
        line = remaining - self.rate * charged
        if new or stamp.sent > self._bunch[0] + _TOGETHER_SECONDS:
            self._bunch = (stamp.sent, line)
        elif line < self._bunch[1]:
            self._bunch = (self._bunch[0], line)
        return self._bunch[1] + self.rate * charged

    def _replayed(self, level: float, stamp: Stamp) -> tuple[float, float]:
        """The level after all that was sent since ``stamp``, and the time of the last of it."""
        if not self._unanswered or self._unanswered[-1].taken <= stamp.taken:
            return level, stamp.sent
        last = self._unanswered[-1]
        refill = self.rate * (last.sent - stamp.sent)
        if level + refill <= self.limit:  # never full in between
            return level + refill - (last.taken - stamp.taken), last.sent
        before = stamp
        for later in self._unanswered:
            if later.taken > stamp.taken:
                level = min(self.limit, level + self.rate * (later.sent - before.sent))
                level -= later.taken - before.taken
                before = later
        return level, before.sent

    def _learn_window(self, reading: Reading) -> bool:
        """Whether the window turned out to be another one."""
        used = reading.limit - reading.remaining
        if not reading.reset or used < 1:
            return False
        seen = _standard_window(reading.reset * reading.limit / used)
        if seen is None:
            return False
        before = self.window
        # Two readings in a row, or much of the bucket used: a fixed-window server's countdown
        # looks like a longer window only by chance.
        if seen == self._candidate or used > _PLAIN_EVIDENCE * reading.limit:
            self.window = seen
        self._candidate = seen
        return self.window != before


def _unseen(unanswered: Iterable[tuple[Stamp, float]], stamp: Stamp) -> float:
    """What was sent so shortly before ``stamp`` that it may have arrived after it."""
    unseen = 0.0
    for other, cost in unanswered:
        if other.sent < stamp.sent - _TOGETHER_SECONDS:
            break
        if other.taken <= stamp.taken:
            unseen += cost
    return unseen


def _standard_window(seconds: float) -> float | None:
    for window in (MINUTE, HOUR, DAY):
        if abs(seconds - window) <= _WINDOW_TOLERANCE * window:
            return window
    return None
