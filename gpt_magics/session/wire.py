"""The lean wire: what a batch sends a thousand times is prepared by the SDK once, then stamped.

The SDK takes a millisecond to build a request and to read its answer, and httpx2 half of that;
this takes a tenth. The first request to an address is built by the SDK, and not sent; the others
have its address and its headers, and a body of their own. So whatever the SDK says of itself and of
the user (organization, project, versions, default headers) is said here, too.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp
import httpx2
from multidict import CIMultiDict
from openai import AsyncOpenAI
from yarl import URL

from gpt_magics.session.call import Call
from gpt_magics.session.errand import Errand, Reply
from gpt_magics.session.metering import Meter, usage_in
from gpt_magics.session.proxies import proxy_for
from gpt_magics.session.transport import DECODED_HEADERS, PacedHttpClient
from gpt_magics.settings import Secret

_CONNECT_SECONDS = 10.0
_REDIRECTS = range(300, 400)
# What aiohttp says by itself, for each request anew or for its own way to read an answer.
_OWN_HEADERS = frozenset(
    {"host", "accept-encoding", "connection", "content-length", "transfer-encoding"}
)
_NEVER_REACHED = (
    aiohttp.ClientConnectorError,
    aiohttp.ConnectionTimeoutError,
    aiohttp.ClientHttpProxyError,
    aiohttp.InvalidURL,
)
# The SDK's form of JSON, byte for byte.
_encoder = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def json_body(fields: Mapping[str, object]) -> bytes:
    """A request's body. Raises ``UnicodeEncodeError`` for half a character."""
    return _encoder.encode(fields).encode()


@dataclass(frozen=True, slots=True)
class Stamp:
    """What all requests to one address have in common."""

    original: httpx2.Request
    url: URL
    headers: CIMultiDict[str]
    timeout: aiohttp.ClientTimeout
    seconds: float


class Wire:
    """Posts JSON to one server, in the SDK's name. It belongs to the session's loop.

    Args:
        client: the SDK's client, which prepares.
        http: what sends for it; here, what is redirected.
        api_key: the real one.
        tls: how to trust servers.
    """

    def __init__(
        self, client: AsyncOpenAI, http: PacedHttpClient, api_key: Secret, tls: ssl.SSLContext
    ) -> None:
        self._client, self._http, self._api_key, self._tls = client, http, api_key, tls
        self._stamps: dict[tuple[str, float], Stamp] = {}
        self._preparing = asyncio.Lock()
        self._session: aiohttp.ClientSession | None = None
        self._redirected = False

    async def stamp(self, path: str, seconds: float) -> Stamp:
        """What requests to this path have in common that may take so many seconds."""
        found = self._stamps.get((path, seconds))
        if found is None:
            async with self._preparing:
                found = self._stamps.get((path, seconds)) or await self._prepare(path, seconds)
                self._stamps[path, seconds] = found
        return found

    async def transmit(self, stamp: Stamp, body: bytes) -> Reply[bytes]:
        """Make one request.

        Raises:
            httpx2.RequestError, TimeoutError: there was no reply.
        """
        if not self._redirected:
            reply = await self._post(stamp, body)
            if reply.status not in _REDIRECTS:
                return reply
            self._redirected = True
        return await self._post_by_sdk(stamp, body)

    async def close(self) -> None:
        """Close the sockets."""
        if self._session is not None:
            await self._session.close()

    async def _post(self, stamp: Stamp, body: bytes) -> Reply[bytes]:
        session = self._session or self._open(stamp.url)
        try:
            response = await session.post(
                stamp.url,
                data=body,
                headers=stamp.headers,
                timeout=stamp.timeout,
                allow_redirects=False,
            )
            content = await response.read()
        except _NEVER_REACHED as error:
            raise httpx2.ConnectError(str(error)) from error
        except aiohttp.ClientError as error:
            raise httpx2.ReadError(str(error)) from error
        headers = [(name.lower(), value) for name, value in response.headers.items()]
        return Reply(response.status, headers, content)

    async def _post_by_sdk(self, stamp: Stamp, body: bytes) -> Reply[bytes]:
        """The SDK's own way, which follows redirects."""
        original = stamp.original
        headers = [(n, v) for n, v in original.headers.multi_items() if n not in _OWN_HEADERS]
        request = self._http.build_request(
            original.method, original.url, headers=headers, content=body, timeout=stamp.seconds
        )
        response = await self._http.transmit(request, seconds=stamp.seconds)
        return Reply(response.status_code, response.headers.multi_items(), response.content)

    async def _prepare(self, path: str, seconds: float) -> Stamp:
        async with _Unsent(verify=self._tls, trust_env=False) as unsent:
            client = self._client.with_options(http_client=unsent)
            response = await client.post(
                path, body={}, cast_to=httpx2.Response, options={"timeout": seconds}
            )
        headers = CIMultiDict(
            (name, value)
            for name, value in response.request.headers.multi_items()
            if name not in _OWN_HEADERS
        )
        # A Secret also inside of aiohttp, whose frames hold the headers.
        headers["authorization"] = Secret(f"Bearer {self._api_key}")
        timeout = aiohttp.ClientTimeout(
            total=seconds,
            sock_connect=min(seconds, _CONNECT_SECONDS),
            ceil_threshold=float("inf"),  # 6 s are 6 s, and not up to 7
        )
        url = URL(str(response.request.url), encoded=True)
        return Stamp(response.request, url, headers, timeout, seconds)

    def _open(self, url: URL) -> aiohttp.ClientSession:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ssl=self._tls),  # the pacer has the limits
            cookie_jar=aiohttp.DummyCookieJar(),
            proxy=proxy_for(str(url)),
        )
        return self._session


class Post(Errand[bytes, Any]):
    """A JSON body on the lean wire; what comes back is the answer's JSON, ``None`` if it is none.

    Args:
        wire: what carries it.
        stamp: where to.
        body: the JSON.
        call: what it is worth.
    """

    def __init__(self, wire: Wire, stamp: Stamp, body: bytes, call: Call) -> None:
        super().__init__(call)
        self._wire, self._stamp, self._body = wire, stamp, body

    async def transmit(self) -> Reply[bytes]:
        """Make one attempt."""
        return await self._wire.transmit(self._stamp, self._body)

    def error(self, reply: Reply[bytes]) -> httpx2.Response:
        """An error's reply as a response."""
        headers = [(n, v) for n, v in reply.headers if n not in DECODED_HEADERS]
        return httpx2.Response(reply.status, headers=headers, content=reply.answer)

    def settle(self, reply: Reply[bytes], meter: Meter, release: Callable[[], None]) -> Any:
        """Pay by the usage in the answer."""
        fields = _parsed(reply.answer)
        meter.settle_by(usage_in(fields), self.call, self.reservation, reply.answer)
        release()
        return fields


class _Unsent(httpx2.AsyncClient):
    """Gives every request back instead of sending it."""

    async def send(self, request: httpx2.Request, **_: Any) -> httpx2.Response:
        return httpx2.Response(204, request=request)


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None
