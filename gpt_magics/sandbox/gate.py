"""Who is let in: keys, models, room, credit, limits; and the fate of those who are. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gpt_magics.sandbox.dialects import dialect
from gpt_magics.sandbox.faults import Fate, Faults
from gpt_magics.sandbox.limits import Allowance
from gpt_magics.sandbox.options import ECHO_MODEL, with_limits
from gpt_magics.sandbox.wire import (
    Problem,
    missing_key,
    no_credit,
    overloaded,
    unknown_model,
    wrong_key,
)

if TYPE_CHECKING:
    from gpt_magics.sandbox.limits import Refusal
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
    """Whether a request is let in (``fate``) or not (``problem``), and the rate headers.

    ``rival`` is how many requests of the other client went before it.
    """

    headers: dict[str, str]
    fate: Fate | None = None
    problem: Problem | None = None
    rival: int = 0


class Gate:
    """Decides about each request at the moment it arrives."""

    def __init__(self, options: SandboxOptions, *, now: float) -> None:
        self._options = options
        self._started = now
        self._faults = Faults(options)
        self._allowances: dict[str, Allowance] = {}
        self._dialect = dialect(options.dialect, window=options.window)
        self._models = {*options.models, ECHO_MODEL}
        # Another server knows its own models.
        self._any_model = bool(options.upstream or options.local_model)

    def change_limits(self, now: float, **limits: int | None) -> dict[str, int | None]:
        """Change ``rpm``, ``tpm`` or ``rpd`` of every model at ``now``; returns what holds then.

        ``None`` leaves a limit as it is.

        Raises:
            OptionError: a limit cannot work.
        """
        self._options = with_limits(self._options, **limits)
        for allowance in self._allowances.values():
            allowance.change(now, **limits)
        options = self._options
        return {"rpm": options.rpm, "tpm": options.tpm, "rpd": options.rpd}

    def check(
        self, entry: Entry, now: float, *, at_work: int, billed: int, wall: float = 0.0
    ) -> Verdict:
        """Admit ``entry`` or say why not.

        Args:
            entry: the request.
            now: monotonic seconds.
            at_work: how many requests are being answered.
            billed: how many model requests were answered or are being answered.
            wall: unix seconds, for the dialects that tell points in time.
        """
        problem = self._stranger(entry) or self._misplaced(entry)
        if problem is not None:
            return Verdict({}, problem=problem)
        problem = self._unwelcome(entry, at_work, billed)
        if problem is not None and isinstance(problem.instead, str):
            # A proxy in front knows nothing of the limits behind it.
            return Verdict({}, problem=problem)
        allowance = self._allowance(entry.model)
        before = allowance.rival_drawn
        refusal, waits = None, {}
        if problem is None:
            charge = self._options.charge_refused
            refusal = allowance.admit(entry.tokens, now, charge_refused=charge)
        if refusal is not None:
            problem = self._dialect.problem(refusal, entry.model or "this endpoint", wall)
            waits = self._dialect.waits(refusal, wall)
        headers = {**self._rate_headers(allowance, entry, refusal, now, wall), **waits}
        fate = self._faults.draw(at_work) if problem is None else None
        return Verdict(headers, fate, problem, rival=allowance.rival_drawn - before)

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
            return overloaded(options.overload)
        if options.credit is not None and entry.model is not None and billed >= options.credit:
            return no_credit()
        return None

    def _allowance(self, model: str | None) -> Allowance:
        name = _NO_MODEL if model is None or self._options.shared_bucket else model
        found = self._allowances.get(name)
        if found is None:
            if len(self._allowances) >= _MOST_BUCKETS:
                name = _NO_MODEL
            found = self._allowances.setdefault(name, self._fresh(name))
        return found

    def _fresh(self, name: str) -> Allowance:
        options = self._options
        # Every bucket counts from the start of the server, whenever it is first asked for.
        return Allowance(
            now=self._started,
            rpm=options.rpm,
            tpm=options.tpm,
            rpd=options.rpd,
            window=options.window,
            fill=options.fill,
            quantum=options.quantum,
            fixed_windows=self._dialect.fixed_windows,
            rival=options.rival,
            seed=f"{options.seed} {name}",
        )

    def _rate_headers(
        self, allowance: Allowance, entry: Entry, refusal: Refusal | None, now: float, wall: float
    ) -> dict[str, str]:
        if not self._options.headers:
            return {}
        tokens = entry.model is not None or self._options.shared_bucket
        standings = allowance.standings(now, tokens=tokens)
        return self._dialect.headers(standings, refusal, wall)
