"""The key is sent to the server and is to be seen nowhere else."""

from __future__ import annotations

import asyncio
import logging
import pickle
from typing import TYPE_CHECKING

import openai
import pytest
from served import Reply, everything_held, everything_said, stub, user

import gpt_magics
from gpt_magics import api, configuration
from gpt_magics.errors import GptMagicsError, OptionError
from gpt_magics.sandbox import Sandbox

if TYPE_CHECKING:
    from served import Serve

KEY = "sk-proj-Zq7-never-to-be-seen-9x"
LOGGERS = ("", "openai", "aiohttp", "httpx2", "httpcore2", "asyncio", "gpt_magics")


def everything_logged(caplog: pytest.LogCaptureFixture) -> str:
    return "\n".join(
        f"{record.getMessage()} {record.args!r} {record.exc_text} {vars(record)!r}"
        for record in caplog.records
    )


@pytest.mark.usefixtures("short_backoff")
def test_the_key_is_in_no_log(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    for name in LOGGERS:
        caplog.set_level(logging.DEBUG, logger=name)
    box = serve(api_key=KEY, error_rate=0.3, seed=1)
    said = []
    gpt_magics.configure(api_key=KEY)
    gpt_magics.ask("hello", on_text=lambda _: None)
    job = gpt_magics.batch(["a", "b", "c", None])
    job.result()
    client, sync = gpt_magics.client(), gpt_magics.sync_client()

    async def own_code() -> None:
        await client.chat.completions.create(model="sandbox-echo", messages=user("hello"))
        await client.files.create(file=("a.txt", b"text"), purpose="assistants")

    asyncio.run(own_code())
    sync.models.list()
    with pytest.raises(openai.NotFoundError) as own:
        sync.chat.completions.create(model="nonesuch", messages=user("hello"))
    said.append(everything_said(own.value))
    with pytest.raises(GptMagicsError) as caught:
        gpt_magics.ask("hello", model="nonesuch")
    said.append(everything_said(caught.value))
    said += [repr(thing) for thing in (job, job.failures, job.settings, client, sync)]
    said += [repr(thing) for thing in (gpt_magics.limits(), api.running_session())]
    said.append(repr(configuration.configured()))
    api.close()

    assert box.stats()["answered"] > 5  # the key is the right one
    assert len(caplog.records) > 20
    assert "/chat/completions" in caplog.text
    assert KEY not in "\n".join(said)
    assert KEY not in everything_logged(caplog)
    assert all(each.headers.get("authorization") == "withheld" for each in box.bodies)


def test_a_failing_flow_logs_no_key_either(caplog: pytest.LogCaptureFixture) -> None:
    for name in LOGGERS:
        caplog.set_level(logging.DEBUG, logger=name)
    with stub(Reply(401, b'{"error": {"message": "No", "code": "invalid_api_key"}}')) as server:
        gpt_magics.configure(base_url=server.url, api_key=KEY)
        for work in (
            lambda: gpt_magics.ask("hello"),
            gpt_magics.batch(["a", "b"]).result,
            lambda: gpt_magics.ask("hello", on_text=lambda _: None),
        ):
            with pytest.raises(GptMagicsError) as caught:
                work()
            assert KEY not in everything_said(caught.value)
        with pytest.raises(openai.AuthenticationError) as own:
            gpt_magics.sync_client().models.list()
        assert KEY not in everything_said(own.value)
    assert caplog.records
    assert KEY not in everything_logged(caplog)


@pytest.mark.usefixtures("short_backoff")
@pytest.mark.parametrize("way", ["ask", "batch", "stream", "client", "sync client"])
@pytest.mark.parametrize("trouble", ["unreachable", "cut", "refused", "redirected", "hangs"])
def test_no_frame_that_an_error_leads_to_shows_the_key(way: str, trouble: str) -> None:
    """``%xmode Verbose`` shows the variables of every frame, aiohttp's included."""
    replies = {
        "cut": Reply(200, b'{"choices": [', cut=True),
        "refused": Reply(400, b'{"error": {"message": "No"}}'),
        "redirected": Reply(307, headers={"location": "http://127.0.0.1:1/v1/chat/completions"}),
    }
    with stub(replies.get(trouble, Reply())) as server, Sandbox(hang_rate=1.0) as hangs:
        urls = {"unreachable": "http://127.0.0.1:1/v1", "hangs": hangs.url}
        gpt_magics.configure(
            base_url=urls.get(trouble, server.url), api_key=KEY, timeout=0.1, max_attempts=2
        )
        with pytest.raises(Exception) as caught:  # noqa: PT011 - whatever the SDK raises
            FAILING_WAYS[way]()
        assert KEY not in everything_held(caught.value)
        assert KEY not in everything_said(caught.value)


def own_code() -> None:
    client = gpt_magics.client()

    async def ask() -> None:
        await client.chat.completions.create(model="sandbox-echo", messages=user("hello"))

    asyncio.run(ask())


def failing_job() -> None:
    job = gpt_magics.batch(["a", "b"])
    job.result()
    raise RuntimeError(job.failures)


FAILING_WAYS = {
    "ask": lambda: gpt_magics.ask("hello"),
    "batch": failing_job,
    "stream": lambda: gpt_magics.ask("hello", on_text=lambda _: None),
    "client": own_code,
    "sync client": lambda: gpt_magics.sync_client().chat.completions.create(
        model="sandbox-echo", messages=user("hello")
    ),
}


@pytest.mark.parametrize(
    "key", [f"{KEY} \u201d", f"{KEY} and more", f"{KEY}\nmore", f"{KEY}\u200b"]
)
def test_a_key_that_cannot_be_one_is_refused_without_repeating_it(key: str) -> None:
    with pytest.raises(OptionError) as caught:
        gpt_magics.configure(api_key=key)
    assert KEY not in everything_said(caught.value)


def test_an_address_with_a_password_is_refused_without_repeating_it() -> None:
    with pytest.raises(OptionError) as caught:
        gpt_magics.configure(base_url=f"https://me:{KEY}@example.com/v1")
    assert KEY not in everything_said(caught.value)


def test_a_settings_object_shows_no_key_and_still_knows_it() -> None:
    gpt_magics.configure(api_key=KEY)
    settings = configuration.settings()
    assert KEY not in repr(settings) + repr(settings.connection())
    assert settings.api_key == KEY
    assert pickle.loads(pickle.dumps(settings)).api_key == KEY  # noqa: S301 - our own bytes
