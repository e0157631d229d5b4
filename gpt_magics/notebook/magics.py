"""The magics. Each parses its line, calls the public function, and shows what comes of it."""

from __future__ import annotations

import argparse
from collections import ChainMap
from typing import TYPE_CHECKING, Any

from IPython.core.magic import (
    Magics,
    line_cell_magic,
    line_magic,
    magics_class,
    needs_local_scope,
    no_var_expand,
)
from traitlets import Any as AnyTrait
from traitlets import observe, validate

from gpt_magics.errors import OptionError, PromptError
from gpt_magics.notebook.options import OptionParser, split, split_prompt
from gpt_magics.settings import FORMATS, checked

if TYPE_CHECKING:
    from gpt_magics.jobs.job import Job
    from gpt_magics.session.session import Answer

_SETTINGS = (
    "model",
    "base_url",
    "api_key",
    "organization",
    "project",
    "system",
    "temperature",
    "max_tokens",
    "max_in_flight",
    "timeout",
    "deadline",
    "max_attempts",
    "budget",
    "prices",
    "format",
)


@magics_class
class GptMagics(Magics):
    """Ask LLM APIs from a notebook: %%gpt, %gpt_batch, %gpt_limits."""

    model = AnyTrait(None, help="The model's name on the server.").tag(config=True)
    base_url = AnyTrait(None, help="The server's address, up to and including /v1.").tag(
        config=True
    )
    api_key = AnyTrait(None, help="The API key; it is never shown.").tag(config=True)
    organization = AnyTrait(None, help="OpenAI's organization id.").tag(config=True)
    project = AnyTrait(None, help="OpenAI's project id.").tag(config=True)
    system = AnyTrait(None, help="A system message for every prompt.").tag(config=True)
    temperature = AnyTrait(None, help="0 to 2; None leaves it to the server.").tag(config=True)
    max_tokens = AnyTrait(None, help="The longest answer, in tokens.").tag(config=True)
    max_in_flight = AnyTrait(None, help="How many requests may be out at once.").tag(config=True)
    timeout = AnyTrait(None, help="Seconds that one attempt may take.").tag(config=True)
    deadline = AnyTrait(
        None, help="Seconds that a request's attempts may take together; then it is given up."
    ).tag(config=True)
    max_attempts = AnyTrait(None, help="How often a request is sent before it fails.").tag(
        config=True
    )
    budget = AnyTrait(None, help="US dollars that this session may spend.").tag(config=True)
    prices = AnyTrait(
        None, help="Your own prices: {model: (input, output)}, US dollars a million tokens."
    ).tag(config=True)
    format = AnyTrait(None, help="How %%gpt shows an answer: markdown, text, json, code.").tag(
        config=True
    )

    @validate(*_SETTINGS)
    def _check(self, proposal: Any) -> Any:
        if proposal["value"] is None:
            return None
        return checked(proposal["trait"].name, proposal["value"])

    @observe(*_SETTINGS)
    def _configure(self, change: Any) -> None:
        from gpt_magics import configuration  # noqa: PLC0415 - after the check, see _check

        configuration.configure(**{change["name"]: change["new"]})
        if change["name"] == "api_key":
            for config in (self.config, getattr(self.shell, "config", {})):
                if "api_key" in config.get("GptMagics", {}):
                    config["GptMagics"]["api_key"] = change["new"]  # a Secret, for IPython's own

    @no_var_expand
    @needs_local_scope
    @line_cell_magic
    def gpt(
        self, line: str, cell: str | None = None, local_ns: dict[str, Any] | None = None
    ) -> Answer | None:
        """Ask a model once and stream its answer.

        Usage::

            %%gpt [options]
            Explain {name} in two sentences.

            %gpt [options] What is a monad?

        ``{name}``, ``{name.attr}`` and ``{name[key]}`` are replaced by the notebook's values; any
        other brace is plain text; write ``{{name}}`` for the text ``{name}``.

        Options:
            -m, --model NAME         the model
            -s, --system TEXT        a system message
            -t, --temperature T      0 to 2
            --max-tokens N           the longest answer, in tokens
            -f, --format FORMAT      markdown, text, json or code
            -o, --out NAME           put the answer into a variable: .text .usage .cost

        The last answer is also in ``_gpt``.
        """
        from gpt_magics.notebook.asking import ask_and_show  # noqa: PLC0415 - imports openai

        parser = _gpt_parser()
        if cell is None:
            words, prompt = split_prompt(line, parser)
        else:
            words, prompt = split(line), cell.strip("\n")
        options = parser.parse(words)
        if not prompt.strip():
            raise PromptError("There is no prompt. Write %gpt What is …?, or a cell below %%gpt.")
        _check_name("--out", options.out)
        answer = ask_and_show(self.shell, prompt, self._names(local_ns), vars(options))
        self._user_ns["_gpt"] = answer
        if options.out:
            self._user_ns[options.out] = answer
        return answer if cell is None else None

    @no_var_expand
    @needs_local_scope
    @line_cell_magic
    def gpt_batch(
        self, line: str, cell: str | None = None, local_ns: dict[str, Any] | None = None
    ) -> Job:
        """Ask a model for every row of a column.

        Usage::

            %gpt_batch df.review "Is this review positive? {review}" --into label
            %gpt_batch df "Compare {title} with {review}" --into verdict --limit 10

            %%gpt_batch df.review --into summary
            Summarise in one line: {review}

        SOURCE is a pandas DataFrame or column, or a list of texts (named ``{text}``) or of dicts.
        Placeholders are the frame's columns, then the notebook's names; they are checked before
        anything is sent. Rows that fail become ``None``; the result's ``.failures`` says why. The
        stop button keeps what is done.

        Options:
            --into NAME              the column (for a list: the variable) for the answers
            -m, --model NAME         the model
            -s, --system TEXT        a system message
            -t, --temperature T      0 to 2
            --max-tokens N           the longest answer, in tokens
            --max-in-flight N        how many requests may be out at once
            --timeout S              seconds that one attempt may take
            --limit N                the first N rows only
            --budget USD             what this batch may spend; a wall, not a warning
            --background             return at once; watch with %gpt_limits

        Returns the job, which is also in ``_gpt_job``: .result(), .texts (the answers so far),
        .failures, .frame, .progress, .pause(), .resume(), .cancel().
        """
        from gpt_magics.notebook.batches import run_batch  # noqa: PLC0415 - imports openai

        parser = _batch_parser()
        options = parser.parse(split(line))
        if options.source is None:
            parser.error("SOURCE is missing: a frame, a column such as df.review, or a list")
        if cell is not None and options.prompt is not None:
            parser.error("the prompt stands on the line and in the cell; keep one of them")
        if cell is not None:
            options.prompt = cell.strip("\n")
        _check_name("--into", options.into, column=True)
        return run_batch(self.shell, self._names(local_ns), **vars(options))

    @no_var_expand
    @line_magic
    def gpt_limits(self, line: str) -> None:
        """Show what is left of every rate limit, what waits, what was retried and spent.

        Usage::

            %gpt_limits

        While a job runs the panel is live; otherwise it is a summary of this session.
        """
        from gpt_magics.notebook.batches import show_limits  # noqa: PLC0415 - imports openai

        OptionParser("%gpt_limits").parse(split(line))
        show_limits(self.shell)

    @property
    def _user_ns(self) -> dict[str, Any]:
        shell: Any = self.shell
        namespace: dict[str, Any] = shell.user_ns
        return namespace

    def _names(self, local_ns: dict[str, Any] | None) -> ChainMap[str, Any]:
        return ChainMap(local_ns or {}, self._user_ns)


def _gpt_parser() -> OptionParser:
    parser = OptionParser("%gpt")
    _add_model_options(parser)
    parser.add_argument("-f", "--format", choices=FORMATS)
    parser.add_argument("-o", "--out")
    return parser


def _batch_parser() -> OptionParser:
    parser = OptionParser("%gpt_batch")
    parser.add_argument("source", nargs="?")
    parser.add_argument("prompt", nargs="?")
    parser.add_argument("--into")
    _add_model_options(parser)
    parser.add_argument("--max-in-flight", type=int)
    parser.add_argument("--timeout", type=float)
    parser.add_argument("--limit", type=int)
    parser.add_argument("--budget", type=float)
    parser.add_argument("--background", action="store_true")
    return parser


def _add_model_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-m", "--model")
    parser.add_argument("-s", "--system")
    parser.add_argument("-t", "--temperature", type=float)
    parser.add_argument("--max-tokens", type=int)


def _check_name(option: str, name: str | None, *, column: bool = False) -> None:
    if name is None:
        return
    if not name.strip():
        raise OptionError(f"{option} needs a name.")
    if not column and not name.isidentifier():
        raise OptionError(f"{option} {name}: this is no name that a variable can have.")
