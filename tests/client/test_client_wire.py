"""The lean wire says to a server what the SDK would have said, and hears the same."""

from __future__ import annotations

import asyncio
import gzip
import logging
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
from openai import AsyncOpenAI
from served import AMPLE, Reply, chat_reply, chats, stub, user

import gpt_magics
from gpt_magics import api
from gpt_magics.errors import RequestError

if TYPE_CHECKING:
    from served import Serve

KEY = "sk-the-real-one-0123456789"
# What aiohttp and httpx2 say of their own.
TRANSPORTS = {"accept-encoding", "connection"}


def by_sdk(body: dict[str, Any], *, seconds: float) -> None:
    """Send the same through the SDK."""
    client = gpt_magics.client()

    async def post() -> None:
        await client.post(
            "/chat/completions", body=body, cast_to=object, options={"timeout": seconds}
        )

    asyncio.run(post())


def spoken(headers: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name not in TRANSPORTS}


@pytest.mark.parametrize(
    "text", ["hello", 'a "quoted"\nline\t\\', "süß 漢字 🎉 \u2028", "</script>", "x" * 100_000]
)
def test_the_lean_wire_sends_what_the_sdk_would_send(serve: Serve, text: str) -> None:
    box = serve()
    gpt_magics.configure(
        organization="org-1", project="proj-1", system="Be kind.", temperature=0.5, timeout=42
    )
    gpt_magics.ask(text, max_tokens=7)
    messages = [{"role": "system", "content": "Be kind."}, *user(text)]
    fields = {"model": "sandbox-echo", "messages": messages, "temperature": 0.5, "max_tokens": 7}
    by_sdk(fields, seconds=42.0)
    lean, plain = chats(box)
    assert lean.body == plain.body
    assert spoken(lean.headers) == spoken(plain.headers)
    assert lean.headers["openai-organization"] == "org-1"
    assert lean.headers["openai-project"] == "proj-1"
    assert lean.headers["x-stainless-read-timeout"] == "42.0"


def test_default_headers_of_the_users_go_along(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The SDK reads them from the environment."""
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "x-team: blue\nx-purpose: reviews")
    box = serve()
    gpt_magics.batch(["one", "two"]).result()
    by_sdk({"model": "sandbox-echo", "messages": user("three")}, seconds=60.0)
    assert [each.headers.get("x-team") for each in chats(box)] == ["blue"] * 3


def test_the_real_key_is_sent_and_not_its_stand_in() -> None:
    with stub(chat_reply("hello")) as server:
        gpt_magics.configure(base_url=server.url, api_key=KEY)
        gpt_magics.ask("hello")
        assert server.headers[0]["authorization"] == f"Bearer {KEY}"


def test_the_sdk_prepares_one_request_for_fifty_rows(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="openai")
    box = serve(rpm=AMPLE)
    gpt_magics.batch([f"row {number}" for number in range(50)]).result()
    built = [r for r in caplog.records if r.getMessage().startswith("Building HTTP request")]
    assert (len(built), box.stats()["requests"]) == (1, 50)


def test_what_preparing_relies_on() -> None:
    """A client of the SDK gives a raw response, and with it the request that it would send."""

    class Unsent(httpx2.AsyncClient):
        async def send(self, request: httpx2.Request, **_: Any) -> httpx2.Response:
            return httpx2.Response(204, request=request)

    async def prepare() -> httpx2.Request:
        client = AsyncOpenAI(
            api_key="stand-in",
            base_url="http://host:1/path/v1",
            organization="org-1",
            project="proj-1",
            default_headers={"x-team": "blue"},
            max_retries=0,
        )
        async with Unsent() as unsent, client:
            copy = client.with_options(http_client=unsent)
            response = await copy.post(
                "/chat/completions", body={}, cast_to=httpx2.Response, options={"timeout": 3.0}
            )
        return response.request

    request = asyncio.run(prepare())
    assert (request.method, str(request.url)) == ("POST", "http://host:1/path/v1/chat/completions")
    assert request.content == b"{}"
    said = {
        "authorization": "Bearer stand-in",
        "openai-organization": "org-1",
        "openai-project": "proj-1",
        "x-team": "blue",
        "x-stainless-read-timeout": "3.0",
        "content-type": "application/json",
        "accept": "application/json",
    }
    assert {name: request.headers[name] for name in said} == said


@pytest.mark.parametrize("text", ["hello", "süß 漢字"])
def test_a_compressed_answer_is_unpacked(text: str) -> None:
    plain = chat_reply(text)
    packed = Reply(body=gzip.compress(plain.body), headers={"content-encoding": "gzip"})
    with stub(packed) as server:
        gpt_magics.configure(base_url=server.url, api_key=KEY)
        assert gpt_magics.ask("hello").text == text
        assert gpt_magics.limits().tokens_in == 1


def test_a_compressed_error_is_unpacked() -> None:
    body = gzip.compress(b'{"error": {"message": "No such thing.", "code": "nothing"}}')
    with stub(Reply(400, body, headers={"content-encoding": "gzip"})) as server:
        gpt_magics.configure(base_url=server.url, api_key=KEY)
        with pytest.raises(RequestError, match="No such thing"):
            gpt_magics.ask("hello")


@pytest.mark.parametrize("status", [307, 308])
def test_a_redirect_is_followed_by_the_sdks_client_from_then_on(status: int) -> None:
    with stub(chat_reply("over here")) as target:
        moved = Reply(status, headers={"location": f"{target.url}/chat/completions"})
        with stub(moved) as server:
            gpt_magics.configure(base_url=server.url, api_key=KEY)
            assert [gpt_magics.ask(text).text for text in ("one", "two")] == ["over here"] * 2
            assert len(server.requests) == 3  # the first was answered twice: lean, and by the SDK
        assert target.requests == [server.requests[0], server.requests[2]]
        assert gpt_magics.limits().requests == 2


def test_the_key_does_not_follow_a_redirect_to_another_host() -> None:
    with stub(chat_reply("elsewhere")) as target:
        there = target.url.replace("127.0.0.1", "localhost")
        with stub(Reply(307, headers={"location": f"{there}/chat/completions"})) as server:
            gpt_magics.configure(base_url=server.url, api_key=KEY)
            assert gpt_magics.ask("hello").text == "elsewhere"
        assert KEY not in str(target.headers)


@pytest.mark.parametrize("way", ["ask", "sdk"])
def test_the_environments_proxy_is_used(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with stub(chat_reply("by proxy")) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url.removesuffix("/v1"))
        gpt_magics.configure(base_url="http://model.example/v1", api_key=KEY, model="m")
        if way == "ask":
            assert gpt_magics.ask("hello").text == "by proxy"
        else:
            by_sdk({"model": "m", "messages": user("hello")}, seconds=60.0)
        assert proxy.lines == ["POST http://model.example/v1/chat/completions HTTP/1.1"]


def test_a_proxys_password_reaches_the_proxy_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    with stub(chat_reply("by proxy")) as proxy:
        host = proxy.url.removeprefix("http://").removesuffix("/v1")
        monkeypatch.setenv("http_proxy", f"http://me:pw@{host}")
        gpt_magics.configure(base_url="http://model.example/v1", api_key=KEY)
        gpt_magics.ask("hello")
        said = proxy.headers[0]
        assert said["proxy-authorization"] == "Basic bWU6cHc="
        assert said["authorization"] == f"Bearer {KEY}"


def test_no_proxy_is_obeyed(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    serve()
    assert gpt_magics.ask("hello").text == "hello"


def test_rows_share_their_connections(serve: Serve) -> None:
    box = serve(rpm=AMPLE)
    gpt_magics.batch([f"row {number}" for number in range(60)], max_in_flight=3).result()
    line = next(iter(api.running_session()._lines.values()))  # noqa: SLF001 - nothing else knows
    session = line.wire._session  # noqa: SLF001
    assert session is not None
    assert session.connector is not None
    open_now = sum(len(idle) for idle in session.connector._conns.values())  # noqa: SLF001
    assert (open_now, box.stats()["answered"]) == (3, 60)
