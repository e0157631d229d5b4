"""What is asked arrives byte for byte, and nothing is asked that cannot be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from served import contents

import gpt_magics
from gpt_magics.errors import GptMagicsError, OptionError, PromptError, SourceError

if TYPE_CHECKING:
    from served import Serve

AWKWARD = [
    "{'a': 1}",
    '{"a": {"b": [1, 2]}}',
    "p { margin: 0 } @media (x) { a:hover { color: #fff; } }",
    r"\frac{a}{b} \sum_{i}^{n} x_{i} $x_{i}$ \textbf{text}",
    "{name} {0} {} {{ }} {{name}} %s $x {text}",
    "  leading, trailing and\ttabs  \r\n\n",
    "nul \0, null, \u2028, \ufeff, \u202e, ÿ, 漢字, 👩\u200d👩\u200d👧, \U0001f600",
    "x" * 100_000,
]


@pytest.mark.parametrize("text", AWKWARD, ids=range(len(AWKWARD)))
def test_a_prompt_from_python_arrives_byte_for_byte(serve: Serve, text: str) -> None:
    box = serve()
    answer = gpt_magics.ask(text)
    assert contents(box) == [text]
    assert answer.text == text


def test_rows_arrive_byte_for_byte(serve: Serve) -> None:
    box = serve()
    assert gpt_magics.batch(AWKWARD).result() == AWKWARD
    assert sorted(contents(box)) == sorted(AWKWARD)


@pytest.mark.parametrize(
    "literal", ["{'a': 1}", "a { margin: 0 }", r"\frac{a}{b}", r"$x_{i}$", "{1}", "{ }"]
)
def test_braces_that_are_no_placeholder_are_text(serve: Serve, literal: str) -> None:
    box = serve()
    gpt_magics.batch(["one"], f"Keep {literal}: {{text}}").result()
    assert contents(box) == [f"Keep {literal}: one"]


def test_what_a_row_holds_is_never_expanded(serve: Serve) -> None:
    box = serve()
    rows: list[dict[str, Any]] = [{"name": "{secret} {name} {{name}}", "secret": "hidden"}]
    assert gpt_magics.batch(rows, "Say {name}").result() == ["Say {secret} {name} {{name}}"]
    assert contents(box) == ["Say {secret} {name} {{name}}"]


def test_system_temperature_and_length_are_sent(serve: Serve) -> None:
    box = serve()
    gpt_magics.ask("hello", system="Be brief: {text}", temperature=0, max_tokens=5)
    body = box.bodies[-1].json
    assert body["messages"][0] == {"role": "system", "content": "Be brief: {text}"}
    assert (body["temperature"], body["max_tokens"]) == (0, 5)
    gpt_magics.ask("hello")
    assert {"temperature", "max_tokens", "max_completion_tokens"}.isdisjoint(box.bodies[-1].json)


@pytest.mark.parametrize(
    ("source", "prompt", "options", "error", "words"),
    [
        ([{"review": "a"}], "Is {reveiw} good?", {}, PromptError, "mean {review}"),
        (["a"], "Is {review} good?", {}, PromptError, "{review}"),
        (["a"], "The same for all", {}, PromptError, "{text}"),
        ([{"review": "a"}], None, {}, PromptError, "empty"),
        (["a"], "  ", {}, None, ""),
        ("a text", "{text}", {}, SourceError, "list"),
        ([{"a": 1}, "b"], "{a}", {}, SourceError, "mixes"),
        (["a"], None, {"limit": 0}, OptionError, "limit"),
        (["a"], None, {"budget": -1}, OptionError, "budget"),
        (["a"], None, {"max_in_flihgt": 3}, OptionError, "max_in_flight"),
        (["a"], None, {"max_in_flight": 0}, OptionError, "max_in_flight"),
        (["a"], None, {"base_url": "localhost:80"}, OptionError, "http"),
    ],
)
def test_what_cannot_be_asked_is_refused_before_anything_is_sent(
    serve: Serve,
    *,
    source: Any,
    prompt: str | None,
    options: dict[str, Any],
    error: type[GptMagicsError] | None,
    words: str,
) -> None:
    box = serve()
    if error is None:  # a list of texts needs no prompt
        assert gpt_magics.batch(source, prompt, **options).result() == source
        return
    with pytest.raises(error) as caught:
        gpt_magics.batch(source, prompt, **options)
    assert words in str(caught.value)
    assert box.stats()["requests"] == 0
