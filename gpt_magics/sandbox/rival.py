"""Another client with the same key, worked out when somebody looks. Pure: ``now`` is passed in."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gpt_magics.sandbox.buckets import Bucket
    from gpt_magics.sandbox.limits import Limit

# What a rival's request takes where there is a token limit and none of requests.
_LUMP = 1000
# After a long silence only the latest requests are worked out: what older ones took is back.
_MOST_AT_ONCE = 10_000


class Rival:
    """Draws its share of every limit in requests that come at random moments.

    Arrivals are a Poisson process, so pauses between them vary as those of independent users do.
    A request that meets an empty limit is dropped, not tried again.

    Attributes:
        drawn: how many of its requests were let in.
    """

    def __init__(self, share: float, limits: Sequence[Limit], *, seed: str, now: float) -> None:
        self.drawn = 0
        self._share = share
        self._random = random.Random(seed)  # noqa: S311 - repeatable, not secret
        self.look_at(limits, now)

    def look_at(self, limits: Sequence[Limit], now: float) -> None:
        """Fit its pace and the size of its requests to ``limits``, from ``now`` on."""
        whole = _requests_a_second(limits)
        self._rate = self._share * whole
        self._wants: list[tuple[Bucket, float]] = [
            (bucket, limit.shown.rate / whole) for limit in limits for bucket in limit.buckets
        ]
        self._next = now + self._pause() if self._wants else float("inf")

    def catch_up(self, now: float) -> None:
        """Send all that is due until ``now``."""
        if now < self._next:
            return
        silent = now - self._next - _MOST_AT_ONCE / self._rate
        if silent > 0:
            self.drawn += round(silent * self._rate)
            self._next += silent
        while self._next <= now:
            self._ask(self._next)
            self._next += self._pause()

    def _ask(self, now: float) -> None:
        if all(bucket.holds(amount, now) for bucket, amount in self._wants):
            for bucket, amount in self._wants:
                bucket.take(amount, now)
            self.drawn += 1

    def _pause(self) -> float:
        return self._random.expovariate(self._rate)


def _requests_a_second(limits: Sequence[Limit]) -> float:
    """Return the pace of a client that uses the limits up."""
    rates = {(limit.unit, limit.period): limit.shown for limit in limits}
    minute, tokens = rates.get(("requests", "min")), rates.get(("tokens", "min"))
    if minute is not None:
        return minute.rate
    if tokens is not None:
        return tokens.rate / min(_LUMP, tokens.capacity)
    return rates["requests", "day"].rate if rates else 1.0
