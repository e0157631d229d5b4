"""The pacer: lanes on a real clock. Whoever wants to send asks it for a slot and waits.

All of it runs on the session's loop; the loop's clock is the only clock, so a test that gives a
loop with a virtual clock needs no patching.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

from gpt_magics.errors import QueueStoppedError
from gpt_magics.pacing.account import Account
from gpt_magics.pacing.buckets import Ask
from gpt_magics.pacing.headers import Reading
from gpt_magics.pacing.lanes import Lane, Ticket


class LaneKey(NamedTuple):
    """What shares a limit: a server, a key (by number, never by value) and a model."""

    server: str
    key: int
    model: str


class Slot:
    """Leave to send one request. Tell it of the answer, then release it, always."""

    __slots__ = ("_open", "_pacer", "_readings", "lane", "ticket")

    def __init__(self, lane: Lane, ticket: Ticket, pacer: Pacer) -> None:
        self.lane, self.ticket = lane, ticket
        self._pacer = pacer
        self._readings: Sequence[Reading] = ()
        self._open = True

    def __repr__(self) -> str:
        return f"<Slot {'open' if self._open else 'released'}>"

    def answered(
        self, readings: Sequence[Reading], *, worked: float | None = None, refused: bool = False
    ) -> None:
        """The answer's headers came.

        Args:
            readings: the limits that they report.
            worked: seconds that the server says it took.
            refused: whether the server had no room for the request.
        """
        self._readings = readings
        now = self._pacer.now()
        self.lane.answered(self.ticket, readings, now, worked=worked, refused=refused)
        self._pacer.wake()

    def succeeded(self) -> None:
        """The server had room for this request."""
        self.lane.succeeded(self.ticket, self._pacer.now())

    def refused(
        self, *, pause: float, limited: bool = True, reached: Reading | None = None
    ) -> bool:
        """The server had no room, and asks for ``pause`` seconds; call it after ``answered``.

        ``limited`` tells a rate limit from an overloaded server, ``reached`` is the limit that it
        names. Returns whether the whole lane waits; if not, this request has to wait by itself.
        """
        return self.lane.refused(
            self.ticket,
            self._readings,
            self._pacer.now(),
            pause=pause,
            limited=limited,
            reached=reached,
        )

    def slow_down(self) -> None:
        """The server asked for half as many requests a second."""
        self.lane.slow_down(self.ticket, self._pacer.now())

    def release(self, *, reached_server: bool = True) -> None:
        """The request is no longer in flight. Releasing twice is fine."""
        if self._open:
            self._open = False
            self._pacer.released(self.lane, self.ticket, reached_server=reached_server)


class Pacer:
    """Every lane of the session, and the bound on what is in flight over all of them."""

    def __init__(self, loop: asyncio.AbstractEventLoop, *, max_in_flight: int) -> None:
        self.max_in_flight = max_in_flight
        self.in_flight = 0
        self.lanes: dict[LaneKey, Lane] = {}
        self.now = loop.time
        self._loop = loop
        self._accounts: dict[tuple[str, int], Account] = {}
        self._waiting: dict[Ticket, asyncio.Future[None]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._woken = False
        self._starts = 0
        self._served: dict[LaneKey, int] = {}

    def __repr__(self) -> str:
        return f"<Pacer {self.in_flight} in flight, {len(self._waiting)} queued>"

    async def acquire(self, key: LaneKey, ask: Ask, *, interactive: bool = False) -> Slot:
        """Wait until a request that costs ``ask`` may be sent.

        Raises:
            QueueStoppedError: the lane was stopped while this request waited.
        """
        lane = self.lanes.get(key) or self._open(key)
        ticket = Ticket(ask, interactive)
        slot = Slot(lane, ticket, self)
        free = not lane.queued
        lane.join(ticket)
        if free and self._start(key, at_most=1):  # the common case when there is room
            return slot
        future = self._waiting[ticket] = self._loop.create_future()
        if free or interactive:
            self.wake()
        try:
            await future
        except BaseException:
            self._waiting.pop(ticket, None)
            if ticket.sent is None:
                lane.leave(ticket)
                self.wake()
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
        self.wake()

    def released(self, lane: Lane, ticket: Ticket, *, reached_server: bool) -> None:
        """A request is no longer in flight."""
        self.in_flight -= 1
        lane.released(ticket, reached_server=reached_server)
        self.wake()

    def wake(self) -> None:
        """See who may start, at the loop's next turn.

        Whoever brings news has told all of it by then, so that a slot freed by a refusal is not
        handed on before the pause that the refusal asks for.
        """
        if self._waiting and not self._woken:
            self._woken = True
            self._loop.call_soon(self._pump)

    def _open(self, key: LaneKey) -> Lane:
        account = self._accounts.setdefault((key.server, key.key), Account())
        lane = self.lanes[key] = Lane(max_in_flight=self.max_in_flight, account=account)
        return lane

    def _pump(self) -> None:
        """Start whoever may start, and set a timer for the next."""
        self._woken = False
        hungry = [key for key, lane in self.lanes.items() if lane.queued]
        if len(hungry) == 1:
            self._start(hungry[0], at_most=self.max_in_flight)
        else:
            self._share_out(list(hungry))
        self._set_timer(hungry)

    def _share_out(self, hungry: list[LaneKey]) -> None:
        # A freed slot is anybody's. A person goes before any batch; after that each goes to the
        # lane with the least in flight, and among equals to the one served longest ago, so that a
        # long batch on one model cannot shut out another.
        while hungry and self.in_flight < self.max_in_flight:
            key = min(hungry, key=self._turn)
            if not self._start(key, at_most=1):
                hungry.remove(key)

    def _turn(self, key: LaneKey) -> tuple[bool, int, int]:
        lane = self.lanes[key]
        person = lane.head is not None and lane.head.interactive
        return not person, lane.in_flight, self._served.get(key, 0)

    def _start(self, key: LaneKey, *, at_most: int) -> bool:
        """Whether anybody could start."""
        room = min(at_most, self.max_in_flight - self.in_flight)
        started = self.lanes[key].start(self._loop.time(), room) if room > 0 else []
        self.in_flight += len(started)
        for ticket in started:
            future = self._waiting.pop(ticket, None)
            if future is not None and not future.done():
                future.set_result(None)
        if started:
            self._starts += 1
            self._served[key] = self._starts
        return bool(started)

    def _set_timer(self, hungry: list[LaneKey]) -> None:
        """Come back when the first of the heads may start by time alone."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self.in_flight >= self.max_in_flight:
            return  # the release of a slot wakes everybody
        now = self._loop.time()
        waits = [wait for key in hungry if (wait := self.lanes[key].wait(now)) is not None]
        if waits:
            self._timer = self._loop.call_at(now + min(waits), self._pump)
