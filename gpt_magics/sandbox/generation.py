"""Endpoints that ask a model: chat completions, responses, embeddings."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

from gpt_magics.sandbox import wire
from gpt_magics.sandbox.answers import Wish, answer, embedding, tokens_of
from gpt_magics.sandbox.call import Endpoint, wall_clock
from gpt_magics.sandbox.wire_responses import empty_response, finished, response_events

if TYPE_CHECKING:
    from aiohttp import web

    from gpt_magics.sandbox.answers import Answer, Message
    from gpt_magics.sandbox.call import Call
    from gpt_magics.sandbox.options import SandboxOptions
    from gpt_magics.sandbox.shelf import Shelf
    from gpt_magics.sandbox.wire import Json

_DIMENSIONS = 16


class Generation:
    """Answers prompts, at once, as a stream or in the background."""

    def __init__(self, options: SandboxOptions, shelf: Shelf) -> None:
        self._options = options
        self._shelf = shelf
        self._numbers = count(1)

    def endpoints(self) -> list[Endpoint]:
        """Return the routes that name a model."""
        return [
            Endpoint("POST", "/chat/completions", self.chat, chat_texts, slow=True),
            Endpoint("POST", "/responses", self.respond, response_texts, slow=True),
            Endpoint("POST", "/embeddings", self.embed, wire.embedding_texts, slow=True),
            Endpoint("GET", "/responses/{name}", self.response),
            Endpoint("POST", "/responses/{name}/cancel", self.cancel),
        ]

    async def chat(self, call: Call) -> web.StreamResponse:
        """Answer a chat completion request."""
        body, messages = call.body, wire.chat_messages(call.body)
        if not messages:
            raise wire.ProblemError(_missing("messages"))
        made = answer(call.model, messages, self._wish(body, body.get("response_format")))
        call.stats.spent(made.prompt_tokens, made.completion_tokens)
        name, created = f"chatcmpl-sandbox{next(self._numbers)}", wall_clock()
        if not body.get("stream"):
            whole = wire.chat_completion(made, model=call.model, name=name, created=created)
            return call.answer(whole)
        told = bool((body.get("stream_options") or {}).get("include_usage"))
        events = wire.chat_chunks(
            made, model=call.model, name=name, created=created, include_usage=told
        )
        return await self._stream(call, list(events), wire.DONE)

    async def respond(self, call: Call) -> web.StreamResponse:
        """Answer a Responses request."""
        body, messages = call.body, wire.response_messages(call.body)
        if not messages:
            raise wire.ProblemError(_missing("input"))
        made = self._answer_response(body, messages)
        call.stats.spent(made.prompt_tokens, made.completion_tokens)
        name = f"resp_sandbox{next(self._numbers)}"
        waiting = bool(body.get("background"))
        status = "queued" if waiting else "in_progress"
        opened = empty_response(body, name=name, created=wall_clock(), status=status)
        done = finished(opened, made)
        self._shelf.put(name, opened, done, polls=self._options.polls if waiting else 0)
        if body.get("stream"):
            return await self._stream(call, list(response_events(opened, made)), b"")
        return call.answer(opened if waiting else done)

    async def response(self, call: Call) -> web.StreamResponse:
        """Tell how far a response is."""
        return call.answer(self._shelf.poll(call.name))

    async def cancel(self, call: Call) -> web.StreamResponse:
        """Cancel a background response that is not completed."""
        return call.answer(self._shelf.cancel(call.name))

    async def embed(self, call: Call) -> web.StreamResponse:
        """Return a small vector for every text."""
        texts = wire.embedding_texts(call.body)
        size = call.body.get("dimensions") or _DIMENSIONS
        vectors = [
            {
                "object": "embedding",
                "index": place,
                "embedding": wire.vector(embedding(text, size), call.body.get("encoding_format")),
            }
            for place, text in enumerate(texts)
        ]
        used = sum(map(tokens_of, texts))
        call.stats.spent(used, 0)
        usage = {"prompt_tokens": used, "total_tokens": used}
        return call.answer({"object": "list", "data": vectors, "model": call.model, "usage": usage})

    def _answer_response(self, body: Json, messages: list[Message]) -> Answer:
        format_ = (body.get("text") or {}).get("format")
        return answer(body["model"], messages, self._wish(body, format_))

    def _wish(self, body: Json, format_: object) -> Wish:
        limits = ("max_completion_tokens", "max_output_tokens", "max_tokens")
        longest = next((body[name] for name in limits if isinstance(body.get(name), int)), None)
        schema = wire.schema_wish(format_)
        return Wish(schema=schema, max_tokens=longest, tokens=self._options.answer_tokens)

    async def _stream(self, call: Call, events: list[bytes], end: bytes) -> web.StreamResponse:
        return await call.stream(events, end, pace=self._options.tokens_per_second)


def chat_texts(body: Json) -> list[str]:
    """Return the texts of a chat request that the token limit is charged for."""
    return [message.text for message in wire.chat_messages(body)]


def response_texts(body: Json) -> list[str]:
    """Return the texts of a Responses request that the token limit is charged for."""
    return [message.text for message in wire.response_messages(body)]


def _missing(name: str) -> wire.Problem:
    text = f"Missing required parameter: '{name}'."
    return wire.Problem(400, text, code="missing_required_parameter", param=name)
