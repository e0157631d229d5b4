"""Rate limits as servers keep them, and what is told about them. Pure: ``now`` is passed in."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

from gpt_magics.sandbox.buckets import ROUNDING, Bucket, FixedWindow, Quantum
from gpt_magics.sandbox.rival import Rival

DAY = 86400.0

Unit = Literal["requests", "tokens"]
Period = Literal["min", "day"]


class Standing(NamedTuple):
    """How a limit stands at a moment.

    Attributes:
        unit: what is counted.
        period: what it is counted over.
        limit: the most there can be.
        remaining: whole units left.
        reset: seconds until all are there again.
    """

    unit: Unit
    period: Period
    limit: int
    remaining: int
    reset: float


@dataclass(frozen=True)
class Limit:
    """A limit as it is told, and as it is enforced.

    Attributes:
        unit: what is counted.
        period: what it is counted over.
        buckets: all that a request must fit in; headers tell about the first alone.
    """

    unit: Unit
    period: Period
    buckets: tuple[Bucket, ...]

    @property
    def shown(self) -> Bucket:
        """The bucket that headers tell about."""
        return self.buckets[0]

    def holds(self, amount: float, now: float) -> bool:
        """Whether ``amount`` is let in at ``now``."""
        # Spelt out, as every request comes by: `all` of a generator takes twice as long.
        for bucket in self.buckets:  # noqa: SIM110
            if not bucket.holds(amount, now):
                return False
        return True

    def wait(self, amount: float, now: float) -> float | None:
        """Return the seconds until ``amount`` is let in, ``None`` if it never is."""
        if amount > self.shown.capacity:
            return None
        return max(bucket.wait(amount, now) for bucket in self.buckets)

    def standing(self, now: float) -> Standing:
        """Return what headers tell."""
        shown = self.buckets[0]
        reset = shown.reset(now)
        return Standing(self.unit, self.period, int(shown.capacity), shown.remaining(now), reset)


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
    period: Period
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


_KINDS: dict[str, tuple[Unit, Period]] = {
    "tpm": ("tokens", "min"),
    "rpd": ("requests", "day"),
    "rpm": ("requests", "min"),
}


class Allowance:
    """The limits that one model, or the requests without one, draw on.

    Attributes:
        limits: those there are.
    """

    def __init__(
        self,
        *,
        now: float,
        rpm: int | None = None,
        tpm: int | None = None,
        rpd: int | None = None,
        window: float = 60.0,
        fill: float = 1.0,
        quantum: float | None = None,
        fixed_windows: bool = False,
        rival: float = 0.0,
        seed: str = "",
    ) -> None:
        self._window = window
        self._quantum = quantum
        self._kind = FixedWindow if fixed_windows else Bucket
        self.limits: tuple[Limit, ...] = tuple(
            self._limit(name, limit, fill, now)
            for name, limit in (("tpm", tpm), ("rpd", rpd), ("rpm", rpm))
            if limit
        )
        self._rival = Rival(rival, self.limits, seed=seed, now=now) if rival else None

    def _limit(self, name: str, limit: int, fill: float, now: float) -> Limit:
        unit, period = _KINDS[name]
        if period == "day":
            return Limit(unit, period, (self._kind(limit, DAY, fill=fill, now=now),))
        shown = self._kind(limit, self._window, fill=fill, now=now)
        if self._quantum is None:
            return Limit(unit, period, (shown,))
        hidden = Quantum(limit, self._window, quantum=self._quantum, fill=fill, now=now)
        return Limit(unit, period, (shown, hidden))

    @property
    def rival_drawn(self) -> int:
        """How many requests of the rival were let in."""
        return 0 if self._rival is None else self._rival.drawn

    def change(self, now: float, **limits: int | None) -> None:
        """Change ``rpm``, ``tpm`` or ``rpd`` at ``now``; ``None`` leaves one as it is.

        A level stays, as far as there is room for it. A limit that is new starts full.
        """
        self._catch_up(now)
        for name, limit in limits.items():
            if limit is not None:
                self._change(name, limit, now)
        if self._rival is not None:
            self._rival.look_at(self.limits, now)

    def _change(self, name: str, limit: int, now: float) -> None:
        for each in self.limits:
            if (each.unit, each.period) == _KINDS[name]:
                for bucket in each.buckets:
                    bucket.resize(limit, now)
                return
        self.limits = (*self.limits, self._limit(name, limit, 1.0, now))

    def admit(self, tokens: int, now: float, *, charge_refused: bool = False) -> Refusal | None:
        """Take one request and ``tokens``, or say why not. Either all is taken or nothing."""
        self._catch_up(now)
        refusal = self._refusal(tokens, now)
        if refusal is None or charge_refused:
            for limit in self.limits:
                for bucket in limit.buckets:
                    bucket.take(tokens if limit.unit == "tokens" else 1, now)
        return refusal

    def _refusal(self, tokens: int, now: float) -> Refusal | None:
        worst: Refusal | None = None
        for limit in self.limits:
            amount = tokens if limit.unit == "tokens" else 1
            if limit.holds(amount, now):
                continue
            refusal = _refused(limit, amount, now)
            if refusal.wait is None:
                return refusal
            # The longest wait is told: after a shorter one the request would be refused again.
            if worst is None or worst.wait is None or refusal.wait > worst.wait:
                worst = refusal
        return worst

    def _catch_up(self, now: float) -> None:
        if self._rival is not None:
            self._rival.catch_up(now)

    def standings(self, now: float, *, tokens: bool = True) -> list[Standing]:
        """Return how the limits stand at ``now``, on demand without those of tokens."""
        self._catch_up(now)
        return [each.standing(now) for each in self.limits if tokens or each.unit != "tokens"]

    def headers(self, now: float, *, tokens: bool = True) -> dict[str, str]:
        """Return OpenAI's rate headers as of ``now``."""
        return openai_headers(self.standings(now, tokens=tokens))


def _refused(limit: Limit, amount: int, now: float) -> Refusal:
    standing = limit.standing(now)
    return Refusal(
        unit=limit.unit,
        period=limit.period,
        limit=standing.limit,
        used=standing.limit - standing.remaining,
        requested=amount,
        wait=limit.wait(amount, now),
    )


def one_of_each(standings: list[Standing], *, daily: bool = True) -> list[Standing]:
    """Return one standing a unit: where there are two, that of the day or that of the minute."""
    found: dict[str, Standing] = {}
    for each in standings:
        if each.unit not in found or (each.period == "day") == daily:
            found[each.unit] = each
    return list(found.values())


def openai_headers(standings: list[Standing]) -> dict[str, str]:
    """Return rate headers as OpenAI writes them; a per-day limit replaces the other."""
    found: dict[str, str] = {}
    for each in one_of_each(standings):
        found[f"x-ratelimit-limit-{each.unit}"] = str(each.limit)
        found[f"x-ratelimit-remaining-{each.unit}"] = str(each.remaining)
        found[f"x-ratelimit-reset-{each.unit}"] = duration(each.reset)
    return found


def _milliseconds(wait: float) -> int:
    """Round a wait up: whoever waits that long must not come too early."""
    return math.ceil(wait * 1000 - ROUNDING)


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
