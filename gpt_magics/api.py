"""The same as the magics, from Python: scripts, tests and other front ends need no IPython."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from gpt_magics.configuration import configure, configured, settings
from gpt_magics.errors import OptionError, PromptError, SourceError
from gpt_magics.jobs.job import Job
from gpt_magics.jobs.sources import TEXT, ListSource, PandasSource, Source, open_source
from gpt_magics.prompts.prompt import Prompt
from gpt_magics.prompts.template import Template, parse
from gpt_magics.session.call import Call
from gpt_magics.session.headroom import Headroom, headroom
from gpt_magics.session.session import Answer, Session, close_session, session
from gpt_magics.settings import Settings

__all__ = [
    "ask",
    "batch",
    "client",
    "configure",
    "limits",
    "settings",
    "sync_client",
]

if TYPE_CHECKING:
    from openai import AsyncOpenAI, OpenAI

_jobs: dict[str, Job] = {}


def ask(
    prompt: str,
    *,
    model: str | None = None,
    system: str | None = None,
    temperature: float | None = None,
    max_tokens: int | None = None,
    timeout: float | None = None,
    base_url: str | None = None,
    api_key: str | None = None,
    on_text: Callable[[str], None] | None = None,
    on_beat: Callable[[], None] | None = None,
) -> Answer:
    """Ask once and wait. The prompt is sent as it is: it has no placeholders.

    Args:
        prompt: the user's message.
        model: the model's name; this and the others default to the settings.
        system: a system message.
        temperature: 0 to 2.
        max_tokens: the longest answer, in tokens.
        timeout: seconds for one attempt.
        base_url: the server's address, up to ``/v1``.
        api_key: the key.
        on_text: called with each piece of text as it arrives, on the background thread.
        on_beat: called ten times a second while waiting, on the calling thread.

    Raises:
        GptMagicsError: no key, a budget that does not cover it, or a request that failed.
    """
    chosen = settings(
        model=model,
        system=system,
        temperature=temperature,
        max_tokens=max_tokens,
        timeout=timeout,
        base_url=base_url,
        api_key=api_key,
    )
    if not prompt or not prompt.strip():
        raise PromptError("The prompt is empty. Say what to ask.")
    running = _session_for(chosen)
    asked = Prompt.from_text(
        prompt,
        model=chosen.model,
        system=chosen.system,
        temperature=chosen.temperature,
        max_tokens=chosen.max_tokens,
    )
    call = Call("a cell", interactive=True)
    return running.thread.run(running.ask(asked, chosen, call, on_text=on_text), on_beat)


def batch(
    source: object,
    prompt: str | None = None,
    *,
    into: str | None = None,
    names: Mapping[str, object] | None = None,
    limit: int | None = None,
    budget: float | None = None,
    title: str | None = None,
    handle: str = "job",
    **options: Any,
) -> Job:
    """Ask for every row of a source. Returns at once; ``.result()`` waits for the answers.

    Args:
        source: a pandas DataFrame or Series, or a list of texts or dicts.
        prompt: what to ask, with placeholders such as ``{review}``. A list of texts needs none:
            each text is the prompt.
        into: the column of the frame that takes the answers, when they are waited for.
        names: further names for placeholders; the source's own go first.
        limit: ask for the first so many rows only.
        budget: US dollars that this job may spend.
        title: what displays call the job.
        handle: by what name messages speak of the job.
        **options: model, system, temperature, max_tokens, max_in_flight, timeout, deadline,
            max_attempts, base_url, api_key: see ``Settings``.

    Raises:
        GptMagicsError: anything wrong with source, prompt or options; nothing was sent.
    """
    rows = source if isinstance(source, ListSource | PandasSource) else open_source(source)
    template = _template(rows, prompt)
    _check_names(rows, template, names or {}, into)
    if limit is not None and (type(limit) is not int or limit < 1):
        raise OptionError(f"limit must be a whole number of at least 1; got {limit!r}.")
    if budget is not None:
        budget = settings(budget=budget).budget
    chosen = settings(**options)
    chosen.connection()
    job = Job(
        _session_for(chosen),
        rows,
        template,
        chosen,
        names={name: (names or {})[name] for name in template.names - set(rows.names)},
        into=into,
        limit=limit,
        budget=budget,
        title=title or f"batch over {len(rows)} rows",
        handle=handle,
    )
    _jobs[job.id] = job
    return job


def jobs() -> list[Job]:
    """Every job of this kernel, oldest first."""
    return list(_jobs.values())


def client(**options: Any) -> AsyncOpenAI:
    """An ``AsyncOpenAI`` whose every request is paced and counted. Use it from any event loop."""
    chosen = settings(**options)
    return _session_for(chosen).client(chosen)


def sync_client(**options: Any) -> OpenAI:
    """An ``OpenAI`` with the same pacer. Use it from any thread."""
    chosen = settings(**options)
    return _session_for(chosen).sync_client(chosen)


def limits() -> Headroom:
    """What is left of each limit, what waits, and what was spent, at this moment."""
    return headroom(running_session())


def running_session() -> Session:
    """This kernel's session, made if there is none yet."""
    return session(configured())


def close(*, keep_spend: bool = False) -> None:
    """End the session: its jobs, its sockets, its thread. The next use begins anew.

    With ``keep_spend`` what was spent still counts against the session's budget.
    """
    for job in _jobs.values():
        job.cancel()
    _jobs.clear()
    close_session(keep_spend=keep_spend)


def _session_for(chosen: Settings) -> Session:
    chosen.connection()  # raises NoKeyError before a thread is started
    return running_session()


def _template(rows: Source, prompt: str | None) -> Template:
    if prompt is not None and prompt.strip():
        return parse(prompt)
    if isinstance(rows, ListSource) and rows.main is not None:
        return parse(f"{{{rows.main}}}")
    raise PromptError("The prompt is empty. Say what to ask for each row.")


def _check_names(
    rows: Source, template: Template, names: Mapping[str, object], into: str | None
) -> None:
    """Refuse a prompt that cannot be rendered for every row, before anything is sent."""
    template.check([*rows.names, *names], what=rows.kind, suggest=rows.names)
    used = [name for name in rows.names if name in template.names]
    _refuse_spaced(rows, template)
    if not used and len(rows):
        named = [name for name in (rows.main, *rows.names) if name and name.isidentifier()]
        example = named[0] if named else TEXT
        raise PromptError(
            f"The prompt names no {rows.kind} of the source, so all {len(rows)} rows would ask "
            f"the same. Put {{{example}}} where the row's text belongs."
        )
    if into is not None:
        rows.check_writable(into)
        if into in used:
            raise SourceError(
                f"The answers would overwrite {into!r}, which the prompt reads. Choose another "
                "name for --into."
            )


def _refuse_spaced(rows: Source, template: Template) -> None:
    """``{my column}`` is plain text by the grammar, which nobody who writes it expects."""
    literal = "".join(part for part in template.parts if isinstance(part, str))
    for name in rows.names:
        if not name.isidentifier() and f"{{{name}}}" in literal:
            mend = f"write {{{TEXT}}} for it" if name == rows.main else "rename the column"
            raise PromptError(f"{{{name}}} is no placeholder: its name is no plain word; {mend}.")
