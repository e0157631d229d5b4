"""The accounts hold, in whatever order requests are reserved, settled and given back."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from gpt_magics.errors import BudgetError, UnknownPriceError
from gpt_magics.session.metering import find_usage
from gpt_magics.spend.budget import Budget, Reservation, reserve
from gpt_magics.spend.prices import Prices
from gpt_magics.spend.tokens import Usage, estimate_messages, estimate_text

dollars = st.floats(0, 5)
ROUNDING = 1e-6


class Accounts(RuleBasedStateMachine):
    """A session's budget and two jobs' under it, one of them without a limit."""

    @initialize(session=st.one_of(st.none(), dollars), job=dollars)
    def open(self, session: float | None, job: float) -> None:
        self.session, self.job = Budget("session", session), Budget("job", job)
        self.free = Budget("free")
        self.all = (self.session, self.job, self.free)
        self.open_ones: list[tuple[Reservation, float | None]] = []
        self.ended: list[Reservation] = []
        self.paid = dict.fromkeys(map(id, self.all), 0.0)
        self.unpriced = dict.fromkeys(map(id, self.all), 0)

    @rule(worst=st.one_of(st.none(), dollars), job=st.booleans())
    def ask(self, worst: float | None, job: bool) -> None:  # noqa: FBT001
        budgets = (self.session, self.job if job else self.free)
        limited = [budget for budget in budgets if budget.left is not None]
        fits = worst is None or all(worst <= (budget.left or 0.0) for budget in limited)
        before = [(budget.spent, budget.reserved) for budget in self.all]
        try:
            reservation = reserve(budgets, worst, model="m")
        except UnknownPriceError:
            assert worst is None
            assert limited
        except BudgetError:
            assert not fits
        else:
            self.open_ones.append((reservation, worst))
            return
        assert before == [(budget.spent, budget.reserved) for budget in self.all]

    @precondition(lambda self: self.open_ones)
    @rule(data=st.data(), share=st.floats(0, 1))
    def settle(self, data: st.DataObject, share: float) -> None:
        reservation, worst = self.pick(data)
        cost = None if worst is None else worst * share
        reservation.settle(cost)
        for budget in reservation.budgets:
            self.paid[id(budget)] += cost or 0.0
            self.unpriced[id(budget)] += cost is None

    @precondition(lambda self: self.open_ones)
    @rule(data=st.data())
    def give_back(self, data: st.DataObject) -> None:
        self.pick(data)[0].release()

    @precondition(lambda self: self.ended)
    @rule(data=st.data(), cost=st.one_of(st.none(), dollars))
    def end_again(self, data: st.DataObject, cost: float | None) -> None:
        reservation = data.draw(st.sampled_from(self.ended))
        reservation.settle(cost)
        reservation.release()

    def pick(self, data: st.DataObject) -> tuple[Reservation, float | None]:
        one = self.open_ones.pop(data.draw(st.integers(0, len(self.open_ones) - 1)))
        self.ended.append(one[0])
        return one

    @invariant()
    def the_wall_stands(self) -> None:
        for budget in self.all:
            if budget.limit is not None:
                assert budget.spent + budget.reserved <= budget.limit + ROUNDING

    @invariant()
    def every_dollar_is_accounted_for(self) -> None:
        for budget in self.all:
            held = sum(r.amount for r, _ in self.open_ones if budget in r.budgets)
            assert budget.reserved == pytest.approx(held, abs=ROUNDING)
            assert budget.reserved >= 0
            assert budget.spent == pytest.approx(self.paid[id(budget)], abs=ROUNDING)
            assert budget.unpriced == self.unpriced[id(budget)]


TestAccounts = Accounts.TestCase

tokens = st.integers(0, 1_000_000)


@given(
    model=st.one_of(st.text(), st.sampled_from(["gpt-4o", "gpt-4.1-mini", "o3", "llama3"])),
    url=st.sampled_from(["https://api.openai.com/v1", "http://localhost:1/v1", "", "https://x"]),
    used=st.tuples(tokens, tokens, st.floats(0, 1)),
)
def test_a_cost_is_unknown_or_never_negative(
    model: str, url: str, used: tuple[int, int, float]
) -> None:
    usage = Usage(used[0], used[1], int(used[0] * used[2]))
    cost = Prices({}).cost(model, url, usage)
    assert cost is None or cost >= 0
    if cost == 0:
        assert usage.total == 0


@given(st.text(st.characters(exclude_categories=())))
def test_no_text_has_more_tokens_than_bytes_and_none_raises(text: str) -> None:
    size = len(text.encode("utf-8", "surrogatepass"))
    assert size / 4 <= estimate_text(text) <= size


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(st.lists(st.dictionaries(st.sampled_from(["role", "content", "x"]), anything)))
def test_messages_of_any_shape_have_an_estimate(messages: list[dict[str, Any]]) -> None:
    assert estimate_messages(messages) >= 4 * len(messages)


usage_like = st.fixed_dictionaries(
    {},
    optional=dict.fromkeys(
        ("prompt_tokens", "completion_tokens", "input_tokens", "prompt_tokens_details"), anything
    ),
)


@given(
    st.one_of(
        st.binary(),
        st.binary().map(lambda noise: b'{"usage"' + noise),
        st.binary().map(lambda noise: b'data: {"usage"' + noise),
        anything.map(lambda value: json.dumps({"usage": value}).encode()),
        usage_like.map(lambda value: json.dumps({"usage": value, "id": "x"}).encode()),
        usage_like.map(lambda value: b"data: " + json.dumps({"usage": value}).encode()),
    )
)
def test_any_body_has_usage_or_none(body: bytes) -> None:
    found = find_usage(body)
    if found is not None:
        usage = found[2]
        assert 0 <= usage.cached <= usage.input
        assert usage.output >= 0
