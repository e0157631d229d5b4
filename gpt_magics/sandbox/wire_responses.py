"""The JSON of the Responses API: the object and the events of its stream. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gpt_magics.sandbox.answers import pieces
from gpt_magics.sandbox.wire import event

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpt_magics.sandbox.answers import Answer
    from gpt_magics.sandbox.wire import Json


def empty_response(body: Json, *, name: str, created: int, status: str) -> Json:
    """Return a response without output yet, with what ``body`` asked for."""
    return {
        "id": name,
        "object": "response",
        "created_at": created,
        "status": status,
        "background": bool(body.get("background")),
        "error": None,
        "incomplete_details": None,
        "instructions": body.get("instructions"),
        "max_output_tokens": body.get("max_output_tokens"),
        "model": body["model"],
        "output": [],
        "parallel_tool_calls": True,
        "previous_response_id": body.get("previous_response_id"),
        "reasoning": {"effort": None, "summary": None},
        "store": body.get("store", True),
        "temperature": body.get("temperature", 1.0),
        "text": body.get("text") or {"format": {"type": "text"}},
        "tool_choice": "auto",
        "tools": [],
        "top_p": body.get("top_p", 1.0),
        "truncation": "disabled",
        "usage": None,
        "metadata": body.get("metadata") or {},
    }


def finished(response: Json, answer: Answer) -> Json:
    """Return ``response`` with its answer in place."""
    whole = answer.finish_reason == "stop"
    return {
        **response,
        "status": "completed" if whole else "incomplete",
        "incomplete_details": None if whole else {"reason": "max_output_tokens"},
        "output": [_item(response, answer)],
        "usage": usage(answer),
    }


def usage(answer: Answer) -> Json:
    """Return usage as the Responses API names it."""
    return {
        "input_tokens": answer.prompt_tokens,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": answer.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": answer.prompt_tokens + answer.completion_tokens,
    }


def response_events(response: Json, answer: Answer) -> Iterator[bytes]:
    """Return the events of a streamed response, in the order that OpenAI sends them."""
    for number, (kind, fields) in enumerate(_steps(response, answer)):
        yield event({"type": kind, "sequence_number": number, **fields}, kind)


def _steps(response: Json, answer: Answer) -> Iterator[tuple[str, Json]]:
    item = _item(response, answer)
    part = item["content"][0]
    place = {"item_id": item["id"], "output_index": 0, "content_index": 0}
    running = {**response, "status": "in_progress"}
    opened = {**item, "status": "in_progress", "content": []}
    yield "response.created", {"response": running}
    yield "response.in_progress", {"response": running}
    yield "response.output_item.added", {"output_index": 0, "item": opened}
    yield "response.content_part.added", {**place, "part": {**part, "text": ""}}
    for piece in pieces(answer.text):
        yield "response.output_text.delta", {**place, "delta": piece, "logprobs": []}
    yield "response.output_text.done", {**place, "text": answer.text, "logprobs": []}
    yield "response.content_part.done", {**place, "part": part}
    yield "response.output_item.done", {"output_index": 0, "item": item}
    done = finished(response, answer)
    yield f"response.{done['status']}", {"response": done}


def _item(response: Json, answer: Answer) -> dict[str, Any]:
    part = {"type": "output_text", "text": answer.text, "annotations": [], "logprobs": []}
    return {
        "id": response["id"].replace("resp_", "msg_"),
        "type": "message",
        "role": "assistant",
        "status": "completed" if answer.finish_reason == "stop" else "incomplete",
        "content": [part],
    }
