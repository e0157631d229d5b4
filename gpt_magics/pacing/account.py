"""An account: the lanes of one key on one server, and which limits they have in common.

A proxy limits a key over all models; OpenAI limits each model, and polls by none of them; the
headers do not say which. So levels tell:

Rule 1: a lane that has not met a limit yet is suspected to share its neighbours'. Its first request
        is charged there, and waits its turn there, for a while.
Rule 2: a lane whose answer tells a neighbour's level shares that limit. So does one that finds
        more gone than it took, just as much as a neighbour's level says.
Rule 3: a lane whose answers tell more than the shared level, twice, moves out for good.
Rule 4: a shared limit serves whoever waits longest, in whichever lane.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from gpt_magics.pacing.buckets import MINUTE, Bucket
from gpt_magics.pacing.headers import Reading

if TYPE_CHECKING:
    from gpt_magics.pacing.lanes import Lane
    from gpt_magics.pacing.tickets import Ticket

# Two levels are the same if they differ by less than this share of the limit, or so many requests.
_ALIKE_SHARE, _ALIKE_COSTS = 0.02, 2.5
_STRANGE_SHARE, _STRANGE_COSTS = 0.05, 4.0


class Account:
    """What the lanes of one account know of each other.

    Attributes:
        is_shared: whether there is more than one lane.
    """

    def __init__(self) -> None:
        self.is_shared = False
        self._lanes: list[Lane] = []
        self._own: set[tuple[Lane, str]] = set()  # dimensions that a lane shares with nobody
        self._doubts: set[tuple[Lane, str]] = set()
        self._claims: dict[Ticket, tuple[int, dict[Bucket, float]]] = {}
        self._numbers = itertools.count()

    def __repr__(self) -> str:
        return f"<Account of {len(self._lanes)} lanes>"

    def open(self, lane: Lane) -> None:
        """A lane joins the account."""
        self._lanes.append(lane)
        self.is_shared = len(self._lanes) > 1

    def suspected(self, lane: Lane) -> list[Bucket]:
        """The neighbours' limits that a lane may share."""
        return list(
            dict.fromkeys(
                bucket
                for other in self._lanes
                if other is not lane
                for bucket in other.buckets.values()
                if bucket.window <= MINUTE and (other, bucket.dimension) not in self._own
            )
        )

    def unsettled(self, lane: Lane) -> list[tuple[Ticket, float]]:
        """Neighbours' requests in flight that may share a new limit, and when they were sent."""
        found = [
            (ticket, ticket.sent)
            for other in self._lanes
            if other is not lane and not other.buckets
            for ticket in other.flying
            if ticket.sent is not None
        ]
        return sorted(found, key=lambda sending: sending[1])

    def neighbour(
        self, lane: Lane, reading: Reading, *, cost: float, charged: float, now: float
    ) -> Bucket | None:
        """The neighbours' bucket whose level an answer tells.

        Args:
            lane: whose answer it is.
            reading: its word.
            cost: of its request, if the neighbours' buckets do not know of that yet.
            charged: when it was charged.
            now: the time.
        """
        if (lane, reading.dimension) in self._own:
            return None
        for bucket in self.suspected(lane):
            if bucket.dimension == reading.dimension and bucket.limit == reading.limit:
                told = bucket.told(reading, charged=charged, now=now)
                alike = max(_ALIKE_SHARE * bucket.limit, _ALIKE_COSTS * max(cost, bucket.unit_cost))
                if abs(told - (bucket.level(now) - cost)) <= alike:
                    return bucket
        return None

    def is_stranger(
        self, lane: Lane, bucket: Bucket, reading: Reading, more: float, cost: float
    ) -> bool:
        """Whether a lane's answers tell, twice in a row, of another bucket than the shared one.

        Args:
            lane: whose answer it is.
            bucket: the shared one.
            reading: the answer's word.
            more: how much more it tells than the shared bucket holds.
            cost: what its request took.
        """
        key = (lane, bucket.dimension)
        strange = max(_STRANGE_SHARE * bucket.limit, _STRANGE_COSTS * cost)
        if reading.limit == bucket.limit and more <= strange:
            self._doubts.discard(key)
            return False
        if key in self._doubts:
            self._own.add(key)
            return True
        self._doubts.add(key)
        return False

    # Turns.

    def claim(self, head: Ticket, costs: dict[Bucket, float]) -> None:
        """The head of a lane waits for these limits, and keeps its place among other lanes'."""
        if head not in self._claims:
            self._claims[head] = (next(self._numbers), costs)

    def unclaim(self, head: Ticket) -> None:
        """It waits no longer."""
        self._claims.pop(head, None)

    def claimed(self, bucket: Bucket, head: Ticket) -> float:
        """What those who have waited longer than this head will take from a bucket."""
        mine = self._claims.get(head)
        return sum(
            costs.get(bucket, 0.0)
            for other, (number, costs) in self._claims.items()
            if other is not head and (mine is None or number < mine[0])
        )
