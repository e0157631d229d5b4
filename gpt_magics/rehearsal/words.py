"""What a rehearsal found, in a few plain lines."""

from __future__ import annotations

from collections.abc import Iterator

from gpt_magics.rehearsal.outcome import Outcome
from gpt_magics.rehearsal.plan import Plan
from gpt_magics.wording import count, duration, exact, money, pace

_LIMITS = {"requests": ("rpm", "rpd"), "tokens": ("tpm",)}
_MUCH_LONGER = 1.25
_UNITS = {
    "rpm": "requests a minute",
    "tpm": "tokens a minute",
    "rpd": "requests a day",
}


def report(plan: Plan, outcome: Outcome) -> str:
    """Say it to people; ends without a line break."""
    return "\n".join(_lines(plan, outcome))


def _lines(plan: Plan, outcome: Outcome) -> Iterator[str]:
    yield f"Time      {_time(plan, outcome)}"
    yield f"Cost      {_cost(plan, outcome)}"
    yield f"Bound by  {_bound(plan, outcome)}{_beyond(plan, outcome)}"
    yield f"Refusals  {_refusals(outcome)}"
    if outcome.failed:
        stopped = f"; the queue stops ({outcome.stopped})" if outcome.stopped else ""
        yield f"Failures  {_many(outcome.failed, 'row')} of {exact(plan.rows)}{stopped}"
    yield f"Assumed   {_assumed(plan)}"
    if outcome.simulated < plan.rows:
        yield f"Simulated {exact(outcome.simulated)} rows; the rest follows from them"


def _time(plan: Plan, outcome: Outcome) -> str:
    speed = f" ({pace(plan.rows / outcome.seconds)})" if outcome.seconds > 0 else ""
    ideal = f"; no client could beat {duration(outcome.ideal)}"
    return f"{duration(outcome.seconds)} for {_many(plan.rows, 'row')}{speed}{ideal}"


def _cost(plan: Plan, outcome: Outcome) -> str:
    model = f" with {plan.model}" if plan.model else ""
    return (
        f"{money(outcome.cost, known=outcome.cost is not None)}{model}: "
        f"{count(outcome.tokens_in)} tokens in, {count(outcome.tokens_out)} out"
    )


def _bound(plan: Plan, outcome: Outcome) -> str:
    if outcome.bound == "in flight":
        if plan.capacity is not None and plan.capacity < plan.max_in_flight:
            return f"what the server answers at the same time ({exact(plan.capacity)})"
        return f"requests in flight (at most {exact(plan.max_in_flight)})"
    if outcome.bound == "latency":
        return "nothing but the time of an answer"
    limits = [f"{exact(n)} {_UNITS[o]}" for o in _LIMITS[outcome.bound] if (n := getattr(plan, o))]
    return "the limit of " + " and ".join(limits)


def _beyond(plan: Plan, outcome: Outcome) -> str:
    """Why it takes much longer than that alone dictates."""
    if outcome.seconds <= _MUCH_LONGER * outcome.ideal:
        return ""
    if plan.rival:
        return ", and by the other client with the key"
    if plan.error_rate or plan.hang_rate:
        return f", and by failed attempts ({exact(outcome.retries)} repeated)"
    return ", and by a careful start, as the server's capacity has to be found out"


def _refusals(outcome: Outcome) -> str:
    if not outcome.refused:
        return f"none expected in {_many(outcome.requests, 'request')}"
    share = outcome.refused / outcome.requests
    shown = f"{share:.1%}" if share >= 0.001 else "under 0.1%"  # noqa: PLR2004
    return f"{exact(outcome.refused)} of {_many(outcome.requests, 'request')} ({shown})"


def _assumed(plan: Plan) -> str:
    sizes = ", ".join(map(exact, plan.sizes))
    said = [f"prompts of {sizes} tokens", f"answers of {exact(plan.answer_tokens)}"]
    said.append(f"there after {duration(plan.latency)}")
    if not any((plan.rpm, plan.tpm, plan.rpd)):
        said.append("no limits")
    return ", ".join(said)


def _many(n: int, noun: str) -> str:
    return f"{exact(n)} {noun}" + ("" if n == 1 else "s")
