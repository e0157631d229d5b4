"""A panel that follows jobs while they run, and becomes a static summary when they have ended.

Updates are published from a task of the session's loop, so they arrive while a cell blocks and
after it has ended; the summary needs neither kernel nor JavaScript.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from IPython.display import DisplayHandle, display

from gpt_magics.jobs.job import Job
from gpt_magics.notebook import subshell
from gpt_magics.notebook.panel import LimitPanel
from gpt_magics.notebook.snapshot import Snapshot
from gpt_magics.notebook.summary import html_summary, text_summary
from gpt_magics.notebook.view import snapshot
from gpt_magics.session.session import Session

_PERIOD_SECONDS = 0.2


class LivePanel:
    """One output area: a widget while any of its jobs runs, then html and text.

    Args:
        session: whose limits and spend it shows.
        jobs: the jobs it follows.
        shell: the IPython shell, for its kernel.
        blocking: whether the cell it stands in waits for the jobs.
    """

    def __init__(
        self, session: Session, jobs: Sequence[Job], shell: Any, *, blocking: bool
    ) -> None:
        self._session, self._jobs, self._blocking = session, jobs, blocking
        self._panel = LimitPanel(self._snapshot(controls=True), on_command=self._command)
        reachable = subshell.open_for(self._panel, shell)
        self._controls = reachable or not blocking
        self._shown: dict[str, Any] = {}
        self._ended = False
        handle = display(self._panel, display_id=True)
        self._handle: DisplayHandle = handle
        self._following = session.thread.submit(self._follow())

    @property
    def jobs_ended(self) -> bool:
        """Whether there is nothing left to follow."""
        return all(job.ended for job in self._jobs)

    def finish(self) -> None:
        """Show the last state as a static summary. Doing so again shows the same."""
        last = self._snapshot(controls=False)
        if not self._ended:
            self._ended = True
            self._update(last)
        self._handle.update(summary_bundle(last), raw=True)
        self._panel.close()

    async def _follow(self) -> None:
        while not self.jobs_ended and not self._ended:
            self._update(self._snapshot(controls=self._controls))
            await asyncio.sleep(_PERIOD_SECONDS)
        if not self._blocking:  # else the waiting cell does it, as its own last output
            self.finish()

    def _update(self, now: Snapshot) -> None:
        """Send the snapshot, unless nothing in it is new."""
        news = {name: value for name, value in now.items() if name != "seq"}
        if news != self._shown:
            self._shown = news
            self._panel.snapshot = dict(now)

    def _snapshot(self, *, controls: bool) -> Snapshot:
        return snapshot(self._session, self._jobs, controls=controls)

    def _command(self, job_id: str, action: str) -> None:
        for job in self._jobs:
            if job.id == job_id:
                {"pause": job.pause, "resume": job.resume, "cancel": job.cancel}[action]()


def summary_bundle(now: Snapshot) -> dict[str, str]:
    """A snapshot as a MIME bundle that reads without a kernel."""
    return {"text/html": html_summary(now), "text/plain": text_summary(now)}
