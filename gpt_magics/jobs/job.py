"""A job: one prompt for every row of a source, its state, its answers and its failures."""

from __future__ import annotations

import asyncio
import concurrent.futures
import itertools
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Mapping
from typing import Any

from gpt_magics.errors import (
    CancelledError,
    GptMagicsError,
    MissingValueError,
    PromptError,
    RequestError,
    UnknownPriceError,
)
from gpt_magics.jobs.progress import ProgressLine
from gpt_magics.jobs.pulse import Pulse
from gpt_magics.jobs.runner import Runner
from gpt_magics.jobs.sources import Source
from gpt_magics.jobs.state import FailedRow, Progress, State
from gpt_magics.prompts.prompt import Prompt
from gpt_magics.prompts.template import Template
from gpt_magics.session.call import Call
from gpt_magics.session.loop import wait
from gpt_magics.session.session import Answer, Session
from gpt_magics.settings import Settings
from gpt_magics.spend.budget import Budget
from gpt_magics.wording import duration, exact, money

_HEARTBEAT_SECONDS = 0.1
_numbers = itertools.count(1)


class Job:
    """A batch on its way; ``gpt_magics.batch`` makes one. Safe to use from any thread.

    Attributes:
        id: a short name for it in this kernel, such as ``gpt-1``.
        kind: what its requests have in common: their template.
        title: what it does, for displays.
        state: where it stands.
        reason: why it stopped, in words, if it did.
        error: what stopped it, if anything did.
        failures: the rows without an answer, and why.
        finished: done when the job has ended, for whatever reason.
        rows: how many rows it asks for.
        into: the column that takes the answers, if any.
        truncated: how many answers were cut off at ``max_tokens``.
    """

    def __init__(
        self,
        session: Session,
        source: Source,
        template: Template,
        settings: Settings,
        *,
        names: Mapping[str, object],
        into: str | None = None,
        limit: int | None = None,
        budget: float | None = None,
        title: str = "batch",
        handle: str = "job",
    ) -> None:
        self.id = f"gpt-{next(_numbers)}"
        self.kind = repr(template.parts)
        self.title = title
        self.settings = settings
        self.state = State.RUNNING
        self.reason = ""
        self.error: GptMagicsError | None = None
        self.failures: list[FailedRow] = []
        self.rows = len(source) if limit is None else min(limit, len(source))
        self.into = into
        self.budget = Budget(f"job {self.id}", budget)
        self.pulse = Pulse()
        self.last_message = ""
        self.truncated = 0
        self._handle = handle
        self._retries: Counter[str] = Counter()
        self._session, self._source, self._template, self._names = session, source, template, names
        # Taken now: what happens to the frame later must not change what is asked.
        self._columns = source.columns([name for name in source.names if name in template.names])
        self._answers: list[Answer | None] = [None] * self.rows
        self._done = self._tokens_in = self._tokens_out = 0
        self._written: tuple[int, int] | None = None
        self._start(range(self.rows))

    def __repr__(self) -> str:
        progress = self.progress
        parts = [f"{exact(progress.done)} of {exact(self.rows)} rows done"]
        if progress.failed:
            parts.append(f"{exact(progress.failed)} failed")
        if self.truncated:
            parts.append(f"{exact(self.truncated)} cut off at max_tokens")
        parts.append(f"{exact(progress.tokens_in)} + {exact(progress.tokens_out)} tokens")
        parts.append(money(progress.cost, known=progress.cost_known))
        parts.append(duration(progress.seconds))
        state = f"{self.state.value}: {self.reason}" if self.reason else self.state.value
        return f"<Job {self.id} {state} · {' · '.join(parts)}>"

    def __await__(self) -> Generator[Any, None, list[str | None]]:
        return self._wait_in_loop().__await__()

    @property
    def progress(self) -> Progress:
        """How far it is, at this moment."""
        failed, in_flight = len(self.failures), self._runner.in_flight
        left = max(0, self.rows - self._done - failed)
        ended = self._done + failed
        # Lately while it runs; over all of it once it has ended.
        lately, seconds = self.pulse.rate, max(self.pulse.seconds, 1e-3)
        rate = ended / seconds if self.state.ended else lately
        return Progress(
            rows=self.rows,
            done=self._done,
            failed=failed,
            in_flight=in_flight,
            queued=max(0, left - in_flight),
            retries=self.retry_reasons.total(),
            tokens_in=self._tokens_in,
            tokens_out=self._tokens_out,
            cost=self.budget.spent,
            cost_known=self.budget.unpriced == 0,
            seconds=self.pulse.seconds,
            rate=rate,
            eta=left / rate if rate and self.state is State.RUNNING else None,
        )

    @property
    def retry_reasons(self) -> Counter[str]:
        """Repeated attempts by reason, those of rows under way included."""
        return sum((call.retries for call in self._runner.calls), Counter(self._retries))

    @property
    def answers(self) -> list[Answer | None]:
        """The answers so far, in row order, ``None`` where there is none."""
        return list(self._answers)

    @property
    def texts(self) -> list[str | None]:
        """The answers' texts so far, for every row of the source, ``None`` where there is none."""
        asked = [None if answer is None else answer.text for answer in self._answers]
        return [*asked, *[None] * (len(self._source) - self.rows)]

    @property
    def frame(self) -> Any:
        """A copy of the source with the answers so far beside it."""
        return self._source.frame(self.into or "answer", self.texts)

    def result(self) -> list[str | None]:
        """Wait, then return the answers' texts in row order, ``None`` where a row failed.

        With ``into``, the answers are also written to the frame that was passed in.

        Raises:
            GptMagicsError: the job was stopped or cancelled; what is done is in ``texts``.
        """
        self.wait()
        if self.error is not None:
            raise self.error
        return self.texts

    def wait(self) -> None:
        """Wait until the job has ended and write the answers back.

        In a terminal a progress line shows how far it is. An interrupt ends only the waiting, not
        the job.
        """
        with ProgressLine(self) as line:
            wait(self.finished, on_beat=line.update)
        self.write_back()

    def write_back(self) -> None:
        """Write the answers so far to the column ``into`` of the frame that was passed in.

        Call it from the thread that owns the frame. Rows that were never asked keep what they
        have; failed rows become ``None``. Without news since the last time, nothing happens.
        """
        news = (self._done, len(self.failures))
        if self.into is not None and self._written != news:
            never_asked = [*self._open_rows(), *range(self.rows, len(self._source))]
            self._source.write(self.into, self.texts, untouched=never_asked)
            self._written = news

    @property
    def ended(self) -> bool:
        """Whether nothing more happens unless it is resumed."""
        return self.finished.done()

    def cancel(self) -> None:
        """Stop now. Requests in flight are abandoned; finished rows are kept."""
        self._on_loop(self._runner.cancel)

    def pause(self) -> None:
        """Start nothing new; requests in flight come to their end."""
        self._on_loop(self._runner.pause)

    def resume(self) -> None:
        """Go on with the rows that have neither an answer nor a failure."""
        self._session.thread.check_open()
        if self.finished.done():
            if self.state is not State.DONE:
                self.error, self.reason = None, ""
                self.pulse.go_on()
                self._start(self._open_rows())
        else:
            self._on_loop(self._runner.resume)

    # What the runner asks and tells, on the session's loop.

    def prompt(self, row: int) -> Prompt:
        """The prompt for a row. Raises ``PromptError`` if a value is missing or not there."""
        values = {name: column[row] for name, column in self._columns.items()}
        for name, value in values.items():
            if value is None:
                raise MissingValueError(f"Not sent: {name!r} is missing in this row.")
        settings = self.settings
        return Prompt.from_text(
            self._template.render({**self._names, **values}, _as_text),
            model=settings.model,
            system=settings.system,
            temperature=settings.temperature,
            max_tokens=settings.max_tokens,
        )

    def answered(self, row: int, answer: Answer, call: Call) -> None:
        """A row is done."""
        self._answers[row] = answer
        self._done += 1
        self._tokens_in += answer.usage.input
        self._tokens_out += answer.usage.output
        if answer.finish_reason == "length":
            self.truncated += 1
            self.last_message = f"{exact(self.truncated)} answers were cut off at --max-tokens"
        self._ended_row(call)

    def held_back(self, reason: str) -> None:
        """Rows wait for something other than the server's limits."""
        self.last_message = reason

    def failed(self, failure: FailedRow, call: Call | None) -> None:
        """A row failed for good."""
        self.failures.append(failure)
        self.last_message = failure.message
        self._ended_row(call)

    def changed(self, state: State, error: GptMagicsError | None) -> None:
        """The runner's state has changed."""
        self.state = state
        if not state.ended:
            return
        self.pulse.stop()
        kept = f"{exact(self._done)} of {exact(self.rows)} rows are done and kept"
        if state is State.CANCELLED:
            self.error = CancelledError(f"Cancelled: {kept}. {self._handle}.resume() goes on.")
        elif error is not None:
            self.reason = _reason(error)
            self.last_message = str(error)
            if self._done:
                error.args = (f"{error} {kept}; {self._handle}.resume() goes on.",)
            self.error = error

    def _ended_row(self, call: Call | None) -> None:
        if call is not None and call.retries:
            self._retries.update(call.retries)
        self.pulse.beat()

    def _start(self, rows: Iterable[int]) -> None:
        self.state = State.RUNNING
        self._runner = Runner(self._session, self, rows)
        self.finished: concurrent.futures.Future[None] = self._session.thread.submit(
            self._runner.run()
        )

    def _open_rows(self) -> list[int]:
        failed = {failure.row for failure in self.failures}
        return [r for r, answer in enumerate(self._answers) if answer is None and r not in failed]

    def _on_loop(self, action: Callable[[], None]) -> None:
        if not self._session.thread.is_closed:  # else there is nothing left to act on
            self._session.thread.loop.call_soon_threadsafe(action)

    async def _wait_in_loop(self) -> list[str | None]:
        # A heartbeat, because a bare wrap_future left the kernel's stop button without effect.
        while not self.finished.done():  # noqa: ASYNC110 - see above
            await asyncio.sleep(_HEARTBEAT_SECONDS)
        return self.result()


def _reason(error: GptMagicsError) -> str:
    if isinstance(error, RequestError):
        return error.reason
    return "unknown price" if isinstance(error, UnknownPriceError) else "budget reached"


def _as_text(value: object) -> str:
    try:
        return str(value)
    except Exception as error:  # noqa: BLE001 - the user's own class may raise anything
        kind = type(value).__name__
        raise PromptError(f"Not sent: str() of a {kind} raised {type(error).__name__}.") from None
