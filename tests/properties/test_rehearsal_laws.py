"""Laws of rehearsals: for whatever plan, every row ends, and nothing goes faster than it can."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from gpt_magics.rehearsal import Plan, rehearse

shares = st.sampled_from((0.0, 0.0, 0.05, 0.3, 1.0))
rivals = st.sampled_from((0.05, 0.3, 0.6))
limits = st.none() | st.integers(1, 3000)


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    tokens = draw(st.integers(1, 3000) | st.lists(st.integers(1, 3000), min_size=1).map(tuple))
    max_tokens = draw(st.none() | st.integers(1, 4000))
    largest = max(*(tokens if isinstance(tokens, tuple) else (tokens,)), max_tokens or 0, 1)
    timeout = draw(st.floats(0.5, 60.0))
    # A rival sends on through days of waiting, which takes long to work out.
    rpd, rival = draw(st.tuples(limits, st.just(0.0)) | st.tuples(st.none(), rivals))
    return Plan(
        rows=draw(st.integers(1, 120)),
        tokens=tokens,
        output_tokens=draw(st.integers(1, 500)),
        max_tokens=max_tokens,
        rpm=draw(limits),
        tpm=draw(st.none() | st.integers(largest, 1_000_000)),
        rpd=rpd,
        fill=draw(st.sampled_from((0.0, 0.1, 0.9, 1.0))),
        quantum=draw(st.none() | st.sampled_from((0.1, 1.0, 10.0))),
        latency=draw(st.floats(0.0, 0.99)) * timeout,
        jitter=draw(shares),
        error_rate=draw(shares),
        hang_rate=draw(shares),
        timeout=timeout,
        capacity=draw(st.none() | st.integers(1, 20)),
        headers=draw(st.booleans()),
        rival=rival,
        max_in_flight=draw(st.integers(1, 60)),
        max_attempts=draw(st.integers(1, 6)),
        seed=draw(st.integers(0, 9)),
    )


@given(plans())
def test_every_row_ends(plan: Plan) -> None:
    outcome = rehearse(plan)
    assert outcome.answered + outcome.failed == plan.rows
    assert outcome.requests - outcome.retries <= plan.rows
    assert outcome.refused <= outcome.requests
    assert 0.0 <= outcome.span <= outcome.seconds


@given(plans())
def test_nothing_is_faster_than_the_limits_allow(plan: Plan) -> None:
    outcome = rehearse(plan)
    # Jitter may be kind to few rows, and what failed took less than an answer.
    kindest = replace(plan, latency=plan.latency * (1 - plan.jitter))
    if outcome.answered == plan.rows:
        assert outcome.seconds >= kindest.ideal * (1 - 1e-6) - 1e-6


@given(plans())
def test_the_same_seed_gives_the_same_outcome(plan: Plan) -> None:
    assert rehearse(plan) == rehearse(replace(plan))


@given(plans(), st.integers(1, 8))
def test_a_part_accounts_for_every_row(plan: Plan, power: int) -> None:
    outcome = rehearse(replace(plan, rows=10**power, max_in_flight=3), most=40)
    assert outcome.answered + outcome.failed == 10**power
    assert outcome.simulated <= 10**power
