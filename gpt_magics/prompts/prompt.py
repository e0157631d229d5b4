"""A prompt ready to be sent: messages, model and parameters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Prompt:
    """One request to a chat model.

    Attributes:
        messages: chat messages, each with ``role`` and ``content``.
        model: the model's name on the server.
        temperature: 0 to 2, or ``None`` for the server's default.
        max_tokens: the longest answer in tokens, or ``None`` for the server's default.
        extra: further body fields, passed on as they are.
    """

    messages: tuple[Mapping[str, object], ...]
    model: str
    temperature: float | None = None
    max_tokens: int | None = None
    extra: Mapping[str, object] = field(default_factory=dict)

    @classmethod
    def from_text(
        cls,
        text: str,
        *,
        model: str,
        system: str | None = None,
        temperature: float | None = None,
        max_tokens: int | None = None,
    ) -> Prompt:
        """A user's message, after a system message if there is one."""
        messages: list[Mapping[str, object]] = []
        if system:
            messages.append({"role": "system", "content": system})
        messages.append({"role": "user", "content": text})
        return cls(tuple(messages), model, temperature, max_tokens)

    def body(self, *, max_tokens_field: str) -> dict[str, object]:
        """The JSON body of a chat completion request.

        ``max_tokens_field`` is the server's name for the longest answer.
        """
        body: dict[str, object] = {"model": self.model, "messages": self.messages}
        if self.temperature is not None:
            body["temperature"] = self.temperature
        if self.max_tokens is not None:
            body[max_tokens_field] = self.max_tokens
        return body | dict(self.extra)
