"""The choke point on a virtual clock, with errands that need no wire."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

from gpt_magics.pacing.retries import GiveUp
from gpt_magics.session.call import Call
from gpt_magics.session.choke_point import AttemptFailedError, ChokePoint, forget_frames
from gpt_magics.session.errand import Errand, Reply
from gpt_magics.session.metering import Meter
from gpt_magics.session.pacer import Pacer
from gpt_magics.spend.budget import Budget
from gpt_magics.spend.prices import Prices

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    Run = Callable[[Coroutine[Any, Any, Any]], Any]

FAULT = 500
REFUSAL = 429


@dataclass(frozen=True)
class Outcome:
    """What an attempt comes to, after so many seconds."""

    status: int
    seconds: float = 1.0
    headers: tuple[tuple[str, str], ...] = ()


class Story(Errand[int, str]):
    """An errand whose attempts end as told; the last outcome repeats."""

    def __init__(self, call: Call, *outcomes: Outcome) -> None:
        super().__init__(call)
        self.outcomes = list(outcomes)
        self.sent: list[float] = []

    async def transmit(self) -> Reply[int]:
        loop = asyncio.get_running_loop()
        self.sent.append(loop.time())
        outcome = self.outcomes.pop(0) if len(self.outcomes) > 1 else self.outcomes[0]
        await asyncio.sleep(outcome.seconds)
        if not outcome.status:
            raise TimeoutError
        return Reply(outcome.status, outcome.headers, outcome.status)

    def error(self, reply: Reply[int]) -> httpx2.Response:
        return httpx2.Response(reply.status, headers=list(reply.headers))

    def settle(self, reply: Reply[int], meter: Meter, release: Callable[[], None]) -> str:
        del meter
        self.reservation.release()
        release()
        return f"answered {reply.answer}"


def new_choke_point(*, max_attempts: int = 6) -> tuple[ChokePoint, Meter, Pacer]:
    pacer = Pacer(asyncio.get_running_loop(), max_in_flight=10)
    meter = Meter(Budget("session"), Prices({}))
    choke_point = ChokePoint(pacer, meter, address="http://a", key=0, max_attempts=max_attempts)
    return choke_point, meter, pacer


def test_a_success_takes_one_attempt(on_virtual_clock: Run) -> None:
    async def story() -> None:
        choke_point, meter, pacer = new_choke_point()
        errand = Story(Call("a job", model="m"), Outcome(200, headers=(("x-request-id", "r-1"),)))
        assert await choke_point.send(errand) == "answered 200"
        assert (errand.call.attempts, errand.call.in_flight, errand.call.request_id) == (
            1,
            False,
            "r-1",
        )
        assert (meter.requests, meter.by_origin, pacer.in_flight) == (1, {"a job": 1}, 0)

    on_virtual_clock(story())


def test_a_failure_is_repeated_after_its_wait_and_counted(on_virtual_clock: Run) -> None:
    async def story() -> None:
        choke_point, meter, _ = new_choke_point()
        errand = Story(Call("a job", model="m"), Outcome(FAULT), Outcome(FAULT), Outcome(200))
        assert await choke_point.send(errand) == "answered 200"
        first, second = (b - a for a, b in zip(errand.sent, errand.sent[1:], strict=False))
        assert 1.0 < first < second
        assert errand.call.retries == meter.retries == {"server error": 2}

    on_virtual_clock(story())


@pytest.mark.parametrize("most", [1, 3])
def test_attempts_are_bounded(on_virtual_clock: Run, most: int) -> None:
    async def story() -> None:
        choke_point, meter, pacer = new_choke_point(max_attempts=most)
        errand = Story(Call("a job", model="m"), Outcome(FAULT))
        with pytest.raises(AttemptFailedError) as caught:
            await choke_point.send(errand)
        assert isinstance(caught.value.verdict, GiveUp)
        assert (len(errand.sent), meter.requests, pacer.in_flight) == (most, most, 0)
        assert meter.retries.total() == most - 1

    on_virtual_clock(story())


def test_what_cannot_be_replayed_is_sent_once(on_virtual_clock: Run) -> None:
    async def story() -> None:
        choke_point, meter, _ = new_choke_point()
        errand = Story(Call("a job", model="m"), Outcome(FAULT))
        errand.replayable = False
        with pytest.raises(AttemptFailedError):
            await choke_point.send(errand)
        assert (len(errand.sent), meter.retries.total()) == (1, 0)

    on_virtual_clock(story())


@pytest.mark.parametrize("status", [FAULT, 0])
@pytest.mark.parametrize(
    ("deadline", "attempts"), [(5.0, 1), (10.0, 1), (15.0, 2), (25.0, 3), (None, 6)]
)
def test_past_its_deadline_nothing_is_sent_again(
    on_virtual_clock: Run, deadline: float | None, attempts: int, status: int
) -> None:
    """Attempts of 10 s each, with short waits in between."""

    async def story() -> None:
        choke_point, _, _ = new_choke_point()
        call = Call("a job", model="m", deadline=deadline)
        errand = Story(call, Outcome(status, seconds=10.0))
        with pytest.raises(AttemptFailedError):
            await choke_point.send(errand)
        assert len(errand.sent) == attempts
        assert deadline is None or call.verdict == GiveUp("timeout")

    on_virtual_clock(story())


def test_waiting_for_the_limits_does_not_count_against_the_deadline(on_virtual_clock: Run) -> None:
    async def story() -> None:
        choke_point, _, _ = new_choke_point()
        told_to_wait = Outcome(REFUSAL, seconds=0.1, headers=(("retry-after", "60"),))
        errand = Story(
            Call("a job", model="m", deadline=5.0), told_to_wait, told_to_wait, Outcome(200)
        )
        assert await choke_point.send(errand) == "answered 200"
        assert errand.sent[-1] > 120.0

    on_virtual_clock(story())


def test_a_cancelled_attempt_frees_its_slot(on_virtual_clock: Run) -> None:
    async def story() -> None:
        choke_point, _, pacer = new_choke_point()
        errand = Story(Call("a job", model="m"), Outcome(200, seconds=60.0))
        task = asyncio.create_task(choke_point.send(errand))
        await asyncio.sleep(1.0)
        assert (pacer.in_flight, errand.call.in_flight) == (1, True)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (pacer.in_flight, errand.call.in_flight) == (0, False)

    on_virtual_clock(story())


def test_frames_are_forgotten_all_the_way_down() -> None:
    def inner(secret: str) -> None:
        raise ValueError(len(secret))

    def outer(secret: str) -> None:
        try:
            inner(secret)
        except ValueError:
            raise RuntimeError("outer") from KeyError(1)

    with pytest.raises(RuntimeError) as caught:
        outer("a secret")
    error = caught.value
    assert error.__context__ is not None
    assert error.__context__.__traceback__ is not None
    forget_frames(error)
    assert error.__traceback__ is error.__context__.__traceback__ is None
