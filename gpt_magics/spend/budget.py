"""Budgets as walls: the worst case is reserved before a request is sent and settled by its usage.

Amounts are US dollars. ``spent`` is what answers cost, ``reserved`` what those in flight may cost
at worst; together they never exceed ``limit``, because a reservation that would is refused.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from gpt_magics.errors import BudgetError, UnknownPriceError
from gpt_magics.wording import money

# Sums of many small floats: a wall may not fall, nor stand in the way, by a rounding error.
_ROUNDING = 1e-9


@dataclass(slots=True)
class Budget:
    """What may be spent on one thing (a session, a job), and what has been.

    Attributes:
        name: whose budget it is, for messages.
        limit: US dollars, or ``None`` to only count.
        spent: US dollars of settled answers whose price is known.
        reserved: US dollars that requests in flight may still cost.
        unpriced: how many answers had no known price.
    """

    name: str
    limit: float | None = None
    spent: float = 0.0
    reserved: float = 0.0
    unpriced: int = 0

    @property
    def left(self) -> float | None:
        """US dollars that may still be reserved; ``None`` without a limit."""
        return None if self.limit is None else self.limit - self.spent - self.reserved


@dataclass(slots=True)
class Reservation:
    """A worst case held in several budgets until it is settled, once."""

    budgets: tuple[Budget, ...]
    amount: float
    open: bool = field(default=True)

    def settle(self, cost: float | None) -> None:
        """Put the real cost in the place of the worst case. ``None``: the price is unknown."""
        if not self.open:
            return
        self.open = False
        for budget in self.budgets:
            budget.reserved = max(0.0, budget.reserved - self.amount)
            if cost is None:
                budget.unpriced += 1
            else:
                budget.spent += cost

    def release(self) -> None:
        """Give the whole reservation back: nothing was charged."""
        if self.open:
            self.open = False
            for budget in self.budgets:
                budget.reserved = max(0.0, budget.reserved - self.amount)


def reserve(budgets: Iterable[Budget], worst: float | None, *, model: str) -> Reservation:
    """Hold ``worst`` US dollars in every budget, or raise before anything is sent.

    Raises:
        BudgetError: a budget does not cover the worst case.
        UnknownPriceError: a budget has a limit and the price is unknown (``worst`` is ``None``).
    """
    budgets = tuple(budgets)
    for budget in budgets:
        _check(budget, worst, model)
    amount = worst or 0.0
    for budget in budgets:
        budget.reserved += amount
    return Reservation(budgets, amount)


def _check(budget: Budget, worst: float | None, model: str) -> None:
    if budget.left is None:
        return
    limit, spent, reserved = money(budget.limit), money(budget.spent), money(budget.reserved)
    if worst is None:
        raise UnknownPriceError(
            f"The price of {model!r} is unknown, so the {budget.name} budget of {limit} cannot be "
            f"kept. Give its price, in US dollars a million tokens: %config GptMagics.prices = "
            f"{{{model!r}: (input, output)}}, or drop the budget."
        )
    if worst > budget.left + _ROUNDING:
        raise BudgetError(
            f"The {budget.name} budget of {limit} does not cover the next request: "
            f"{spent} spent, {reserved} reserved for requests in flight, "
            f"{money(worst)} needed at worst. Raise the budget, or lower --max-tokens."
        )
