"""A batch takes as long as the limit dictates: no longer, and without avoidable 429s.

Ratios against the time that the limit itself dictates; the server is a process of its own. The
time is the server's: from the first to the last admitted request.
"""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

import gpt_magics
from gpt_magics import api, configuration


@dataclass(frozen=True)
class Case:
    """A sandbox's options, and how many rows; ``ideal`` is in seconds."""

    options: tuple[str, ...]
    rows: int
    ideal: float
    most_refused: int = 1
    ratio: float = 1.05
    max_tokens: int | None = None


CASES = {
    "600 RPM, drained, 300 rows": Case(("--rpm=600", "--fill=0", "--latency=0.3"), 300, 29.9),
    "1200 RPM, drained to 60, 300 rows": Case(
        ("--rpm=1200", "--fill=0.05", "--latency=0.3"), 300, 12.0
    ),
    "600k TPM, drained to 60k, 150 rows of 1008": Case(
        ("--tpm=600000", "--fill=0.1", "--latency=0.3"), 150, 9.12, most_refused=2, max_tokens=1008
    ),
}


@contextmanager
def sandbox(options: tuple[str, ...]) -> Iterator[str]:
    """The address of a sandbox in a process of its own, started at this moment."""
    command = [sys.executable, "-m", "gpt_magics.cli", "sandbox", "--port=0", *options]
    running = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert running.stdout is not None
        line = next(line for line in running.stdout if "OPENAI_BASE_URL" in line)
        yield line.split("=", 1)[1].strip()
    finally:
        running.terminate()
        running.wait(10)


def stats(base_url: str) -> dict[str, Any]:
    with urllib.request.urlopen(base_url.removesuffix("/v1") + "/stats", timeout=5) as answer:
        found: dict[str, Any] = json.loads(answer.read())
        return found


@pytest.fixture
def warm() -> Iterator[None]:
    """Imports are done and a session runs, so that the bucket does not refill meanwhile."""
    configuration.configure(base_url="http://127.0.0.1:9/v1", api_key="unused")
    gpt_magics.limits()
    yield
    api.close()
    configuration.reset()


@pytest.mark.usefixtures("warm")
@pytest.mark.parametrize("name", CASES)
def test_a_batch_takes_the_time_that_the_limit_dictates(name: str) -> None:
    case = CASES[name]
    with sandbox(case.options) as base_url:
        job = gpt_magics.batch(
            [f"Row {i}" for i in range(case.rows)],
            model="gpt-4.1-mini",
            base_url=base_url,
            api_key="sandbox",
            max_tokens=case.max_tokens,
        )
        answers = job.result()
        seen = stats(base_url)
    refused = sum(seen["refused"].values())
    ratio = seen["span"] / case.ideal
    print(f"\n{name}: span {seen['span']:.2f} s, ideal {case.ideal} s, ratio {ratio:.3f}")
    print(f"  {sum(a is not None for a in answers)} answered, {refused} refused")
    assert None not in answers
    assert refused <= case.most_refused
    assert ratio <= case.ratio
