"""``gpt-magics rehearse``: its arguments."""

from __future__ import annotations

import argparse
import dataclasses
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gpt_magics.errors import OptionError
from gpt_magics.rehearsal.outcome import rehearse
from gpt_magics.rehearsal.plan import Plan
from gpt_magics.rehearsal.plot import picture, ten_times
from gpt_magics.rehearsal.words import report

_NUMBER = re.compile(r"([0-9][0-9_,]*\.?[0-9]*(?:[eE][0-9]{1,2})?)([kKMB]?)\Z")
_THOUSANDS = {"": 1, "k": 10**3, "K": 10**3, "M": 10**6, "B": 10**9}


def add_arguments(parser: argparse.ArgumentParser, *, model: str) -> None:
    """Give ``parser`` the rows and an option for whatever a plan holds, by the same name.

    They stay texts here, so that what is wrong with them is said in one line.
    """
    parser.add_argument("rows", metavar="ROWS", help="how many rows, such as 5000, 30k or 1e9")
    for name, (_, text) in _ARGUMENTS.items():
        flag = "--" + name.replace("_", "-")
        parser.add_argument(flag, dest=f"plan_{name}", metavar="N", help=text)
    parser.add_argument(
        "--no-headers",
        action="store_true",
        help="the server does not report its limits",
    )
    parser.add_argument(
        "--model", default=model, metavar="NAME", help=f"whose price it is (default {model})"
    )
    parser.add_argument(
        "--plot",
        metavar="FILE",
        help="draw time and cost up to a billion rows, at these limits and ten times these, as SVG",
    )


def run(options: argparse.Namespace) -> str:
    """Rehearse what was asked for and say what was found.

    Raises:
        OptionError: a value cannot work.
    """
    plan = plan_from(options)
    said = report(plan, rehearse(plan))
    if options.plot:
        _write(Path(options.plot), picture(ten_times(plan), "light"))
    return said


def plan_from(options: argparse.Namespace) -> Plan:
    """Take the plan out of parsed arguments. Raises ``OptionError`` for one that cannot work."""
    given: dict[str, Any] = {"rows": whole("ROWS", options.rows)}
    for name, (read, _) in _ARGUMENTS.items():
        text = getattr(options, f"plan_{name}")
        if text is not None:
            given[name] = read("--" + name.replace("_", "-"), text)
    return Plan(**given, headers=not options.no_headers, model=options.model)


def number(name: str, text: str) -> float:
    """Read a number such as ``0.5``, ``1,000``, ``30k``, ``2M`` or ``1e9``."""
    found = _NUMBER.match(text.strip())
    value = math.nan
    if found is not None:
        value = float(re.sub("[_,]", "", found[1])) * _THOUSANDS[found[2]]
    if not math.isfinite(value):
        raise OptionError(f"{name} must be a number from 0, such as 500, 30k or 1e9; got {text!r}.")
    return value


def whole(name: str, text: str) -> int:
    """Read a whole number."""
    value = number(name, text)
    if value != int(value):
        raise OptionError(f"{name} must be a whole number; got {text!r}.")
    return int(value)


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise OptionError(f"--plot: cannot write {path}: {error.strerror}.") from None


_DEFAULTS = {each.name: each.default for each in dataclasses.fields(Plan)}
_Read = Callable[[str, str], Any]
# What the command line says about each option, in the order of its help text.
_ARGUMENTS: dict[str, tuple[_Read, str]] = {
    "rpm": (whole, "the server's requests a minute (default: no limit)"),
    "tpm": (whole, "its tokens a minute (default: no limit)"),
    "rpd": (whole, "its requests a day (default: no limit)"),
    "tokens": (whole, f"tokens of a prompt (default {_DEFAULTS['tokens']})"),
    "output_tokens": (whole, f"tokens of an answer (default {_DEFAULTS['output_tokens']})"),
    "max_tokens": (whole, "the longest answer, if requests say it; it is charged beforehand"),
    "latency": (number, f"seconds until an answer is there (default {_DEFAULTS['latency']:g})"),
    "jitter": (number, "random share of the latency, 0 to 1 (default 0)"),
    "max_in_flight": (whole, f"requests out at once (default {_DEFAULTS['max_in_flight']})"),
    "fill": (number, "how full the limits are at the start, 0 to 1 (default 1)"),
    "error_rate": (number, "share of requests that end in a 500 (default 0)"),
    "hang_rate": (number, "share of requests that are never answered (default 0)"),
    "timeout": (number, f"seconds until these are given up (default {_DEFAULTS['timeout']:g})"),
    "rival": (number, "share of the limits that another client draws, 0 to 1 (default 0)"),
    "quantum": (number, "seconds over which limits are enforced as well (default: none)"),
    "capacity": (whole, "requests that the server answers at the same time (default: any)"),
    "seed": (whole, "of everything random here (default 0)"),
}
