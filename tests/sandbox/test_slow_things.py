"""Background responses, uploads, vector stores and batches: things that are polled."""

from __future__ import annotations

from typing import TYPE_CHECKING

import openai
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from openai import OpenAI

    from tests.sandbox.conftest import Opener


def test_a_background_response_is_queued_then_in_progress_then_completed(
    sandbox: Opener, client: Callable[..., OpenAI]
) -> None:
    api = client(sandbox(polls=2))
    made = api.responses.create(model="gpt-5", input="Hello", background=True)
    seen = [made.status, *(api.responses.retrieve(made.id).status for _ in range(4))]
    assert seen == ["queued", "in_progress", "in_progress", "completed", "completed"]
    assert api.responses.retrieve(made.id).output_text.startswith("[sandbox] ")


def test_a_background_response_can_be_cancelled(
    sandbox: Opener, client: Callable[..., OpenAI]
) -> None:
    api = client(sandbox())
    made = api.responses.create(model="gpt-5", input="Hello", background=True)
    assert api.responses.cancel(made.id).status == "cancelled"
    assert api.responses.retrieve(made.id).status == "cancelled"


def test_an_upload_is_polled_until_it_is_completed(
    sandbox: Opener, client: Callable[..., OpenAI]
) -> None:
    box = sandbox(rpm=1000, polls=3)
    api = client(box)
    content = b"first\r\n\r\n--second\xff\x00\n"
    file = api.files.create(file=("notes.txt", content), purpose="assistants")
    assert (file.bytes, file.filename, file.purpose) == (len(content), "notes.txt", "assistants")
    assert api.files.retrieve(file.id).status == "processed"
    store = api.vector_stores.create(name="mine")
    done = api.vector_stores.files.create_and_poll(
        file_id=file.id, vector_store_id=store.id, poll_interval_ms=1
    )
    assert done.status == "completed"
    stats = box.stats()
    assert stats["by_path"]["/v1/vector_stores/{store}/files/{name}"] == 4
    assert stats["requests"] == 8
    assert box.bodies[0].method == "POST"


def test_a_batch_is_completed_after_its_polls(
    sandbox: Opener, client: Callable[..., OpenAI]
) -> None:
    api = client(sandbox(polls=1))
    file = api.files.create(file=("lines.jsonl", b"{}\n"), purpose="batch")
    made = api.batches.create(
        input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h"
    )
    seen = [made.status, *(api.batches.retrieve(made.id).status for _ in range(2))]
    assert seen == ["validating", "in_progress", "completed"]


def test_what_is_not_there_is_a_404(sandbox: Opener, client: Callable[..., OpenAI]) -> None:
    api = client(sandbox())
    for look in (api.files.retrieve, api.responses.retrieve, api.batches.retrieve):
        with pytest.raises(openai.NotFoundError):
            look("nothing")
