"""What a hostile new user found, so that it stays mended."""

from __future__ import annotations

import os
import traceback
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest

import gpt_magics
from gpt_magics import api
from gpt_magics.errors import BudgetError, OptionError, PromptError, SourceError
from gpt_magics.sandbox import Sandbox
from gpt_magics.session.transport import KEY_STAND_IN

if TYPE_CHECKING:
    from collections.abc import Iterator

KEY = "sk-SECRET-0123456789abcdef"


def _shown(value: object) -> str:
    try:
        return repr(value)
    except AttributeError:  # half-made headers
        return ""


@pytest.fixture
def keyed() -> Iterator[Sandbox]:
    with Sandbox(rpm=60_000, api_key=KEY) as box:
        gpt_magics.configure(base_url=box.url, api_key=KEY, model="sandbox-echo")
        yield box


@pytest.mark.usefixtures("keyed")
@pytest.mark.parametrize("new_index", [True, False])
def test_answers_are_not_written_to_rows_that_have_moved(*, new_index: bool) -> None:
    frame = pd.DataFrame({"review": [f"r{i}" for i in range(10)]})
    job = gpt_magics.batch(frame, "{review}", into="said")
    frame.sort_values("review", ascending=False, inplace=True, ignore_index=new_index)  # noqa: PD002
    with pytest.raises(SourceError, match=r"have moved.*job\.texts"):
        job.result()
    assert job.texts == [f"r{i}" for i in range(10)]


@pytest.mark.usefixtures("keyed")
def test_the_sdk_never_holds_the_key_that_its_frames_would_show() -> None:
    client = gpt_magics.sync_client()
    message: Any = [{"role": "user", "content": "hi"}]
    answer = client.chat.completions.create(model="sandbox-echo", messages=message)
    assert answer.choices[0].message.content == "hi"  # the server had the real one
    with pytest.raises(Exception) as caught:  # noqa: PT011 - whatever the SDK raises
        client.chat.completions.create(
            model="sandbox-echo", messages=message, extra_headers={"X-A": "ß\u2028"}
        )
    frames = [frame.f_locals for frame, _ in traceback.walk_tb(caught.value.__traceback__)]
    shown = [_shown(value) for names in frames[1:] for value in names.values()]
    assert any(KEY_STAND_IN in text for text in shown)  # as ``headers_dict`` had the key
    assert not [text for text in shown if KEY in text]
    assert KEY not in repr(vars(client))


def test_an_attempt_without_an_answer_is_counted_at_its_prompt() -> None:
    with Sandbox(rpm=60_000, hang_rate=1.0) as box:
        job = gpt_magics.batch(
            ["a long enough prompt " * 20],
            base_url=box.url,
            api_key=KEY,
            timeout=0.1,
            max_attempts=2,
        )
        job.wait()
        assert box.stats()["requests"] == 2
    assert job.reason == "timeout", "it has never said a word, so the queue stops"
    assert job.progress.cost > 0


def test_answers_that_were_cut_off_are_counted() -> None:
    with Sandbox(rpm=60_000) as box:
        job = gpt_magics.batch(["one", "two"], base_url=box.url, api_key=KEY, max_tokens=2)
        job.result()
    assert job.truncated == 2
    assert "2 cut off" in repr(job)


def test_unloading_does_not_refill_the_budget() -> None:
    with Sandbox(rpm=60_000) as box:
        gpt_magics.configure(base_url=box.url, api_key=KEY, budget=1.0)
        gpt_magics.ask("hello")
        spent = gpt_magics.limits().cost
        api.close(keep_spend=True)
        assert gpt_magics.limits().cost == spent > 0


@pytest.mark.usefixtures("keyed")
def test_a_forked_child_makes_its_own_session_and_can_end() -> None:
    gpt_magics.ask("before")
    child = os.fork()
    if child == 0:
        os._exit(0 if gpt_magics.ask("in the child").text == "in the child" else 1)
    assert os.waitpid(child, 0)[1] == 0


@pytest.mark.parametrize("prompt", ["", "  \n"])
def test_an_empty_question_is_not_sent(keyed: Sandbox, prompt: str) -> None:
    with pytest.raises(PromptError, match="empty"):
        gpt_magics.ask(prompt)
    assert keyed.stats()["requests"] == 0


@pytest.mark.usefixtures("keyed")
@pytest.mark.parametrize("limit", ["3", 1.5, True, 0])
def test_a_limit_is_a_whole_number(limit: Any) -> None:
    with pytest.raises(OptionError, match="limit must be a whole number"):
        gpt_magics.batch(["a"], limit=limit)


@pytest.mark.usefixtures("keyed")
def test_a_function_is_no_text() -> None:
    with pytest.raises(PromptError, match="is a function"):
        api.Template(api.parse("{open}").parts).render({"open": open})


def test_a_small_budget_says_why_it_is_slow() -> None:
    with Sandbox(rpm=60_000, latency=0.05) as box:
        job = gpt_magics.batch(
            [f"row {i}" for i in range(12)], base_url=box.url, api_key=KEY, budget=0.02
        )
        try:
            job.result()
        except BudgetError:
            pytest.fail("the budget suffices for all rows")
        assert "--max-tokens" in job.last_message
