"""Who is let in: keys, models, room, credit, limits; and the fate of those who are. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gpt_magics.sandbox.faults import Fate, Faults
from gpt_magics.sandbox.limits import Allowance
from gpt_magics.sandbox.options import ECHO_MODEL
from gpt_magics.sandbox.wire import (
    Problem,
    missing_key,
    no_credit,
    overloaded,
    unknown_model,
    wrong_key,
)

if TYPE_CHECKING:
    from gpt_magics.sandbox.options import SandboxOptions

_NO_MODEL = ""
# One bucket per name is kept; a client that invents names must not fill the memory.
_MOST_BUCKETS = 1000


@dataclass(frozen=True)
class Entry:
    """What the gate wants to know about a request.

    Attributes:
        authorization: the header, or ``None``.
        model: the model it names; ``None`` on routes without one.
        tokens: what it takes from the token limit.
    """

    authorization: str | None
    model: str | None
    tokens: int


@dataclass(frozen=True)
class Verdict:
    """Whether a request is let in (``fate``) or not (``problem``), and the rate headers."""

    headers: dict[str, str]
    fate: Fate | None = None
    problem: Problem | None = None


class Gate:
    """Decides about each request at the moment it arrives."""

    def __init__(self, options: SandboxOptions, *, now: float) -> None:
        self._options = options
        self._started = now
        self._faults = Faults(options)
        self._allowances: dict[str, Allowance] = {}
        self._models = {*options.models, ECHO_MODEL}
        # Another server knows its own models.
        self._any_model = bool(options.upstream or options.local_model)

    def check(self, entry: Entry, now: float, *, at_work: int, billed: int) -> Verdict:
        """Admit ``entry`` or say why not.

        Args:
            entry: the request.
            now: monotonic seconds.
            at_work: how many requests are being answered.
            billed: how many model requests were answered or are being answered.
        """
        problem = self._stranger(entry) or self._misplaced(entry)
        if problem is not None:
            return Verdict({}, problem=problem)
        allowance = self._allowance(entry.model)
        problem = self._unwelcome(entry, at_work, billed)
        waits: dict[str, str] = {}
        if problem is None:
            options = self._options
            refusal = allowance.admit(entry.tokens, now, charge_refused=options.charge_refused)
            if refusal is not None:
                text = refusal.message(entry.model or "this endpoint")
                problem = Problem(429, text, kind=refusal.unit, code="rate_limit_exceeded")
                waits = refusal.headers()
        headers = {**self._rate_headers(allowance, entry, now), **waits}
        if problem is not None:
            return Verdict(headers, problem=problem)
        return Verdict(headers, fate=self._faults.draw())

    def _stranger(self, entry: Entry) -> Problem | None:
        key = self._options.api_key
        if key is None or entry.authorization == f"Bearer {key}":
            return None
        return missing_key() if entry.authorization is None else wrong_key()

    def _misplaced(self, entry: Entry) -> Problem | None:
        if entry.model is None or self._any_model or entry.model in self._models:
            return None
        return unknown_model(entry.model)

    def _unwelcome(self, entry: Entry, at_work: int, billed: int) -> Problem | None:
        options = self._options
        if options.max_in_flight is not None and at_work >= options.max_in_flight:
            return overloaded()
        if options.credit is not None and entry.model is not None and billed >= options.credit:
            return no_credit()
        return None

    def _allowance(self, model: str | None) -> Allowance:
        name = _NO_MODEL if model is None or self._options.shared_bucket else model
        found = self._allowances.get(name)
        if found is None:
            if len(self._allowances) >= _MOST_BUCKETS:
                name = _NO_MODEL
            found = self._allowances.setdefault(name, self._fresh())
        return found

    def _fresh(self) -> Allowance:
        options = self._options
        # Every bucket counts from the start of the server, whenever it is first asked for.
        return Allowance(
            now=self._started,
            rpm=options.rpm,
            tpm=options.tpm,
            rpd=options.rpd,
            window=options.window,
            fill=options.fill,
        )

    def _rate_headers(self, allowance: Allowance, entry: Entry, now: float) -> dict[str, str]:
        if not self._options.headers:
            return {}
        tokens = entry.model is not None or self._options.shared_bucket
        return allowance.headers(now, tokens=tokens)
