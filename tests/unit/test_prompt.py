"""A prompt and the body that is sent for it."""

from __future__ import annotations

from gpt_magics.prompts.prompt import Prompt


def test_a_text_is_a_users_message() -> None:
    prompt = Prompt.from_text("Hello", model="m")
    assert prompt.body(max_tokens_field="max_tokens") == {
        "model": "m",
        "messages": ({"role": "user", "content": "Hello"},),
    }


def test_a_system_message_comes_first() -> None:
    prompt = Prompt.from_text("Hello", model="m", system="Be kind.")
    assert [message["role"] for message in prompt.messages] == ["system", "user"]


def test_the_longest_answer_goes_by_the_servers_name() -> None:
    prompt = Prompt.from_text("Hello", model="m", temperature=0.0, max_tokens=5)
    body = prompt.body(max_tokens_field="max_completion_tokens")
    assert body["max_completion_tokens"] == 5
    assert body["temperature"] == 0.0
    assert "max_tokens" not in body


def test_extra_fields_are_passed_on() -> None:
    prompt = Prompt(({"role": "user", "content": "x"},), "m", extra={"seed": 7})
    assert prompt.body(max_tokens_field="max_tokens")["seed"] == 7
