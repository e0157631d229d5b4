"""Budgets as walls."""

from __future__ import annotations

import pytest

from gpt_magics.errors import BudgetError, UnknownPriceError
from gpt_magics.spend.budget import Budget, reserve


def test_the_worst_case_is_held_until_it_is_settled() -> None:
    budget = Budget("job", 1.0)
    held = reserve([budget], 0.4, model="m")
    assert (budget.reserved, budget.spent, budget.left) == (0.4, 0.0, 0.6)
    held.settle(0.1)
    assert (budget.reserved, budget.spent, budget.left) == (0.0, 0.1, 0.9)


def test_what_does_not_fit_is_refused_and_the_message_says_how_to_mend_it() -> None:
    budget = Budget("job", 1.0, spent=0.5)
    reserve([budget], 0.3, model="m")
    with pytest.raises(BudgetError, match=r"\$0\.50 spent, \$0\.30 reserved.*--max-tokens"):
        reserve([budget], 0.3, model="m")
    assert budget.reserved == 0.3


def test_what_fits_exactly_is_not_refused_for_a_rounding_error() -> None:
    budget = Budget("job", 0.3)
    for _ in range(3):
        reserve([budget], 0.1, model="m").settle(0.1)
    assert budget.spent == pytest.approx(0.3)


def test_all_budgets_or_none_are_charged() -> None:
    wide, narrow = Budget("session", 10.0), Budget("job", 0.1)
    with pytest.raises(BudgetError, match="job"):
        reserve([wide, narrow], 0.5, model="m")
    assert wide.reserved == 0.0


def test_settling_happens_once() -> None:
    budget = Budget("job", 1.0)
    held = reserve([budget], 0.4, model="m")
    held.settle(0.1)
    held.settle(0.1)
    held.release()
    assert (budget.spent, budget.reserved) == (0.1, 0.0)


def test_releasing_charges_nothing_and_settling_after_it_does_not_either() -> None:
    budget = Budget("job", 1.0)
    held = reserve([budget], 0.4, model="m")
    held.release()
    held.release()
    held.settle(0.1)
    assert (budget.spent, budget.reserved) == (0.0, 0.0)


def test_an_unknown_price_cannot_be_kept_under_a_limit() -> None:
    with pytest.raises(UnknownPriceError, match=r"GptMagics\.prices = \{'m': \(input, output\)\}"):
        reserve([Budget("session", 1.0)], None, model="m")


def test_without_a_limit_an_unknown_price_is_counted_as_unknown() -> None:
    budget = Budget("session")
    reserve([budget], None, model="m").settle(None)
    assert (budget.unpriced, budget.spent, budget.left) == (1, 0.0, None)


def test_what_costs_nothing_fits_a_budget_of_nothing() -> None:
    reserve([Budget("session", 0.0)], 0.0, model="m").settle(0.0)


def test_a_cost_above_the_worst_case_is_counted_and_closes_the_wall() -> None:
    budget = Budget("job", 1.0)
    reserve([budget], 0.9, model="m").settle(1.5)
    assert budget.spent == 1.5
    with pytest.raises(BudgetError):
        reserve([budget], 0.01, model="m")
