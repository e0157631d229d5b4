"""What goes wrong at the server costs a timeout and a retry, not the batch; no credit ends it."""

from __future__ import annotations

from arena import Arena
from scenarios import SCENARIOS

SLACK = 1.25


def test_errors_and_hangs_cost_one_timeout_and_one_retry(arena: Arena) -> None:
    scenario, outcome = SCENARIOS["faults"], arena.run("ours", "faults")
    ratio = outcome.wall / scenario.ideal
    print(f"\n{scenario.title}: {outcome.wall:.2f} s, ideal {scenario.ideal:.1f} s, {ratio:.2f}")
    assert outcome.right == scenario.rows
    assert ratio <= SLACK


def test_nothing_is_sent_after_the_first_billing_refusal_but_what_was_in_flight(
    arena: Arena,
) -> None:
    scenario, outcome = SCENARIOS["billing"], arena.run("ours", "billing")
    print(f"\n{scenario.title}: {outcome.right} answered, {outcome.refused} refused")
    assert outcome.right == 40
    assert 1 <= outcome.refused <= scenario.in_flight
