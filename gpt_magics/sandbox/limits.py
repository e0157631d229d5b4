"""Rate limits as OpenAI keeps them: buckets that refill linearly. Pure: ``now`` is passed in."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

DAY = 86400.0
# Levels are sums of fractions; what is missing only by rounding is there.
_ROUNDING = 1e-9

Unit = Literal["requests", "tokens"]


class Bucket:
    """A level that rises by ``capacity / window`` a second up to ``capacity``."""

    def __init__(self, capacity: int, window: float, *, fill: float, now: float) -> None:
        self.capacity = capacity
        self.rate = capacity / window
        self._level = capacity * fill
        self._at = now

    def __repr__(self) -> str:
        return f"<Bucket {self._level:.1f} of {self.capacity}, {self.rate:g}/s>"

    def level(self, now: float) -> float:
        """Return what is in the bucket at ``now``; a clock that goes back changes nothing."""
        if now > self._at:
            self._level = min(float(self.capacity), self._level + (now - self._at) * self.rate)
            self._at = now
        return self._level

    def holds(self, amount: float, now: float) -> bool:
        """Whether ``amount`` can be taken at ``now``."""
        return self.level(now) + _ROUNDING >= amount

    def take(self, amount: float, now: float) -> None:
        """Take ``amount``, or what there is of it."""
        self._level = max(0.0, self.level(now) - amount)

    def wait(self, amount: float, now: float) -> float:
        """Return the seconds until ``amount`` is there."""
        return max(0.0, amount - self.level(now)) / self.rate

    def remaining(self, now: float) -> int:
        """Return what the header says is left: whole units."""
        return math.floor(self.level(now) + _ROUNDING)

    def reset(self, now: float) -> float:
        """Return the seconds until the bucket is FULL (not until the next unit is there)."""
        return (self.capacity - self.level(now)) / self.rate


@dataclass(frozen=True)
class Refusal:
    """Why a request was not admitted.

    Attributes:
        unit: what ran out.
        period: "min" or "day".
        limit: the limit that was met.
        used: what is in use of it.
        requested: what the request would have taken.
        wait: seconds until it can be admitted; ``None`` if it never can.
    """

    unit: Unit
    period: Literal["min", "day"]
    limit: int
    used: int
    requested: int
    wait: float | None

    @property
    def abbreviation(self) -> str:
        """``RPM``, ``TPM``, ``RPD``."""
        return f"{self.unit[0]}p{self.period[0]}".upper()

    def message(self, model: str) -> str:
        """Say it the way OpenAI says it; clients read the wait out of this text."""
        where = (
            f"for {model} in organization org-sandbox on {self.unit} per {self.period} "
            f"({self.abbreviation}): Limit {self.limit}, "
        )
        if self.wait is None:
            return (
                f"Request too large {where}Requested {self.requested}. The input or output tokens "
                "must be reduced in order to run successfully. Visit "
                "https://platform.openai.com/account/rate-limits to learn more."
            )
        return (
            f"Rate limit reached {where}Used {self.used}, Requested {self.requested}. Please try "
            f"again in {duration(_milliseconds(self.wait) / 1000)}. Visit "
            "https://platform.openai.com/account/rate-limits to learn more."
        )

    def headers(self) -> dict[str, str]:
        """Return ``retry-after`` in whole seconds and ``retry-after-ms``, never too short."""
        if self.wait is None:
            return {}
        return {
            "retry-after": str(math.ceil(self.wait)),
            "retry-after-ms": str(_milliseconds(self.wait)),
        }


class Allowance:
    """The buckets that one model, or the requests without one, draw on."""

    def __init__(
        self,
        *,
        now: float,
        rpm: int | None = None,
        tpm: int | None = None,
        rpd: int | None = None,
        window: float = 60.0,
        fill: float = 1.0,
    ) -> None:
        self._requests = Bucket(rpm, window, fill=fill, now=now) if rpm else None
        self._tokens = Bucket(tpm, window, fill=fill, now=now) if tpm else None
        self._day = Bucket(rpd, DAY, fill=fill, now=now) if rpd else None

    def admit(self, tokens: int, now: float, *, charge_refused: bool = False) -> Refusal | None:
        """Take one request and ``tokens``, or say why not. Either all is taken or nothing."""
        refusal = self._refusal(tokens, now)
        if refusal is None or charge_refused:
            self._charge(tokens, now)
        return refusal

    def _refusal(self, tokens: int, now: float) -> Refusal | None:
        wants = (
            (self._tokens, "tokens", "min", tokens),
            (self._day, "requests", "day", 1),
            (self._requests, "requests", "min", 1),
        )
        worst: Refusal | None = None
        for bucket, unit, period, amount in wants:
            if bucket is None or bucket.holds(amount, now):
                continue
            possible = amount <= bucket.capacity
            refusal = Refusal(
                unit=unit,  # type: ignore[arg-type]  # mypy widens literals in tuples
                period=period,  # type: ignore[arg-type]
                limit=bucket.capacity,
                used=bucket.capacity - bucket.remaining(now),
                requested=amount,
                wait=bucket.wait(amount, now) if possible else None,
            )
            if refusal.wait is None:
                return refusal
            # The longest wait is told: after a shorter one the request would be refused again.
            if worst is None or worst.wait is None or refusal.wait > worst.wait:
                worst = refusal
        return worst

    def _charge(self, tokens: int, now: float) -> None:
        for bucket, amount in ((self._requests, 1), (self._day, 1), (self._tokens, tokens)):
            if bucket is not None:
                bucket.take(amount, now)

    def headers(self, now: float, *, tokens: bool = True) -> dict[str, str]:
        """Return the rate headers as of ``now``; a per-day request limit replaces the other."""
        found: dict[str, str] = {}
        shown = {
            "requests": self._day or self._requests,
            "tokens": self._tokens if tokens else None,
        }
        for unit, bucket in shown.items():
            if bucket is not None:
                found[f"x-ratelimit-limit-{unit}"] = str(bucket.capacity)
                found[f"x-ratelimit-remaining-{unit}"] = str(bucket.remaining(now))
                found[f"x-ratelimit-reset-{unit}"] = duration(bucket.reset(now))
        return found


def _milliseconds(wait: float) -> int:
    """Round a wait up: whoever waits that long must not come too early."""
    return math.ceil(wait * 1000 - _ROUNDING)


def duration(seconds: float) -> str:
    """Write seconds as Go does, in whole milliseconds: ``6ms``, ``1.5s``, ``6m0s``, ``1h2m3s``."""
    millis = max(0, round(seconds * 1000))
    if millis < 1000:  # noqa: PLR2004 - milliseconds in a second
        return f"{millis}ms" if millis else "0s"
    minutes, millis = divmod(millis, 60_000)
    hours, minutes = divmod(minutes, 60)
    text = f"{millis / 1000:.3f}".rstrip("0").rstrip(".") + "s"
    if hours:
        return f"{hours}h{minutes}m{text}"
    return f"{minutes}m{text}" if minutes else text
