"""Answers: made from the prompt alone, always the same, and openly marked. Pure."""

from __future__ import annotations

import json
import math
import random
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gpt_magics.sandbox.instances import instance
from gpt_magics.sandbox.options import ECHO_MODEL

if TYPE_CHECKING:
    from collections.abc import Sequence

MARK = "[sandbox] "
_QUOTED_WORDS = 8
_REMARKS = (
    "A real model would answer here; the sandbox shows that the request arrived whole.",
    "Nothing was sent to the internet, and nothing was billed.",
    "Ask the same again and you will read the same again.",
    "The limits and the headers are real; the wisdom is not.",
)


@dataclass(frozen=True)
class Message:
    """One message of a prompt, its parts joined."""

    role: str
    text: str


@dataclass(frozen=True)
class Answer:
    """A finished answer with what it would have cost."""

    text: str
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int


@dataclass(frozen=True)
class Wish:
    """What an answer should look like.

    Attributes:
        schema: a JSON schema to keep, ``{}`` for any JSON object, ``None`` for prose.
        max_tokens: where the answer is cut off.
        tokens: how long prose is made; ``None`` is its natural length.
    """

    schema: dict[str, Any] | None = None
    max_tokens: int | None = None
    tokens: int | None = None


def tokens_of(text: str) -> int:
    """Estimate tokens: a quarter of the UTF-8 bytes."""
    return math.ceil(_size(text) / 4)


def _size(text: str) -> int:
    # JSON may carry half a surrogate pair, which plain UTF-8 refuses.
    return len(text.encode(errors="surrogatepass"))


def prompt_tokens(messages: Sequence[Message]) -> int:
    """Count a prompt: a quarter of its bytes and three for each message."""
    size = sum(_size(message.text) for message in messages)
    return math.ceil(size / 4) + 3 * len(messages)


def answer(model: str, messages: Sequence[Message], wish: Wish) -> Answer:
    """Answer ``messages`` as ``model``. The same question always has the same answer."""
    whole = _whole_text(model, messages, wish)
    text = cut(whole, wish.max_tokens)
    return Answer(
        text=text,
        finish_reason="stop" if text == whole else "length",
        prompt_tokens=prompt_tokens(messages),
        completion_tokens=tokens_of(text),
    )


def cut(text: str, max_tokens: int | None) -> str:
    """Cut ``text`` to ``max_tokens``, never inside a character."""
    if max_tokens is None or tokens_of(text) <= max_tokens:
        return text
    return text.encode(errors="surrogatepass")[: max_tokens * 4].decode(errors="ignore")


def pieces(text: str) -> list[str]:
    """Split an answer into what a stream sends one by one. Joined, they are the text again."""
    return re.findall(r"\s*\S+|\s+", text)


def embedding(text: str, dimensions: int) -> list[float]:
    """Return a unit vector that depends on the text alone."""
    luck = random.Random(text)  # noqa: S311 - repeatable, not secret
    vector = [luck.uniform(-1, 1) for _ in range(dimensions)]
    norm = math.sqrt(sum(x * x for x in vector)) or 1.0
    return [round(x / norm, 6) for x in vector]


def _whole_text(model: str, messages: Sequence[Message], wish: Wish) -> str:
    asked = next((each.text for each in reversed(messages) if each.role == "user"), "")
    if model == ECHO_MODEL:
        return asked
    luck = random.Random(f"{model}\n{messages!r}")  # noqa: S311 - repeatable, not secret
    if wish.schema is not None:
        return json.dumps(_json(wish.schema, asked, luck), ensure_ascii=False)
    return _prose(asked, len(messages), luck, wish.tokens)


def _json(schema: dict[str, Any], asked: str, luck: random.Random) -> object:
    if not schema:
        return {"sandbox": True, "about": _opening(asked), "words": len(asked.split())}
    return instance(schema, luck)


def _prose(asked: str, messages: int, luck: random.Random, tokens: int | None) -> str:
    size = (
        f"{_counted(len(asked.split()), 'word')} and {_counted(len(asked), 'character')} "
        f"in {_counted(messages, 'message')}"
    )
    text = f"{MARK}You asked: \u201c{_opening(asked)}\u201d \u2013 {size}. {luck.choice(_REMARKS)}"
    if tokens is None:
        return text
    while _size(text) < tokens * 4:
        text += " " + luck.choice(_REMARKS)
    return cut(text, tokens)


def _counted(number: int, thing: str) -> str:
    return f"{number} {thing}{'' if number == 1 else 's'}"


def _opening(asked: str) -> str:
    words = asked[:400].split()
    return " ".join(words[:_QUOTED_WORDS]) + (" \u2026" if len(words) > _QUOTED_WORDS else "")
