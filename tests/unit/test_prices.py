"""Prices: the user's table, the bundled data, and what is unknown."""

from __future__ import annotations

import pytest

from gpt_magics.errors import OptionError
from gpt_magics.spend.prices import Prices, Rates, price_table
from gpt_magics.spend.tokens import Usage

OPENAI = "https://api.openai.com/v1"
PROXY = "http://127.0.0.1:4000/v1"
MILLION = Usage(1_000_000, 1_000_000)


def cost(model: str, url: str, usage: Usage) -> float | None:
    return Prices({}).cost(model, url, usage)


def test_a_model_of_openai_has_its_list_price() -> None:
    """gpt-4o-mini: $0.15 a million in, $0.60 out, half for cached input."""
    assert cost("gpt-4o-mini", OPENAI, MILLION) == pytest.approx(0.75)
    assert cost("gpt-4o-mini", OPENAI, Usage(1000, 0, cached=1000)) == pytest.approx(0.075e-3)


def test_cached_tokens_are_part_of_the_input() -> None:
    mixed = cost("gpt-4o-mini", OPENAI, Usage(1000, 100, cached=400))
    assert mixed == pytest.approx((600 * 0.15 + 400 * 0.075 + 100 * 0.60) / 1e6)


@pytest.mark.parametrize("url", [PROXY, "https://proxy.example/openai/v1", "", "nonsense"])
def test_openais_models_cost_the_same_on_an_unknown_host(url: str) -> None:
    assert cost("gpt-4o-mini", url, MILLION) == pytest.approx(0.75)


@pytest.mark.parametrize(
    ("model", "url"),
    [
        ("llama3.2", PROXY),
        ("smollm2-135m", PROXY),
        ("my-provider-model", PROXY),
        ("my-provider-model", OPENAI),
        ("no-such-model", OPENAI),
        ("gpt-4o-mini", "https://api.anthropic.com/v1"),
        ("", OPENAI),
        ("🎉", OPENAI),
    ],
)
def test_an_unknown_price_is_none_and_never_nothing(model: str, url: str) -> None:
    assert cost(model, url, MILLION) is None
    assert cost(model, url, Usage(0, 0)) is None


def test_another_provider_is_known_by_its_address() -> None:
    claude = cost("claude-3-5-haiku-latest", "https://api.anthropic.com/v1", MILLION)
    assert claude is not None
    assert claude > 1


def test_the_users_table_goes_first() -> None:
    prices = Prices({"gpt-4o-mini": (1.0, 2.0), "mine": (0.0, 0.0)})
    assert prices.cost("gpt-4o-mini", OPENAI, MILLION) == pytest.approx(3.0)
    assert prices.cost("mine", PROXY, MILLION) == 0.0
    assert prices.cost("gpt-4o", OPENAI, MILLION) == pytest.approx(12.5)


def test_the_users_price_holds_for_cached_tokens_too() -> None:
    prices = Prices({"mine": (1.0, 2.0)})
    assert prices.cost("mine", PROXY, Usage(1_000_000, 0, cached=500_000)) == pytest.approx(1.0)


def test_a_long_prompt_may_have_its_own_rates() -> None:
    """gemini-2.5-pro doubles its input price above 200,000 tokens."""
    url = "https://generativelanguage.googleapis.com/v1beta/openai/"
    short = Prices({}).rates("gemini-2.5-pro", url, prompt_tokens=1_000)
    long = Prices({}).rates("gemini-2.5-pro", url, prompt_tokens=300_000)
    assert short is not None
    assert long is not None
    assert long.input > short.input


def test_rates_are_dollars_a_token() -> None:
    assert Rates(input=2.0, output=3.0, cached=1.0).cost(Usage(10, 5, cached=4)) == 12 + 4 + 15


def test_a_price_table_is_checked_and_made_of_floats() -> None:
    assert price_table({"a": (1, 2), "b": [0.5, 0]}) == {"a": (1.0, 2.0), "b": (0.5, 0.0)}


@pytest.mark.parametrize(
    "table",
    [
        "cheap",
        5,
        [("a", (1, 2))],
        {"a": 1},
        {"a": (1,)},
        {"a": (1, 2, 3)},
        {"a": (-1, 2)},
        {"a": ("1", "2")},
        {"a": (1, float("inf"))},
        {"a": (1, float("nan"))},
        {"a": None},
    ],
)
def test_a_wrong_price_table_is_refused(table: object) -> None:
    with pytest.raises(OptionError, match="price"):
        price_table(table)
