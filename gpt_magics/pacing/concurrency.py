"""How many requests may be in flight where the server does not report its limits.

Additive increase, multiplicative decrease, with a slow start: the cap doubles with each full round
of answers until the first refusal, then grows by one a round and halves at a refusal (TCP's
congestion avoidance, RFC 5681). Requests sent before the last cut do not cut again: they are the
same news.
"""

from __future__ import annotations

_FIRST_CAP = 4.0


class Concurrency:
    """The adaptive cap of one lane."""

    __slots__ = ("_cap", "_cut_at", "_growing_fast", "ceiling")

    def __init__(self, ceiling: int) -> None:
        self.ceiling = ceiling
        self._cap = min(_FIRST_CAP, float(ceiling))
        self._cut_at = float("-inf")
        self._growing_fast = True

    def __repr__(self) -> str:
        return f"<Concurrency {self.cap} of {self.ceiling}>"

    @property
    def cap(self) -> int:
        """How many may be in flight now; at least 1."""
        return max(1, min(int(self._cap), self.ceiling))

    def open(self) -> None:
        """Lift the cap: the server reports its limits, so buckets pace instead."""
        self._cap = float(self.ceiling)
        self._growing_fast = False

    def answered(self, *, in_flight: int) -> None:
        """An answer came while ``in_flight`` requests (this one included) were out."""
        if in_flight >= self.cap:  # an unused cap proves nothing
            step = 1.0 if self._growing_fast else 1.0 / self._cap
            self._cap = min(float(self.ceiling), self._cap + step)

    def refused(self, *, sent: float, now: float) -> None:
        """The server had no room for a request that was sent at ``sent``."""
        if sent <= self._cut_at:
            return
        self._cut_at = now
        self._growing_fast = False
        self._cap = max(1.0, self._cap / 2)
