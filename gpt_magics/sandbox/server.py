"""The sandbox as an aiohttp application: every request passes one door."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections import deque
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING

from aiohttp import web

from gpt_magics.errors import OptionError
from gpt_magics.sandbox.call import Call, Endpoint, milliseconds_since
from gpt_magics.sandbox.gate import Entry, Gate
from gpt_magics.sandbox.generation import Generation
from gpt_magics.sandbox.shelf import Shelf
from gpt_magics.sandbox.stats import Stats
from gpt_magics.sandbox.storage import Storage
from gpt_magics.sandbox.wire import Json, Problem, ProblemError, broken_server, charge

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from gpt_magics.sandbox.faults import Fate
    from gpt_magics.sandbox.options import SandboxOptions
    from gpt_magics.sandbox.upstream import Upstream

LOOPBACK = "127.0.0.1"
_MOST_BODIES = 10_000
_LARGEST_BODY = 256 * 2**20
# What is still at work when the sandbox closes is dropped: nobody waits for a toy.
_LAST_ORDERS = 0.05
_LIMITS = frozenset({"rpm", "tpm", "rpd"})
_SECRETS = frozenset({"authorization", "api-key", "x-api-key", "cookie"})


@dataclass(frozen=True)
class Recorded:
    """A request as it arrived under /v1, for tests to look at. Its key is withheld."""

    method: str
    path: str
    body: bytes
    headers: dict[str, str]

    @property
    def json(self) -> Json:
        """The body's JSON."""
        found: Json = json.loads(self.body)
        return found


class Server:
    """A sandbox bound to a loop: start it there, stop it there."""

    def __init__(
        self,
        options: SandboxOptions,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        upstream: Upstream | None = None,
    ) -> None:
        self.stats = Stats()
        self.bodies: deque[Recorded] = deque(maxlen=_MOST_BODIES)
        self._options = options
        self._clock = clock
        self._wall = wall
        self._gate = Gate(options, now=clock())
        self._billed_now = 0
        self._billed = 0
        self._upstream = upstream
        self._closing = asyncio.Event()
        self._runner = web.AppRunner(
            self._app(),
            access_log=None,
            handler_cancellation=True,  # a client that leaves is noticed and counted
            shutdown_timeout=_LAST_ORDERS,
        )

    async def start(self) -> int:
        """Listen on loopback and return the port.

        Raises:
            OSError: the port is taken.
        """
        await self._runner.setup()
        site = web.TCPSite(self._runner, LOOPBACK, self._options.port, backlog=1024)
        await site.start()
        port: int = self._runner.addresses[0][1]
        return port

    async def stop(self) -> None:
        """Stop listening and drop what is at work."""
        self._closing.set()
        await self._runner.cleanup()
        if self._upstream is not None:
            await self._upstream.close()

    def _app(self) -> web.Application:
        app = web.Application(client_max_size=_LARGEST_BODY)
        app.router.add_get("/stats", self._show_stats)
        app.router.add_post("/stats/reset", self._reset_stats)
        app.router.add_post("/limits", self._change_limits)
        shelf = Shelf()
        endpoints = [
            *Generation(self._options, shelf).endpoints(),
            *Storage(self._options, shelf).endpoints(),
            Endpoint("*", "/{rest:.*}", _nowhere),
        ]
        for each in endpoints:
            app.router.add_route(each.method, "/v1" + each.path, self._door(each))
        return app

    async def _show_stats(self, _request: web.Request) -> web.Response:
        return web.json_response(self.stats.snapshot())

    async def _reset_stats(self, _request: web.Request) -> web.Response:
        self.stats.reset()
        return web.json_response(self.stats.snapshot())

    async def _change_limits(self, request: web.Request) -> web.Response:
        try:
            return web.json_response(self.change_limits(**_limits(await request.read())))
        except OptionError as error:
            return _told(Problem(400, str(error)), {})

    def change_limits(self, **limits: int | None) -> dict[str, int | None]:
        """Change ``rpm``, ``tpm`` or ``rpd`` from now on; returns what holds.

        Raises:
            OptionError: a limit cannot work.
        """
        return self._gate.change_limits(self._clock(), **limits)

    def _door(self, endpoint: Endpoint) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        path = "/v1" + endpoint.path

        async def enter(request: web.Request) -> web.StreamResponse:
            began = time.perf_counter()
            self.stats.requests += 1
            self.stats.by_path[path] += 1
            try:
                raw = await request.read()
                response = await self._serve(endpoint, request, raw, began)
            except (asyncio.CancelledError, ConnectionResetError):
                self.stats.aborted += 1
                raise
            if not response.prepared:
                response.headers["openai-processing-ms"] = milliseconds_since(began)
            return response

        return enter

    async def _serve(
        self, endpoint: Endpoint, request: web.Request, raw: bytes, began: float
    ) -> web.StreamResponse:
        if self._options.keep_bodies:
            self.bodies.append(_recorded(request, raw))
        headers = {"x-request-id": f"req_{secrets.token_hex(16)}", "x-gpt-magics-sandbox": "1"}
        try:
            body = _json(request, raw)
            model = _model(endpoint, body)
        except ProblemError as error:
            return self._refuse(error.problem, headers)
        tokens = charge(body, endpoint.texts(body)) if endpoint.texts else 0
        now = self._clock()
        verdict = self._gate.check(
            Entry(request.headers.get("authorization"), model, tokens),
            now,
            at_work=self.stats.in_flight,
            billed=self._billed + self._billed_now,
            wall=self._wall(),
        )
        self.stats.rival += verdict.rival
        headers |= verdict.headers
        if verdict.fate is None:
            return self._refuse(verdict.problem or broken_server(), headers)
        self.stats.admitted(now)
        call = Call(request, raw, body, model or "", headers, verdict.fate, self.stats, began)
        return await self._work(endpoint, call)

    async def _work(self, endpoint: Endpoint, call: Call) -> web.StreamResponse:
        """Answer an admitted request and keep the books about it."""
        self._billed_now += bool(call.model)
        try:
            response = await self._meet(call.fate, endpoint, call)
        except ProblemError as error:
            return self._refuse(error.problem, call.headers)
        else:
            good = response.status < HTTPStatus.BAD_REQUEST
            # A stream counts itself, at its end.
            self.stats.answered += good and not response.prepared
            self._billed += good and bool(call.model)
            return response
        finally:
            self.stats.in_flight -= 1
            self._billed_now -= bool(call.model)

    async def _meet(self, fate: Fate, endpoint: Endpoint, call: Call) -> web.StreamResponse:
        if fate.hangs:
            self.stats.hung += 1
            await self._closing.wait()
        if endpoint.slow and fate.delay > 0:
            await asyncio.sleep(fate.delay)
        if fate.fails or fate.hangs:
            self.stats.errors += fate.fails and not fate.hangs
            return _told(broken_server(), call.headers)
        if self._upstream is not None:
            return await self._upstream.forward(call)
        try:
            return await endpoint.answer(call)
        except (AttributeError, KeyError, TypeError) as error:
            # Bodies come in more shapes than are checked one by one.
            text = f"The sandbox cannot make sense of this request ({error})."
            raise ProblemError(Problem(400, text)) from error

    def _refuse(self, problem: Problem, headers: dict[str, str]) -> web.Response:
        self.stats.refuse(problem.status, problem.code, overload=problem.overload)
        return _told(problem, headers)


async def _nowhere(call: Call) -> web.StreamResponse:
    request = call.request
    raise ProblemError(Problem(404, f"Invalid URL ({request.method} {request.path})"))


def _told(problem: Problem, headers: dict[str, str]) -> web.Response:
    headers = {**headers, "content-type": problem.content_type}
    return web.Response(status=problem.status, body=problem.body(), headers=headers)


def _json(request: web.Request, raw: bytes) -> Json:
    """Read a JSON object; uploads and empty bodies count as an empty one."""
    if not raw or request.content_type.startswith("multipart/"):
        return {}
    try:
        found = json.loads(raw)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        text = "We could not parse the JSON body of your request."
        raise ProblemError(Problem(400, text))
    return found


def _model(endpoint: Endpoint, body: Json) -> str | None:
    """Return the model that the body names; on model routes it has to."""
    if endpoint.texts is None:
        return None
    model = body.get("model")
    if not isinstance(model, str) or not model:
        raise ProblemError(Problem(400, "you must provide a model parameter", param="model"))
    return model


def _limits(raw: bytes) -> dict[str, int | None]:
    """Read the body of POST /limits: whole numbers by name; null leaves one as it is.

    Raises:
        OptionError: it is something else.
    """
    try:
        found = json.loads(raw)
    except ValueError:
        found = None
    if isinstance(found, dict) and found.keys() <= _LIMITS:
        limits = found.values()
        if all(each is None or type(each) is int for each in limits):
            return found
    wanted = ", ".join(sorted(_LIMITS))
    raise OptionError(f"POST /limits takes a JSON object of whole numbers called {wanted}.")


def _recorded(request: web.Request, raw: bytes) -> Recorded:
    headers = {
        name.lower(): "withheld" if name.lower() in _SECRETS else value
        for name, value in request.headers.items()
    }
    return Recorded(request.method, request.path, raw, headers)
