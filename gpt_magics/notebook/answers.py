"""How an answer looks: streamed while it is written, then whole, with one quiet line below.

It is drawn by the waiting thread itself, so that it always lands in the cell that asked.
"""

from __future__ import annotations

import html
import json
import re
import time
from typing import Any

from IPython.display import DisplayHandle, display

from gpt_magics.session.session import Answer
from gpt_magics.wording import duration, exact, money

# Redrawing Markdown costs the page the more, the longer the text is: at 30 kB ten times a second
# takes all of its thread.
_SHORT_CHARACTERS = 4096
_SHORT_PERIOD, _LONG_PERIOD = 0.2, 0.5
_FENCE = re.compile(r"```[ \t]*([\w+-]*)[^\n]*\n(.*?)(?:\n```|\Z)", re.DOTALL)


class AnswerDisplay:
    """An output area for one answer.

    Args:
        style: markdown, text, json or code.
        terminal: whether to print, rather than to display and update.
    """

    def __init__(self, style: str, *, terminal: bool) -> None:
        self._style, self._terminal = style, terminal
        self._pieces: list[str] = []
        self._characters = 0
        self._drawn_pieces = 0
        self._drawn_at = 0.0
        self._handle: DisplayHandle | None = None

    @property
    def text(self) -> str:
        """What has arrived so far."""
        return "".join(self._pieces)

    def add(self, text: str) -> None:
        """Take a piece of text; drawn at the next beat."""
        self._pieces.append(text)
        self._characters += len(text)

    def beat(self) -> None:
        """Draw what is new, not too often."""
        period = _SHORT_PERIOD if self._characters < _SHORT_CHARACTERS else _LONG_PERIOD
        due = time.monotonic() - self._drawn_at >= period
        if due and len(self._pieces) > self._drawn_pieces:
            self._draw(final=False)

    def finish(self) -> None:
        """Draw the whole text."""
        if self._pieces:
            self._draw(final=True)

    def _draw(self, *, final: bool) -> None:
        fresh = self._pieces[self._drawn_pieces :]
        self._drawn_pieces += len(fresh)
        self._drawn_at = time.monotonic()
        if self._terminal:
            print("".join(fresh), end="\n" if final else "", flush=True)  # noqa: T201 - a terminal
            return
        bundle = answer_bundle(self.text, self._style if final else _while_written(self._style))
        if self._handle is None:
            self._handle = display(bundle, raw=True, display_id=True)
        else:
            self._handle.update(bundle, raw=True)


def answer_bundle(text: str, style: str) -> dict[str, Any]:
    """A text as a MIME bundle in one of the formats."""
    if style == "markdown":
        return {"text/markdown": text, "text/plain": text}
    if style == "json":
        return _json_bundle(text)
    if style == "code":
        found = _FENCE.search(text)
        language, code = (found[1], found[2]) if found else ("", text)
        return {"text/markdown": f"```{language}\n{code}\n```", "text/plain": code}
    return {
        "text/html": f'<pre style="white-space: pre-wrap">{html.escape(text)}</pre>',
        "text/plain": text,
    }


def quiet_line(answer: Answer) -> dict[str, str]:
    """Model, tokens, cost and time of an answer, in one unobtrusive line."""
    about = "about " if answer.usage.estimated else ""
    words = (
        f"{answer.model} · {about}{exact(answer.usage.input)} + {exact(answer.usage.output)} tokens"
        f" · {money(answer.cost)} · {duration(answer.seconds)}"
    )
    if answer.finish_reason == "length":
        words += " · cut off at --max-tokens"
    style = "opacity: .65; font-size: 85%; font-variant-numeric: tabular-nums"
    return {
        "text/html": f'<div style="{style}">{html.escape(words)}</div>',
        "text/plain": words,
    }


def _json_bundle(text: str) -> dict[str, Any]:
    found = _FENCE.search(text)
    try:
        value = json.loads(found[2] if found else text)
    except ValueError:
        return answer_bundle(text, "text")
    pretty = json.dumps(value, indent=2, ensure_ascii=False)
    return {"text/markdown": f"```json\n{pretty}\n```", "text/plain": pretty}


def _while_written(style: str) -> str:
    # Half an object is no JSON yet, and a fence that is not closed is no code.
    return "text" if style in ("json", "code") else style
