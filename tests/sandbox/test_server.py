"""The sandbox as the openai SDK sees it."""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING, Any

import jsonschema
import openai
import pytest

from gpt_magics.errors import OptionError
from gpt_magics.sandbox import Sandbox

if TYPE_CHECKING:
    from collections.abc import Callable

    from openai import OpenAI

    from tests.sandbox.conftest import Opener

ASK: Any = [{"role": "user", "content": "Name three colours of the sea"}]
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"mood": {"enum": ["good", "bad"]}, "score": {"type": "integer", "maximum": 5}},
    "required": ["mood", "score"],
    "additionalProperties": False,
}


def chat(api: OpenAI, **options: Any) -> Any:
    return api.chat.completions.create(**{"model": "gpt-4o-mini", "messages": ASK, **options})


@pytest.fixture
def api(sandbox: Opener, client: Callable[..., OpenAI]) -> OpenAI:
    return client(sandbox())


def test_a_chat_is_answered_with_usage(api: OpenAI) -> None:
    made = chat(api)
    assert made.choices[0].message.content.startswith("[sandbox] ")
    assert made.choices[0].finish_reason == "stop"
    assert made.model == "gpt-4o-mini"
    assert made.usage.prompt_tokens == 8 + 3
    assert made.usage.total_tokens == made.usage.prompt_tokens + made.usage.completion_tokens


def test_a_stream_brings_the_same_text_and_the_usage_last(api: OpenAI) -> None:
    whole = chat(api)
    chunks = list(chat(api, stream=True, stream_options={"include_usage": True}))
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks[:-1])
    assert text == whole.choices[0].message.content
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert chunks[-1].choices == []
    assert chunks[-1].usage == whole.usage


def test_a_stream_can_be_paced(sandbox: Opener, client: Callable[..., OpenAI]) -> None:
    api = client(sandbox(tokens_per_second=2000))
    assert len(list(chat(api, stream=True))) > 5


def test_an_answer_is_cut_at_max_tokens(api: OpenAI) -> None:
    made = chat(api, max_tokens=4)
    assert (made.choices[0].finish_reason, made.usage.completion_tokens) == ("length", 4)


def test_the_echo_model_gives_the_prompt_back(api: OpenAI) -> None:
    text = "caf\u00e9 \U0001f600 {x}\r\n\t\x00 end"
    parts: Any = [{"role": "user", "content": [{"type": "text", "text": text}]}]
    assert chat(api, model="sandbox-echo", messages=parts).choices[0].message.content == text


def test_a_chat_keeps_a_json_schema(api: OpenAI) -> None:
    wanted = {"type": "json_schema", "json_schema": {"name": "mood", "schema": SCHEMA}}
    text = chat(api, response_format=wanted).choices[0].message.content
    jsonschema.validate(json.loads(text), SCHEMA)


def test_a_response_is_answered_and_can_be_fetched(api: OpenAI) -> None:
    made = api.responses.create(model="gpt-5", input="Hello", instructions="Be brief")
    assert made.status == "completed"
    assert made.output_text.startswith("[sandbox] ")
    assert made.usage is not None
    assert made.usage.input_tokens == 4 + 2 * 3
    assert api.responses.retrieve(made.id).output_text == made.output_text


def test_a_response_keeps_a_json_schema(api: OpenAI) -> None:
    wanted: Any = {"format": {"type": "json_schema", "name": "mood", "schema": SCHEMA}}
    made = api.responses.create(model="gpt-5", input="Hello", text=wanted)
    jsonschema.validate(json.loads(made.output_text), SCHEMA)


def test_a_streamed_response_has_its_events_in_order(api: OpenAI) -> None:
    with api.responses.stream(model="gpt-5", input="Hello") as stream:
        kinds = [each.type for each in stream]
        final = stream.get_final_response()
    assert list(dict.fromkeys(kinds)) == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    assert final.output_text.startswith("[sandbox] ")


def test_a_response_cut_short_is_incomplete(api: OpenAI) -> None:
    made = api.responses.create(model="gpt-5", input="Hello", max_output_tokens=16)
    assert made.status == "incomplete"
    assert made.incomplete_details is not None
    assert made.incomplete_details.reason == "max_output_tokens"


def test_embeddings_are_small_and_repeatable(api: OpenAI) -> None:
    made = api.embeddings.create(model="gpt-4o-mini", input=["one", "two"])
    again = api.embeddings.create(model="gpt-4o-mini", input="one", encoding_format="float")
    assert [len(each.embedding) for each in made.data] == [16, 16]
    assert made.data[0].embedding == pytest.approx(again.data[0].embedding, abs=1e-6)


def test_models_are_listed_and_shown(api: OpenAI) -> None:
    assert {"gpt-4o-mini", "sandbox-echo"} <= {each.id for each in api.models.list()}
    assert api.models.retrieve("gpt-5").id == "gpt-5"
    with pytest.raises(openai.NotFoundError):
        api.models.retrieve("gpt-2")


def test_an_unknown_model_is_a_404_like_openai_s(api: OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        chat(api, model="gpt-2")
    assert caught.value.code == "model_not_found"
    assert "`gpt-2` does not exist" in caught.value.message


def test_an_unknown_route_is_a_404(api: OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="Invalid URL"):
        api.get("/nothing", cast_to=object)


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[]",
        b'{"messages": []}',
        b'{"model": "gpt-4o"}',
        b'{"model": "gpt-4o", "messages": 5}',
        b'{"model": "gpt-4o", "messages": [{"content": null}], "stream": 1, "stream_options": "x"}',
    ],
)
def test_a_body_that_makes_no_sense_is_a_400(api: OpenAI, body: bytes) -> None:
    with pytest.raises(openai.BadRequestError):
        api.post("/chat/completions", content=body, cast_to=object)


def test_only_the_set_key_is_accepted(sandbox: Opener, client: Callable[..., OpenAI]) -> None:
    box = sandbox(api_key="right")
    with pytest.raises(openai.AuthenticationError) as caught:
        chat(client(box, api_key="wrong-secret"))
    assert caught.value.code == "invalid_api_key"
    assert "wrong-secret" not in str(caught.value.body)
    with pytest.raises(openai.AuthenticationError, match="didn't provide an API key"):
        chat(client(box), extra_headers={"authorization": openai.Omit()})
    assert chat(client(box)).choices
    assert box.stats()["rejected"] == {"401": 2}


def test_every_answer_carries_limits_and_an_id(
    sandbox: Opener, client: Callable[..., OpenAI]
) -> None:
    api = client(sandbox(rpm=600, tpm=90_000))
    raw = api.chat.completions.with_raw_response.create(model="gpt-4o-mini", messages=ASK)
    assert raw.headers["x-ratelimit-limit-requests"] == "600"
    assert raw.headers["x-ratelimit-remaining-requests"] == "599"
    assert raw.headers["x-ratelimit-reset-requests"] == "100ms"
    assert raw.headers["x-ratelimit-remaining-tokens"] == str(90_000 - 8)
    assert raw.headers["x-gpt-magics-sandbox"] == "1"
    assert raw.headers["x-request-id"].startswith("req_")
    assert int(raw.headers["openai-processing-ms"]) >= 0


def test_rate_headers_can_be_left_out(sandbox: Opener, client: Callable[..., OpenAI]) -> None:
    api = client(sandbox(rpm=600, headers=False))
    raw = api.chat.completions.with_raw_response.create(model="gpt-4o-mini", messages=ASK)
    assert not [name for name in raw.headers if name.startswith("x-ratelimit")]


def test_a_429_says_when_to_come_back(sandbox: Opener, client: Callable[..., OpenAI]) -> None:
    box = sandbox(rpm=1)
    api = client(box)
    chat(api)
    with pytest.raises(openai.RateLimitError) as caught:
        chat(api)
    error = caught.value
    assert (error.code, error.type) == ("rate_limit_exceeded", "requests")
    assert "(RPM): Limit 1, Used 1, Requested 1. Please try again in " in error.message
    assert 55 <= int(error.response.headers["retry-after"]) <= 60
    assert 55_000 <= int(error.response.headers["retry-after-ms"]) <= 60_000
    assert error.response.headers["x-ratelimit-remaining-requests"] == "0"
    assert box.stats()["refused"] == {"rate_limit_exceeded": 1}


def test_a_request_beyond_the_token_limit_is_too_large(
    sandbox: Opener, client: Callable[..., OpenAI]
) -> None:
    api = client(sandbox(tpm=100))
    with pytest.raises(openai.RateLimitError) as caught:
        chat(api, max_completion_tokens=5000)
    assert (caught.value.code, caught.value.type) == ("rate_limit_exceeded", "tokens")
    assert "Limit 100, Requested 5000" in caught.value.message


def test_models_have_buckets_of_their_own_unless_shared(
    sandbox: Opener, client: Callable[..., OpenAI]
) -> None:
    api, shared = client(sandbox(rpm=1)), client(sandbox(rpm=1, shared_bucket=True))
    chat(api)
    chat(api, model="gpt-5")
    api.models.list()
    chat(shared)
    with pytest.raises(openai.RateLimitError):
        chat(shared, model="gpt-5")
    with pytest.raises(openai.RateLimitError):
        shared.models.list()


def test_polls_count_against_the_request_limit(
    sandbox: Opener, client: Callable[..., OpenAI]
) -> None:
    api = client(sandbox(rpm=2))
    api.models.list()
    api.models.list()
    with pytest.raises(openai.RateLimitError):
        api.models.list()


def test_buckets_start_as_full_as_told_and_refill(
    sandbox: Opener, client: Callable[..., OpenAI]
) -> None:
    now = [100.0]
    api = client(sandbox(rpm=60, fill=0, clock=lambda: now[0]))
    with pytest.raises(openai.RateLimitError, match="try again in 1s"):
        chat(api)
    now[0] += 1
    chat(api)


def test_an_empty_account_says_so_after_its_last_answer(
    sandbox: Opener, client: Callable[..., OpenAI]
) -> None:
    box = sandbox(credit=2)
    api = client(box)
    chat(api)
    chat(api)
    for _ in range(2):
        with pytest.raises(openai.RateLimitError) as caught:
            chat(api)
        assert (caught.value.code, caught.value.type) == ("insufficient_quota",) * 2
    assert api.models.list().data
    assert box.stats()["refused"] == {"insufficient_quota": 2}


def test_credit_is_never_overdrawn_by_requests_at_the_same_time(
    sandbox: Opener, at_once: Callable[..., list[Any]]
) -> None:
    outcomes = at_once(sandbox(credit=5, latency=0.01), 20)
    assert sum(not isinstance(each, Exception) for each in outcomes) == 5


def test_stats_and_recorded_requests_tell_what_happened(
    sandbox: Opener, client: Callable[..., OpenAI]
) -> None:
    box = sandbox()
    api = client(box, api_key="a-secret")
    chat(api)
    api.models.list()
    stats = box.stats()
    assert (stats["requests"], stats["answered"], stats["in_flight"]) == (2, 2, 0)
    assert stats["by_path"] == {"/v1/chat/completions": 1, "/v1/models": 1}
    assert stats["tokens"]["prompt"] == 11
    assert 0 < stats["span"] < 5
    assert [each.method for each in box.bodies] == ["POST", "GET"]
    assert box.bodies[0].json["messages"] == ASK
    assert "a-secret" not in repr(box.bodies)


def test_stats_are_served_and_reset_outside_the_limits(
    sandbox: Opener, client: Callable[..., OpenAI]
) -> None:
    box = sandbox(rpm=1)
    root = client(box, base_url=box.url.removesuffix("/v1"))
    chat(client(box))
    for _ in range(3):
        assert root.get("/stats", cast_to=dict)["requests"] == 1
    assert root.post("/stats/reset", cast_to=dict)["requests"] == 0
    assert box.stats()["span"] == 0
    box.reset()
    assert box.bodies == []


def test_it_listens_on_loopback_only(sandbox: Opener) -> None:
    box = sandbox()
    assert box.url == f"http://127.0.0.1:{box.port}/v1"
    # All of 127/8 is this machine; a server on 0.0.0.0 would answer here.
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.2", box.port), timeout=1).close()


def test_a_taken_port_is_named(sandbox: Opener) -> None:
    port = sandbox().port
    with pytest.raises(OptionError, match=f"Port {port} of 127.0.0.1 cannot be used"):
        Sandbox(port=port).start()


def test_closing_twice_is_fine_and_it_can_start_again() -> None:
    box = Sandbox()
    with pytest.raises(OptionError, match="not running"):
        _ = box.url
    with box:
        assert repr(box) == f"<Sandbox {box.url}>"
    box.close()
    with box:
        assert box.stats()["requests"] == 0
    assert repr(box) == "<Sandbox, closed>"
