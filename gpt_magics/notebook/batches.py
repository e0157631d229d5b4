"""``%gpt_batch`` and ``%gpt_limits``: start a job, follow it, bring the answers home."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from IPython.display import display

from gpt_magics import api
from gpt_magics.errors import SourceError
from gpt_magics.jobs.job import Job
from gpt_magics.jobs.sources import ListSource, Source
from gpt_magics.notebook.expressions import read_source
from gpt_magics.notebook.frontend import has_browser
from gpt_magics.notebook.summary import text_summary
from gpt_magics.notebook.view import snapshot
from gpt_magics.session.loop import wait
from gpt_magics.session.session import Session

_TITLE_LENGTH = 72
_HANDLE = "_gpt_job"
_CELL_EVENTS = ("pre_run_cell", "post_run_cell")


def run_batch(
    shell: Any,
    names: Mapping[str, Any],
    *,
    source: str,
    prompt: str | None,
    into: str | None,
    background: bool,
    **options: Any,
) -> Job:
    """Run a batch over the SOURCE of a magic line; see ``GptMagics.gpt_batch``."""
    rows = read_source(source, names)
    if into is not None and isinstance(rows, ListSource) and not into.isidentifier():
        raise SourceError(f"--into {into}: for a list, the answers need a variable's name.")
    title = _title(source, into)
    options |= {"title": title, "handle": _HANDLE}
    job = api.batch(rows, prompt, names=names, into=into, **options)
    shell.user_ns[_HANDLE] = job  # the way back to it where the cell cannot return it
    home = _Home(shell, job, rows)
    if background:
        shell.events.register("pre_run_cell", home.deliver_if_ended)
        return job
    try:
        _follow(shell, job)
    finally:
        home.deliver()
    if job.error is not None:
        raise job.error
    return job


def show_limits(shell: Any) -> None:
    """A live panel over the jobs that run, or a summary of the session."""
    session = api.running_session()
    running = [job for job in api.jobs() if not job.ended]
    recent = running or api.jobs()[-3:]
    if not has_browser(shell):
        print(text_summary(snapshot(session, recent, controls=False)))  # noqa: T201 - a terminal
    elif running:
        _Visitor(shell, _panel(session, running, shell, blocking=False))
    else:
        from gpt_magics.notebook.live import summary_bundle  # noqa: PLC0415 - imports ipywidgets

        display(summary_bundle(snapshot(session, recent, controls=False)), raw=True)


def _follow(shell: Any, job: Job) -> None:
    """Show the job until it has ended. An interrupt cancels it and keeps what is done."""
    panel = None
    try:
        if has_browser(shell):
            panel = _panel(api.running_session(), [job], shell, blocking=True)
            wait(job.finished)
        else:
            job.wait()
    except KeyboardInterrupt:
        job.cancel()
        wait(job.finished)
        raise KeyboardInterrupt(str(job.error or "")) from None  # without our frames
    finally:
        if panel is not None:
            panel.finish()


def _panel(session: Session, jobs: list[Job], shell: Any, *, blocking: bool) -> Any:
    from gpt_magics.notebook.live import LivePanel  # noqa: PLC0415 - imports ipywidgets

    return LivePanel(session, jobs, shell, blocking=blocking)


class _Visitor:
    """A panel in a cell that has long ended, while its jobs run.

    It turns itself into a summary when they end. What is published between two cells is lost to
    nbclient and papermill, so the cells that follow do it again.
    """

    def __init__(self, shell: Any, panel: Any) -> None:
        self._shell, self._panel = shell, panel
        for event in _CELL_EVENTS:
            shell.events.register(event, self.finish_if_ended)

    def finish_if_ended(self, *_: object) -> None:
        """Show the summary if the jobs have ended, and stop looking."""
        if self._panel.jobs_ended:
            for event in _CELL_EVENTS:
                self._shell.events.unregister(event, self.finish_if_ended)
            self._panel.finish()


class _Home:
    """Where a job's answers go: a column of the user's frame, or a variable for a list.

    A background job's answers are written by the main thread, before the first cell that runs
    after its end: a frame is no thing to change under the hands of a running cell.
    """

    def __init__(self, shell: Any, job: Job, rows: Source) -> None:
        self._shell, self._job, self._rows = shell, job, rows

    def deliver(self) -> None:
        """Write the answers."""
        if self._job.into is not None and isinstance(self._rows, ListSource):
            self._shell.user_ns[self._job.into] = self._job.texts
        self._job.write_back()

    def deliver_if_ended(self, *_: object) -> None:
        """Write the answers if the job has ended, and stop looking."""
        if not self._job.ended:
            return
        self._shell.events.unregister("pre_run_cell", self.deliver_if_ended)
        try:
            self.deliver()
        except SourceError as error:
            print(f"{self._job.id}: {error}", file=sys.stderr)  # noqa: T201 - a cell's own output


def _title(source: str, into: str | None) -> str:
    title = f"%gpt_batch {source}" + (f" → {into}" if into else "")
    return title if len(title) <= _TITLE_LENGTH else title[: _TITLE_LENGTH - 1] + "…"
