"""Token estimates: never an exception, whatever the text."""

from __future__ import annotations

import pytest

from gpt_magics.spend.tokens import Usage, estimate_messages, estimate_text


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("", 0),
        ("a", 1),
        ("four", 1),
        ("fives", 2),
        ("Hello, world!", 4),
        ("日本語", 3),
        ("你好世界", 3),
        ("🎉", 1),
        ("👩‍👩‍👧‍👦", 7),  # four people and three joiners
        ("\ud800", 1),
        ("\ud83d alone \udc00", 4),
        ("\x00", 1),
    ],
)
def test_a_text_is_estimated_by_its_utf8_length(text: str, tokens: int) -> None:
    assert estimate_text(text) == tokens


def test_each_message_costs_four_more() -> None:
    assert estimate_messages([{"role": "user", "content": "four"}] * 3) == 15


def test_pictures_count_in_full_and_texts_beside_them_too() -> None:
    content = [
        {"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": {"url": "https://x/y.png"}},
    ]
    assert estimate_messages([{"role": "user", "content": content}]) == 4 + 4 + 1105


@pytest.mark.parametrize("content", [None, 5, [], ["loose text"], [None], {"text": "x"}])
def test_content_of_another_shape_costs_its_message(content: object) -> None:
    assert estimate_messages([{"role": "user", "content": content}]) == 4


def test_a_message_without_content_costs_four() -> None:
    assert estimate_messages([{"role": "assistant", "tool_calls": []}]) == 4


def test_total_is_input_and_output() -> None:
    assert Usage(5, 7, cached=3).total == 12
