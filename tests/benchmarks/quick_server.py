"""A server that costs little CPU, so that a client without limits is not kept waiting by it.

It answers every chat completion with the prompt and with the headers that OpenAI sends. It listens
on two ports, one to warm up on; their numbers are printed.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys

_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
_HEAD = (
    b"HTTP/1.1 200 OK\r\n"
    b"date: Sat, 21 Nov 2026 12:00:00 GMT\r\n"
    b"content-type: application/json\r\n"
    b"openai-organization: org-sandbox\r\n"
    b"openai-processing-ms: 1\r\n"
    b"openai-version: 2020-10-01\r\n"
    b"x-request-id: req_0123456789abcdef\r\n"
    b"x-ratelimit-limit-requests: 1000000\r\n"
    b"x-ratelimit-limit-tokens: 1000000000\r\n"
    b"x-ratelimit-remaining-requests: 999999\r\n"
    b"x-ratelimit-remaining-tokens: 999999000\r\n"
    b"x-ratelimit-reset-requests: 0s\r\n"
    b"x-ratelimit-reset-tokens: 0s\r\n"
    b"content-length: "
)
_BEFORE = (
    b'{"id":"chatcmpl-1","object":"chat.completion","created":1800000000,"model":"gpt-4.1-mini",'
    b'"choices":[{"index":0,"message":{"role":"assistant","content":'
)
_AFTER = (
    b',"refusal":null},"logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":25,'
    b'"completion_tokens":22,"total_tokens":47},"service_tier":"default"}'
)


class Connection(asyncio.Protocol):
    """One keep-alive connection."""

    def __init__(self) -> None:
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        while (end := self._received.find(b"\r\n\r\n") + 4) > 4:
            length = _LENGTH.search(self._received, 0, end)
            whole = end + (int(length[1]) if length else 0)
            if len(self._received) < whole:
                return
            self._answer(self._received[end:whole])
            self._received = self._received[whole:]

    def _answer(self, body: bytes) -> None:
        asked = json.loads(body)["messages"][-1]["content"]
        answer = _BEFORE + json.dumps(asked).encode() + _AFTER
        self._transport.write(_HEAD + str(len(answer)).encode() + b"\r\n\r\n" + answer)


async def serve() -> None:
    loop = asyncio.get_running_loop()
    servers = [await loop.create_server(Connection, "127.0.0.1", 0, backlog=1024) for _ in range(2)]
    print(*(server.sockets[0].getsockname()[1] for server in servers), flush=True)
    await asyncio.to_thread(sys.stdin.read)  # it closes when whoever started us is gone


if __name__ == "__main__":
    asyncio.run(serve())
