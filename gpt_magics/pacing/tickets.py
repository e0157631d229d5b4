"""A request's place in its lane, and what it was charged."""

from __future__ import annotations

from dataclasses import dataclass, field

from gpt_magics.pacing.buckets import Ask, Bucket
from gpt_magics.pacing.bunches import Stamp


@dataclass(eq=False, slots=True)
class Ticket:
    """A request that waits, or is in flight.

    Attributes:
        ask: what it will cost.
        interactive: whether a person waits for it.
        sent: when it was sent; ``None`` while it waits.
        head_since: since when it is next, in a lane that does not know its limits yet.
        abreast: how many were in flight when it was sent, itself included.
        charges: what it took from which limit.
    """

    ask: Ask
    interactive: bool = False
    sent: float | None = None
    head_since: float | None = None
    abreast: int = 0
    charges: list[tuple[Bucket, Stamp]] = field(default_factory=list)

    def stamp(self, bucket: Bucket) -> Stamp | None:
        """Its charge on a bucket."""
        for known, stamp in self.charges:
            if known is bucket:
                return stamp
        return None

    def refund(self) -> None:
        """It was not charged after all."""
        for bucket, stamp in self.charges:
            bucket.refund(stamp)

    def close(self) -> None:
        """It is no longer on its way."""
        for bucket, stamp in self.charges:
            bucket.close(stamp)
