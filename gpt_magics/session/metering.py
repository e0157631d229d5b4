"""The meter at the choke point: reserve a call's worst case, settle it by what the answer says."""

from __future__ import annotations

import json
from collections import Counter, OrderedDict
from typing import Any, NamedTuple, TypeGuard

from gpt_magics.session.call import Call
from gpt_magics.spend.budget import Budget, Reservation, reserve
from gpt_magics.spend.prices import Prices
from gpt_magics.spend.tokens import Usage

# The worst case of an answer whose longest length was not set. Sending a length of our own would
# make the worst case exact, but servers charge it against the token limit in full: at 2,048
# tokens a row, a batch of short answers ran ten times slower. --max-tokens makes the wall exact.
ASSUMED_MAX_TOKENS = 4096
_TOKENS_PER_REQUEST = 64  # what the server wraps around messages
_REMEMBERED_ANSWERS = 10_000


class Report(NamedTuple):
    """What an answer says of itself."""

    model: str
    answer_id: str
    usage: Usage


class Meter:
    """Counts every request, token and dollar of a session.

    Attributes:
        session: the session's budget and spend.
        requests: requests sent.
        refused: how many of them the server had no room for.
        retries: repeated attempts, by reason.
        tokens_in: input tokens of all answers.
        tokens_out: output tokens of all answers.
        by_origin: requests sent, by who asked.
    """

    def __init__(self, session: Budget, prices: Prices) -> None:
        self.session = session
        self.prices = prices
        self.requests = 0
        self.refused = 0
        self.retries: Counter[str] = Counter()
        self.tokens_in = 0
        self.tokens_out = 0
        self.by_origin: Counter[str] = Counter()
        self._answers: OrderedDict[str, None] = OrderedDict()

    def reserve(self, call: Call) -> Reservation:
        """Hold the worst case of a call, or raise ``BudgetError`` before anything is sent."""
        budgets = (self.session, *call.budgets)
        if not call.model:
            return reserve((), 0.0, model="")
        return reserve(budgets, self._worst(call), model=call.model)

    def settle(self, call: Call, reservation: Reservation, body: bytes) -> None:
        """Settle by the usage that an answer's body (or a stream's end) reports.

        Polls report the usage of an answer that was begun earlier: it is counted once.
        """
        self.settle_by(find_usage(body), call, reservation, body)

    def settle_by(
        self, report: Report | None, call: Call, reservation: Reservation, body: bytes
    ) -> None:
        """The same, if what the body reports has been found already."""
        if report is None:
            self._settle_unreported(call, reservation, body)
            return
        model, answer_id, usage = report
        if not call.model and answer_id in self._answers:
            return
        if answer_id:
            self._remember(answer_id)
        self._count(call, reservation, usage, call.model or model)

    def _settle_unreported(self, call: Call, reservation: Reservation, body: bytes) -> None:
        """Settle an answer without usage: a chat's by an estimate, anything else by nothing."""
        if call.model and b'"choices"' in body:
            usage = Usage(call.prompt_tokens, len(body) // 4, estimated=True)
            self._count(call, reservation, usage, call.model)
        else:
            reservation.release()

    def settle_stream(
        self, call: Call, reservation: Reservation, tail: bytes, *, events: int
    ) -> None:
        """Settle a stream by the usage in its ``tail``, or by its number of events if cut off."""
        report = find_usage(tail)
        if call.model and report is None:
            usage = Usage(call.prompt_tokens, events, estimated=True)
            self._count(call, reservation, usage, call.model)
        else:
            self.settle_by(report, call, reservation, tail)

    def count_abandoned(self, call: Call) -> None:
        """An attempt got no answer, but its prompt at least may be billed: count that."""
        if call.model:
            usage = Usage(call.prompt_tokens, 0, estimated=True)
            self._count(call, Reservation((self.session, *call.budgets), 0.0), usage, call.model)

    def settle_abandoned(self, call: Call, reservation: Reservation) -> None:
        """Settle a call that was cancelled in flight: its prompt at least may be billed."""
        if call.model and reservation.open:
            usage = Usage(call.prompt_tokens, 0, estimated=True)
            self._count(call, reservation, usage, call.model)

    def _count(self, call: Call, reservation: Reservation, usage: Usage, model: str) -> None:
        call.usage = usage
        call.cost = self.prices.cost(model, call.base_url, usage)
        self.tokens_in += usage.input
        self.tokens_out += usage.output
        if reservation.budgets:
            reservation.settle(call.cost)
        else:  # a poll that brought the answer of a background request
            Reservation((self.session, *call.budgets), 0.0).settle(call.cost)

    def _worst(self, call: Call) -> float | None:
        rates = self.prices.rates(call.model, call.base_url, prompt_tokens=call.prompt_tokens)
        if rates is None:
            return None
        return rates.cost(
            Usage(
                # A picture given by its address has more tokens than bytes.
                input=max(call.prompt_bytes, call.prompt_tokens) + _TOKENS_PER_REQUEST,
                output=call.max_tokens or ASSUMED_MAX_TOKENS,
            )
        )

    def _remember(self, answer_id: str) -> None:
        self._answers[answer_id] = None
        if len(self._answers) > _REMEMBERED_ANSWERS:
            self._answers.popitem(last=False)


def find_usage(body: bytes) -> Report | None:
    """What an answer's JSON reports, or the last event of a stream that reports anything."""
    for text in _candidates(body):
        try:
            report = usage_in(json.loads(text))
        except (ValueError, RecursionError):
            continue
        if report is not None:
            return report
    return None


def usage_in(fields: object) -> Report | None:
    """What an answer or an event reports, its JSON parsed."""
    answer = fields.get("response", fields) if isinstance(fields, dict) else None
    found = answer.get("usage") if isinstance(answer, dict) else None
    usage = _usage(found) if isinstance(found, dict) else None
    if answer is None or usage is None:
        return None
    return Report(str(answer.get("model") or ""), str(answer.get("id") or ""), usage)


def _candidates(body: bytes) -> list[bytes]:
    if b'"usage"' not in body:
        return []
    if body.lstrip()[:1] == b"{":
        return [body]
    lines = body.splitlines()
    return [line[5:] for line in reversed(lines) if line[:5] == b"data:" and b'"usage"' in line]


def _usage(fields: dict[str, Any]) -> Usage | None:
    """Usage of chat completions (prompt, completion) or of responses (input, output)."""
    used_in = fields.get("prompt_tokens", fields.get("input_tokens"))
    used_out = fields.get("completion_tokens", fields.get("output_tokens")) or 0
    if not _is_count(used_in) or not _is_count(used_out):
        return None
    details = fields.get("prompt_tokens_details") or fields.get("input_tokens_details") or {}
    cached = details.get("cached_tokens") if isinstance(details, dict) else 0
    return Usage(used_in, used_out, min(cached, used_in) if _is_count(cached) else 0)


def _is_count(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and value >= 0
