"""The pacer on a virtual clock: waiting, waking, cancelling, stopping."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from virtual_clock import VirtualLoop

from gpt_magics.errors import QueueStoppedError
from gpt_magics.pacing.buckets import Ask
from gpt_magics.pacing.headers import Reading
from gpt_magics.pacing.lanes import Lane, Ticket
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


def at_once(waiting: Coroutine[Any, Any, Slot]) -> Slot:
    """What a coroutine returns without giving the loop a turn."""
    try:
        waiting.send(None)
    except StopIteration as done:
        slot: Slot = done.value
        return slot
    waiting.close()
    raise AssertionError("it had to wait")


async def learn(pacer: Pacer, *known: Reading, key: LaneKey = KEY) -> None:
    """Send the first request, which goes alone."""
    slot = await pacer.acquire(key, ONE)
    slot.answered(known)
    slot.release()


async def turns() -> None:
    """Let everything run that does not wait for time."""
    for _ in range(10):
        await asyncio.sleep(0)


async def send(
    pacer: Pacer, seconds: float, *, key: LaneKey = KEY, interactive: bool = False
) -> float:
    """Hold a slot for some time; returns when it started."""
    slot = await pacer.acquire(key, ONE, interactive=interactive)
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


def test_who_finds_room_starts_without_a_turn_of_the_loop(on_virtual_clock: Run) -> None:
    async def story() -> None:
        pacer = new_pacer()
        slot = at_once(pacer.acquire(KEY, ONE))
        slot.answered([requests(600, 599)])
        slot.release()
        for _ in range(10):
            at_once(pacer.acquire(KEY, ONE))
        assert repr(pacer) == "<Pacer 10 in flight, 0 queued>"

    on_virtual_clock(story())


def test_who_finds_room_does_not_overtake_those_who_wait(on_virtual_clock: Run) -> None:
    async def story() -> None:
        pacer = new_pacer()
        await learn(pacer, Reading("tokens", 60_000, 100, None))
        large = asyncio.create_task(pacer.acquire(KEY, Ask(tokens=10_000)))
        await turns()
        small = asyncio.create_task(send(pacer, 0.0))
        await large
        assert await small >= asyncio.get_running_loop().time() > 9

    on_virtual_clock(story())


def test_a_slot_that_has_just_come_free_is_not_snatched_from_who_waits_for_it(
    on_virtual_clock: Run,
) -> None:
    async def story() -> None:
        pacer = new_pacer(max_in_flight=1)
        await learn(pacer, requests(600, 500))
        held = await pacer.acquire(KEY, ONE)
        waiting = asyncio.create_task(send(pacer, 0.0))
        await turns()
        held.release()
        with pytest.raises(AssertionError, match="it had to wait"):
            at_once(pacer.acquire(KEY, ONE))
        await waiting
        assert repr(pacer) == "<Pacer 0 in flight, 0 queued>"

    on_virtual_clock(story())


def test_the_timer_is_set_for_whoever_may_start_first(on_virtual_clock: Run) -> None:
    async def story() -> list[float]:
        pacer = new_pacer()
        keys = [LaneKey(f"http://{name}", 0, "small") for name in "abc"]
        for key, wait in zip(keys, (40, 10, 30), strict=True):
            await learn(pacer, Reading("tokens", 60_000, 0, None), key=key)
            lane = pacer.lanes[key]
            lane.pause(float(wait))
        return await asyncio.gather(*(send(pacer, 0.0, key=key) for key in keys))

    assert on_virtual_clock(story()) == [40, 10, 30]


def test_waiting_costs_no_wake_ups_without_work(
    on_virtual_clock: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of 200 starts when the timer says so; nobody asks in vain while time passes."""
    asked = 0
    start = Lane.start

    def counted(lane: Lane, now: float, room: int) -> list[Ticket]:
        nonlocal asked
        asked += 1
        return start(lane, now, room)

    async def story() -> float:
        pacer = new_pacer()
        await learn(pacer, requests(60, 0))
        monkeypatch.setattr(Lane, "start", counted)
        await asyncio.gather(*(send(pacer, 30.0) for _ in range(200)))
        return asyncio.get_running_loop().time()

    assert on_virtual_clock(story()) > 200
    assert asked <= 3 * 200


def test_a_person_who_comes_while_a_timer_runs_is_let_in_at_once(on_virtual_clock: Run) -> None:
    async def story() -> float:
        pacer = new_pacer()
        await learn(pacer, Reading("tokens", 60_000, 100, None))
        row = asyncio.create_task(pacer.acquire(KEY, Ask(tokens=50_000)))
        await asyncio.sleep(5.0)
        started = await send(pacer, 0.0, interactive=True)
        row.cancel()
        return started

    assert on_virtual_clock(story()) == 5.0


def test_an_answer_with_good_news_is_acted_on_before_the_timer(on_virtual_clock: Run) -> None:
    async def story() -> float:
        pacer = new_pacer()
        await learn(pacer, requests(60, 3))
        slots = [await pacer.acquire(KEY, ONE) for _ in range(2)]
        waiting = asyncio.create_task(send(pacer, 0.0))
        row = asyncio.create_task(pacer.acquire(KEY, Ask(requests=40)))
        await asyncio.sleep(1.0)
        for slot in slots:
            slot.answered([requests(60, 58)])
        await row
        await waiting
        return asyncio.get_running_loop().time()

    assert on_virtual_clock(story()) == pytest.approx(1.0, abs=0.1)


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
        await learn(pacer, requests(600, 500))
        slots = [await pacer.acquire(KEY, ONE) for _ in range(2)]
        for slot in slots:
            slot.answered([requests(600, 0)], refused=True)
        assert slots[0].refused(pause=20.0), "everybody waits"
        assert slots[1].refused(pause=3.0)
        for slot in slots:
            slot.release()
        return await send(pacer, 0.0)

    assert on_virtual_clock(story()) == pytest.approx(20.0)


def test_where_no_limits_are_told_a_refusal_frees_its_place_and_pauses_nobody(
    on_virtual_clock: Run,
) -> None:
    async def story() -> None:
        pacer = new_pacer()
        await learn(pacer)
        tasks = [asyncio.create_task(pacer.acquire(KEY, ONE)) for _ in range(50)]
        await turns()
        slots = [task.result() for task in tasks if task.done()]
        slots[-1].answered([], refused=True)
        slots[-1].release()
        assert not slots[-1].refused(pause=30.0), "this one waits by itself"
        await turns()
        assert pacer.in_flight == len(slots) - 1, "as many as the server holds"
        for slot in slots[:2]:
            slot.release()
        await turns()
        assert pacer.in_flight == len(slots) - 1, "two go, two come"
        for task in tasks:
            task.cancel()

    on_virtual_clock(story())


def test_the_servers_own_word_of_its_work_dates_the_charge(on_virtual_clock: Run) -> None:
    async def story() -> float:
        pacer = new_pacer()
        await learn(pacer, requests(60, 50))
        slot = await pacer.acquire(KEY, ONE)
        await asyncio.sleep(3.0)
        slot.answered([requests(60, 9)], worked=1.0)
        (limit,) = pacer.lanes[KEY].limits(3.0)
        return limit.level

    assert on_virtual_clock(story()) == 10


def test_a_refused_request_is_given_back(on_virtual_clock: Run) -> None:
    async def story() -> None:
        pacer = new_pacer()
        await learn(pacer, requests(60, 30))
        slot = await pacer.acquire(KEY, ONE)
        slot.answered([], refused=True)
        slot.release()
        slot.refused(pause=0.0)
        (limit,) = pacer.lanes[KEY].limits(0.0)
        assert limit.level == 30

    on_virtual_clock(story())


def test_asked_to_slow_down_the_lane_sends_half_as_many(on_virtual_clock: Run) -> None:
    async def story() -> int:
        pacer = new_pacer()
        await learn(pacer, requests(600, 0))
        rows = [asyncio.create_task(send(pacer, 0.0)) for _ in range(1_000)]
        await asyncio.sleep(30.0)
        before = sum(row.done() for row in rows)
        slot = await pacer.acquire(KEY, ONE, interactive=True)
        slot.slow_down()
        slot.release()
        await asyncio.sleep(14.0)
        slowly = sum(row.done() for row in rows) - before
        for row in rows:
            row.cancel()
        return slowly

    assert on_virtual_clock(story()) == pytest.approx(70, rel=0.1)


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
        assert [repr(slot) for slot in slots] == ["<Slot released>", "<Slot open>"]

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


def test_stop_lets_those_go_on_who_left_their_turn_to_the_stopped(on_virtual_clock: Run) -> None:
    """A large request of another model was first on the limit that both share."""

    async def story() -> float:
        pacer = new_pacer()
        for key in (KEY, OTHER):
            await learn(pacer, Reading("tokens", 60_000, 100, None), key=key)
        large = asyncio.create_task(pacer.acquire(OTHER, Ask(tokens=50_000)))
        await turns()
        small = asyncio.create_task(send(pacer, 0.0))
        await asyncio.sleep(5.0)
        assert not small.done()
        pacer.stop(OTHER, STOPPED)
        with pytest.raises(QueueStoppedError):
            await large
        return await small

    assert on_virtual_clock(story()) == 5.0


def test_after_a_stop_the_next_goes_alone_to_see_whether_it_is_still_so(
    on_virtual_clock: Run,
) -> None:
    async def story() -> None:
        pacer = new_pacer()
        await learn(pacer, requests(600, 500))
        pacer.stop(KEY, STOPPED)
        tasks = [asyncio.create_task(pacer.acquire(KEY, ONE)) for _ in range(5)]
        await turns()
        assert repr(pacer) == "<Pacer 1 in flight, 4 queued>"
        for task in tasks:
            task.cancel()

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


def test_a_person_goes_before_the_batches_of_other_models(on_virtual_clock: Run) -> None:
    async def story() -> list[float]:
        pacer = new_pacer(max_in_flight=2)
        for key in (KEY, OTHER):
            await learn(pacer, requests(6000, 6000), key=key)
        batch = [asyncio.create_task(send(pacer, 1.0, key=key)) for key in [KEY, OTHER] * 10]
        await turns()
        people = [asyncio.create_task(send(pacer, 1.0, interactive=True)) for _ in range(2)]
        started = await asyncio.gather(*people)
        await asyncio.gather(*batch)
        return started

    assert on_virtual_clock(story()) == [1.0, 1.0]


def test_models_of_one_key_share_what_may_be_a_shared_limit(on_virtual_clock: Run) -> None:
    async def story() -> float:
        pacer = new_pacer()
        await learn(pacer, requests(60, 0))
        return await send(pacer, 0.0, key=OTHER)

    assert on_virtual_clock(story()) == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize(
    "other", [LaneKey("http://a", 1, "small"), LaneKey("http://b", 0, "small")]
)
def test_another_key_and_another_server_have_limits_of_their_own(
    on_virtual_clock: Run, other: LaneKey
) -> None:
    async def story() -> float:
        pacer = new_pacer()
        await learn(pacer, requests(60, 0))
        return await send(pacer, 0.0, key=other)

    assert on_virtual_clock(story()) == 0


def test_resize_to_fewer_lets_nobody_start_until_enough_have_ended(on_virtual_clock: Run) -> None:
    async def story() -> list[float]:
        pacer = new_pacer(max_in_flight=4)
        await learn(pacer, requests(6000, 6000))
        first = [asyncio.create_task(send(pacer, float(number))) for number in range(1, 5)]
        await turns()
        pacer.resize(2)
        later = [asyncio.create_task(send(pacer, 10.0)) for _ in range(2)]
        await asyncio.gather(*first)
        return await asyncio.gather(*later)

    assert on_virtual_clock(story()) == [3.0, 4.0]


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
    # Besides the ideal: the first request goes alone, what follows a burst waits for two trials,
    # and the last one is answered.
    assert ideal <= seconds <= ideal * 1.02 + 0.3 + 2 * 0.075 + 0.9


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
