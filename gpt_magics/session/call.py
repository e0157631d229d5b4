"""What one request is worth and for whom it is; it travels to ``send()`` in a ``ContextVar``."""

from __future__ import annotations

import json
from collections import Counter
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from gpt_magics.pacing.buckets import Ask
from gpt_magics.pacing.retries import Failure, Verdict
from gpt_magics.spend.budget import Budget
from gpt_magics.spend.tokens import Usage, estimate_messages, estimate_text

OWN_CODE = "your own code"
_MAX_TOKENS_FIELDS = ("max_completion_tokens", "max_tokens", "max_output_tokens")


@dataclass(eq=False, slots=True)
class Call:
    """One request of the kernel, from its estimate to its outcome.

    Attributes:
        origin: who asked: a job's id, a cell, or the user's own code.
        kind: what it is alike, such as a template, for what the server really charges.
        model: the model named in the request; empty for polls, uploads and the like.
        base_url: the server's address, which decides the price.
        prompt_tokens: estimated input tokens.
        prompt_bytes: the size of the request's JSON, no token of the input being shorter than a
            byte.
        max_tokens: the longest answer, if the request sets one.
        budgets: whose money it is, besides the session's.
        interactive: whether a person waits for it; such requests go before a batch.
        timeout: seconds for one attempt once sent; ``None`` leaves it to the SDK's client.
        deadline: seconds after which no further attempt is made: those that its attempts took, and
            its waits in between. Waiting for the server's limits does not count.
        max_attempts: how often it may be sent; ``None`` for the session's number.
        attempts: requests sent so far.
        sent: when the last of them was, by the loop's clock.
        seconds: what counts against the deadline, as of the last failure.
        in_flight: whether a request of it is out at this moment.
        retries: how many attempts failed and were repeated, by reason.
        verdict: what the last failure meant, if the call failed.
    """

    origin: str
    kind: str = ""
    model: str = ""
    base_url: str = ""
    prompt_tokens: int = 0
    prompt_bytes: int = 0
    max_tokens: int | None = None
    budgets: tuple[Budget, ...] = ()
    interactive: bool = False
    timeout: float | None = None
    deadline: float | None = None
    max_attempts: int | None = None
    attempts: int = 0
    sent: float = 0.0
    seconds: float = 0.0
    retries: Counter[str] = field(default_factory=Counter)
    failure: Failure | None = None
    verdict: Verdict | None = None
    usage: Usage | None = None
    cost: float | None = None
    request_id: str | None = None
    in_flight: bool = False

    @property
    def ask(self) -> Ask:
        """What the server will charge on admission: the larger of ``max_tokens`` and the prompt.

        (OpenAI's rate-limit guide: limits are charged by the maximum of max_tokens and the
        estimate from the request's characters.)
        """
        tokens = max(self.max_tokens or 0, self.prompt_tokens)
        return Ask(tokens=tokens, least=self.prompt_tokens, kind=self.kind)


current_call: ContextVar[Call | None] = ContextVar("gpt_magics_call", default=None)


def call_of_own_code(body: bytes | None) -> Call:
    """What a request that the user's own code sends is worth, read off its JSON body."""
    fields = _json_object(body)
    model = fields.get("model")
    call = Call(OWN_CODE, interactive=True)
    if not isinstance(model, str):
        return call
    call.model = model
    call.prompt_bytes = len(body or b"")
    call.prompt_tokens = _input_tokens(fields)
    for name in _MAX_TOKENS_FIELDS:
        if isinstance(fields.get(name), int):
            call.max_tokens = fields[name]
    return call


def _json_object(body: bytes | None) -> dict[str, Any]:
    try:
        fields = json.loads(body or b"{}")
    except ValueError:
        return {}
    return fields if isinstance(fields, dict) else {}


def _input_tokens(fields: dict[str, Any]) -> int:
    for name in ("messages", "input"):
        value = fields.get(name)
        if isinstance(value, str):
            return estimate_text(value)
        if isinstance(value, list):
            messages = [m if isinstance(m, dict) else {"content": str(m)} for m in value]
            return estimate_messages(messages)
    return 0
