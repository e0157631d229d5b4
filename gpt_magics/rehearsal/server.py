"""The server's side: the sandbox's limits and faults, without the wire."""

from __future__ import annotations

import math
import random
from typing import NamedTuple

from gpt_magics.pacing.headers import Reading
from gpt_magics.pacing.retries import Failure, Kind
from gpt_magics.rehearsal.plan import Plan
from gpt_magics.sandbox.buckets import ROUNDING, Bucket
from gpt_magics.sandbox.limits import Allowance, Refusal, one_of_each

# A refusal takes no work: only the way there and back.
_WAY = 0.001
_NOTHING: tuple[Reading, ...] = ()
_BROKEN = Failure(Kind.STATUS, 500, "server_error", "The server had an error.")
_OVERLOADED = Failure(Kind.STATUS, 503, "server_is_overloaded", "The server is overloaded.")


class Reply(NamedTuple):
    """What becomes of a request.

    Attributes:
        after: seconds from its sending until the client knows; infinite if it is never answered.
        readings: what is told of the limits, as of its arrival.
        failure: how it failed, if it did.
        admitted: whether it was let in.
    """

    after: float
    readings: tuple[Reading, ...] = _NOTHING
    failure: Failure | None = None
    admitted: bool = True


NO_REPLY = Reply(math.inf)


class Server:
    """Lets requests in or refuses them, at the moment they are sent."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._random = random.Random(f"{plan.seed} server")  # noqa: S311 - repeatable, not secret
        self._faulty = bool(plan.error_rate or plan.hang_rate)
        self._allowance = Allowance(
            now=0.0,
            rpm=plan.rpm,
            tpm=plan.tpm,
            rpd=plan.rpd,
            fill=plan.fill,
            quantum=plan.quantum,
            rival=plan.rival,
            seed=f"{plan.seed} rival",
        )
        told = {(s.unit, s.period) for s in one_of_each(self._allowance.standings(0.0))}
        self._told = [
            (each.unit, each.shown)
            for each in self._allowance.limits
            if plan.headers and (each.unit, each.period) in told
        ]

    def __repr__(self) -> str:
        return f"<Server {self._allowance.limits}>"

    def meet(self, tokens: int, at_work: int, now: float) -> Reply:
        """A request for so many tokens arrives, while ``at_work`` others are being answered."""
        plan = self._plan
        if plan.capacity is not None and at_work >= plan.capacity:
            return Reply(_WAY, self._readings(now), _OVERLOADED, admitted=False)
        refusal = self._allowance.admit(tokens, now)
        readings = self._readings(now)
        if refusal is not None:
            return Reply(_WAY, readings, _refused(refusal), admitted=False)
        after = plan.latency
        if plan.jitter:
            after *= 1 + plan.jitter * self._random.uniform(-1, 1)
        return self._fate(after, readings) if self._faulty else Reply(after, readings)

    def _fate(self, after: float, readings: tuple[Reading, ...]) -> Reply:
        hang, fail = self._random.random(), self._random.random()
        if hang < self._plan.hang_rate:
            return NO_REPLY
        return Reply(after, readings, _BROKEN if fail < self._plan.error_rate else None)

    def _readings(self, now: float) -> tuple[Reading, ...]:
        return tuple([_reading(unit, bucket, now) for unit, bucket in self._told])


def _reading(unit: str, bucket: Bucket, now: float) -> Reading:
    """What the headers tell of a limit: whole units, and the seconds until it is full."""
    capacity, level = bucket.capacity, bucket.level(now)
    return Reading(unit, capacity, int(level + ROUNDING), (capacity - level) / bucket.rate)


def _refused(refusal: Refusal) -> Failure:
    """A 429 with its ``retry-after-ms``, rounded up as servers do."""
    after = None if refusal.wait is None else math.ceil(refusal.wait * 1000) / 1000
    return Failure(Kind.STATUS, 429, "rate_limit_exceeded", refusal.message("model"), after)
