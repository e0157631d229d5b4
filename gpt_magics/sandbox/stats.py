"""What the sandbox counted. Changed on its loop only; a snapshot may be taken from any thread."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

_TOO_MANY = 429


@dataclass
class Stats:
    """Counters since the start or the last reset.

    Attributes:
        requests: requests under /v1 that arrived.
        answered: requests answered with success; a stream counts when its end is sent.
        refused: 429s by error code; "unknown" if they had none.
        rejected: other refusals (400, 401, 404) by status.
        refusals: all of these and ``overloaded`` by status and code: "429 rate_limit_exceeded".
        overloaded: refusals because of ``max_in_flight``, whatever their status.
        rival: requests of the other client that were let in; they count nowhere else.
        errors: 500s drawn by ``error_rate``.
        hung: requests drawn by ``hang_rate``.
        broken: streams cut off in the middle.
        aborted: requests whose client left before the answer was complete.
        in_flight: requests at work now.
        most_in_flight: the most that were at work at the same time.
        first_at: monotonic seconds of the first admitted request.
        last_at: monotonic seconds of the latest admitted request.
    """

    requests: int = 0
    answered: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)
    refusals: Counter[str] = field(default_factory=Counter)
    overloaded: int = 0
    rival: int = 0
    errors: int = 0
    hung: int = 0
    broken: int = 0
    aborted: int = 0
    in_flight: int = 0
    most_in_flight: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    first_at: float | None = None
    last_at: float | None = None
    by_path: Counter[str] = field(default_factory=Counter)

    def reset(self) -> None:
        """Count from zero again, except for what is still at work."""
        fresh = Stats(in_flight=self.in_flight, most_in_flight=self.in_flight)
        self.__dict__.update(fresh.__dict__)

    def admitted(self, now: float) -> None:
        """Note that one more request was admitted and is at work."""
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        self.first_at = now if self.first_at is None else self.first_at
        self.last_at = now

    def refuse(self, status: int, code: str | None, *, overload: bool = False) -> None:
        """Note a request that was not admitted."""
        self.refusals[f"{status} {code}" if code else str(status)] += 1
        self.overloaded += overload
        if status == _TOO_MANY:
            self.refused[code or "unknown"] += 1
        elif not overload:
            self.rejected[str(status)] += 1

    def spent(self, prompt: int, completion: int) -> None:
        """Note the tokens of an answer."""
        self.prompt_tokens += prompt
        self.completion_tokens += completion

    def snapshot(self) -> dict[str, Any]:
        """Return all counts as plain JSON values."""
        first, last = self.first_at, self.last_at
        return {
            "requests": self.requests,
            "answered": self.answered,
            "refused": dict(self.refused),
            "rejected": dict(self.rejected),
            "refusals": dict(self.refusals),
            "overloaded": self.overloaded,
            "rival": self.rival,
            "errors": self.errors,
            "hung": self.hung,
            "broken": self.broken,
            "aborted": self.aborted,
            "in_flight": self.in_flight,
            "most_in_flight": self.most_in_flight,
            # Its name before there was an option that is called the same.
            "max_in_flight": self.most_in_flight,
            "tokens": {"prompt": self.prompt_tokens, "completion": self.completion_tokens},
            "first_at": first,
            "last_at": last,
            "span": 0.0 if first is None or last is None else last - first,
            "by_path": dict(self.by_path),
        }
