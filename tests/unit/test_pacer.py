"""The pacer on a virtual clock: waiting, waking, cancelling, stopping."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from virtual_clock import VirtualLoop

from gpt_magics.errors import QueueStoppedError
from gpt_magics.pacing.buckets import Ask
from gpt_magics.pacing.headers import Reading
from gpt_magics.session.pacer import LaneKey, Pacer, Slot

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    Run = Callable[[Coroutine[Any, Any, Any]], Any]

KEY, OTHER = LaneKey("http://a", 0, "small"), LaneKey("http://a", 0, "large")
ONE = Ask(tokens=10)
STOPPED = QueueStoppedError("Not sent: wrong key.", reason="wrong key", attempts=0)


def requests(limit: float, remaining: float) -> Reading:
    return Reading("requests", limit, remaining, None)


def new_pacer(max_in_flight: int = 100) -> Pacer:
    return Pacer(asyncio.get_running_loop(), max_in_flight=max_in_flight)


async def learn(pacer: Pacer, *known: Reading, key: LaneKey = KEY) -> None:
    """Send the first request, which goes alone."""
    slot = await pacer.acquire(key, ONE)
    slot.answered(known)
    slot.release()


async def turns() -> None:
    """Let everything run that does not wait for time."""
    for _ in range(10):
        await asyncio.sleep(0)


async def send(pacer: Pacer, seconds: float, *, key: LaneKey = KEY) -> float:
    """Hold a slot for some time; returns when it started."""
    slot = await pacer.acquire(key, ONE)
    started = asyncio.get_running_loop().time()
    await asyncio.sleep(seconds)
    slot.release()
    return started


def test_the_clock_jumps(on_virtual_clock: Run) -> None:
    async def story() -> float:
        await asyncio.sleep(3600)
        return asyncio.get_running_loop().time()

    assert on_virtual_clock(story()) == pytest.approx(3600)


def test_a_deadlock_is_an_error_not_a_hang() -> None:
    async def story() -> None:
        await asyncio.get_running_loop().create_future()

    with (
        pytest.raises(AssertionError, match="deadlock"),
        asyncio.Runner(loop_factory=VirtualLoop) as runner,
    ):
        runner.run(story())


def test_the_first_request_goes_alone_and_then_the_others_follow(on_virtual_clock: Run) -> None:
    async def story() -> None:
        pacer = new_pacer()
        first = await pacer.acquire(KEY, ONE)
        others = [asyncio.create_task(pacer.acquire(KEY, ONE)) for _ in range(5)]
        await turns()
        assert repr(pacer) == "<Pacer 1 in flight, 5 queued>"
        first.answered([requests(600, 599)])
        first.release()
        await asyncio.gather(*others)
        assert repr(pacer) == "<Pacer 5 in flight, 0 queued>"

    on_virtual_clock(story())


def test_waiters_start_when_the_bucket_has_refilled(on_virtual_clock: Run) -> None:
    async def story() -> list[float]:
        pacer = new_pacer()
        await learn(pacer, requests(60, 0))
        return await asyncio.gather(*(send(pacer, 0.0) for _ in range(4)))

    assert on_virtual_clock(story()) == pytest.approx([1.004, 2.004, 3.004, 4.004], abs=0.02)


def test_a_refusal_pauses_the_lane_before_its_slot_is_handed_on(on_virtual_clock: Run) -> None:
    async def story() -> float:
        pacer = new_pacer(max_in_flight=1)
        await learn(pacer)
        refused = await pacer.acquire(KEY, ONE)
        waiting = asyncio.create_task(send(pacer, 0.0))
        await turns()
        refused.release()
        refused.refused(pause=7.0)
        return await waiting

    assert on_virtual_clock(story()) == pytest.approx(7.0)


def test_a_pause_only_grows(on_virtual_clock: Run) -> None:
    async def story() -> float:
        pacer = new_pacer()
        await learn(pacer)
        slots = [await pacer.acquire(KEY, ONE) for _ in range(2)]
        slots[0].refused(pause=20.0)
        slots[1].refused(pause=3.0)
        for slot in slots:
            slot.release()
        return await send(pacer, 0.0)

    assert on_virtual_clock(story()) == pytest.approx(20.0)


def test_refusals_halve_what_may_be_in_flight(on_virtual_clock: Run) -> None:
    async def story() -> None:
        pacer = new_pacer()
        await learn(pacer)
        lane = pacer.lanes[KEY]
        slots = [await pacer.acquire(KEY, ONE) for _ in range(4)]
        for slot in slots:
            slot.succeeded()
            slot.release()
        grown = lane.concurrency.cap
        slot = await pacer.acquire(KEY, ONE)
        await asyncio.sleep(1)
        slot.refused(pause=0.0)
        assert lane.concurrency.cap == grown // 2

    on_virtual_clock(story())


def test_a_cancelled_waiter_leaves_the_queue_and_the_next_moves_up(on_virtual_clock: Run) -> None:
    async def story() -> None:
        pacer = new_pacer()
        await learn(pacer, Reading("tokens", 60_000, 100, None))
        large = asyncio.create_task(pacer.acquire(KEY, Ask(tokens=50_000)))
        small = asyncio.create_task(pacer.acquire(KEY, ONE))
        await turns()
        assert not small.done()
        large.cancel()
        await small
        assert large.cancelled()
        assert repr(pacer) == "<Pacer 1 in flight, 0 queued>"
        assert asyncio.get_running_loop().time() == 0

    on_virtual_clock(story())


def test_granted_and_cancelled_at_once_gives_the_slot_and_the_charge_back(
    on_virtual_clock: Run,
) -> None:
    async def story() -> None:
        pacer = new_pacer(max_in_flight=1)
        await learn(pacer, requests(60, 30))
        held = await pacer.acquire(KEY, ONE)
        unlucky = asyncio.create_task(pacer.acquire(KEY, ONE))
        next_one = asyncio.create_task(pacer.acquire(KEY, ONE))
        await turns()
        held.release()
        await asyncio.sleep(0)  # it is granted now, and has not noticed yet
        assert pacer.in_flight == 1
        unlucky.cancel()
        await next_one
        assert unlucky.cancelled()
        assert repr(pacer) == "<Pacer 1 in flight, 0 queued>"
        (limit,) = pacer.lanes[KEY].limits(0.0)
        assert limit.level == 28, "two were sent: the held one and the next one"

    on_virtual_clock(story())


def test_releasing_twice_frees_one_slot(on_virtual_clock: Run) -> None:
    async def story() -> None:
        pacer = new_pacer()
        await learn(pacer)
        slots = [await pacer.acquire(KEY, ONE) for _ in range(2)]
        slots[0].release()
        slots[0].release(reached_server=False)
        assert pacer.in_flight == 1

    on_virtual_clock(story())


def test_what_never_reached_the_server_is_refunded(on_virtual_clock: Run) -> None:
    async def story() -> None:
        pacer = new_pacer()
        await learn(pacer, requests(60, 30))
        (await pacer.acquire(KEY, ONE)).release(reached_server=False)
        (limit,) = pacer.lanes[KEY].limits(0.0)
        assert limit.level == 30

    on_virtual_clock(story())


def test_stop_refuses_who_waits_and_lets_later_ones_in(on_virtual_clock: Run) -> None:
    async def story() -> None:
        pacer = new_pacer()
        first = await pacer.acquire(KEY, ONE)
        waiting = [asyncio.create_task(pacer.acquire(KEY, ONE)) for _ in range(3)]
        elsewhere = asyncio.create_task(send(pacer, 0.0, key=OTHER))
        await turns()
        pacer.stop(KEY, STOPPED)
        outcomes = await asyncio.gather(*waiting, return_exceptions=True)
        assert outcomes == [STOPPED] * 3
        assert await elsewhere == 0
        first.release()
        await send(pacer, 0.0)
        assert repr(pacer) == "<Pacer 0 in flight, 0 queued>"

    on_virtual_clock(story())


def test_stop_of_a_lane_that_is_not_there_does_nothing(on_virtual_clock: Run) -> None:
    async def story() -> None:
        new_pacer().stop(KEY, STOPPED)

    on_virtual_clock(story())


def test_stop_does_not_disturb_a_waiter_that_is_being_cancelled(on_virtual_clock: Run) -> None:
    async def story() -> None:
        pacer = new_pacer()
        await pacer.acquire(KEY, ONE)
        waiting = asyncio.create_task(pacer.acquire(KEY, ONE))
        await turns()
        waiting.cancel()
        pacer.stop(KEY, STOPPED)
        await turns()
        assert waiting.cancelled()
        assert repr(pacer) == "<Pacer 1 in flight, 0 queued>"

    on_virtual_clock(story())


def test_the_bound_holds_over_all_lanes(on_virtual_clock: Run) -> None:
    async def story() -> None:
        pacer = new_pacer(max_in_flight=3)
        for key in (KEY, OTHER):
            await learn(pacer, requests(6000, 6000), key=key)
        most = 0

        async def watched(key: LaneKey) -> None:
            nonlocal most
            slot = await pacer.acquire(key, ONE)
            most = max(most, pacer.in_flight)
            await asyncio.sleep(1)
            slot.release()

        await asyncio.gather(*(watched(key) for key in [KEY, OTHER] * 10))
        assert most == 3

    on_virtual_clock(story())


@pytest.mark.parametrize("max_in_flight", [1, 4])
def test_a_long_batch_on_one_model_does_not_shut_out_another(
    on_virtual_clock: Run, max_in_flight: int
) -> None:
    async def story() -> None:
        pacer = new_pacer(max_in_flight=max_in_flight)
        for key in (KEY, OTHER):
            await learn(pacer, requests(6000, 6000), key=key)
        batch = [asyncio.create_task(send(pacer, 1.0)) for _ in range(40)]
        await turns()
        started = await send(pacer, 1.0, key=OTHER)
        assert started <= 1.0
        assert sum(task.done() for task in batch) < 10
        await asyncio.gather(*batch)

    on_virtual_clock(story())


def test_a_person_goes_before_the_batch(on_virtual_clock: Run) -> None:
    async def story() -> list[str]:
        pacer = new_pacer(max_in_flight=1)
        await learn(pacer, requests(6000, 6000))
        held = await pacer.acquire(KEY, ONE)
        order: list[str] = []

        async def run(name: str, *, interactive: bool) -> None:
            slot = await pacer.acquire(KEY, ONE, interactive=interactive)
            order.append(name)
            slot.release()

        batch = [asyncio.create_task(run("row", interactive=False)) for _ in range(2)]
        await turns()
        cell = asyncio.create_task(run("cell", interactive=True))
        await turns()
        held.release()
        await asyncio.gather(*batch, cell)
        return order

    assert on_virtual_clock(story()) == ["cell", "row", "row"]


def test_resize_lets_more_start_at_once(on_virtual_clock: Run) -> None:
    async def story() -> None:
        pacer = new_pacer(max_in_flight=1)
        await learn(pacer, requests(6000, 6000))
        tasks = [asyncio.create_task(pacer.acquire(KEY, ONE)) for _ in range(5)]
        await turns()
        assert pacer.in_flight == 1
        pacer.resize(4)
        await turns()
        assert pacer.in_flight == 4
        for task in tasks:
            task.cancel()

    on_virtual_clock(story())


class Server:
    """An OpenAI-like server on the loop's clock: buckets that refill linearly."""

    def __init__(self, limits: dict[str, float], *, fill: dict[str, float] | None = None) -> None:
        self.limits = limits
        self.levels = dict(fill or limits)
        self.refused = 0
        self._at = 0.0

    async def answer(self, slot: Slot, costs: dict[str, float], seconds: float) -> bool:
        loop = asyncio.get_running_loop()
        for name, limit in self.limits.items():
            refill = (loop.time() - self._at) * limit / 60
            self.levels[name] = min(limit, self.levels[name] + refill)
        self._at = loop.time()
        admitted = all(self.levels[name] + 1e-6 >= costs[name] for name in costs)
        if admitted:
            for name, cost in costs.items():
                self.levels[name] -= cost
        known = [
            Reading(name, limit, int(self.levels[name] + 1e-6), None)
            for name, limit in self.limits.items()
        ]
        self.refused += not admitted
        await asyncio.sleep(seconds if admitted else 0.0)
        slot.answered(known)
        slot.release()
        return admitted


@pytest.mark.parametrize(
    ("limits", "fill", "rows", "tokens", "ideal"),
    [
        ({"requests": 1200}, {"requests": 60.0}, 300, 10, 12.0),
        ({"requests": 1200}, {"requests": 1200.0}, 300, 10, 0.0),
        ({"tokens": 30_000}, {"tokens": 554.0}, 60, 500, 58.9),
        ({"requests": 600, "tokens": 60_000}, None, 150, 1000, 90.0),
    ],
)
def test_never_faster_than_allowed_never_slower_than_possible(
    on_virtual_clock: Run,
    *,
    limits: dict[str, float],
    fill: dict[str, float] | None,
    rows: int,
    tokens: int,
    ideal: float,
) -> None:
    async def story() -> tuple[int, float]:
        pacer, server = new_pacer(max_in_flight=1000), Server(limits, fill=fill)
        costs = {name: {"requests": 1.0, "tokens": float(tokens)}[name] for name in limits}

        async def row(number: int) -> None:
            slot = await pacer.acquire(KEY, Ask(tokens=tokens))
            await server.answer(slot, costs, 0.3 + number % 7 / 10)

        await asyncio.gather(*(row(number) for number in range(rows)))
        return server.refused, asyncio.get_running_loop().time()

    refused, seconds = on_virtual_clock(story())
    assert refused == 0
    # Besides the ideal: the first request goes alone, and the last one is answered.
    assert ideal <= seconds <= ideal * 1.02 + 0.3 + 0.9


def test_a_prompt_larger_than_the_limit_is_sent_in_the_end(on_virtual_clock: Run) -> None:
    """So that the server's own refusal reaches the user, and those behind it go on."""

    async def story() -> list[float]:
        pacer = new_pacer()
        await learn(pacer, Reading("tokens", 1000, 500, None))
        loop = asyncio.get_running_loop()
        giant = await pacer.acquire(KEY, Ask(tokens=5000))
        times = [loop.time()]
        giant.answered([Reading("tokens", 1000, 1000, None)])  # refused, so nothing was taken
        giant.release()
        await send(pacer, 0.0)
        return [*times, loop.time()]

    first, second = on_virtual_clock(story())
    assert first == pytest.approx(30.0)
    assert second < 400


def test_a_server_that_takes_forever_to_answer_does_not_raise_the_level(
    on_virtual_clock: Run,
) -> None:
    """Answers that come after the bucket was full must not count the refill that was lost."""

    async def story() -> int:
        pacer, server = new_pacer(max_in_flight=1000), Server({"requests": 60.0})

        async def row(delay: float, seconds: float) -> None:
            await asyncio.sleep(delay)
            slot = await pacer.acquire(KEY, ONE)
            await server.answer(slot, {"requests": 1.0}, seconds)

        slow = [row(1.0, 200.0 + number) for number in range(30)]
        quick = [row(201.0 + number / 10, 20.0) for number in range(200)]
        await asyncio.gather(row(0.0, 0.1), *slow, *quick)
        return server.refused

    assert on_virtual_clock(story()) == 0
