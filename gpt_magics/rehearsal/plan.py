"""What is rehearsed: a batch, a server's limits, and what goes wrong."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from gpt_magics.errors import OptionError

_MINUTE, _DAY = 60.0, 86_400.0
_MOST = 10**15
_MOST_IN_FLIGHT = 10_000
_COUNTS = ("rows", "output_tokens", "max_in_flight", "max_attempts")
_COUNTS_OR_NONE = ("max_tokens", "rpm", "tpm", "rpd", "capacity")
_SHARES = ("fill", "jitter", "error_rate", "hang_rate", "rival")


class Bound(NamedTuple):
    """A limit as a straight line: how long it takes to let requests in.

    Attributes:
        name: the option that sets it.
        head: units that are there at the start.
        rate: units a second that come after.
        each: units that a row takes, on average.
    """

    name: str
    head: float
    rate: float
    each: float

    def seconds(self, rows: float) -> float:
        """How long the limit takes to let so many rows in."""
        return max(0.0, (rows * self.each - self.head) / self.rate)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A batch and the server that it meets.

    Attributes:
        rows: how many rows are asked for.
        tokens: of each prompt; of several sizes, rows take turns.
        output_tokens: of each answer.
        max_tokens: the longest answer, if the requests say it; servers charge it beforehand.
        rpm: the server's requests a minute; ``None`` is no such limit.
        tpm: its tokens a minute.
        rpd: its requests a day. As with OpenAI its headers replace those of ``rpm``.
        fill: how full the limits are at the start, 0 to 1.
        quantum: seconds over which ``rpm`` and ``tpm`` are enforced as well, if they are.
        latency: seconds until an answer is there.
        jitter: random share of the latency, 0 to 1.
        error_rate: share of requests that end in a 500.
        hang_rate: share of requests that are never answered.
        timeout: seconds after which the client gives such a request up.
        capacity: how many requests the server works on at the same time; more are refused.
        headers: whether the server reports its limits.
        rival: share of the limits that another client with the same key draws, 0 to 1.
        max_in_flight: how many requests the client has out at most.
        max_attempts: how often it sends a row before the row fails.
        model: whose price is reckoned with; "" asks for none.
        base_url: whose server; it tells the provider.
        seed: of everything random here.

    Raises:
        OptionError: a value cannot work.
    """

    rows: int
    tokens: int | tuple[int, ...] = 500
    output_tokens: int = 100
    max_tokens: int | None = None
    rpm: int | None = None
    tpm: int | None = None
    rpd: int | None = None
    fill: float = 1.0
    quantum: float | None = None
    latency: float = 1.0
    jitter: float = 0.0
    error_rate: float = 0.0
    hang_rate: float = 0.0
    timeout: float = 60.0
    capacity: int | None = None
    headers: bool = True
    rival: float = 0.0
    max_in_flight: int = 100
    max_attempts: int = 6
    model: str = ""
    base_url: str = "https://api.openai.com/v1"
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse values that cannot work, by name."""
        for name in _COUNTS:
            self._demand(name, _is_count(getattr(self, name)), "a whole number from 1")
        for name in _COUNTS_OR_NONE:
            value = getattr(self, name)
            self._demand(name, value is None or _is_count(value), "a whole number from 1")
        for name in _SHARES:
            value = getattr(self, name)
            self._demand(name, _is_number(value) and 0 <= value <= 1, "a share from 0 to 1")
        sized = bool(self.sizes) and all(_is_count(size) for size in self.sizes)
        self._demand("tokens", sized, "a whole number from 1, or several")
        self._check_times()
        self._check_room()

    def _check_times(self) -> None:
        self._demand("timeout", _is_number(self.timeout) and self.timeout > 0, "seconds above 0")
        fits = _is_number(self.latency) and 0 <= self.latency < self.timeout
        self._demand("latency", fits, f"seconds from 0 to below the timeout of {self.timeout:g} s")
        quantum = self.quantum
        fits = quantum is None or (_is_number(quantum) and 0 < quantum <= _MINUTE)
        self._demand("quantum", fits, "seconds above 0, up to 60")

    def _check_room(self) -> None:
        most = f"at most {_MOST_IN_FLIGHT}"
        self._demand("max_in_flight", self.max_in_flight <= _MOST_IN_FLIGHT, most)
        largest = max(map(self.charge, self.sizes))
        if self.tpm is not None and largest > self.tpm:
            raise OptionError(
                f"tpm={self.tpm} cannot work: a request takes {largest} tokens of it, so it is "
                "never let in."
            )

    def _demand(self, name: str, holds: bool, wanted: str) -> None:  # noqa: FBT001 - reads as a sentence
        if not holds:
            raise OptionError(f"{name}={getattr(self, name)!r} cannot work: use {wanted}.")

    @property
    def sizes(self) -> tuple[int, ...]:
        """The prompts' sizes in tokens, in turn."""
        return self.tokens if isinstance(self.tokens, tuple) else (self.tokens,)

    @property
    def answer_tokens(self) -> int:
        """How long answers are: ``output_tokens``, or ``max_tokens`` where they are cut there."""
        return min(self.output_tokens, self.max_tokens or self.output_tokens)

    def charge(self, tokens: int) -> int:
        """What the server charges for a prompt of so many tokens, before it answers.

        The larger of ``max_tokens`` and the prompt:
        https://platform.openai.com/docs/guides/rate-limits.
        """
        return max(tokens, self.max_tokens or 0)

    def bounds(self) -> Iterator[Bound]:
        """The server's limits, each as a line."""
        charges = [self.charge(size) for size in self.sizes]
        turns, rest = divmod(self.rows, len(charges))
        charge = (turns * sum(charges) + sum(charges[:rest])) / self.rows
        known = (
            ("rpm", self.rpm, _MINUTE, 1.0),
            ("tpm", self.tpm, _MINUTE, charge),
            ("rpd", self.rpd, _DAY, 1.0),
        )
        for name, limit, window, each in known:
            if limit is not None:
                rate = limit / window
                yield Bound(name, self._head(name, limit, rate, each), rate, each)

    def _head(self, name: str, limit: int, rate: float, each: float) -> float:
        if self.quantum is None or name == "rpd":
            return self.fill * limit
        # What is enforced is a smaller bucket. A request that is larger may leave a debt.
        most = max(1.0, rate * self.quantum)
        return self.fill * most + max(0.0, each - most)

    @property
    def ideal(self) -> float:
        """Seconds that nobody can beat: what limits, latency and ``max_in_flight`` dictate.

        Faults and the rival are left out; the latency is the mean one.
        """
        places = min(self.max_in_flight, self.capacity or self.max_in_flight)
        turns = math.ceil(self.rows / places) * self.latency
        return max([turns, *(b.seconds(self.rows) + self.latency for b in self.bounds())])


def _is_number(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return math.isfinite(value)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= _MOST
