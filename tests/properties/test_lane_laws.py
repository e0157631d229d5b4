"""A lane against a server that keeps its own books, told about them in headers that may be broken.

Every request is charged when it is sent, answered in any order, by headers that are whole, absent
or nonsense, or never; the clock moves in small and large steps, and sometimes back.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from gpt_magics.pacing.account import Account
from gpt_magics.pacing.buckets import Ask
from gpt_magics.pacing.headers import readings
from gpt_magics.pacing.lanes import Lane, Ticket

TINY = 1e-6
NONSENSE = st.one_of(
    st.sampled_from(["", "-1", "nan", "inf", "1e999", "0", "soon", "6m0s", "९", "1,000", " 7 "]),
    st.text(max_size=8),
)
HEADERS = st.dictionaries(
    st.sampled_from(
        [
            f"x-ratelimit-{part}-{unit}"
            for part in ("limit", "remaining", "reset")
            for unit in ("requests", "tokens", "input-images", "")
        ]
    ),
    NONSENSE,
    max_size=5,
)


class Books:
    """One limit as the server keeps it."""

    def __init__(self, limit: float, level: float) -> None:
        self.limit, self._level, self._at = limit, level, 0.0

    def level(self, now: float) -> float:
        return min(self.limit, self._level + self.limit / 60 * (now - self._at))

    def holds(self, cost: float, now: float) -> bool:
        return self.level(now) >= cost - TINY * self.limit

    def charge(self, cost: float, now: float) -> None:
        self._level, self._at = self.level(now) - cost, now


@dataclass(eq=False)
class Sent:
    ticket: Ticket
    headers: dict[str, str]
    refused: bool


class OneLane(RuleBasedStateMachine):
    """The laws of one lane whose server tells the truth whenever it tells anything."""

    @initialize(
        rpm=st.integers(1, 3_000),
        tpm=st.integers(100, 1_000_000),
        fill=st.floats(0, 1),
        room=st.integers(1, 50),
    )
    def open(self, rpm: int, tpm: int, fill: float, room: int) -> None:
        self.now = 0.0
        self.books = {"requests": Books(rpm, rpm * fill), "tokens": Books(tpm, tpm * fill)}
        self.lane = Lane(max_in_flight=room, account=Account())
        self.room = room
        self.waiting: list[Ticket] = []
        self.out: list[Sent] = []
        self.told = False

    @rule(seconds=st.one_of(st.floats(0, 0.1), st.floats(0, 100)))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        self.start(self.now)

    @rule(seconds=st.floats(0, 5))
    def a_clock_that_goes_back(self, seconds: float) -> None:
        self.lane.wait(self.now - seconds)
        self.lane.limits(self.now - seconds)

    @rule(share=st.floats(0, 1), interactive=st.booleans(), many=st.integers(1, 5))
    def join(self, share: float, interactive: bool, many: int) -> None:  # noqa: FBT001
        for _ in range(many):
            tokens = max(1, round(share * self.books["tokens"].limit))
            ticket = Ticket(Ask(tokens=tokens), interactive)
            self.lane.join(ticket)
            self.waiting.append(ticket)
        self.start(self.now)

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        self.lane.leave(self.waiting.pop(data.draw(st.integers(0, len(self.waiting) - 1))))

    @precondition(lambda self: self.out)
    @rule(data=st.data(), nonsense=HEADERS)
    def answer(self, data: st.DataObject, nonsense: dict[str, str]) -> None:
        sent = self.out.pop(data.draw(st.integers(0, len(self.out) - 1)))
        whole = data.draw(st.booleans()) or not self.told
        self.tell(sent, sent.headers if whole else nonsense)
        self.start(self.now)

    @precondition(lambda self: self.out)
    @rule(data=st.data())
    def lose(self, data: st.DataObject) -> None:
        sent = self.out.pop(data.draw(st.integers(0, len(self.out) - 1)))
        self.lane.released(sent.ticket)
        self.start(self.now)

    def tell(self, sent: Sent, headers: dict[str, str]) -> None:
        found = readings(headers.items())
        self.told = True
        if headers is not sent.headers:
            # A malformed header that still reads as a limit would be a lie, not nonsense.
            found = tuple(r for r in found if r.dimension not in self.books)
        self.lane.answered(sent.ticket, found, self.now, refused=sent.refused)
        if sent.refused:
            self.lane.refused(sent.ticket, found, self.now, pause=1.0)
        else:
            self.lane.succeeded(sent.ticket, self.now)
        self.lane.released(sent.ticket)

    def start(self, now: float) -> None:
        before = [ticket for ticket in self.waiting if ticket.interactive]
        started = self.lane.start(now, self.room - self.lane.in_flight)
        for ticket in started:
            self.waiting.remove(ticket)
            self.charge(ticket)
        in_order = [ticket for ticket in started if ticket.interactive]
        assert in_order == before[: len(in_order)], "first come, first served"
        if any(not ticket.interactive for ticket in started):
            assert in_order == before, "nobody in a batch goes before a person"

    def charge(self, ticket: Ticket) -> None:
        costs = {"requests": 1.0, "tokens": ticket.ask.tokens}
        fits = all(self.books[unit].holds(cost, self.now) for unit, cost in costs.items())
        assert fits or not self.told, "an avoidable 429"
        for unit, cost in costs.items():
            if fits:
                self.books[unit].charge(cost, self.now)
        self.out.append(Sent(ticket, self.headers(), refused=not fits))

    def headers(self) -> dict[str, str]:
        found = {}
        for unit, books in self.books.items():
            left = books.level(self.now)
            found[f"x-ratelimit-limit-{unit}"] = str(int(books.limit))
            found[f"x-ratelimit-remaining-{unit}"] = str(max(0, math.floor(left + TINY)))
            found[f"x-ratelimit-reset-{unit}"] = f"{(books.limit - left) / books.limit * 60:.3f}s"
        return found

    @invariant()
    def nobody_waits_for_nothing(self) -> None:
        if not hasattr(self, "lane") or not self.waiting:
            return
        if self.lane.in_flight == 0:
            wait = self.lane.wait(self.now)
            assert wait is not None, "a deadlock: nothing is out that could wake anybody"
            assert math.isfinite(wait)

    def teardown(self) -> None:
        """Whoever waits is served in the time that the limits dictate, and a little."""
        if not hasattr(self, "lane"):
            return
        costs = sum(ticket.ask.tokens for ticket in self.waiting)
        deadline = (
            self.now
            + 130
            + 62
            * (
                costs / self.books["tokens"].limit
                + len(self.waiting) / self.books["requests"].limit
            )
        )
        if self.lane.in_flight:
            deadline += 60 * len(self.out)
        while self.waiting:
            for sent in self.out:
                self.tell(sent, sent.headers)
            self.out.clear()
            self.start(self.now)
            if self.waiting and not self.out:
                wait = self.lane.wait(self.now)
                assert wait is not None
                self.now += max(wait, 1e-6)
            assert self.now <= deadline, "somebody starves"


OneLane.TestCase.settings = settings(max_examples=40, stateful_step_count=30)
TestOneLane = OneLane.TestCase
