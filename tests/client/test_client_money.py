"""No surprise bill: budgets are walls, and an empty account stops the queue."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from served import AMPLE, user

import gpt_magics
from gpt_magics import api
from gpt_magics.errors import BudgetError, QueueStoppedError, UnknownPriceError
from gpt_magics.jobs.state import State

if TYPE_CHECKING:
    from served import Serve

    from gpt_magics.sandbox import Sandbox

# gpt-4.1-mini at the prices given here: nothing depends on what it costs today.
MODEL = "gpt-4.1-mini"
PRICES = {MODEL: (1.0, 2.0), "sandbox-echo": (1.0, 2.0)}
MILLION = 1_000_000


def top_up(box: Sandbox, credit: int) -> None:
    object.__setattr__(box.options, "credit", credit)  # frozen, and the only way to pay


def served_cost(box: Sandbox) -> float:
    """What the server answered, at the prices given here."""
    tokens = box.stats()["tokens"]
    return float(tokens["prompt"] * 1.0 + tokens["completion"] * 2.0) / MILLION


def test_an_empty_account_stops_the_queue_and_more_credit_resumes_it(serve: Serve) -> None:
    box = serve(credit=40, rpm=AMPLE, latency=0.01)
    rows = [f"row {number}" for number in range(100)]
    job = gpt_magics.batch(rows, max_in_flight=10)
    with pytest.raises(QueueStoppedError) as caught:
        job.result()
    assert (job.state, job.reason) == (State.STOPPED, "credit or spend limit reached")
    assert "40 of 100 rows are done and kept; job.resume() goes on." in str(caught.value)
    assert "exceeded your current quota" in str(caught.value)
    assert (job.progress.done, job.failures) == (40, [])
    pacer = api.running_session().pacer
    assert (pacer.in_flight, sum(lane.queued for lane in pacer.lanes.values())) == (0, 0)
    stopped_at = box.stats()["requests"]
    assert 41 <= stopped_at <= 50

    job.resume()  # still no credit: it asks, and stops again
    with pytest.raises(QueueStoppedError):
        job.result()
    assert (job.state, job.progress.done) == (State.STOPPED, 40)
    assert stopped_at < box.stats()["requests"] <= stopped_at + 10

    top_up(box, 1000)
    job.resume()
    assert job.result() == rows
    assert (job.state, job.reason, job.error) == (State.DONE, "", None)
    assert box.stats()["answered"] == 100  # nothing was bought twice


def test_a_session_budget_refuses_before_anything_is_sent(serve: Serve) -> None:
    box = serve()
    gpt_magics.configure(budget=0.000001, prices=PRICES)
    with pytest.raises(BudgetError, match="session budget"):
        gpt_magics.ask("hello", max_tokens=100)
    with pytest.raises(BudgetError, match="session budget"):
        gpt_magics.batch(["a", "b"], max_tokens=100).result()
    with pytest.raises(BudgetError, match="session budget"):
        gpt_magics.sync_client().chat.completions.create(
            model=MODEL, messages=user("hello"), max_tokens=100
        )

    async def own_code() -> None:
        await gpt_magics.client().chat.completions.create(
            model=MODEL, messages=user("hello"), max_tokens=100
        )

    with pytest.raises(BudgetError, match="session budget"):
        asyncio.run(own_code())
    session = api.running_session()
    assert box.stats()["requests"] == session.meter.requests == 0
    assert (session.budget.spent, session.budget.reserved) == (0.0, 0.0)


def test_what_costs_nothing_needs_no_budget(serve: Serve) -> None:
    box = serve()
    gpt_magics.configure(budget=0.0)
    assert gpt_magics.sync_client().models.list().data
    assert box.stats()["requests"] == 1


def test_a_session_budget_holds_for_jobs_cells_and_own_code_together(serve: Serve) -> None:
    box = serve(rpm=AMPLE, latency=0.01)
    gpt_magics.configure(budget=0.002, prices=PRICES, model=MODEL)
    first = gpt_magics.batch([f"row {number}" for number in range(40)], max_tokens=30)
    second = gpt_magics.batch([f"row {number}" for number in range(40)], max_tokens=30)
    for job in (first, second):
        with pytest.raises(BudgetError):
            job.result()
    with pytest.raises(BudgetError):
        gpt_magics.sync_client().chat.completions.create(
            model=MODEL, messages=user("hello"), max_tokens=1000
        )
    budget = api.running_session().budget
    assert 0.001 < budget.spent <= 0.002
    assert budget.reserved == pytest.approx(0.0, abs=1e-9)
    assert budget.spent == pytest.approx(served_cost(box))


def test_a_job_budget_is_never_exceeded_with_a_hundred_in_flight(serve: Serve) -> None:
    box = serve(rpm=AMPLE, latency=0.02)
    gpt_magics.configure(prices=PRICES, model=MODEL)
    rows = [f"row {number}" for number in range(300)]
    job = gpt_magics.batch(rows, max_tokens=20, budget=0.005)
    with pytest.raises(BudgetError, match=r"\$0.0050"):
        job.result()
    assert (job.state, job.reason) == (State.STOPPED, "budget reached")
    assert box.stats()["max_in_flight"] > 20
    assert 0.0045 < job.budget.spent <= 0.005
    assert job.budget.spent == pytest.approx(served_cost(box))
    assert job.progress.done == box.stats()["answered"]
    assert job.failures == []
    job.budget.limit = 1.0
    job.resume()
    assert all(text is not None for text in job.result())
    assert box.stats()["answered"] == 300


def test_an_unknown_price_under_a_budget_stops(serve: Serve) -> None:
    box = serve()
    job = gpt_magics.batch(["a", "b"], budget=1.0)
    with pytest.raises(UnknownPriceError, match="'sandbox-echo'"):
        job.result()
    gpt_magics.configure(budget=1.0)
    with pytest.raises(UnknownPriceError):
        gpt_magics.ask("hello")
    assert (job.state, box.stats()["requests"]) == (State.STOPPED, 0)


def test_an_unknown_price_without_a_budget_is_unknown_and_not_nothing(serve: Serve) -> None:
    serve()
    answer = gpt_magics.ask("hello")
    job = gpt_magics.batch(["a"])
    job.result()
    assert answer.cost is None
    assert not job.progress.cost_known
    assert not gpt_magics.limits().cost_known
    assert "unknown cost" in repr(job)
    assert "$0" not in repr(job) + repr(gpt_magics.limits())


def test_a_known_price_settles_by_the_usage_of_the_answers(serve: Serve) -> None:
    box = serve()
    gpt_magics.configure(prices=PRICES)
    answer = gpt_magics.ask("hello there")
    assert answer.cost == pytest.approx(served_cost(box))
    assert answer.cost == pytest.approx(
        (answer.usage.input * 1.0 + answer.usage.output * 2.0) / MILLION
    )
    streamed = gpt_magics.ask("hello again", on_text=lambda _: None)
    assert not streamed.usage.estimated
    job = gpt_magics.batch([f"row {number}" for number in range(20)])
    job.result()
    now = gpt_magics.limits()
    tokens = box.stats()["tokens"]
    assert (now.tokens_in, now.tokens_out) == (tokens["prompt"], tokens["completion"])
    assert now.cost == pytest.approx(served_cost(box))
    assert now.cost_known
    progress = job.progress
    assert progress.cost == pytest.approx(now.cost - (answer.cost or 0) - (streamed.cost or 0))


def test_a_poll_that_brings_an_answer_is_paid_once(serve: Serve) -> None:
    box = serve(polls=1)
    gpt_magics.configure(prices=PRICES)
    client = gpt_magics.sync_client()
    begun = client.responses.create(model="sandbox-echo", input="later", background=True)
    for _ in range(5):
        begun = client.responses.retrieve(begun.id)
    assert begun.output_text == "later"
    assert gpt_magics.limits().cost == pytest.approx(served_cost(box))
    assert api.running_session().budget.reserved == 0.0


def test_a_cancelled_request_counts_its_prompt(serve: Serve) -> None:
    box = serve(hang_rate=1.0)
    gpt_magics.configure(prices=PRICES)
    job = gpt_magics.batch(["four words of prompt"])
    while not box.stats()["hung"]:
        pass
    job.cancel()
    job.wait()
    assert 0 < gpt_magics.limits().cost < 0.0001
    assert api.running_session().budget.reserved == 0.0
