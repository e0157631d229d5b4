"""How many requests may be in flight where the server does not report its limits.

Three signs tell a server's capacity:

Rule 1: a refusal says it plainly: the server holds what is in flight but this one, and no more.
        The cap becomes that number at once, not half of it: a server with eight places has eight,
        and to halve is to leave four of them empty.
Rule 2: answers that take more than twice as long as on an idle server say that requests queue up
        inside it (Ollama, vLLM). Then the cap shrinks towards what it works on at the same time.
Rule 3: otherwise the cap grows: it doubles with each full round of answers until the first sign
        (TCP's slow start, RFC 5681), and after that it tries one more from time to time, the
        longer apart the more often it was refused there.
"""

from __future__ import annotations

_FIRST_CAP = 8.0
# How many answers at the cap until one more is tried, after a refusal: one refusal among so many.
_FIRST_PATIENCE, _MOST_PATIENCE = 100, 1600
# How much longer than on an idle server an answer may take (Netflix's gradient limiter: 2).
_TOLERANCE = 2.0
_MOST_SHRINK = 0.5
# After so many rounds that were too slow, what is quick is measured anew, for servers and prompts
# change.
_MOST_SLOW_ROUNDS, _FEW = 8, 4.0


class Concurrency:
    """The adaptive cap of one lane."""

    __slots__ = (
        "_cap",
        "_idle_seconds",
        "_lifted",
        "_patience",
        "_refused_at",
        "_round",
        "_round_seconds",
        "_since_refusal",
        "_slow_rounds",
        "_slow_start",
        "ceiling",
    )

    def __init__(self, ceiling: int) -> None:
        self.ceiling = ceiling
        self._cap = min(_FIRST_CAP, float(ceiling))
        self._lifted = False
        self._slow_start = True
        self._patience = _FIRST_PATIENCE
        self._refused_at: int | None = None  # the cap that was last found to be one too many
        self._since_refusal = self._slow_rounds = 0
        self._idle_seconds: float | None = None
        self._round, self._round_seconds = 0, 0.0

    def __repr__(self) -> str:
        return f"<Concurrency {self.cap} of {self.ceiling}>"

    @property
    def cap(self) -> int:
        """How many may be in flight now; at least 1."""
        return max(1, min(self.ceiling, int(self._cap)))

    def open(self) -> None:
        """Lift the cap: the server reports its limits, so buckets pace instead."""
        self._cap = float(self.ceiling)
        self._slow_start = False
        self._lifted = True

    def answered(self, *, used: bool, seconds: float | None = None) -> None:
        """An answer came.

        Args:
            used: whether the cap held anybody back since its request was sent; an unused cap
                proves nothing.
            seconds: how long it took, if that says something about the server.
        """
        self._since_refusal += 1
        full_round = self._count(seconds)
        if self._cap >= self.ceiling or not used:
            return
        if self._slow_start:
            if full_round:
                self._cap *= 2.0
        elif self._lifted or self._refused_at is None or self.cap + 1 < self._refused_at:
            self._cap += 1.0 / self._cap
        elif self._since_refusal >= self._patience:
            self._cap = float(self.cap + 1)
            self._since_refusal = 0
        self._cap = min(self._cap, float(self.ceiling))

    def refused(self, *, in_flight: int, sure: bool = True) -> bool:
        """The server had no room for a request that was the ``in_flight``-th when it was sent.

        Returns whether the cap was the reason: if so, it is mended, and nobody else has to wait.
        If that is not ``sure``, because limits are reported, the cap soon grows again.
        """
        if in_flight <= 1:
            return False  # refused alone: it has no room for anybody, whatever the cap
        held = float(in_flight - 1)
        if held >= self._cap:
            return in_flight > self.cap  # sent before the last cut: the same news
        known = self._refused_at is not None and in_flight >= self._refused_at
        self._patience = min(_MOST_PATIENCE, self._patience * 2) if known else _FIRST_PATIENCE
        self._cap, self._refused_at = held, in_flight
        self._slow_start, self._since_refusal = False, 0
        self._lifted = self._lifted and not sure
        return True

    def _count(self, seconds: float | None) -> bool:
        """Whether a round of answers is full, and quick enough."""
        if self._lifted:
            return False
        self._round += 1
        self._round_seconds += seconds or 0.0
        if self._round < self.cap:
            return False
        mean = self._round_seconds / self._round
        self._round, self._round_seconds = 0, 0.0
        self._idle_seconds = min(mean, self._idle_seconds or mean)
        if mean <= _TOLERANCE * self._idle_seconds:
            return True
        self._shrink(_TOLERANCE * self._idle_seconds / mean)
        return False

    def _shrink(self, share: float) -> None:
        self._slow_start = False
        self._cap = max(1.0, self._cap * max(_MOST_SHRINK, share))
        self._slow_rounds += 1
        if self._slow_rounds >= _MOST_SLOW_ROUNDS:
            # Perhaps it has become slower for good: look again, from few in flight.
            self._slow_rounds, self._idle_seconds = 0, None
            self._cap = min(self._cap, _FEW)
