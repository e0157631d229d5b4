"""What may start now: a picture of every lane, for people and programs."""

from __future__ import annotations

import re
from dataclasses import dataclass

from gpt_magics.pacing.lanes import LimitView
from gpt_magics.session.session import Session
from gpt_magics.settings import host_of
from gpt_magics.wording import count, duration, exact, money, origins_words

_UNITS = {"requests": "R", "tokens": "T"}
_PER = {1.0: "a second", 60.0: "a minute", 3600.0: "an hour", 86400.0: "a day"}
_WINDOW_SUFFIX = re.compile(r"-(second|minute|hour|day|month)\Z")
_WINDOWS = {60.0: "PM", 3600.0: "PH", 86400.0: "PD"}


@dataclass(frozen=True, slots=True)
class LaneHeadroom:
    """One model on one server: its queue and what is left of each limit it reported.

    ``waiting`` says in words what the first in the queue waits for.
    """

    model: str
    server: str
    in_flight: int
    queued: int
    waiting: str
    limits: tuple[LimitView, ...]


@dataclass(frozen=True, slots=True)
class Headroom:
    """The whole session: lanes, requests and spend.

    ``cost`` is in US dollars and sums what is known; ``cost_known`` tells whether that is all.
    """

    lanes: tuple[LaneHeadroom, ...]
    requests: int
    refused: int
    retries: int
    tokens_in: int
    tokens_out: int
    cost: float
    cost_known: bool
    budget: float | None
    by_origin: dict[str, int]

    def __repr__(self) -> str:
        lines = [
            f"{lane.model or 'no model'} at {lane.server}: " + (_limits(lane) or "no limits seen")
            for lane in self.lanes
        ]
        spend = money(self.cost, known=self.cost_known)
        requests = "1 request" if self.requests == 1 else f"{exact(self.requests)} requests"
        lines.append(f"{requests}, {exact(self.refused)} refused, {spend}")
        if self.by_origin:
            lines.append(f"Sent by {origins_words(self.by_origin.items())}")
        return "\n".join(lines)


def headroom(session: Session) -> Headroom:
    """The session as it is now."""
    now = session.thread.loop.time()
    lanes = []
    for key, lane in tuple(session.pacer.lanes.items()):
        what, seconds = lane.waiting_for(now)
        lanes.append(
            LaneHeadroom(
                model=key.model,
                server=host_of(key.server),
                in_flight=lane.in_flight,
                queued=lane.queued,
                waiting=waiting_words(what, seconds),
                limits=tuple(lane.limits(now)),
            )
        )
    meter = session.meter
    return Headroom(
        lanes=tuple(lanes),
        requests=meter.requests,
        refused=meter.refused,
        retries=meter.retries.total(),
        tokens_in=meter.tokens_in,
        tokens_out=meter.tokens_out,
        cost=session.budget.spent,
        cost_known=session.budget.unpriced == 0,
        budget=session.budget.limit,
        by_origin=dict(meter.by_origin),
    )


def limit_label(limit: LimitView) -> str:
    """RPM, TPM, RPD and the like; a dimension's own name where there is no such word."""
    window = _WINDOWS.get(limit.window)
    name = _WINDOW_SUFFIX.sub("", limit.dimension)
    unit = _UNITS.get(name)
    if unit and window:
        return unit + window
    return f"{name.replace('-', ' ')} {_PER.get(limit.window, '')}".strip()


def waiting_words(what: str, seconds: float) -> str:
    """What the head of a queue waits for, in words."""
    if not what:
        return ""
    if what == "slot":
        return "as many in flight as may be"
    if what == "first answer":
        return "waiting for the first answer, to learn the limits"
    if what == "slow down":
        return f"the server asked to slow down; next in {duration(seconds)}"
    if what == "pause":
        return f"the server asked to wait {duration(seconds)}"
    return f"waiting {duration(seconds)} for {what.replace('-', ' ')}"


def _limits(lane: LaneHeadroom) -> str:
    return ", ".join(
        f"{count(limit.level)} of {count(limit.limit)} {limit_label(limit)} left"
        for limit in lane.limits
    )
