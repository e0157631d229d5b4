"""The runner: a bounded set of workers that take rows in order and ask. Never a task per row.

It lives on the session's loop. It knows rows by number only; what a row asks and what becomes of
its answer is the job's business (the ``Rows`` protocol).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from gpt_magics.errors import (
    BudgetError,
    GptMagicsError,
    MissingValueError,
    PromptError,
    QueueStoppedError,
    RequestError,
    UnknownPriceError,
)
from gpt_magics.jobs.state import FailedRow, State
from gpt_magics.prompts.prompt import Prompt
from gpt_magics.session.call import Call
from gpt_magics.session.failures import without_keys
from gpt_magics.session.session import Answer, Session
from gpt_magics.settings import Settings
from gpt_magics.spend.budget import Budget


class Rows(Protocol):
    """What a runner works for."""

    id: str
    kind: str
    settings: Settings
    budget: Budget

    def prompt(self, row: int) -> Prompt:
        """What a row asks. Raises ``PromptError`` if it cannot be asked."""

    def answered(self, row: int, answer: Answer, call: Call) -> None:
        """A row is done."""

    def failed(self, failure: FailedRow, call: Call | None) -> None:
        """A row failed for good."""

    def held_back(self, reason: str) -> None:
        """Rows wait for something other than the server's limits."""

    def changed(self, state: State, error: GptMagicsError | None) -> None:
        """The runner's state has changed; ``error`` is what stopped it."""


_HELD_BACK = (
    "Fewer rows at once than could be: the budget covers no more worst cases. A smaller "
    "--max-tokens makes them smaller."
)


@dataclass(eq=False, slots=True)
class _Worker:
    """A task and the row it is busy with."""

    task: asyncio.Task[None] | None = None
    row: int | None = None
    call: Call | None = None


class Runner:
    """Runs the rows that it is given, once.

    It may be paused, resumed or cancelled from the moment it is made, before ``run`` as well.
    """

    def __init__(self, session: Session, rows: Rows, numbers: Iterable[int]) -> None:
        self._session, self._rows = session, rows
        self._returned: deque[int] = deque()
        self._fresh = iter(numbers)
        self._workers: set[_Worker] = set()
        self._state = State.RUNNING
        self._error: GptMagicsError | None = None
        self._settled = asyncio.Event()
        self._idle = asyncio.Event()

    @property
    def in_flight(self) -> int:
        """How many of its requests are out."""
        return sum(call.in_flight for call in self.calls)

    @property
    def calls(self) -> list[Call]:
        """The calls that are under way, queued or in flight."""
        return [worker.call for worker in tuple(self._workers) if worker.call is not None]

    async def run(self) -> None:
        """Ask for every row; returns when all have ended or the runner was stopped."""
        pacer = self._session.pacer
        if self._rows.settings.max_in_flight > pacer.max_in_flight:  # the later word wins
            pacer.resize(self._rows.settings.max_in_flight)
        if self._state is State.RUNNING:
            self._staff()
        await self._idle.wait()
        if self._state is State.RUNNING:
            self._state = State.DONE
        self._rows.changed(self._state, self._error)

    def pause(self) -> None:
        """Start nothing more. Workers that only wait are sent home, their rows put back."""
        if self._state is State.RUNNING:
            self._set(State.PAUSING)
            self._send_home(in_flight=False)
            self._settle_pause()

    def resume(self) -> None:
        """Go on after a pause."""
        if self._state in (State.PAUSING, State.PAUSED):
            self._set(State.RUNNING)
            self._staff()
            self._end_if_idle()

    def cancel(self) -> None:
        """Stop now, abandoning what is in flight."""
        self._stop(State.CANCELLED, None)

    def _stop(self, state: State, error: GptMagicsError | None) -> None:
        """End early. A stop by the server lets requests that are in flight come to their end."""
        if self._state.ended:
            return
        self._state, self._error = state, error
        self._send_home(in_flight=state is State.CANCELLED)
        self._settled.set()
        self._end_if_idle()

    def _send_home(self, *, in_flight: bool) -> None:
        """Cancel the workers that only wait; with ``in_flight``, all of them."""
        current = asyncio.current_task()
        for worker in tuple(self._workers):
            busy = worker.call is not None and worker.call.in_flight
            if worker.task is not None and worker.task is not current and (in_flight or not busy):
                worker.task.cancel()

    def _staff(self) -> None:
        """Bring the workers up to their number, which is bounded whatever the rows."""
        for _ in range(self._rows.settings.max_in_flight - len(self._workers)):
            row = self._next_row()
            if row is None:
                break
            worker = _Worker(row=row)
            self._workers.add(worker)
            worker.task = asyncio.get_running_loop().create_task(self._work(worker))
            worker.task.add_done_callback(partial(self._left, worker))
        self._end_if_idle()

    def _next_row(self) -> int | None:
        return self._returned.popleft() if self._returned else next(self._fresh, None)

    async def _work(self, worker: _Worker) -> None:
        while worker.row is not None:
            await self._ask(worker)
            self._settled.set()
            worker.row = self._next_row() if self._state is State.RUNNING else None

    def _left(self, worker: _Worker, task: asyncio.Task[None]) -> None:
        """A worker has ended. A callback, for one that is sent home before it began has no say."""
        self._workers.discard(worker)
        if task.cancelled() and worker.row is not None:
            self._returned.append(worker.row)
        if self._state is State.RUNNING:  # resumed before the last one was home
            self._staff()
        self._settle_pause()
        self._end_if_idle()

    async def _ask(self, worker: _Worker) -> None:
        row = worker.row
        assert row is not None  # noqa: S101 - the loop above
        try:
            prompt = self._rows.prompt(row)
        except PromptError as error:
            reason = "missing value" if isinstance(error, MissingValueError) else "prompt"
            self._rows.failed(FailedRow(row, reason, str(error), 0), None)
            return
        settings = self._rows.settings
        while True:
            call = worker.call = Call(
                self._rows.id, kind=self._rows.kind, budgets=(self._rows.budget,)
            )
            try:
                answer = await self._session.ask(prompt, settings, call)
            except UnknownPriceError as error:
                self._stop(State.STOPPED, error)
            except BudgetError as error:
                if await self._budget_may_free(worker):
                    continue
                self._stop(State.STOPPED, error)
            except QueueStoppedError as error:
                self._stop(State.STOPPED, error)
            except RequestError as error:
                failure = FailedRow(row, error.reason, str(error), error.attempts)
                self._rows.failed(failure, call)
            except Exception as error:  # noqa: BLE001 - whatever it is, no row may vanish
                said = without_keys(f"{type(error).__name__}: {error}", settings.api_key)
                self._rows.failed(FailedRow(row, "unexpected error", said, call.attempts), call)
            else:
                self._rows.answered(row, answer, call)
            worker.call = None
            return

    async def _budget_may_free(self, worker: _Worker) -> bool:
        """Wait until a request in flight is settled, as most cost less than their worst case.

        ``False`` if there is none to wait for.
        """
        worker.call = None
        if not any(other.call is not None for other in self._workers):
            return False
        self._rows.held_back(_HELD_BACK)
        self._settled.clear()  # which leaves those who wait already as they are
        await self._settled.wait()
        return self._state is State.RUNNING

    def _settle_pause(self) -> None:
        if self._state is State.PAUSING and not self._workers:
            self._set(State.PAUSED)

    def _end_if_idle(self) -> None:
        paused = self._state in (State.PAUSING, State.PAUSED)
        if not self._workers and not paused:
            self._idle.set()

    def _set(self, state: State) -> None:
        self._state = state
        self._rows.changed(state, None)
