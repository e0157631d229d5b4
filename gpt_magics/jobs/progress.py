"""One live line for a job where there is no browser: a terminal or a plain script."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import TYPE_CHECKING, Self

from tqdm import tqdm

from gpt_magics.wording import money

if TYPE_CHECKING:
    from gpt_magics.jobs.job import Job


class _Line(tqdm):  # type: ignore[type-arg]  # not subscriptable at run time
    """A tqdm line without tqdm's watching thread: ours is redrawn by whoever waits."""

    monitor_interval = 0


class ProgressLine:
    """A tqdm line on standard error that follows a job; silent unless that is a terminal."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._line = _Line(total=job.rows, unit="row", leave=True, disable=not sys.stderr.isatty())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.update()
        self._line.close()

    def update(self) -> None:
        """Show the job as it is now."""
        progress = self._job.progress
        self._line.n = progress.done + progress.failed
        self._line.set_postfix_str(
            f"{progress.in_flight} in flight, {progress.retries} retries, "
            f"{progress.failed} failed, {money(progress.cost, known=progress.cost_known)}"
        )
