"""A line: all that leads to one server with one key."""

from __future__ import annotations

import ssl
from functools import cache
from typing import Any

import httpx2
from openai import AsyncOpenAI, OpenAI

from gpt_magics.session.choke_point import ChokePoint
from gpt_magics.session.loop import LoopThread
from gpt_magics.session.metering import Meter
from gpt_magics.session.pacer import Pacer
from gpt_magics.session.transport import KEY_STAND_IN, PacedHttpClient, PacedSyncHttpClient
from gpt_magics.session.wire import Wire
from gpt_magics.settings import Connection, Settings


class Line:
    """The SDK's client and the lean wire, with the choke point in front of both.

    Attributes:
        choke_point: what everything on this line passes.
        client: the SDK's client.
        wire: the lean wire.
    """

    def __init__(
        self,
        connection: Connection,
        settings: Settings,
        *,
        thread: LoopThread,
        pacer: Pacer,
        meter: Meter,
        key: int,
    ) -> None:
        tls = _tls()
        self.choke_point = ChokePoint(
            pacer,
            meter,
            address=connection.base_url,
            key=key,
            max_attempts=settings.max_attempts,
        )
        self._connection, self._thread = connection, thread
        self._http = PacedHttpClient(
            thread=thread,
            choke_point=self.choke_point,
            api_key=connection.api_key,
            timeout=settings.timeout,
            tls=tls,
        )
        self.client = AsyncOpenAI(http_client=self._http, **_sdk_options(connection))
        self.wire = Wire(self.client, self._http, connection.api_key, tls)

    def sync_client(self) -> OpenAI:
        """The SDK's client for any thread; it passes the same choke point."""
        http = PacedSyncHttpClient(self._http, self._thread)
        return OpenAI(http_client=http, **_sdk_options(self._connection))

    async def close(self) -> None:
        """Close the sockets."""
        await self.wire.close()
        await self._http.shutdown()


@cache
def _tls() -> ssl.SSLContext:
    """One for all: it takes 50 ms to read the certificates."""
    return httpx2.create_ssl_context()


def _sdk_options(connection: Connection) -> dict[str, Any]:
    return {
        "base_url": connection.base_url,
        # The SDK's frames hold its headers in plain variables, which a verbose traceback shows.
        "api_key": KEY_STAND_IN,
        "organization": connection.organization,
        "project": connection.project,
        "max_retries": 0,  # retries are ours: each one queues, counts and pays again
    }
