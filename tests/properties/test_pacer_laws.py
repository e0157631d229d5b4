"""Whatever comes in whatever order, the pacer starts everybody, once, and never too many."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st
from virtual_clock import VirtualLoop

from gpt_magics.errors import QueueStoppedError
from gpt_magics.pacing.buckets import Ask
from gpt_magics.pacing.headers import Reading
from gpt_magics.session.pacer import LaneKey, Pacer

LIMIT = 6_000
KEYS = [LaneKey("http://a", 0, model) for model in ("small", "large")]


@dataclass(frozen=True)
class Errand:
    """One request of the story: when it comes, what it is, and what becomes of it."""

    lane: int
    arrives: float
    tokens: int
    interactive: bool
    seconds: float
    outcome: str
    gives_up_after: float | None
    pause: float


errands = st.builds(
    Errand,
    lane=st.integers(0, 1),
    arrives=st.floats(0, 30),
    tokens=st.one_of(st.integers(0, 50), st.integers(0, 2 * LIMIT)),
    interactive=st.booleans(),
    seconds=st.floats(0, 20),
    outcome=st.sampled_from(["answered", "answered", "no headers", "refused", "lost", "zero"]),
    gives_up_after=st.one_of(st.none(), st.none(), st.floats(0, 60)),
    pause=st.floats(0, 10),
)


class Story:
    """Runs errands through a pacer and watches."""

    def __init__(self, pacer: Pacer) -> None:
        self.pacer = pacer
        self.loop = asyncio.get_running_loop()
        self.joined: list[tuple[Errand, int]] = []
        self.started: list[tuple[Errand, int]] = []
        self.most = 0

    async def run(self, number: int, errand: Errand) -> str:
        await asyncio.sleep(errand.arrives)
        try:
            async with asyncio.timeout(errand.gives_up_after):
                await self.send(number, errand)
        except TimeoutError:
            return "gave up"
        except QueueStoppedError:
            return "stopped"
        return "done"

    async def send(self, number: int, errand: Errand) -> None:
        self.joined.append((errand, number))
        slot = await self.pacer.acquire(
            KEYS[errand.lane], Ask(tokens=errand.tokens), interactive=errand.interactive
        )
        self.started.append((errand, number))
        self.most = max(self.most, self.pacer.in_flight)
        try:
            await asyncio.sleep(errand.seconds)
            if errand.outcome == "no headers":
                slot.answered([])
                slot.succeeded()
            elif errand.outcome in ("answered", "zero"):
                left = 0 if errand.outcome == "zero" else LIMIT * 3 // 4
                slot.answered([Reading("tokens", LIMIT, left, 0.0)])
                slot.succeeded()
            elif errand.outcome == "refused":
                slot.answered([Reading("requests", 60, 0, 60.0)])
                slot.refused(pause=errand.pause)
        finally:
            slot.release(reached_server=errand.outcome != "lost")


def told(
    story: list[Errand], max_in_flight: int, stop_at: float | None = None
) -> tuple[Story, list[str]]:
    async def run() -> tuple[Story, list[str]]:
        pacer = Pacer(asyncio.get_running_loop(), max_in_flight=max_in_flight)
        watcher = Story(pacer)
        if stop_at is not None:
            error = QueueStoppedError("Not sent.", reason="wrong key")
            asyncio.get_running_loop().call_later(stop_at, pacer.stop, KEYS[0], error)
        outcomes = await asyncio.gather(
            *(watcher.run(number, errand) for number, errand in enumerate(story))
        )
        return watcher, outcomes

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(run())


@given(
    story=st.lists(errands, max_size=25),
    max_in_flight=st.integers(1, 8),
    stop_at=st.one_of(st.none(), st.floats(0, 60)),
)
def test_everybody_starts_or_leaves_and_nothing_is_left_behind(
    story: list[Errand], max_in_flight: int, stop_at: float | None
) -> None:
    """A waiter that never starts is a deadlock, which the virtual clock turns into an error."""
    watcher, outcomes = told(story, max_in_flight, stop_at)
    pacer = watcher.pacer
    assert watcher.most <= max_in_flight
    assert pacer.in_flight == 0
    assert repr(pacer) == "<Pacer 0 in flight, 0 queued>"
    assert all(lane.queued == 0 for lane in pacer.lanes.values())
    started = [number for _, number in watcher.started]
    assert len(started) == len(set(started))
    for errand, outcome in zip(story, outcomes, strict=True):
        if errand.gives_up_after is None and (stop_at is None or errand.lane == 1):
            assert outcome == "done"


@settings(max_examples=40)
@given(
    story=st.lists(errands, min_size=2, max_size=25),
    max_in_flight=st.integers(1, 8),
)
def test_within_a_queue_whoever_came_first_starts_first(
    story: list[Errand], max_in_flight: int
) -> None:
    watcher, _ = told(story, max_in_flight)
    for lane in (0, 1):
        for interactive in (True, False):
            queue = [
                [
                    number
                    for errand, number in order
                    if errand.lane == lane and errand.interactive == interactive
                ]
                for order in (watcher.joined, watcher.started)
            ]
            started = set(queue[1])
            assert queue[1] == [number for number in queue[0] if number in started]


@settings(max_examples=40)
@given(seconds=st.lists(st.floats(0.001, 30), min_size=2, max_size=20))
def test_nobody_goes_with_the_first_request(seconds: list[float]) -> None:
    async def run() -> None:
        loop = asyncio.get_running_loop()
        pacer = Pacer(loop, max_in_flight=100)
        first_answer = seconds[0]

        async def send(number: int) -> None:
            slot = await pacer.acquire(KEYS[0], Ask(tokens=1))
            assert number == 0 or loop.time() >= first_answer
            await asyncio.sleep(seconds[number])
            slot.answered([Reading("tokens", LIMIT, LIMIT - 1, None)])
            slot.release()

        await asyncio.gather(*(send(number) for number in range(len(seconds))))

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(run())
