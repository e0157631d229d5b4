"""``gpt-magics sandbox``: the sandbox in a terminal, until Ctrl-C."""

from __future__ import annotations

import signal
import sys
import threading
from typing import TYPE_CHECKING

from gpt_magics.errors import OptionError
from gpt_magics.sandbox.options import from_arguments
from gpt_magics.sandbox.thread import Sandbox

if TYPE_CHECKING:
    import argparse
    from types import FrameType

    from gpt_magics.sandbox.options import SandboxOptions

CANNOT_START = 2


def run(namespace: argparse.Namespace) -> int:
    """Run the sandbox with parsed arguments until it is stopped; returns the exit status."""
    try:
        box = Sandbox(from_arguments(namespace)).start()
    except OptionError as error:
        sys.stderr.write(f"{error}\n")
        return CANNOT_START
    try:
        sys.stdout.write(_greeting(box))
        sys.stdout.flush()
        _wait_for_the_end()
        sys.stdout.write(_farewell(box))
    finally:
        box.close()
    return 0


def _greeting(box: Sandbox) -> str:
    return (
        f"The sandbox listens on {box.url} ({_limits(box.options)}). Nothing here is billed.\n"
        f"  export OPENAI_BASE_URL={box.url}\n"
        f"  export OPENAI_API_KEY={box.key}\n"
        f"Counts: {box.url.removesuffix('/v1')}/stats   Stop: Ctrl-C\n"
    )


def _limits(options: SandboxOptions) -> str:
    named = (("requests", options.rpm), ("tokens", options.tpm))
    told = [f"{limit} {unit} in {options.window:g} s" for unit, limit in named if limit]
    told += [f"{options.rpd} requests a day"] if options.rpd else []
    return ", ".join(told) or "no limits"


def _farewell(box: Sandbox) -> str:
    stats = box.stats()
    refused = sum(stats["refused"].values())
    return f"\n{stats['requests']} requests, {stats['answered']} answered, {refused} refused.\n"


def _wait_for_the_end() -> None:
    ended = threading.Event()

    def end(_number: int, _frame: FrameType | None) -> None:
        ended.set()

    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        # Windows delivers no signal to an endless wait, so it is cut into short ones.
        while not ended.wait(0.5):
            pass
    finally:
        for number, old in before.items():
            signal.signal(number, old)
