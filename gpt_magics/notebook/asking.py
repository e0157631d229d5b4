"""``%%gpt``: render, ask, stream, show."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from IPython.display import display

from gpt_magics import api
from gpt_magics.errors import BrokenStreamError
from gpt_magics.notebook.answers import AnswerDisplay, answer_bundle, quiet_line
from gpt_magics.notebook.frontend import has_browser
from gpt_magics.prompts.template import parse
from gpt_magics.session.session import Answer

_ASK_OPTIONS = ("model", "system", "temperature", "max_tokens")
# Answers that this cell has shown already: as a cell's value they need not be shown again.
_shown: set[int] = set()


def ask_and_show(
    shell: Any, prompt: str, names: Mapping[str, Any], options: Mapping[str, Any]
) -> Answer:
    """Ask with the notebook's values in the prompt; the answer is streamed to the cell."""
    template = parse(prompt)
    own = [n for n in names if not n.startswith("_") and n not in shell.user_ns_hidden]
    template.check(names, suggest=own)
    terminal = not has_browser(shell)
    style = api.settings(format=options.get("format")).format
    shown = AnswerDisplay(style, terminal=terminal)
    asked = {name: options[name] for name in _ASK_OPTIONS}
    try:
        answer = api.ask(template.render(names), **asked, on_text=shown.add, on_beat=shown.beat)
    except BrokenStreamError:
        shown.finish()
        raise
    except KeyboardInterrupt:
        shown.finish()
        raise
    shown.finish()
    if terminal:
        print(quiet_line(answer)["text/plain"])  # noqa: T201 - a terminal
    else:
        display(quiet_line(answer), raw=True)
    _once(shell, answer)
    return answer


def _once(shell: Any, answer: Answer) -> None:
    """Let a cell that ends in ``%gpt …`` not show the answer a second time."""
    formatter = shell.display_formatter.ipython_display_formatter
    if Answer not in formatter.type_printers:
        formatter.for_type(Answer, _show_unless_shown)
    _shown.add(id(answer))
    shell.events.register("post_run_cell", _forget)


def _show_unless_shown(answer: Answer) -> None:
    if id(answer) not in _shown:
        bundle = answer_bundle(answer.text, "markdown")
        display({**bundle, "text/plain": repr(answer)}, raw=True)


def _forget(*_: object) -> None:
    _shown.clear()
