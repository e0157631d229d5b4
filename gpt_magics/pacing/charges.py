"""What a server really charges for requests of one kind, compared with their estimate.

OpenAI charges the larger of ``max_tokens`` and an estimate from the characters, on admission
(rate-limit guide); others charge the prompt alone, or what was really used. The headers tell:
what is gone between two answers is what the requests between them were charged. Requests of one
kind (one model, one template) are alike in this.
"""

from __future__ import annotations

from collections import OrderedDict, deque

from gpt_magics.pacing.buckets import Ask
from gpt_magics.pacing.strangers import Sample

_REMEMBERED_SAMPLES = 8
_REMEMBERED_KINDS = 256
# The dearest of the samples counts, and a little more: too little is a refusal.
_CAUTION = 1.05
_HIGHEST = 2.0
_FAR = 4.0


class Charges:
    """Ratios of charge to estimate for the kinds of requests of one lane."""

    def __init__(self) -> None:
        self._ratios: OrderedDict[str, deque[float]] = OrderedDict()
        self._factors: dict[str, float] = {}

    def __repr__(self) -> str:
        return f"<Charges {self._factors}>"

    def cost(self, ask: Ask) -> float:
        """The tokens that a request is expected to be charged."""
        factor = self._factors.get(ask.kind)
        return ask.tokens if factor is None else max(ask.least, ask.tokens * factor)

    def is_unknown(self, ask: Ask) -> bool:
        """Whether the charge may be far below the estimate, and only a trial would tell."""
        return bool(ask.kind) and ask.kind not in self._ratios and ask.tokens > _FAR * ask.least

    def as_estimated(self, ask: Ask) -> None:
        """A trial has shown that the estimate is what is charged."""
        if self.is_unknown(ask):
            self._add(ask.kind, 1.0)

    def bound(self, ask: Ask, most: float) -> None:
        """The first request of a kind was charged ``most`` tokens at most."""
        if ask.kind and ask.kind not in self._ratios and 0 < most < ask.tokens:
            self._add(ask.kind, most / ask.tokens)

    def learn(self, sample: Sample) -> None:
        """A span of requests of one kind has shown what they were charged."""
        self._add(sample.kind, max(0.0, sample.consumed / sample.asked))

    def _add(self, kind: str, ratio: float) -> None:
        ratios = self._ratios.setdefault(kind, deque(maxlen=_REMEMBERED_SAMPLES))
        self._ratios.move_to_end(kind)
        ratios.append(ratio)
        dearest = max(ratios)
        # What is within caution of the estimate is the estimate: no noise on what is known.
        plain = 1 / _CAUTION <= dearest <= _CAUTION
        self._factors[kind] = 1.0 if plain else min(_HIGHEST, dearest * _CAUTION)
        while len(self._ratios) > _REMEMBERED_KINDS:
            forgotten, _ = self._ratios.popitem(last=False)
            del self._factors[forgotten]
