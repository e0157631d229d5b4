"""What others draw on the same bucket: another program with the key, a colleague, a proxy's users.

Their steady drain is measured from what is gone between two answers beyond what we took, and is
expected to go on. Their bursts show as refusals that our books do not explain; against those,
something is kept in hand, which costs no throughput: the bucket refills all the same.
"""

from __future__ import annotations

from dataclasses import dataclass

from gpt_magics.pacing.bunches import Bunch

# They are measured over so much refill, and only below this share of the limit: above it the
# bucket may have been full in between, and lost refill looks like theft.
_LOOK_UNITS, _SHORTEST_LOOK, _LONGEST_LOOK = 8.0, 1.0, 30.0
_NEARLY_FULL = 0.9
_MOST_LEAK, _LEAK_WEIGHT = 0.9, 0.4
# Requests that took less than this share of their estimate show it at once.
_PLAINLY_LESS = 0.7
# Kept in hand: at most this share of the limit; a refusal adds so many requests' worth, and each
# request that is let in takes a little away.
_MOST_SPARE, _SPARE_STEP, _SPARE_DECAY = 0.1, 1.5, 0.998


@dataclass(frozen=True, slots=True)
class Sample:
    """What a span of requests, all of one kind, was estimated at and what the server took."""

    kind: str
    asked: float
    consumed: float


class Strangers:
    """Everybody else on one bucket.

    Attributes:
        leak: units a second that they are expected to take.
        spare: units kept in hand, because they take some between an answer and its use.
    """

    __slots__ = ("_anchor", "_kind", "leak", "spare")

    def __init__(self) -> None:
        self.leak = self.spare = 0.0
        # Where their takings are counted from: a bunch that was answered in full.
        self._anchor: Bunch | None = None
        self._kind: str | None = None  # of the requests since; "" for several kinds

    def __repr__(self) -> str:
        return f"<Strangers take {self.leak:g}/s, {self.spare:g} in hand>"

    def note(self, kind: str) -> None:
        """A request of ours, of this kind, is sent."""
        if self._kind != kind:
            self._kind = kind if self._kind is None else ""

    def look(self, bunch: Bunch, *, unit: float, limit: float, rate: float) -> Sample | None:
        """Compare what was taken with what is gone, from one fully answered bunch to another.

        Args:
            bunch: answered in full.
            unit: the size of a request; the order of arrival is unsure by about one.
            limit: of the bucket.
            rate: its refill in units a second.
        """
        assert bunch.low is not None  # noqa: S101 - it was answered
        begin = self._anchor
        if bunch.low + rate * bunch.charged > _NEARLY_FULL * limit:
            self._anchor = None
            return None
        if begin is None or begin.low is None:
            self._anchor, self._kind = bunch, None
            return None
        seconds = bunch.charged - begin.charged
        consumed, taken = begin.low - bunch.low, bunch.taken - begin.taken
        if begin.low + rate * bunch.began - (taken - bunch.total) > _NEARLY_FULL * limit:
            self._anchor, self._kind = bunch, None  # it was full just before this bunch
            return None
        asked = bunch.asked - begin.asked
        if seconds >= min(_LONGEST_LOOK, max(_SHORTEST_LOOK, _LOOK_UNITS * unit / rate)):
            strangers = min(max(0.0, consumed - taken) / seconds, _MOST_LEAK * rate)
            self.leak += _LEAK_WEIGHT * (strangers - self.leak)
        elif not 0 < consumed < _PLAINLY_LESS * asked - 1:  # strangers could only add to it
            return None
        sample = Sample(self._kind, asked, consumed) if self._kind and asked > 0 else None
        self._anchor, self._kind = bunch, None
        return sample

    def surprised(self, cost: float, limit: float) -> None:
        """The server had no room though there should have been: they took it."""
        self.spare = min(max(cost, _MOST_SPARE * limit), self.spare + _SPARE_STEP * cost)

    def confirmed(self) -> None:
        """The server had room, as expected."""
        self.spare *= _SPARE_DECAY

    def forget(self) -> None:
        """The limit has changed: nothing that was measured holds any more."""
        self.leak = self.spare = 0.0
        self._anchor = self._kind = None
