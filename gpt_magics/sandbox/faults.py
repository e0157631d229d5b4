"""What goes wrong on purpose: drawn from a seed, so that a run can be repeated."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gpt_magics.sandbox.options import SandboxOptions


@dataclass(frozen=True)
class Fate:
    """What happens to one admitted request."""

    hangs: bool
    fails: bool
    breaks: bool
    delay: float


class Faults:
    """The fates of admitted requests, in their order."""

    def __init__(self, options: SandboxOptions) -> None:
        self._options = options
        self._random = random.Random(options.seed)  # noqa: S311 - repeatable, not secret

    def draw(self, at_work: int = 0) -> Fate:
        """Draw the next fate, of a request that finds ``at_work`` others being answered."""
        # Always four draws, so that changing one rate leaves the luck of the others alone.
        hang, fail, cut = (self._random.random() for _ in range(3))
        options = self._options
        load = options.latency_per_in_flight * at_work
        return Fate(
            hangs=hang < options.hang_rate,
            fails=fail < options.error_rate,
            breaks=cut < options.break_stream_rate,
            delay=options.latency * (1 + options.jitter * self._random.uniform(-1, 1)) + load,
        )
