"""One client in a process of its own: warm up, wait for the address, run, tell what it took.

``python contestant.py CLIENT SCENARIO WARM_UP_URL``; the address comes on standard input.
"""

from __future__ import annotations

import gc
import importlib
import json
import resource
import sys
import time
from collections.abc import Callable

from scenarios import SCENARIOS, Task

WARM_UP_ROWS = 50
_UNITS_IN_A_MB = 1024**2 if sys.platform == "darwin" else 1024


def main(client: str, scenario: str, warm_up: str) -> None:
    try:
        run: Callable[[Task], list[str | None]] = importlib.import_module(f"clients.{client}").run
    except ModuleNotFoundError as error:
        tell({"missing": error.name})
        return
    run(SCENARIOS["cpu"].task(warm_up, WARM_UP_ROWS))
    gc.collect()  # what the imports left: 70 ms that would fall on whoever is measured just then
    tell({"ready": True})
    task = SCENARIOS[scenario].task(sys.stdin.readline().strip())
    cpu, wall = time.process_time(), time.perf_counter()
    answers = run(task)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    right = sum(a == b for a, b in zip(answers, task.prompts, strict=True))
    rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / _UNITS_IN_A_MB
    tell({"cpu": cpu, "wall": wall, "right": right, "rss": rss})


def tell(said: dict[str, object]) -> None:
    print(json.dumps(said), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
