"""What a limit is counted in: buckets that refill, and windows that end. Pure."""

from __future__ import annotations

import math

# Levels are sums of fractions; what is missing only by rounding is there.
ROUNDING = 1e-9


class Bucket:
    """A level that rises by ``capacity / window`` a second up to ``capacity``."""

    def __init__(self, limit: int, window: float, *, fill: float, now: float) -> None:
        self._window = window
        self.capacity, self.rate = self._size(limit)
        self._level = self.capacity * fill
        self._at = now

    def __repr__(self) -> str:
        kind = type(self).__name__
        return f"<{kind} {self._level:.1f} of {self.capacity:g}, {self.rate:g}/s>"

    def _size(self, limit: int) -> tuple[float, float]:
        return limit, limit / self._window

    def resize(self, limit: int, now: float) -> None:
        """Change the limit. The level stays, as far as there is still room for it."""
        level = self.level(now)
        self.capacity, self.rate = self._size(limit)
        self._level = min(level, self.capacity)

    def level(self, now: float) -> float:
        """Return what is in the bucket at ``now``; a clock that goes back changes nothing."""
        if now > self._at:
            self._level = min(float(self.capacity), self._level + (now - self._at) * self.rate)
            self._at = now
        return self._level

    def holds(self, amount: float, now: float) -> bool:
        """Whether ``amount`` can be taken at ``now``."""
        return self.level(now) + ROUNDING >= amount

    def take(self, amount: float, now: float) -> None:
        """Take ``amount``, or what there is of it."""
        self._level = max(0.0, self.level(now) - amount)

    def wait(self, amount: float, now: float) -> float:
        """Return the seconds until ``amount`` is there."""
        return max(0.0, amount - self.level(now)) / self.rate

    def remaining(self, now: float) -> int:
        """Return what the header says is left: whole units."""
        return math.floor(self.level(now) + ROUNDING)

    def reset(self, now: float) -> float:
        """Return the seconds until the bucket is FULL (not until the next unit is there)."""
        return (self.capacity - self.level(now)) / self.rate


class Quantum(Bucket):
    """The bucket behind a limit that is enforced in shorter steps than it is told in.

    "60,000 requests/minute may be enforced as 1,000 requests/second"
    (OpenAI's guide to rate limits, https://platform.openai.com/docs/guides/rate-limits).

    It refills as fast as the limit and holds the units of ``quantum`` seconds. A larger request
    is let in when the bucket is full and leaves a debt.
    """

    def __init__(
        self, limit: int, window: float, *, quantum: float, fill: float, now: float
    ) -> None:
        self._quantum = quantum
        super().__init__(limit, window, fill=fill, now=now)

    def _size(self, limit: int) -> tuple[float, float]:
        rate = limit / self._window
        return max(1.0, rate * self._quantum), rate

    def holds(self, amount: float, now: float) -> bool:
        """Whether ``amount`` can be taken at ``now``, perhaps as a debt."""
        return super().holds(min(amount, self.capacity), now)

    def take(self, amount: float, now: float) -> None:
        """Take ``amount``. Only what is let in may leave a debt."""
        there = amount if self.holds(amount, now) else max(0.0, self._level)
        self._level -= min(amount, there)

    def wait(self, amount: float, now: float) -> float:
        """Return the seconds until ``amount`` can be taken."""
        return super().wait(min(amount, self.capacity), now)


class FixedWindow(Bucket):
    """A count that starts again when its window is over.

    A window begins with its first request, as in LiteLLM's proxy
    (``litellm/proxy/hooks/parallel_request_limiter_v3.py``).
    """

    def level(self, now: float) -> float:
        """Return what is left of the window."""
        if now + ROUNDING >= self._at + self._window:
            self._level = float(self.capacity)
        return self._level

    def take(self, amount: float, now: float) -> None:
        """Take ``amount``, or what there is of it."""
        if self.level(now) >= self.capacity:
            self._at = now
        super().take(amount, now)

    def wait(self, amount: float, now: float) -> float:
        """Return the seconds until the window ends, if ``amount`` is not left of it."""
        return 0.0 if self.holds(amount, now) else self.reset(now)

    def reset(self, now: float) -> float:
        """Return the seconds until the window ends."""
        untouched = self.level(now) >= self.capacity
        return 0.0 if untouched else max(0.0, self._at + self._window - now)
