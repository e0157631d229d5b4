"""Limits of every shape: enforced in pieces, shared with others, changed in the middle, or untold.

The server is a process of its own; what counts is what it counted.
"""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from arena import sandbox, stats

import gpt_magics
from gpt_magics import api, configuration

MODEL = "gpt-4.1-mini"


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    """A session of the test's own, its imports done before a bucket begins to refill."""
    configuration.configure(base_url="http://127.0.0.1:9/v1", api_key="unused", model=MODEL)
    gpt_magics.limits()
    yield
    api.close()
    configuration.reset()


def batch(rows: int, base_url: str, **options: Any) -> gpt_magics.Job:
    prompts = [f"Row {i}" for i in range(rows)]
    return gpt_magics.batch(prompts, base_url=base_url, api_key="sandbox", **options)


def refused(base_url: str) -> int:
    return sum(stats(base_url)["refused"].values()) + stats(base_url)["overloaded"]


def change(base_url: str, **limits: int) -> None:
    body = json.dumps(limits).encode()
    request = urllib.request.Request(base_url.removesuffix("/v1") + "/limits", data=body)
    urllib.request.urlopen(request, timeout=5).close()


def test_sixty_a_minute_enforced_as_one_a_second_costs_one_refusal() -> None:
    rows = 25
    with sandbox(["--rpm=60", "--quantum=1", "--latency=0.3"]) as base_url:
        answers = batch(rows, base_url).result()
        seen = stats(base_url)
    rate = (rows - 1) / seen["span"]
    print(f"\n1 a second: {rate:.3f} a second, {sum(seen['refused'].values())} refused")
    assert None not in answers
    assert sum(seen["refused"].values()) <= 1
    assert rate >= 0.95


def test_a_server_without_headers_is_used_to_its_capacity() -> None:
    rows, places, latency = 280, 8, 0.3
    options = [f"--latency={latency}", f"--max-in-flight={places}", "--no-headers"]
    with sandbox(options) as base_url:
        early = batch(60, base_url)  # to settle
        assert None not in early.result()
        before = refused(base_url)
        started = time.perf_counter()
        answers = batch(rows, base_url).result()
        seconds = time.perf_counter() - started
        late = refused(base_url) - before
    share = rows * latency / places / seconds
    print(f"\n8 in flight: {share:.1%} of its capacity; refused: {before} at first, {late} later")
    assert None not in answers
    assert share >= 0.90
    assert late / (rows + late) < 0.02


def test_with_a_second_client_the_limit_is_used_and_hardly_exceeded() -> None:
    rows, rpm = 600, 3000
    with sandbox([f"--rpm={rpm}", "--fill=0.02", "--latency=0.2", "--rival=0.5"]) as base_url:
        answers = batch(rows, base_url).result()
        seen = stats(base_url)
    could = rpm * 0.02 + seen["span"] * rpm / 60
    used = (rows + seen["rival"]) / could
    ours = sum(seen["refused"].values())
    print(f"\na second client: {used:.1%} of the limit used, {ours} of our {rows} refused")
    assert None not in answers
    assert used >= 0.95
    assert ours <= 0.02 * rows


@pytest.mark.parametrize(("first", "then"), [(6000, 600), (600, 6000)], ids=["cut", "raised"])
def test_a_limit_that_changes_in_the_middle_is_followed(first: int, then: int) -> None:
    rows, latency, before = 200, 0.1, 1.0
    with sandbox([f"--rpm={first}", "--fill=0", f"--latency={latency}"]) as base_url:
        job = batch(rows, base_url)
        time.sleep(before)
        admitted = stats(base_url)["requests"]
        change(base_url, rpm=then)
        answers = job.result()
        seen = stats(base_url)
    ideal = before + (rows - admitted) / (then / 60)
    ratio = seen["span"] / ideal
    late = sum(seen["refused"].values())
    print(f"\n{first} to {then} RPM: {seen['span']:.2f} s, ideal {ideal:.2f} s, {late} refused")
    assert None not in answers
    # What is in flight at a cut cannot be called back; and the first goes alone into an empty one.
    assert late <= 1 + first / 60 * latency
    assert ratio <= 1.05


def test_a_question_in_a_cell_does_not_wait_for_the_batch() -> None:
    rpm, latency = 600, 0.1
    with sandbox([f"--rpm={rpm}", "--fill=0.01", f"--latency={latency}"]) as base_url:
        job = batch(10_000, base_url)
        time.sleep(2)
        waits = []
        for _ in range(5):
            started = time.perf_counter()
            gpt_magics.ask("What is this?", base_url=base_url, api_key="sandbox")
            waits.append(time.perf_counter() - started - latency)
        job.cancel()
    slot = 60 / rpm
    print(f"\na question waits {max(waits):.3f} s at most; a slot is {slot:.3f} s")
    assert max(waits) <= 1.5 * slot, "one slot, and what the loop and a busy machine need"


def test_threads_a_batch_and_polls_keep_one_limit_together() -> None:
    with sandbox(["--rpm=60", "--fill=0.3", "--shared-bucket", "--latency=0.2"]) as base_url:
        options = {"base_url": base_url, "api_key": "sandbox"}
        job = batch(12, base_url)
        client = gpt_magics.sync_client(**options)

        def ask(number: int) -> str:
            said = client.chat.completions.create(
                model="gpt-4o" if number % 2 else MODEL,
                messages=[{"role": "user", "content": f"Thread {number}"}],
            )
            return said.choices[0].message.content or ""

        def poll() -> str:
            begun = client.responses.create(model=MODEL, input="Slowly", background=True)
            while begun.status in ("queued", "in_progress"):
                begun = client.responses.retrieve(begun.id)
            return begun.status or ""

        with ThreadPoolExecutor(9) as threads:
            asked = [threads.submit(ask, number) for number in range(16)]
            polled = threads.submit(poll)
            assert all(each.result() for each in asked)
            assert polled.result() == "completed"
        assert None not in job.result()
        seen = stats(base_url)
    by = gpt_magics.limits().by_origin
    print(f"\n60 RPM: {seen['requests']} requests in {seen['span']:.1f} s, {by}")
    assert sum(seen["refused"].values()) == 0
    assert sum(by.values()) == seen["requests"]
