"""What a rehearsal found, in numbers."""

from __future__ import annotations

from dataclasses import dataclass

from gpt_magics.rehearsal.client import Client, Tally
from gpt_magics.rehearsal.plan import Plan
from gpt_magics.rehearsal.steady import extrapolate, part_size
from gpt_magics.spend.prices import Prices
from gpt_magics.spend.tokens import Usage

MOST = 100_000
"""Up to so many rows each one is simulated, if nothing else is said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a batch would go.

    Attributes:
        seconds: from the start to the end of the last row.
        ideal: seconds that nobody could beat; see ``Plan.ideal``.
        span: seconds from the first to the last request that the server let in, by its clock.
        answered: rows with an answer.
        failed: rows that ended without one, or were not sent as the queue was stopped.
        requests: requests sent.
        refused: those that the server had no room for (429, 503).
        retries: attempts that failed and were repeated.
        tokens_in: tokens of the prompts that were answered.
        tokens_out: tokens of their answers.
        cost: US dollars for these tokens; ``None`` if the model's price is not known.
        bound: what held it up most: ``"requests"`` or ``"tokens"`` (a limit), ``"in flight"``
            (how many may be out at once), ``"latency"`` (nothing: it is just one answer's time).
        simulated: how many rows were simulated; if fewer than the plan's, the rest follows from
            them, in a straight line.
        stopped: why the queue would be stopped, if it would.
    """

    seconds: float
    ideal: float
    span: float
    answered: int
    failed: int
    requests: int
    refused: int
    retries: int
    tokens_in: int
    tokens_out: int
    cost: float | None
    bound: str
    simulated: int
    stopped: str | None = None


def rehearse(plan: Plan, *, most: int = MOST) -> Outcome:
    """Work a plan off on a virtual clock.

    Args:
        plan: what is rehearsed.
        most: up to so many rows (or 40 times ``max_in_flight``) each one is simulated; of more,
            a part of half that size is, and another one if the first does not reach the limit that
            decides in the end.
    """
    size = part_size(plan, most)
    if plan.rows <= max(most, 2 * size):
        return _outcome(plan, Client(plan).run(plan.rows), simulated=plan.rows)
    return _outcome(plan, *extrapolate(plan, size))


def _outcome(plan: Plan, tally: Tally, simulated: int) -> Outcome:
    waited = tally.waited
    return Outcome(
        seconds=tally.ended,
        ideal=plan.ideal,
        span=tally.span,
        answered=tally.answered,
        failed=tally.failed,
        requests=tally.requests,
        refused=tally.refused,
        retries=tally.retries,
        tokens_in=tally.tokens_in,
        tokens_out=tally.tokens_out,
        cost=_cost(plan, tally),
        bound=max(waited, key=lambda reason: waited[reason], default="latency"),
        simulated=simulated,
        stopped=tally.stopped,
    )


def _cost(plan: Plan, tally: Tally) -> float | None:
    """US dollars. Rates may rise with the prompt's length: the mean one decides."""
    prompt = sum(plan.sizes) // len(plan.sizes)
    rates = (
        Prices({}).rates(plan.model, plan.base_url, prompt_tokens=prompt) if plan.model else None
    )
    return None if rates is None else rates.cost(Usage(tally.tokens_in, tally.tokens_out))
