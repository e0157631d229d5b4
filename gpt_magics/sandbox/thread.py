"""The sandbox in a thread of its own, for notebooks and tests."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import TYPE_CHECKING, Any, Self, TypeVar

from gpt_magics.errors import OptionError
from gpt_magics.sandbox.options import SandboxOptions, options_from
from gpt_magics.sandbox.server import LOOPBACK, Recorded, Server
from gpt_magics.sandbox.upstream import Upstream

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from types import TracebackType

    from gpt_magics.sandbox.local_model import LocalModel

_T = TypeVar("_T")


class Sandbox:
    """An OpenAI-compatible server on loopback, as a context manager or with start and close.

        with Sandbox(rpm=600, latency=0.02) as box:
            client = OpenAI(base_url=box.url, api_key=box.key)

    Takes the attributes of ``SandboxOptions`` as keywords, or such options ready-made.

    Raises:
        OptionError: an option cannot work.
    """

    def __init__(
        self,
        options: SandboxOptions | None = None,
        /,
        *,
        clock: Callable[[], float] = time.monotonic,
        **given: Any,
    ) -> None:
        if options is not None and given:
            raise OptionError("Give the sandbox either ready-made options or keywords, not both.")
        self.options = options if options is not None else options_from(given)
        self._clock = clock
        self._running: _Running | None = None

    def __repr__(self) -> str:
        return f"<Sandbox {self.url}>" if self._running else "<Sandbox, closed>"

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def start(self) -> Self:
        """Start to listen; returns when it does.

        Raises:
            OptionError: the port is taken, or the local model is not installed.
        """
        if self._running is None:
            self._running = _Running(self.options, self._clock)
        return self

    def close(self) -> None:
        """Stop. A second close does nothing."""
        running, self._running = self._running, None
        if running is not None:
            running.stop()

    @property
    def key(self) -> str:
        """A key that the sandbox accepts."""
        return self.options.api_key or "sandbox"

    @property
    def port(self) -> int:
        """The port it listens on."""
        return self._server_thread.port

    @property
    def url(self) -> str:
        """The base URL for a client."""
        return f"http://{LOOPBACK}:{self.port}/v1"

    @property
    def bodies(self) -> list[Recorded]:
        """The latest requests under /v1, oldest first."""
        return list(self._server_thread.server.bodies)

    def stats(self) -> dict[str, Any]:
        """Return what was counted, as ``GET /stats`` tells it."""
        return self._server_thread.server.stats.snapshot()

    def reset(self) -> None:
        """Count from zero again and forget the recorded requests. The limits stay as they are."""
        self._server_thread.reset()

    def change_limits(
        self, *, rpm: int | None = None, tpm: int | None = None, rpd: int | None = None
    ) -> dict[str, int | None]:
        """Change limits while it runs; ``None`` leaves one as it is. Returns what holds then.

        What is left of a limit stays, as far as the new one has room for it. ``POST /limits`` does
        the same for a sandbox in another process. From any thread.

        Raises:
            OptionError: a limit cannot work.
        """
        return self._server_thread.change_limits(rpm=rpm, tpm=tpm, rpd=rpd)

    @property
    def _server_thread(self) -> _Running:
        if self._running is None:
            raise OptionError(
                "The sandbox is not running: use `with Sandbox() as box:` or start()."
            )
        return self._running


class _Running:
    """A server with its thread and loop, from start to stop."""

    def __init__(self, options: SandboxOptions, clock: Callable[[], float]) -> None:
        self._model = _local_model(options)
        base_url = self._model.url if self._model else options.upstream
        upstream = Upstream(base_url) if base_url else None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="gpt-magics-sandbox", daemon=True)
        self._thread.start()
        self.server = self.do(_make(options, clock, upstream))
        try:
            self.port = self.do(self.server.start())
        except OSError as error:
            self.stop()
            text = f"Port {options.port} of {LOOPBACK} cannot be used ({error.strerror})."
            raise OptionError(f"{text} Choose another one, or 0 for a free one.") from error

    def reset(self) -> None:
        async def on_the_loop() -> None:
            self.server.stats.reset()
            self.server.bodies.clear()

        self.do(on_the_loop())

    def change_limits(self, **limits: int | None) -> dict[str, int | None]:
        async def on_the_loop() -> dict[str, int | None]:
            return self.server.change_limits(**limits)

        return self.do(on_the_loop())

    def stop(self) -> None:
        self.do(self.server.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        if self._model is not None:
            self._model.close()

    def do(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Run ``work`` on the server's loop and wait for it."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()


async def _make(
    options: SandboxOptions, clock: Callable[[], float], upstream: Upstream | None
) -> Server:
    return Server(options, clock=clock, upstream=upstream)


def _local_model(options: SandboxOptions) -> LocalModel | None:
    if not options.local_model:
        return None
    from gpt_magics.sandbox.local_model import LocalModel  # noqa: PLC0415 - an optional extra

    return LocalModel()
