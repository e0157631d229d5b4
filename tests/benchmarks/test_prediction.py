"""Rehearsals are quick, and true to the real client on the sandbox."""

from __future__ import annotations

import json
import os
import time
import urllib.request
from dataclasses import replace
from pathlib import Path

import pytest
from arena import sandbox, stats

import gpt_magics
from gpt_magics.rehearsal import Plan, rehearse
from gpt_magics.rehearsal.client import Client
from gpt_magics.rehearsal.plot import picture

MILLION, PIECE = 1_000_000, 25_000
MODEL, PROBE = "gpt-4o-mini", "gpt-4o"
PROMPT = "Positive or negative? The battery lasts two days, but delivery took a week."
PROMPT_TOKENS = -(-len(PROMPT) // 4)

_TIER = Plan(rows=1, tokens=500, output_tokens=100, max_in_flight=1000, model="gpt-4.1-mini")
TIERS = {
    "500 RPM, 200k TPM": replace(_TIER, rpm=500, tpm=200_000),
    "5,000 RPM, 2M TPM": replace(_TIER, rpm=5000, tpm=2_000_000),
    "30,000 RPM, 150M TPM": replace(_TIER, rpm=30_000, tpm=150_000_000),
}
SETTINGS = {
    "a limit of requests": Plan(rows=240, rpm=1200, fill=0.05, latency=0.3),
    "a limit of tokens": Plan(rows=150, tpm=600_000, fill=0.1, latency=0.3, max_tokens=1008),
    "what is in flight": Plan(rows=80, rpm=60_000, latency=1.0, max_in_flight=8),
}


def test_a_million_requests_take_less_than_a_minute() -> None:
    client = Client(Plan(rows=MILLION, rpm=30_000, max_in_flight=1000, jitter=0.2))
    pieces = [_seconds(client, rows) for rows in range(PIECE, MILLION // 4 + 1, PIECE)]
    spent = sum(pieces)
    if 4 * spent < 40:
        seconds, said = spent + _seconds(client, MILLION), "all of them"
    else:  # others use the machine, too: what it can do is what the quickest piece took
        seconds, said = min(pieces) * MILLION / PIECE, "by the quickest 25,000 of 250,000"
    print(f"\na million simulated requests: {seconds:.1f} s of CPU, {said}")
    print(f"  (a quarter took {spent:.1f} s)")
    assert client.tally.refused <= 2
    assert seconds < 60


def _seconds(client: Client, rows: int) -> float:
    """Seconds of CPU until so many rows have ended."""
    began = time.process_time()
    client.run(rows)
    return time.process_time() - began


@pytest.mark.parametrize("name", SETTINGS)
def test_the_predicted_time_is_the_real_one(name: str) -> None:
    plan = SETTINGS[name]
    with sandbox(["--latency=0.01"]) as base_url:
        _ask(replace(plan, rows=50), base_url)  # imports, and the loop's thread
    with sandbox(_options(plan)) as base_url:
        fill, at = _probe(plan, base_url)
        answered = _ask(plan, base_url)
        seen = stats(base_url)
    fill = min(1.0, fill + (seen["first_at"] - at) / 60.0)
    outcome = rehearse(replace(plan, fill=fill))
    ratio = outcome.span / seen["span"]
    print(f"\n{name}: {outcome.span:.2f} s predicted, {seen['span']:.2f} s real, ratio {ratio:.3f}")
    assert answered == outcome.answered == plan.rows
    assert ratio == pytest.approx(1.0, abs=0.03)


def test_the_picture_of_the_docs(tmp_path: Path) -> None:
    """Drawn into the directory that GPT_MAGICS_PICTURES names, if it names one."""
    folder = Path(os.environ.get("GPT_MAGICS_PICTURES") or tmp_path)
    for theme in ("light", "dark"):
        drawn = picture(TIERS, theme)
        (folder / f"rehearsal-{theme}.svg").write_text(drawn, encoding="utf-8")
        assert all(f">{name}</text>" in drawn for name in TIERS)


def _options(plan: Plan) -> list[str]:
    limits = [f"--{name}={n}" for name in ("rpm", "tpm") if (n := getattr(plan, name))]
    return [*limits, f"--fill={plan.fill}", f"--latency={plan.latency}"]


def _probe(plan: Plan, base_url: str) -> tuple[float, float]:
    """How full the limits were at what time: a server fills up while a client gets ready.

    Another model has limits of its own, which are like the first one's.
    """
    body = {"model": PROBE, "messages": [{"role": "user", "content": PROMPT}]}
    headers = {"content-type": "application/json"}
    request = urllib.request.Request(
        f"{base_url}/chat/completions", json.dumps(body).encode(), headers
    )
    with urllib.request.urlopen(request, timeout=5) as answer:
        unit, took = ("requests", 1) if plan.rpm else ("tokens", PROMPT_TOKENS)
        left = int(answer.headers[f"x-ratelimit-remaining-{unit}"]) + took
        limit = int(answer.headers[f"x-ratelimit-limit-{unit}"])
    at = float(stats(base_url)["first_at"])
    reset = urllib.request.Request(base_url.removesuffix("/v1") + "/stats/reset", b"")
    urllib.request.urlopen(reset, timeout=5).close()
    return left / limit, at


def _ask(plan: Plan, base_url: str) -> int:
    """Send the real batch; returns how many rows were answered."""
    job = gpt_magics.batch(
        [f"Row {row}: {PROMPT}" for row in range(plan.rows)],
        model=MODEL,
        base_url=base_url,
        api_key="sandbox",
        max_in_flight=plan.max_in_flight,
        max_tokens=plan.max_tokens,
    )
    return sum(answer is not None for answer in job.result())
