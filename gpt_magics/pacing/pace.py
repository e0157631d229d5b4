"""Even spacing: how far ahead of a steady rate somebody is.

This is the virtual scheduling form of the generic cell rate algorithm (ITU-T I.371): one number,
the moment at which a steady sender would have sent what was sent.
"""

from __future__ import annotations

# After the server asked to slow down, the pace grows by a tenth in this time: OpenAI's guide asks
# for a steady rate and a gradual increase after "slow_down".
_RECOVERY_SECONDS = 15.0
_RECOVERY_STEP = 1.1
# It ends far above what was sent before, or all that was saved meanwhile would go at once.
_FREE = 4.0
_FEWEST_SECONDS, _MEMORY_SECONDS = 0.25, 5.0


class Pace:
    """A sender's schedule. Times are seconds, rates are units a second."""

    __slots__ = ("_due",)

    def __init__(self) -> None:
        self._due = float("-inf")

    def __repr__(self) -> str:
        return f"<Pace due at {self._due:g} s>"

    def ahead(self, now: float) -> float:
        """Seconds by which the sender is ahead of the steady rate; 0 if it is not."""
        return self._due - now if self._due > now else 0.0

    def take(self, cost: float, rate: float, now: float) -> None:
        """Something that a steady sender at ``rate`` would take ``cost / rate`` seconds for."""
        self._due = max(now, self._due) + cost / rate

    def give_back(self, cost: float, rate: float) -> None:
        """It was not sent after all."""
        self._due -= cost / rate


class Throttle:
    """A lane's own pace after the server asked to slow down; it recovers step by step."""

    __slots__ = ("_began", "_count", "_counted_at", "_full", "_pace", "_rate", "_stepped_at")

    def __init__(self) -> None:
        self._pace = Pace()
        self._rate: float | None = None
        self._full = 0.0
        self._stepped_at = 0.0
        # Requests lately, with the past fading, and since when they are counted.
        self._count, self._counted_at, self._began = 0.0, float("-inf"), 0.0

    def __repr__(self) -> str:
        return "<Throttle off>" if self._rate is None else f"<Throttle {self._rate:.3g}/s>"

    @property
    def is_on(self) -> bool:
        """Whether it holds requests back."""
        return self._rate is not None

    def halve(self, now: float, sent: float) -> None:
        """Send half as many a second as lately.

        A request that was sent before the last time brings no news.
        """
        if self._rate is not None and sent <= self._stepped_at:
            return
        if self._rate is None:
            counted = max(_FEWEST_SECONDS, min(now - self._began, _MEMORY_SECONDS))
            self._full = max(1.0, self._count) / counted
        self._rate = (self._full if self._rate is None else self._rate) / 2
        self._stepped_at = now

    def take(self, now: float) -> None:
        """A request is sent."""
        fade = 1 - (now - self._counted_at) / _MEMORY_SECONDS
        if fade <= 0:
            self._count, self._began, fade = 0.0, now, 0.0
        self._count, self._counted_at = self._count * fade + 1, now
        if self._rate is None:
            return
        self._pace.take(1.0, self._rate, now)
        while now - self._stepped_at >= _RECOVERY_SECONDS:
            self._stepped_at += _RECOVERY_SECONDS
            self._rate *= _RECOVERY_STEP
            if self._rate >= _FREE * self._full:
                self._rate = None
                return

    def wait(self, now: float) -> float:
        """Seconds until the next request."""
        return 0.0 if self._rate is None else self._pace.ahead(now)
