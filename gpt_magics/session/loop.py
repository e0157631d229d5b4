"""One background event loop in a daemon thread, and how other threads wait for it.

One SDK client belongs to one loop (two loops on one client gave 32-53 % errors), and
``asyncio.run`` raises inside a kernel; so everything asynchronous runs here.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from gpt_magics.errors import GptMagicsError

T = TypeVar("T")

# How often a waiting main thread looks up, so that Ctrl-C and the stop button land soon.
_HEARTBEAT_SECONDS = 0.1
_CLOSE_SECONDS = 5.0


class LoopThread:
    """A daemon thread that runs an event loop until ``close``."""

    def __init__(self, name: str = "gpt_magics") -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def __repr__(self) -> str:
        return f"<LoopThread {'running' if self._thread.is_alive() else 'closed'}>"

    @property
    def is_current(self) -> bool:
        """Whether the caller runs in this thread."""
        return threading.current_thread() is self._thread

    @property
    def is_closed(self) -> bool:
        """Whether nothing runs here any more."""
        return self.loop.is_closed()

    def check_open(self) -> None:
        """Raise a ``GptMagicsError`` if the thread was closed."""
        if self.is_closed:
            raise GptMagicsError(
                "This belongs to a session that was closed, by %unload_ext, %reload_ext or "
                "gpt_magics.api.close(). Make a new client or job."
            )

    def submit(
        self,
        coroutine: Coroutine[Any, Any, T],
        *,
        unwanted: Callable[[T], Coroutine[Any, Any, None]] | None = None,
    ) -> concurrent.futures.Future[T]:
        """Start a coroutine on the loop, in an empty context.

        An empty one, because a kernel keeps the cell that output belongs to in a context
        variable: a task that inherits it loses its updates once that cell has ended.

        ``unwanted`` takes back what the coroutine returned just when the future was cancelled.
        """
        if self.is_closed:
            coroutine.close()
        self.check_open()
        future: concurrent.futures.Future[T] = concurrent.futures.Future()

        def ended(task: asyncio.Task[T]) -> None:
            if not _copy_outcome(task, future) and unwanted is not None:
                self.submit(unwanted(task.result()))

        def start() -> None:
            task = self.loop.create_task(coroutine, context=contextvars.Context())
            task.add_done_callback(ended)
            future.add_done_callback(lambda _: self._call_soon(_cancel_if_cancelled, future, task))

        self.loop.call_soon_threadsafe(start)
        return future

    def run(
        self, coroutine: Coroutine[Any, Any, T], on_beat: Callable[[], None] | None = None
    ) -> T:
        """Run a coroutine on the loop and wait; an interrupt cancels it."""
        future = self.submit(coroutine)
        try:
            return wait(future, on_beat)
        except BaseException:
            future.cancel()
            raise

    def close(self) -> None:
        """Stop the loop and join the thread. Closing twice is fine."""
        if self._thread.is_alive() and not self.is_current:
            self.loop.call_soon_threadsafe(self.loop.stop)
            self._thread.join(_CLOSE_SECONDS)

    def _call_soon(self, callback: Any, *args: Any) -> None:
        if not self.loop.is_closed():
            self.loop.call_soon_threadsafe(callback, *args)

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        try:
            self.loop.run_forever()
            _cancel_all(self.loop)
            self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        finally:
            self.loop.close()


def wait(future: concurrent.futures.Future[T], on_beat: Callable[[], None] | None = None) -> T:
    """Wait for a future, open to interrupts ten times a second; ``on_beat`` is called as often."""
    while True:
        try:
            return future.result(_HEARTBEAT_SECONDS)
        except concurrent.futures.TimeoutError:
            if future.done():  # the coroutine itself raised a TimeoutError
                raise
        if on_beat is not None:
            on_beat()


def _copy_outcome(task: asyncio.Task[T], future: concurrent.futures.Future[T]) -> bool:
    """Whether nothing was lost: ``False`` if there is a result and nobody waits for it."""
    if task.cancelled():
        future.cancel()
        return True
    error = task.exception()  # asked for even if nobody waits any more, so asyncio stays quiet
    if not future.set_running_or_notify_cancel():
        return error is not None
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(task.result())
    return True


def _cancel_if_cancelled(future: concurrent.futures.Future[Any], task: asyncio.Task[Any]) -> None:
    if future.cancelled():
        task.cancel()


def _cancel_all(loop: asyncio.AbstractEventLoop) -> None:
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()
    if tasks:
        loop.run_until_complete(asyncio.wait(tasks, timeout=1.0))
