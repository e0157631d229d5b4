"""Changing limits, a rival, overload and load as the openai SDK meets them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import openai
import pytest

from gpt_magics.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Callable

    from openai import OpenAI

    from tests.sandbox.conftest import Opener

ASK: Any = [{"role": "user", "content": "Hello"}]
CHANGE = "/limits"


def limit(api: OpenAI) -> str:
    raw = api.chat.completions.with_raw_response.create(model="gpt-4o", messages=ASK)
    return str(raw.headers["x-ratelimit-limit-requests"])


def outside(client: Callable[..., OpenAI], box: Any) -> OpenAI:
    return client(box, base_url=box.url.removesuffix("/v1"))


def test_limits_can_be_changed_from_another_thread(
    sandbox: Opener, client: Callable[..., OpenAI]
) -> None:
    box = sandbox(rpm=600, tpm=90_000)
    api = client(box)
    assert limit(api) == "600"
    assert box.change_limits(rpm=60) == {"rpm": 60, "tpm": 90_000, "rpd": None}
    assert limit(api) == "60"


def test_models_asked_for_after_a_change_have_the_new_limits(
    sandbox: Opener, client: Callable[..., OpenAI]
) -> None:
    box = sandbox(rpm=600)
    box.change_limits(rpm=60)
    assert limit(client(box)) == "60"


def test_limits_can_be_changed_over_http(sandbox: Opener, client: Callable[..., OpenAI]) -> None:
    box = sandbox(rpm=600)
    told = outside(client, box).post(CHANGE, body={"rpm": 60, "tpm": None}, cast_to=dict)
    assert told == {"rpm": 60, "tpm": None, "rpd": None}
    assert limit(client(box)) == "60"
    assert box.stats()["requests"] == 1


@pytest.mark.parametrize(
    "body", [{"rpm": 0}, {"rpm": "60"}, {"rpm": True}, {"rps": 1}, {"tpm": 1.5}, [1], None]
)
def test_limits_that_cannot_work_change_nothing(
    sandbox: Opener, client: Callable[..., OpenAI], body: Any
) -> None:
    box = sandbox(rpm=600)
    with pytest.raises(openai.BadRequestError):
        outside(client, box).post(CHANGE, body=body, cast_to=dict)
    assert limit(client(box)) == "600"


def test_a_changed_limit_that_cannot_work_is_an_option_error(sandbox: Opener) -> None:
    box = sandbox(rpm=600)
    with pytest.raises(OptionError, match="tpm=0 cannot work"):
        box.change_limits(tpm=0)
    wrong: Any = "60"
    with pytest.raises(OptionError, match="wrong type"):
        box.change_limits(rpm=wrong)


def test_a_rival_is_counted_apart(sandbox: Opener, client: Callable[..., OpenAI]) -> None:
    now = [100.0]
    box = sandbox(rpm=600, rival=0.5, clock=lambda: now[0])
    api = client(box)
    now[0] += 60
    api.chat.completions.create(model="gpt-4o", messages=ASK)
    stats = box.stats()
    assert stats["rival"] == pytest.approx(300, rel=0.3)
    assert (stats["requests"], stats["answered"], stats["refused"]) == (1, 1, {})
    box.reset()
    assert box.stats()["rival"] == 0


def test_a_proxy_in_front_sends_html_without_rate_headers(
    sandbox: Opener, at_once: Callable[..., list[Any]]
) -> None:
    box = sandbox(rpm=600, max_in_flight=1, overload="429", latency=0.05)
    away = [each for each in at_once(box, 4) if isinstance(each, openai.RateLimitError)]
    assert away
    for each in away:
        assert each.code is None
        assert each.response.headers["content-type"] == "text/html"
        assert "<h1>429 Too Many Requests</h1>" in each.response.text
        assert "x-ratelimit-limit-requests" not in each.response.headers
    stats = box.stats()
    assert stats["overloaded"] == stats["refused"]["unknown"] == stats["refusals"]["429"]
    assert stats["overloaded"] == len(away)


def test_traffic_that_grows_too_fast_is_told_to_slow_down(
    sandbox: Opener, at_once: Callable[..., list[Any]]
) -> None:
    box = sandbox(max_in_flight=1, overload="slow_down", latency=0.05)
    away = [each for each in at_once(box, 4) if isinstance(each, openai.RateLimitError)]
    assert {(each.code, each.type) for each in away} == {("slow_down", "rate_limit_error")}
    stats = box.stats()
    assert stats["refusals"] == {"429 slow_down": len(away)}
    assert stats["overloaded"] == len(away)


def test_refusals_are_told_by_status_and_code(
    sandbox: Opener, client: Callable[..., OpenAI]
) -> None:
    box = sandbox(rpm=1)
    api = client(box)
    with pytest.raises(openai.NotFoundError):
        api.chat.completions.create(model="gpt-2", messages=ASK)
    api.chat.completions.create(model="gpt-4o", messages=ASK)
    with pytest.raises(openai.RateLimitError):
        api.chat.completions.create(model="gpt-4o", messages=ASK)
    assert box.stats()["refusals"] == {"404 model_not_found": 1, "429 rate_limit_exceeded": 1}


def test_the_most_requests_at_work_are_told(
    sandbox: Opener, at_once: Callable[..., list[Any]]
) -> None:
    box = sandbox(latency=0.05, latency_per_in_flight=0.01)
    at_once(box, 5)
    assert 2 <= box.stats()["most_in_flight"] <= 5


def test_a_request_alone_is_as_fast_as_ever(sandbox: Opener, client: Callable[..., OpenAI]) -> None:
    api = client(sandbox(latency_per_in_flight=30), timeout=5)
    assert api.chat.completions.create(model="gpt-4o", messages=ASK).choices


def test_every_dialect_reaches_the_wire(sandbox: Opener, client: Callable[..., OpenAI]) -> None:
    api = client(sandbox(rpm=5, tpm=9000, dialect="anthropic"))
    raw = api.chat.completions.with_raw_response.create(model="gpt-4o", messages=ASK)
    assert raw.headers["anthropic-ratelimit-requests-remaining"] == "4"
    assert raw.headers["anthropic-ratelimit-tokens-reset"].startswith("20")
    assert not [name for name in raw.headers if name.startswith("x-ratelimit")]
