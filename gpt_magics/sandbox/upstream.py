"""Passing requests on to another server, after the sandbox's limits and faults."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import aiohttp
from aiohttp import web

from gpt_magics.sandbox.wire import Problem, ProblemError

if TYPE_CHECKING:
    from gpt_magics.sandbox.call import Call

# These belong to one connection, or are made anew for the next one.
_OF_THE_CONNECTION = frozenset(
    {
        "connection",
        "content-length",
        "host",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "date",
        "server",
    }
)
_THIS_MACHINE = frozenset({"127.0.0.1", "localhost", "::1"})
_CONNECT_SECONDS = 10


class Upstream:
    """A server that answers in the sandbox's place."""

    def __init__(self, base_url: str) -> None:
        self.base_url = base_url
        self._session: aiohttp.ClientSession | None = None

    async def forward(self, call: Call) -> web.StreamResponse:
        """Send a request on and pass its answer back, streams piece by piece.

        Raises:
            ProblemError: the other server cannot be reached.
        """
        request = call.request
        url = self.base_url + request.raw_path.removeprefix("/v1")
        headers = {
            name: value
            for name, value in request.headers.items()
            if name.lower() not in _OF_THE_CONNECTION
        }
        session = self._open_session()
        try:
            answer = await session.request(
                request.method, url, data=call.raw or None, headers=headers
            )
        except (aiohttp.ClientError, TimeoutError) as error:
            raise ProblemError(_unreachable(self.base_url, error)) from error
        async with answer:
            return await self._pass_back(call, answer)

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()

    def _open_session(self) -> aiohttp.ClientSession:
        # Made on first use, because a session belongs to the loop that it is made in.
        if self._session is None:
            self._session = aiohttp.ClientSession(
                auto_decompress=False,
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS),
                # Small servers drop an idle connection after 5 s; ours goes first.
                connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=3),
                # A proxy of the environment is for the world outside, not for this machine.
                trust_env=urlsplit(self.base_url).hostname not in _THIS_MACHINE,
            )
        return self._session

    async def _pass_back(self, call: Call, answer: aiohttp.ClientResponse) -> web.StreamResponse:
        theirs = {
            name: value
            for name, value in answer.headers.items()
            if name.lower() not in _OF_THE_CONNECTION and name.lower() not in call.headers
        }
        headers = {**theirs, **call.headers}
        if answer.content_type == "text/event-stream":
            return await _pass_stream(call, answer, headers)
        try:
            whole = await answer.read()
        except aiohttp.ClientError as error:
            raise ProblemError(_unreachable(self.base_url, error)) from error
        _count_tokens(call, whole)
        return web.Response(status=answer.status, body=whole, headers=headers)


async def _pass_stream(
    call: Call, answer: aiohttp.ClientResponse, headers: dict[str, str]
) -> web.StreamResponse:
    response = await call.open_stream(headers, answer.status)
    while True:
        try:
            piece = await answer.content.readany()
        except aiohttp.ClientError:
            # Their stream broke, so ours has to: the client must not take it for whole.
            call.cut_off()
            return response
        if not piece:
            call.stats.answered += 1
            return response
        await response.write(piece)
        if call.fate.breaks:
            call.cut_off()
            return response


def _count_tokens(call: Call, whole: bytes) -> None:
    try:
        usage = json.loads(whole).get("usage") or {}
    except (ValueError, AttributeError):
        return
    prompt = usage.get("prompt_tokens", usage.get("input_tokens", 0))
    completion = usage.get("completion_tokens", usage.get("output_tokens", 0))
    call.stats.spent(prompt or 0, completion or 0)


def _unreachable(base_url: str, error: Exception) -> Problem:
    text = f"The sandbox cannot reach its upstream {base_url} ({type(error).__name__}). Is it up?"
    return Problem(502, text, kind="server_error", code="upstream_unreachable")
