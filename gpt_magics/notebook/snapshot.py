"""What the panel and its static summary are told: one plain, JSON-ready picture of a moment.

Every text in it is untrusted (model names, titles and messages come from servers and users).
"""

from __future__ import annotations

from typing import Literal, TypedDict

JobState = Literal[
    "queued", "running", "pausing", "paused", "stopped", "cancelled", "failed", "done"
]


class LimitView(TypedDict):
    """One limit of one lane, and how much of it is left."""

    dimension: str
    label: str
    limit: float
    level: float
    per_second: float


class LaneView(TypedDict):
    """One model at one server: they share their limits."""

    model: str
    server: str
    in_flight: int
    queued: int
    state: str
    limits: list[LimitView]


class JobView(TypedDict):
    """One batch. ``None`` means unknown (cost, projected, eta) or none (budget)."""

    id: str
    title: str
    model: str
    state: JobState
    reason: str
    rows: int
    done: int
    failed: int
    in_flight: int
    queued: int
    retries: int
    retry_reasons: list[tuple[str, int]]
    failures: list[tuple[str, int]]
    last_message: str
    cost: float | None
    cost_known: bool
    budget: float | None
    projected: float | None
    tokens_in: int
    tokens_out: int
    rate: float
    eta: float | None
    elapsed: float
    history: list[int]


class SessionView(TypedDict):
    """Everything this kernel has sent so far; ``origins``: requests by who asked, most first."""

    requests: int
    origins: list[tuple[str, int]]
    refused: int
    retries: int
    cost: float | None
    cost_known: bool
    budget: float | None
    tokens_in: int
    tokens_out: int


class Snapshot(TypedDict):
    """The whole picture. ``controls`` is false where buttons cannot reach a blocked kernel."""

    seq: int
    compact: bool
    controls: bool
    lanes: list[LaneView]
    jobs: list[JobView]
    session: SessionView
