"""What was measured, as a table and as a picture for both of GitHub's themes."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median

from arena import Measured, Outcome, ratio_to_floor
from picture import THEMES, Bar, Panel, draw
from scenarios import SCENARIOS

DOCS = Path(__file__).parents[2] / "docs"
OURS = "ours"
_PACKAGES = ("gpt-magics", "openai", "httpx2", "aiohttp", "flexllm", "async-batch-llm", "openlimit")
_REGION = re.compile(r"(<!-- measured -->\n).*(<!-- end of measured -->)", re.DOTALL)
_NONE = "-"


def table(measured: Measured, names: Mapping[str, str]) -> str:
    """One row for each client, in Markdown."""
    columns = {title: cell for scenario, title, cell in _COLUMNS if scenario in measured}
    lines = [["", *columns], ["-"] * (1 + len(columns))]
    for client, name in names.items():
        cells = [name, *(cell(measured, client) for cell in columns.values())]
        lines.append([f"**{cell}**" if client == OURS else cell for cell in cells])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def write(measured: Measured, names: Mapping[str, str]) -> None:
    """Put the table into docs/benchmarks.md and the pictures beside it."""
    page = DOCS / "benchmarks.md"
    found = f"{table(measured, names)}\n\n{_circumstances(measured)}\n"
    text = _REGION.sub(lambda region: region[1] + found + region[2], page.read_text())
    page.write_text(text)
    for theme in THEMES:
        picture = DOCS / "images" / f"benchmarks-{theme}.svg"
        picture.write_text(draw(_panels(measured, names), list(names.values()), theme))


def _circumstances(measured: Measured) -> str:
    today = datetime.now(UTC).date().isoformat()
    rounds = len(next(iter(measured["cpu"].values())))
    return (
        f"Measured on {today}, CPU and memory as medians of {rounds} rounds, on {os.cpu_count()} "
        f"cores: Python {platform.python_version()}, {', '.join(map(_version, _PACKAGES))}."
    )


def _version(package: str) -> str:
    try:
        return f"{package} {version(package)}"
    except PackageNotFoundError:
        return f"{package} not installed"


def _absent(outcomes: Sequence[Outcome]) -> str | None:
    first = outcomes[0]
    return f"{first.missing} is not installed" if first.missing else first.fault


def _cpu(measured: Measured, client: str) -> str:
    outcomes = measured["cpu"][client]
    if absent := _absent(outcomes):
        return absent
    cost = median(each.cpu_per_row for each in outcomes)
    return f"{cost:.2f} ms ({ratio_to_floor(outcomes):.1f} x)"


def _memory(measured: Measured, client: str) -> str:
    outcomes = measured["cpu"][client]
    return _NONE if _absent(outcomes) else f"{median(each.rss for each in outcomes):.0f} MB"


def _time(scenario: str) -> Callable[[Measured, str], str]:
    def cell(measured: Measured, client: str) -> str:
        outcomes = measured[scenario][client]
        if absent := _absent(outcomes):
            return absent
        outcome = outcomes[0]
        lost = outcome.rows - outcome.right
        # Whoever lost rows was not fast.
        time = f"{outcome.seconds(SCENARIOS[scenario]):.1f} s"
        said = f"{lost} rows lost" if lost else time
        return said + (f", {outcome.refused} refused" if outcome.refused else "")

    return cell


def _after_the_first_refusal(measured: Measured, client: str) -> str:
    outcomes = measured["billing"][client]
    return _absent(outcomes) or f"{outcomes[0].refused - 1}"


def _ideal(scenario: str) -> str:
    return f"(ideal {SCENARIOS[scenario].ideal:.1f} s)"


_COLUMNS: tuple[tuple[str, str, Callable[[Measured, str], str]], ...] = (
    ("cpu", "CPU a row (to raw aiohttp's)", _cpu),
    ("cpu", "memory", _memory),
    ("drained", f"drained limit {_ideal('drained')}", _time("drained")),
    ("full", f"full limit {_ideal('full')}", _time("full")),
    ("tokens", f"token limit {_ideal('tokens')}", _time("tokens")),
    ("reserved", f"large `max_tokens` {_ideal('reserved')}", _time("reserved")),
    ("faults", f"faults {_ideal('faults')}", _time("faults")),
    ("billing", "sent after “no credit”", _after_the_first_refusal),
)


def _panels(measured: Measured, names: Mapping[str, str]) -> list[Panel]:
    def bars(scenario: str, value: Callable[[Outcome], float]) -> list[Bar]:
        return [_bar(measured[scenario][client], value, ours=client == OURS) for client in names]

    def seconds(scenario: str) -> list[Bar]:
        return bars(scenario, lambda outcome: outcome.seconds(SCENARIOS[scenario]))

    return [
        Panel("CPU a row, no limit", "ms", bars("cpu", lambda outcome: outcome.cpu_per_row)),
        Panel("300 rows, drained limit", "s", seconds("drained"), SCENARIOS["drained"].ideal),
        Panel("300 rows, full limit", "s", seconds("full"), SCENARIOS["full"].ideal),
    ]


def _bar(outcomes: list[Outcome], value: Callable[[Outcome], float], *, ours: bool) -> Bar:
    if _absent(outcomes):
        return Bar(0.0, ours=ours, note=_NONE)
    lost = outcomes[0].rows - outcomes[0].right
    note = f"{lost} rows lost" if lost else ""
    return Bar(median(map(value, outcomes)), ours=ours, note=note)
