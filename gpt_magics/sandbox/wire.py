"""The JSON that goes over the wire: bodies, errors and stream events. Pure."""

from __future__ import annotations

import base64
import json
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gpt_magics.sandbox.answers import Message, pieces

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpt_magics.sandbox.answers import Answer

Json = dict[str, Any]

_NGINX_PAGE = (
    "<html>\r\n<head><title>429 Too Many Requests</title></head>\r\n<body>\r\n"
    "<center><h1>429 Too Many Requests</h1></center>\r\n<hr><center>nginx</center>\r\n"
    "</body>\r\n</html>\r\n"
)
FINGERPRINT = "fp_sandbox"
DONE = b"data: [DONE]\n\n"


@dataclass(frozen=True)
class Problem:
    """An error as OpenAI words it.

    Attributes:
        status: the HTTP status.
        message: what people read.
        kind: the error's type.
        code: what programs read.
        param: the field of the request that is wrong.
        overload: whether too much at the same time is the reason.
        instead: what another server sends in place of OpenAI's body: other JSON, or HTML.
    """

    status: int
    message: str
    kind: str = "invalid_request_error"
    code: str | None = None
    param: str | None = None
    overload: bool = False
    instead: Json | str | None = None

    @property
    def content_type(self) -> str:
        """The media type of ``body``."""
        return "text/html" if isinstance(self.instead, str) else "application/json"

    def body(self) -> bytes:
        """Return the body."""
        if isinstance(self.instead, str):
            return self.instead.encode()
        told = {"message": self.message, "type": self.kind, "param": self.param, "code": self.code}
        return encode({"error": told} if self.instead is None else self.instead)


class ProblemError(Exception):
    """An endpoint cannot answer; the client is told ``problem``."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


def wrong_key() -> Problem:
    """Return the answer to a key that is not the sandbox's. The key is not repeated."""
    return Problem(
        401,
        "Incorrect API key provided. You can find your API key at "
        "https://platform.openai.com/account/api-keys.",
        code="invalid_api_key",
    )


def missing_key() -> Problem:
    """Return the answer to a request without a key."""
    return Problem(
        401,
        "You didn't provide an API key. You need to provide your API key in an Authorization "
        "header using Bearer auth (i.e. Authorization: Bearer YOUR_KEY).",
    )


def unknown_model(model: str) -> Problem:
    """Return the answer to a model name that does not exist."""
    text = f"The model `{model}` does not exist or you do not have access to it."
    return Problem(404, text, code="model_not_found")


def no_credit() -> Problem:
    """Return the answer of an empty account."""
    return Problem(
        429,
        "You exceeded your current quota, please check your plan and billing details. For more "
        "information on this error, read the docs: "
        "https://platform.openai.com/docs/guides/error-codes/api-errors.",
        kind="insufficient_quota",
        code="insufficient_quota",
    )


def overloaded(form: str) -> Problem:
    """Return the answer of a server with too much to do, in a ``form`` of the option overload."""
    if form == "429":
        # A proxy in front (here nginx with limit_conn_status 429) knows no codes and no JSON.
        return Problem(429, "Too Many Requests", overload=True, instead=_NGINX_PAGE)
    if form == "slow_down":
        return _slow_down()
    return Problem(
        503,
        "The server is currently overloaded with other requests. Sorry about that! Please retry "
        "your request after a brief wait.",
        kind="server_error",
        code="server_is_overloaded",
        overload=True,
    )


def _slow_down() -> Problem:
    """Return OpenAI's answer to traffic that grows too fast. It used to be a 503.

    Sources: https://www.developersdigest.tech/errors/api/openai-api/429-slow-down,
    https://learn.microsoft.com/en-us/microsoft-cloud/dev/dev-proxy/concepts/openai-rate-limit-reached
    """
    text = (
        "Your request rate increased too quickly. Please slow down: reduce your request rate, keep "
        "it steady for a while, then increase it gradually."
    )
    return Problem(429, text, kind="rate_limit_error", code="slow_down", overload=True)


def broken_server() -> Problem:
    """Return the answer of a server that failed."""
    text = "The server had an error while processing your request. Sorry about that! [sandbox]"
    return Problem(500, text, kind="server_error")


def chat_messages(body: Json) -> list[Message]:
    """Read the messages of a chat completion request."""
    asked = body.get("messages")
    if not isinstance(asked, list):
        return []
    return [_message(each) for each in asked if isinstance(each, dict)]


def response_messages(body: Json) -> list[Message]:
    """Read instructions and input of a Responses request as messages."""
    found = []
    if isinstance(body.get("instructions"), str):
        found.append(Message("system", body["instructions"]))
    asked = body.get("input")
    if isinstance(asked, str):
        found.append(Message("user", asked))
    elif isinstance(asked, list):
        found.extend(_message(each) for each in asked if isinstance(each, dict))
    return found


def embedding_texts(body: Json) -> list[str]:
    """Read the inputs of an embeddings request; token lists count as texts as well."""
    asked = body.get("input", "")
    if isinstance(asked, list) and asked and not isinstance(asked[0], int):
        return [each if isinstance(each, str) else json.dumps(each) for each in asked]
    return [asked if isinstance(asked, str) else json.dumps(asked)]


def vector(numbers: list[float], encoding: object) -> list[float] | str:
    """Write a vector as a list, or as base64 of 32-bit floats, which the SDK asks for."""
    if encoding != "base64":
        return numbers
    return base64.b64encode(struct.pack(f"<{len(numbers)}f", *numbers)).decode()


def _message(each: Json) -> Message:
    content = each.get("content", each.get("output", ""))
    if isinstance(content, list):
        content = "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return Message(str(each.get("role", "user")), content if isinstance(content, str) else "")


def chat_usage(answer: Answer) -> Json:
    """Return usage as chat completions name it."""
    return {
        "prompt_tokens": answer.prompt_tokens,
        "completion_tokens": answer.completion_tokens,
        "total_tokens": answer.prompt_tokens + answer.completion_tokens,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": 0,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def chat_completion(answer: Answer, *, model: str, name: str, created: int) -> Json:
    """Return a whole chat completion."""
    message: Json = {
        "role": "assistant",
        "content": answer.text,
        "refusal": None,
        "annotations": [],
    }
    return {
        "id": name,
        "object": "chat.completion",
        "created": created,
        "model": model,
        "choices": [
            {
                "index": 0,
                "message": message,
                "logprobs": None,
                "finish_reason": answer.finish_reason,
            }
        ],
        "usage": chat_usage(answer),
        "service_tier": "default",
        "system_fingerprint": FINGERPRINT,
    }


def chat_chunks(
    answer: Answer, *, model: str, name: str, created: int, include_usage: bool
) -> Iterator[bytes]:
    """Return the events of a streamed chat completion, one by one, without the final DONE."""
    frame: Json = {
        "id": name,
        "object": "chat.completion.chunk",
        "created": created,
        "model": model,
        "service_tier": "default",
        "system_fingerprint": FINGERPRINT,
    }
    if include_usage:
        frame["usage"] = None

    def chunk(delta: Json, finish: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return event({**frame, "choices": [choice]})

    yield chunk({"role": "assistant", "content": "", "refusal": None})
    # Only the text differs between chunks, so the rest is written as JSON just once.
    before, _, after = chunk({"content": "\0"}).rpartition(encode("\0"))
    for piece in pieces(answer.text):
        yield before + encode(piece) + after
    yield chunk({}, answer.finish_reason)
    if include_usage:
        yield event({**frame, "choices": [], "usage": chat_usage(answer)})


def event(body: Json, name: str | None = None) -> bytes:
    """Write one server-sent event."""
    line = b"data: " + encode(body) + b"\n\n"
    return line if name is None else f"event: {name}\n".encode() + line


def encode(body: object) -> bytes:
    """Write JSON compactly and in ASCII, which half a surrogate pair survives."""
    return json.dumps(body, separators=(",", ":")).encode()


def schema_wish(format_: object) -> Json | None:
    """Read what a response format asks for: a schema, ``{}`` for any object, ``None`` for prose."""
    if not isinstance(format_, dict):
        return None
    if format_.get("type") == "json_object":
        return {}
    if format_.get("type") != "json_schema":
        return None
    # Chat completions wrap the schema once more than Responses do.
    held = format_.get("json_schema", format_)
    return held.get("schema") or {}


def charge(body: Json, texts: list[str]) -> int:
    """Return the tokens that admission takes: the longest answer allowed, or the prompt's size."""
    longest = 0
    for name in ("max_tokens", "max_completion_tokens", "max_output_tokens"):
        value = body.get(name)
        if isinstance(value, int):
            longest = max(longest, value)
    return max(longest, -(-sum(map(len, texts)) // 4))
