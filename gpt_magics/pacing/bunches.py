"""Requests that were sent so close together that they may arrive in any order."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(eq=False, slots=True)
class Bunch:
    """A bunch of requests on one bucket.

    Attributes:
        began: when the first was sent.
        last: when the last was sent.
        taken: all that was ever taken up to its end, but for what was given back.
        asked: the same, in the requests' own estimates.
        total: what it took.
        open: what those cost that are neither answered nor lost yet.
        low: the lowest line of their answers: a level, extrapolated to time 0.
        charged: when the server charged the one with the lowest line.
    """

    began: float
    last: float
    taken: float
    asked: float
    total: float = 0.0
    open: float = 0.0
    low: float | None = None
    charged: float = 0.0


@dataclass(eq=False, slots=True)
class Stamp:
    """A request's charge: what it took, in which bunch, and what that had taken by then."""

    cost: float
    asked: float
    bunch: Bunch
    place: float
    open: bool = True
    refunded: bool = False
