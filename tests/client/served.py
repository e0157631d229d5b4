"""What the tests of the paced client share: servers to talk to, and words for their answers."""

from __future__ import annotations

import json
import traceback
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpt_magics.sandbox import Sandbox

# High enough never to be met; a server that reports its limits is trusted with all in flight.
AMPLE = 600_000


class Serve(Protocol):
    """Open a sandbox and make it the configured server."""

    def __call__(self, **options: Any) -> Sandbox: ...


def user(text: str) -> list[Any]:
    return [{"role": "user", "content": text}]


def contents(box: Sandbox) -> list[str]:
    """The last message of every chat that the sandbox received, in the order of arrival."""
    return [each.json["messages"][-1]["content"] for each in chats(box)]


def chats(box: Sandbox) -> list[Any]:
    return [each for each in box.bodies if each.path.endswith("/chat/completions")]


def refusals(box: Sandbox) -> int:
    return int(sum(box.stats()["refused"].values()))


def everything_said(error: BaseException) -> str:
    """The traceback as Python prints it, and every exception that led to it besides."""
    texts = ["".join(traceback.format_exception(error))]
    while error.__context__ is not None:
        error = error.__context__
        texts.append(f"{error!r} {error}")
    return "\n".join(texts)


def everything_held(error: BaseException) -> str:
    """The variables of every frame that an error leads to, as a verbose traceback has them."""
    texts: list[str] = []
    waiting: list[BaseException | None] = [error]
    seen: set[int] = set()
    while waiting:
        each = waiting.pop()
        if each is None or id(each) in seen:
            continue
        seen.add(id(each))
        waiting += [each.__cause__, each.__context__]
        frames = [frame for frame, _ in traceback.walk_tb(each.__traceback__)]
        texts += [repr(value) for frame in frames[1:] for value in frame.f_locals.values()]
    return "\n".join(texts)


@dataclass
class Reply:
    """What a stub answers. ``cut`` closes the connection instead of ending the body."""

    status: int = 200
    body: bytes = b""
    kind: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)
    cut: bool = False


def chat_reply(text: str) -> Reply:
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    whole = {"id": "c-1", "object": "chat.completion", "model": "stub"}
    return Reply(body=json.dumps({**whole, "choices": [choice], "usage": usage}).encode())


def stream_reply(*texts: str, whole: bool = True) -> Reply:
    """A streamed answer; without its end if it is not ``whole``."""
    deltas: list[tuple[dict[str, str], str | None]] = [({"content": text}, None) for text in texts]
    deltas.insert(0, ({"role": "assistant"}, None))
    if whole:
        deltas.append(({}, "stop"))
    events = [
        {"id": "c-1", "model": "stub", "choices": [{"index": 0, "delta": d, "finish_reason": end}]}
        for d, end in deltas
    ]
    lines = [f"data: {json.dumps(event)}\n\n" for event in events]
    lines += ["data: [DONE]\n\n"] if whole else []
    return Reply(body="".join(lines).encode(), kind="text/event-stream", cut=not whole)


@dataclass
class Stub:
    """A server that answers with these replies in turn, and the last one for ever."""

    url: str
    requests: list[bytes] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)


@contextmanager
def stub(*replies: Reply) -> Iterator[Stub]:
    """Serve what the sandbox is too well-behaved to say."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            reply = replies[min(len(opened.requests), len(replies) - 1)]
            opened.requests.append(body)
            opened.lines.append(self.requestline)
            opened.headers.append({name.lower(): value for name, value in self.headers.items()})
            self.send_response(reply.status)
            self.send_header("content-type", reply.kind)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            if reply.cut:
                self.send_header("connection", "close")
                self.send_header("content-length", str(len(reply.body) + 100))
            else:
                self.send_header("content-length", str(len(reply.body)))
            self.end_headers()
            self.wfile.write(reply.body)
            self.close_connection = reply.cut

        do_GET = do_POST  # noqa: N815 - the names that http.server looks for

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name it has
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    opened = Stub(f"http://127.0.0.1:{server.server_port}/v1")
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield opened
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
