"""Prices of models: the user's own table first, then genai-prices' bundled, maintained data.

An unknown price is ``None`` and is shown as unknown, never as $0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from gpt_magics.errors import OptionError
from gpt_magics.spend.tokens import Usage

_MILLION = 1_000_000
# Long prompts may cost more a token than short ones, so only short ones share cached rates.
_TIER_FREE_TOKENS = 100_000
_PAIR = 2


@dataclass(frozen=True, slots=True)
class Rates:
    """US dollars a token."""

    input: float
    output: float
    cached: float

    def cost(self, usage: Usage) -> float:
        """US dollars for one answer."""
        fresh = usage.input - usage.cached
        return fresh * self.input + usage.cached * self.cached + usage.output * self.output


class Prices:
    """Looks up what a model costs on a server.

    Args:
        table: the user's prices, model name to (input, output) US dollars a million tokens. They
            go before the bundled ones.
    """

    def __init__(self, table: Mapping[str, tuple[float, float]]) -> None:
        self._table = {
            model: Rates(per_input / _MILLION, per_output / _MILLION, per_input / _MILLION)
            for model, (per_input, per_output) in table.items()
        }

    def rates(self, model: str, base_url: str, *, prompt_tokens: int = 0) -> Rates | None:
        """The rates for a prompt of this length, or ``None`` if the price is unknown.

        The server's address tells the provider. On an address that the bundled data does not
        know (a proxy, the sandbox), a model that OpenAI sells costs what OpenAI asks, and any
        other is unknown.
        """
        if model in self._table:
            return self._table[model]
        tokens = 1000 if prompt_tokens < _TIER_FREE_TOKENS else prompt_tokens
        return _bundled(model, base_url, tokens)

    def cost(self, model: str, base_url: str, usage: Usage) -> float | None:
        """US dollars for one answer, or ``None`` if the price is unknown."""
        rates = self.rates(model, base_url, prompt_tokens=usage.input)
        return None if rates is None else rates.cost(usage)


def price_table(value: object) -> dict[str, tuple[float, float]]:
    """Check a user's price table: ``{"my-model": (0.15, 0.60)}``, US dollars a million tokens."""
    if not isinstance(value, Mapping):
        raise OptionError('prices must be a dict such as {"my-model": (0.15, 0.60)}.')
    return {str(model): _pair(str(model), pair) for model, pair in value.items()}


def _pair(model: str, pair: object) -> tuple[float, float]:
    if isinstance(pair, (tuple, list)) and len(pair) == _PAIR:
        first, second = pair
        if _is_price(first) and _is_price(second):
            return float(first), float(second)
    raise OptionError(
        f"The price of {model!r} must be two numbers, (input, output), in US dollars a million "
        f"tokens; got {pair!r}."
    )


def _is_price(value: object) -> bool:
    return isinstance(value, (int, float)) and 0 <= value < float("inf")


@lru_cache(maxsize=512)
def _bundled(model: str, base_url: str, tokens: int) -> Rates | None:
    # 0.4 s to import, so only when a price is first asked for.
    from genai_prices import Usage as PricedUsage  # noqa: PLC0415
    from genai_prices import calc_price  # noqa: PLC0415

    where: Any
    for where in ({"provider_api_url": base_url}, {"provider_id": "openai"}):
        try:
            plain = calc_price(PricedUsage(input_tokens=tokens, output_tokens=1000), model, **where)
            cached = calc_price(
                PricedUsage(input_tokens=tokens, cache_read_tokens=tokens), model, **where
            )
        except LookupError as unknown:
            if "provider" in str(unknown):
                continue
            return None
        return Rates(
            input=float(plain.input_price) / tokens,
            output=float(plain.output_price) / 1000,
            cached=float(cached.input_price) / tokens,
        )
    return None
