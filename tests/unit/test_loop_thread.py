"""The background loop and how other threads wait for it."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import threading
from typing import TYPE_CHECKING

import pytest

from gpt_magics.session.loop import LoopThread, wait

if TYPE_CHECKING:
    from collections.abc import Iterator

CELL = contextvars.ContextVar("CELL", default="none")


@pytest.fixture
def thread() -> Iterator[LoopThread]:
    opened = LoopThread()
    yield opened
    opened.close()


def test_it_runs_a_coroutine_and_returns_its_value(thread: LoopThread) -> None:
    async def work() -> str:
        assert thread.is_current
        return threading.current_thread().name

    assert thread.run(work()) == "gpt_magics"
    assert not thread.is_current


@pytest.mark.parametrize("error", [ValueError, TimeoutError, asyncio.TimeoutError])
def test_an_exception_comes_back_as_it_is(thread: LoopThread, error: type[Exception]) -> None:
    async def work() -> None:
        raise error("mine")

    with pytest.raises(error, match="mine"):
        thread.run(work())


def test_a_coroutine_starts_in_an_empty_context(thread: LoopThread) -> None:
    async def work() -> str:
        return CELL.get()

    CELL.set("the cell that submitted it")
    assert thread.run(work()) == "none"


def test_many_threads_may_submit(thread: LoopThread) -> None:
    async def work(number: int) -> int:
        await asyncio.sleep(0)
        return number

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda number: thread.run(work(number)), range(100)))
    assert answers == list(range(100))


def test_cancelling_the_future_cancels_the_coroutine(thread: LoopThread) -> None:
    started, cancelled = threading.Event(), threading.Event()

    async def work() -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    future = thread.submit(work())
    assert started.wait(5)
    assert future.cancel()
    assert cancelled.wait(5)
    with pytest.raises(concurrent.futures.CancelledError):
        wait(future)


def test_an_interrupt_while_waiting_cancels_the_coroutine(thread: LoopThread) -> None:
    cancelled = threading.Event()

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        thread.run(work(), interrupt)
    assert cancelled.wait(5)


def test_closing_cancels_what_runs_and_may_be_done_twice(thread: LoopThread) -> None:
    cancelled = threading.Event()

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    future = thread.submit(work())
    thread.run(asyncio.sleep(0))
    thread.close()
    thread.close()
    assert cancelled.is_set()
    assert future.cancelled()
    assert thread.loop.is_closed()
    assert repr(thread) == "<LoopThread closed>"


def test_it_does_not_close_itself(thread: LoopThread) -> None:
    async def work() -> None:
        thread.close()

    thread.run(work())
    assert repr(thread) == "<LoopThread running>"
