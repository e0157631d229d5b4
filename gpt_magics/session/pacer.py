"""The pacer: lanes on a real clock. Whoever wants to send asks it for a slot and waits.

All of it runs on the session's loop; the loop's clock is the only clock, so a test that gives a
loop with a virtual clock needs no patching.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from gpt_magics.errors import QueueStoppedError
from gpt_magics.pacing.buckets import Ask
from gpt_magics.pacing.headers import Reading
from gpt_magics.pacing.lanes import Lane, Ticket


class LaneKey(NamedTuple):
    """What shares a limit: a server, a key (by number, never by value) and a model."""

    server: str
    key: int
    model: str


@dataclass(eq=False, slots=True)
class Slot:
    """Leave to send one request. Tell it of the answer, then release it, always."""

    lane: Lane
    ticket: Ticket
    _wake: Callable[[], None]
    _loop: asyncio.AbstractEventLoop
    _open: bool = field(default=True)

    def answered(
        self, readings: Sequence[Reading], *, worked: float | None = None, refused: bool = False
    ) -> None:
        """The answer's headers came.

        Args:
            readings: the limits that they report.
            worked: seconds that the server says it took.
            refused: whether the server had no room for the request.
        """
        now = self._loop.time()
        self.lane.answered(self.ticket, readings, now, worked=worked, refused=refused)
        self._wake()

    def succeeded(self) -> None:
        """The server had room for this request."""
        self.lane.concurrency.answered(in_flight=self.lane.in_flight)

    def refused(self, *, pause: float) -> None:
        """The server had no room: everybody in the lane waits ``pause`` seconds."""
        now = self._loop.time()
        self.lane.concurrency.refused(sent=self.ticket.sent or now, now=now)
        self.lane.pause(now + pause)

    def release(self, *, reached_server: bool = True) -> None:
        """The request is no longer in flight. Releasing twice is fine."""
        if self._open:
            self._open = False
            self.lane.released(self.ticket, reached_server=reached_server)
            self._wake()


class Pacer:
    """Every lane of the session, and the bound on what is in flight over all of them."""

    def __init__(self, loop: asyncio.AbstractEventLoop, *, max_in_flight: int) -> None:
        self.max_in_flight = max_in_flight
        self.lanes: dict[LaneKey, Lane] = {}
        self._loop = loop
        self._waiting: dict[Ticket, asyncio.Future[None]] = {}
        self._timers: dict[LaneKey, asyncio.TimerHandle] = {}
        self._woken = False
        self._starts = 0
        self._served: dict[LaneKey, int] = {}

    def __repr__(self) -> str:
        return f"<Pacer {self.in_flight} in flight, {len(self._waiting)} queued>"

    @property
    def in_flight(self) -> int:
        """How many requests are out, over all lanes."""
        return sum(lane.in_flight for lane in self.lanes.values())

    async def acquire(self, key: LaneKey, ask: Ask, *, interactive: bool = False) -> Slot:
        """Wait until a request that costs ``ask`` may be sent.

        Raises:
            QueueStoppedError: the lane was stopped while this request waited.
        """
        lane = self.lanes.get(key)
        if lane is None:
            lane = self.lanes[key] = Lane(max_in_flight=self.max_in_flight)
        ticket = Ticket(ask, interactive)
        slot = Slot(lane, ticket, self._wake, self._loop)
        future = self._waiting[ticket] = self._loop.create_future()
        lane.join(ticket)
        self._pump(key)
        try:
            await future
        except BaseException:
            self._waiting.pop(ticket, None)
            if ticket.sent is None:
                lane.leave(ticket)
                self._pump(key)
            else:  # granted and cancelled at the same moment: nothing was sent
                slot.release(reached_server=False)
            raise
        return slot

    def stop(self, key: LaneKey, error: QueueStoppedError) -> None:
        """Refuse whoever waits in this lane. Later requests are let in again."""
        lane = self.lanes.get(key)
        for ticket in lane.clear() if lane else ():
            future = self._waiting.pop(ticket)
            if not future.done():
                future.set_exception(error)

    def resize(self, max_in_flight: int) -> None:
        """Change the bound on requests in flight."""
        self.max_in_flight = max_in_flight
        for lane in self.lanes.values():
            lane.resize(max_in_flight)
        self._wake()

    def _wake(self) -> None:
        # At the loop's next turn: whoever brings news has told all of it by then, so that a slot
        # freed by a refusal is not handed on before the pause that the refusal asks for.
        if not self._woken:
            self._woken = True
            self._loop.call_soon(self._pump_all)

    def _pump_all(self) -> None:
        self._woken = False
        # A freed slot is anybody's: each goes to the lane with the least in flight, and among
        # equals to the one served longest ago, so that a long batch on one model cannot shut out
        # another.
        hungry = [key for key, lane in self.lanes.items() if lane.queued]
        while hungry:
            key = min(hungry, key=lambda key: (self.lanes[key].in_flight, self._served.get(key, 0)))
            if not self._start(key, at_most=1):
                hungry.remove(key)
                self._set_timer(key)

    def _pump(self, key: LaneKey) -> None:
        self._start(key, at_most=self.max_in_flight)
        self._set_timer(key)

    def _start(self, key: LaneKey, *, at_most: int) -> bool:
        """Whether anybody could start."""
        room = min(at_most, self.max_in_flight - self.in_flight)
        started = self.lanes[key].start(self._loop.time(), room)
        for ticket in started:
            future = self._waiting.pop(ticket)
            if not future.done():
                future.set_result(None)
        if started:
            self._starts += 1
            self._served[key] = self._starts
        return bool(started)

    def _set_timer(self, key: LaneKey) -> None:
        now = self._loop.time()
        delay = self.lanes[key].wait(now)
        timer = self._timers.pop(key, None)
        if timer is not None:
            timer.cancel()
        # With no room, the release of a slot wakes everybody.
        if delay is not None and self.in_flight < self.max_in_flight:
            self._timers[key] = self._loop.call_at(now + delay, self._pump, key)
