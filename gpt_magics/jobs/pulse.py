"""The pulse of a job: when rows ended, as a rate and as a short history for a sparkline."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

_RECENT = 200  # rows that the rate is taken over
_RECENT_SECONDS = 5.0  # a burst at the start says little about the rest
_FEWEST = 2
_BINS = 60


class Pulse:
    """Counts rows as they end. Memory does not grow with the rows.

    Args:
        clock: seconds, steady; ``time.monotonic`` outside tests.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._started = clock()
        self._stopped: float | None = None
        self._idle = 0.0
        self._recent: deque[float] = deque(maxlen=_RECENT)
        self._bins = [0]
        self._bin_seconds = 0.25

    @property
    def seconds(self) -> float:
        """Time at work: from the start to now, or to the end; pauses by ``stop`` left out."""
        return self._now() - self._started - self._idle

    @property
    def rate(self) -> float:
        """Rows a second, lately."""
        now = self._now()
        # However slow the rows, two are kept: one makes no rate.
        while len(self._recent) > _FEWEST and now - self._recent[0] > _RECENT_SECONDS:
            self._recent.popleft()
        if len(self._recent) < _FEWEST:
            return 0.0
        return (len(self._recent) - 1) / max(now - self._recent[0], 1e-3)

    @property
    def history(self) -> list[int]:
        """Rows ended per equal stretch of time, oldest first, at most 60 numbers."""
        self._fill()
        return list(self._bins)

    def beat(self) -> None:
        """A row has ended."""
        self._recent.append(self._clock())
        self._fill()
        self._bins[-1] += 1

    def stop(self) -> None:
        """The job has ended."""
        self._fill()
        self._stopped = self._clock()

    def go_on(self) -> None:
        """The job is resumed."""
        if self._stopped is not None:
            self._idle += self._clock() - self._stopped
            self._stopped = None
            self._recent.clear()

    def _now(self) -> float:
        return self._clock() if self._stopped is None else self._stopped

    def _fill(self) -> None:
        bins = int(self.seconds / self._bin_seconds) + 1
        while bins > _BINS:  # halve the resolution rather than forget the beginning
            self._bins = [sum(self._bins[i : i + 2]) for i in range(0, len(self._bins), 2)]
            self._bin_seconds *= 2
            bins = int(self.seconds / self._bin_seconds) + 1
        self._bins += [0] * (bins - len(self._bins))
