"""Where a job stands: its state, its failed rows, its progress, as plain values."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class State(Enum):
    """Where a job stands."""

    RUNNING = "running"
    PAUSING = "pausing"  # nothing new starts, some requests are still in flight
    PAUSED = "paused"
    STOPPED = "stopped"  # the server or the budget ended it; the rest can be resumed
    CANCELLED = "cancelled"
    DONE = "done"

    @property
    def ended(self) -> bool:
        """Whether nothing more happens unless the job is resumed."""
        return self in (State.STOPPED, State.CANCELLED, State.DONE)


@dataclass(frozen=True, slots=True)
class FailedRow:
    """A row without an answer.

    Attributes:
        row: its position in the source, from 0.
        reason: a short class of failure, such as ``timeout``.
        message: what happened, for people.
        attempts: how many requests were sent for it.
    """

    row: int
    reason: str
    message: str
    attempts: int


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a job is: counts of rows, tokens, US dollars and seconds.

    ``cost`` sums what is known; ``cost_known`` tells whether that is all. ``rate`` is rows a
    second, lately; ``eta`` the seconds left at that rate, ``None`` while nobody can tell.
    """

    rows: int
    done: int
    failed: int
    in_flight: int
    queued: int
    retries: int
    tokens_in: int
    tokens_out: int
    cost: float
    cost_known: bool
    seconds: float
    rate: float
    eta: float | None
