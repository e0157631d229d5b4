"""``%gpt What is new?``: a question mark at the end must not ask IPython for help.

IPython reads a line that ends in ``?`` as a call for help before any magic sees it. This input
transformation turns such a ``%gpt`` line into a plain call first; ``%gpt?`` still means help.
"""

from __future__ import annotations

import re

_ASSIGNED_QUESTION = re.compile(
    r"(?P<indent>\s*)(?P<target>[A-Za-z_]\w*\s*=\s*)?%gpt\s+(?P<question>[^\s?].*\?)\s*\Z"
)


def protect_questions(lines: list[str]) -> list[str]:
    """Rewrite ``%gpt …?`` lines of a cell. Cell magics are left alone: their body is text."""
    if lines and lines[0].lstrip().startswith("%%"):
        return lines
    return [_protect(line) for line in lines]


def _protect(line: str) -> str:
    match = _ASSIGNED_QUESTION.match(line)
    if match is None:
        return line
    call = f"get_ipython().run_line_magic('gpt', {match['question']!r})"
    return f"{match['indent']}{match['target'] or ''}{call}\n"
