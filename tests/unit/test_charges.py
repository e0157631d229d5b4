"""What requests of a kind really cost, learned from what is gone."""

from __future__ import annotations

import pytest

from gpt_magics.pacing.buckets import Ask
from gpt_magics.pacing.charges import Charges
from gpt_magics.pacing.strangers import Sample

ASK = Ask(tokens=4_000, least=100, kind="summary")


def taught(*shares: float, kind: str = "summary") -> Charges:
    """Charges that have seen spans of requests charged so much of their estimate."""
    charges = Charges()
    for share in shares:
        charges.learn(Sample(kind, asked=8_000, consumed=8_000 * share))
    return charges


def test_a_request_costs_its_estimate_until_shown_otherwise() -> None:
    assert Charges().cost(ASK) == 4_000


def test_a_request_that_is_charged_less_costs_less_at_once() -> None:
    assert 1_000 <= taught(0.25).cost(ASK) <= 1_100


def test_another_kind_costs_its_own_estimate() -> None:
    charges = taught(0.25)
    assert charges.cost(Ask(tokens=4_000, kind="title")) == 4_000
    assert charges.cost(Ask(tokens=4_000)) == 4_000


def test_requests_of_the_same_kind_cost_in_proportion() -> None:
    charges = taught(0.25)
    assert charges.cost(Ask(tokens=8_000, kind="summary")) == 2 * charges.cost(ASK)


def test_a_charge_close_to_the_estimate_is_the_estimate() -> None:
    for share in (0.97, 1.0, 1.03):
        assert taught(share).cost(ASK) == 4_000


def test_a_charge_above_the_estimate_is_learned_up_to_twice() -> None:
    assert 5_200 <= taught(1.3).cost(ASK) <= 6_000
    assert taught(1_000.0).cost(ASK) == 8_000


def test_the_dearest_of_the_last_eight_counts() -> None:
    assert taught(0.5, *[0.1] * 7).cost(ASK) == taught(0.5).cost(ASK)
    assert taught(0.5, *[0.1] * 8).cost(ASK) == taught(0.1).cost(ASK)


def test_no_request_costs_less_than_its_prompt() -> None:
    assert taught(0.001).cost(ASK) == 100
    assert taught(0.0).cost(ASK) == 100
    assert taught(-5.0).cost(ASK) == 100, "strangers may give back, too"


def test_the_first_answer_bounds_what_its_request_was_charged() -> None:
    """A bucket from which only 150 are gone cannot have charged 4000."""
    charges = Charges()
    charges.bound(ASK, 150)
    assert 150 <= charges.cost(ASK) <= 160


@pytest.mark.parametrize("most", [0, -1, 4_000, 30_000])
def test_a_bound_that_tells_nothing_changes_nothing(most: float) -> None:
    charges = Charges()
    charges.bound(ASK, most)
    assert charges.cost(ASK) == 4_000
    assert charges.is_unknown(ASK)


def test_a_bound_does_not_overrule_what_was_measured() -> None:
    charges = taught(0.5)
    for _ in range(8):
        charges.bound(ASK, 10)
    assert charges.cost(ASK) == taught(0.5).cost(ASK)


def test_a_bound_is_only_of_its_kind() -> None:
    charges = Charges()
    charges.bound(Ask(tokens=4_000), 150)
    assert charges.cost(Ask(tokens=4_000)) == 4_000


def test_only_a_long_answer_of_a_new_kind_may_cost_far_less() -> None:
    assert Charges().is_unknown(ASK)
    assert not taught(0.25).is_unknown(ASK)
    assert not Charges().is_unknown(Ask(tokens=4_000, least=3_000, kind="summary"))
    assert not Charges().is_unknown(Ask(tokens=4_000, least=100)), "nothing would be learned"


def test_a_trial_that_was_refused_makes_the_estimate_the_charge() -> None:
    charges = Charges()
    charges.as_estimated(ASK)
    assert not charges.is_unknown(ASK)
    assert charges.cost(ASK) == 4_000


def test_a_trial_that_was_refused_for_another_reason_forgets_nothing() -> None:
    charges = taught(0.25)
    charges.as_estimated(ASK)
    assert charges.cost(ASK) == taught(0.25).cost(ASK)


def test_the_kind_that_was_seen_longest_ago_is_forgotten_first() -> None:
    charges = taught(0.25, kind="old")
    charges.learn(Sample("older", 100, 25))
    for number in range(254):
        charges.learn(Sample(f"kind {number}", 100, 25))
    charges.learn(Sample("old", 100, 25))  # seen again
    charges.learn(Sample("one too many", 100, 25))
    known = [k for k in ("old", "older", "kind 0") if charges.cost(Ask(tokens=100, kind=k)) < 100]
    assert known == ["old", "kind 0"]
