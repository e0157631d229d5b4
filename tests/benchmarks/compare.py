"""Measure gpt_magics beside what else one could use, and print a table.

``python tests/benchmarks/compare.py [--rounds N] [--only drained,full] [--clients ours] [--write]``
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from itertools import product

import report
from arena import Arena, Measured, Outcome
from scenarios import COMPARED, SCENARIOS

CLIENTS = {
    "floor": "raw aiohttp + semaphore",
    "ours": "gpt_magics",
    "openai_httpx": "AsyncOpenAI + semaphore",
    "openai_aiohttp": "AsyncOpenAI on aiohttp + semaphore",
    "flexllm_client": "flexllm",
    "abl": "async-batch-llm",
    "abl_even": "async-batch-llm, spread evenly",
    "openlimit_client": "openlimit",
}


def main() -> None:
    asked = _arguments()
    measured = measure(asked.only, asked.clients, asked.rounds)
    names = {client: CLIENTS[client] for client in asked.clients}
    print(report.table(measured, names))
    if asked.write:
        report.write(measured, names)


def measure(scenarios: Sequence[str], clients: Sequence[str], rounds: int) -> Measured:
    """Run everything, one client at a time. CPU is measured in rounds that take turns."""
    measured: Measured = {name: {client: [] for client in clients} for name in scenarios}
    with Arena() as arena:
        for name in scenarios:
            beside = name == "cpu"
            run = arena.run_beside_floor if beside else arena.run
            for number, client in product(range(rounds if beside else 1), clients):
                outcome = run(client, name)
                measured[name][client].append(outcome)
                print(f"{name} {number + 1}: {CLIENTS[client]}: {_line(name, outcome)}", flush=True)
    return measured


def _line(name: str, outcome: Outcome) -> str:
    if outcome.missing:
        return f"{outcome.missing} is not installed"
    if outcome.fault:
        return outcome.fault
    said = f"{outcome.right} of {outcome.rows} rows right, {outcome.cpu_per_row:.2f} ms CPU a row, "
    said += f"{outcome.seconds(SCENARIOS[name]):.2f} s, {outcome.refused} refused"
    return said


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="rounds of the CPU benchmark")
    for name, known in (("only", COMPARED), ("clients", list(CLIENTS))):
        parser.add_argument(f"--{name}", type=_some_of(known), default=known, help=", ".join(known))
    parser.add_argument("--write", action="store_true", help="write docs/benchmarks.md and images")
    asked = parser.parse_args()
    if asked.write and (asked.only, asked.clients) != (COMPARED, list(CLIENTS)):
        parser.error("--write needs every scenario and every client")
    return asked


def _some_of(known: Sequence[str]) -> Callable[[str], list[str]]:
    def chosen(text: str) -> list[str]:
        names = text.split(",")
        strange = [name for name in names if name not in known]
        if strange:
            raise argparse.ArgumentTypeError(f"{strange[0]!r} is none of {', '.join(known)}")
        return names

    return chosen


if __name__ == "__main__":
    main()
