"""Runs one client through one scenario: server and client each in a process of their own."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from scenarios import SCENARIOS, Scenario

HERE = Path(__file__).parent
_START = 60.0


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What one client made of one scenario.

    Attributes:
        wall: seconds from the call to the last answer.
        cpu: seconds of user and system time, all threads.
        rss: the most memory that the process ever had, in MB.
        right: rows with the right answer.
        rows: rows asked for.
        span: seconds from the first to the last admitted request, by the server's clock.
        requests: requests that reached the server.
        refused: 429s.
        floor: seconds of CPU that raw aiohttp took for the same, just before.
        missing: the package that is not installed, if that is why there is nothing else.
        fault: why it did not come to an end, if it did not.
    """

    rows: int
    wall: float = 0.0
    cpu: float = 0.0
    rss: float = 0.0
    right: int = 0
    span: float = 0.0
    requests: int = 0
    refused: int = 0
    floor: float = 0.0
    missing: str | None = None
    fault: str | None = None

    @property
    def cpu_per_row(self) -> float:
        """Milliseconds of CPU for each row."""
        return self.cpu / self.rows * 1000

    def seconds(self, scenario: Scenario) -> float:
        """The time by the scenario's clock."""
        return self.span if scenario.clock == "span" else self.wall


Measured = dict[str, dict[str, list[Outcome]]]
"""Outcomes by scenario and client, one for each round."""


def ratio_to_floor(outcomes: Sequence[Outcome]) -> float:
    """CPU against raw aiohttp's, the median of the rounds."""
    return statistics.median(outcome.cpu / outcome.floor for outcome in outcomes)


class Arena:
    """Holds the quick server, on which every client warms up. A context manager."""

    def __enter__(self) -> Self:
        self._open = ExitStack()
        program = [sys.executable, str(HERE / "quick_server.py")]
        running = self._open.enter_context(_process(program))
        self._warm_up, self._quick = (
            f"http://127.0.0.1:{port}/v1" for port in _line(running, _START).split()
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def run(self, client: str, name: str) -> Outcome:
        """Let ``client`` run the scenario ``name``."""
        scenario = SCENARIOS[name]
        program = [sys.executable, str(HERE / "contestant.py"), client, name, self._warm_up]
        with tempfile.TemporaryDirectory() as home, _process(program, home) as running:
            ready = json.loads(_line(running, _START) or '{"fault": "did not start"}')
            if "ready" not in ready:
                return Outcome(rows=scenario.rows, **ready)
            # Only now, so that its bucket does not refill while the client is imported.
            with self._server(scenario) as base_url:
                assert running.stdin is not None
                running.stdin.write(f"{base_url}\n")
                running.stdin.flush()
                said = _line(running, scenario.patience)
                found = json.loads(said or json.dumps({"fault": "did not end"}))
                return Outcome(rows=scenario.rows, **found, **_counts(scenario, base_url))

    def run_beside_floor(self, client: str, name: str) -> Outcome:
        """Let raw aiohttp run it, then ``client``: a busy moment of the machine meets both."""
        floor = self.run("floor", name)
        return replace(self.run(client, name), floor=floor.cpu)

    @contextmanager
    def _server(self, scenario: Scenario) -> Iterator[str]:
        if scenario.sandbox:
            with sandbox(scenario.options()) as base_url:
                yield base_url
        else:
            yield self._quick


@contextmanager
def sandbox(options: list[str]) -> Iterator[str]:
    """The address of a sandbox in a process of its own, started at this moment."""
    program = [sys.executable, "-m", "gpt_magics.cli", "sandbox", "--port=0", *options]
    with _process(program) as running:
        assert running.stdout is not None
        line = next(line for line in running.stdout if "OPENAI_BASE_URL" in line)
        yield line.split("=", 1)[1].strip()


def stats(base_url: str) -> dict[str, Any]:
    """What a sandbox counted."""
    with urllib.request.urlopen(base_url.removesuffix("/v1") + "/stats", timeout=5) as answer:
        found: dict[str, Any] = json.loads(answer.read())
        return found


def _counts(scenario: Scenario, base_url: str) -> dict[str, Any]:
    if not scenario.sandbox:
        return {}
    seen = stats(base_url)
    refused = sum(seen["refused"].values())
    return {"span": seen["span"], "requests": seen["requests"], "refused": refused}


@contextmanager
def _process(program: list[str], home: str | None = None) -> Iterator[subprocess.Popen[str]]:
    # No key, no address and no .env of the user's reaches a client, and no proxy stands between.
    foreign = ("OPENAI_", "GPT_MAGICS_")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(foreign)}
    environment |= {"NO_PROXY": "127.0.0.1"} | ({"HOME": home} if home else {})
    pipe = subprocess.PIPE
    running = subprocess.Popen(
        program, stdin=pipe, stdout=pipe, text=True, env=environment, cwd=home
    )
    try:
        yield running
    finally:
        running.kill() if home else running.terminate()
        running.communicate(timeout=10)


def _line(running: subprocess.Popen[str], patience: float) -> str:
    """The next line that a process prints, or "" if none comes in time."""
    assert running.stdout is not None
    late = threading.Timer(patience, running.kill)
    late.start()
    try:
        return running.stdout.readline()
    finally:
        late.cancel()
