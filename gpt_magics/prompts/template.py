r"""Prompt templates: ``{name}``, ``{name.attr}``, ``{name[key]}``, and every other brace is text.

Grammar of a placeholder, with no spaces inside the braces::

    placeholder = "{" name ( "." name | "[" key "]" )* "}"
    key         = an integer | 'text' | "text" | text without brackets or quotes

``{{`` and ``}}`` around a placeholder's grammar escape it: ``{{name}}`` is the text ``{name}``.
Anything else that holds a brace - ``{'a': 1}``, CSS - is literal and stays byte for byte. So do the
arguments of LaTeX commands (``\frac{a}{b}``, ``\sum_{i}^{n}``) and sub- and superscripts in math
(``$x_{i}$``), although ``{a}`` alone would be a placeholder. Inserted values are never expanded
again.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches

from gpt_magics.errors import PromptError

_NAME = r"[^\W\d]\w*"
_STEP = rf"\.{_NAME}|\[(?:-?\d+|'[^'\]]*'|\"[^\"\]]*\"|[^\[\]{{}}'\"]+)\]"
_PLACEHOLDER = re.compile(
    rf"\{{(?P<escaped>\{{{_NAME}(?:{_STEP})*\}})\}}|\{{(?P<name>{_NAME})(?P<steps>(?:{_STEP})*)\}}"
)
_STEPS = re.compile(_STEP)
# \\n, \\t and \\r are how people write white space on a magic line, not LaTeX.
_COMMAND = re.compile(r"\\(?![ntr]\{)[A-Za-z]+\*?(?=[_^]?[\[{])")
_MATH = re.compile(r"\$\$.+?\$\$|\$(?![\s$])[^$\n]*?(?<!\s)\$|\\\(.+?\\\)|\\\[.+?\\\]", re.DOTALL)
_SCRIPT = re.compile(r"(?<=[_^])(?=\{)")
_CLOSING = {"{": "}", "[": "]"}
_BRACKETS = re.compile(r"[\[\]{}]")


@dataclass(frozen=True, slots=True)
class Placeholder:
    """A name to look up and the steps (attributes and keys) to take from its value."""

    text: str
    name: str
    steps: tuple[str, ...]

    def value(self, names: Mapping[str, object]) -> object:
        """Look the placeholder up; a step that fails is a ``PromptError`` that names it."""
        value = names[self.name]
        for step in self.steps:
            try:
                value = getattr(value, step[1:]) if step[0] == "." else _item(value, step[1:-1])
            except Exception as error:  # noqa: BLE001 - the user's own object raised it
                raise PromptError(
                    f"{self.text} cannot be looked up: {step} failed with "
                    f"{type(error).__name__} on a value of type {type(value).__name__}."
                ) from None
        if callable(value) and not isinstance(value, type) and not hasattr(value, "dtype"):
            raise PromptError(f"{self.text} is a function; call it first and name its value.")
        return value


@dataclass(frozen=True, slots=True)
class Template:
    """A parsed prompt: literal texts and placeholders in turn. Make one with ``parse``."""

    parts: tuple[str | Placeholder, ...]

    @property
    def placeholders(self) -> tuple[Placeholder, ...]:
        """The placeholders in order of appearance."""
        return tuple(part for part in self.parts if isinstance(part, Placeholder))

    @property
    def names(self) -> frozenset[str]:
        """The names that must be known before the prompt can be rendered."""
        return frozenset(placeholder.name for placeholder in self.placeholders)

    def check(
        self, known: Iterable[str], *, what: str = "name", suggest: Iterable[str] | None = None
    ) -> None:
        """Raise ``PromptError`` if a placeholder's name is not among ``known``, with the nearest.

        ``what`` says in the message what a known name is, such as ``"column"``; names in
        ``suggest`` (by default all) are suggested first.
        """
        known = list(known)
        for placeholder in self.placeholders:
            if placeholder.name not in known:
                first = known if suggest is None else list(suggest)
                raise PromptError(_unknown(placeholder, first, known, what))

    def render(self, names: Mapping[str, object], as_text: Callable[[object], str] = str) -> str:
        """The prompt with every placeholder replaced by ``as_text`` of its value, once."""
        return "".join(
            part if isinstance(part, str) else as_text(part.value(names)) for part in self.parts
        )


def parse(text: str) -> Template:
    """Split a prompt into literal text and placeholders. Every text parses."""
    parts: list[str | Placeholder] = []
    position = 0
    latex = _latex_spans(text)
    for match in _PLACEHOLDER.finditer(text):
        if any(start <= match.start() < end for start, end in latex):
            continue
        literal = text[position : match.start()]
        if match["escaped"]:
            literal += match["escaped"]
        if literal:
            parts.append(literal)
        if match["name"]:
            steps = tuple(_STEPS.findall(match["steps"]))
            parts.append(Placeholder(match[0], match["name"], steps))
        position = match.end()
    if position < len(text):
        parts.append(text[position:])
    return Template(tuple(parts))


def _latex_spans(text: str) -> list[tuple[int, int]]:
    """Where LaTeX arguments stand: from the first brace to after the last of each."""
    starts = [match.end() for match in _COMMAND.finditer(text)]
    for math in _MATH.finditer(text):
        starts += [m.start() for m in _SCRIPT.finditer(text, math.start(), math.end())]
    ends = _group_ends(text) if starts else {}
    return [(start, _arguments_end(text, start, ends)) for start in starts]


def _arguments_end(text: str, position: int, ends: Mapping[int, int]) -> int:
    """The end of the run of ``{...}``, ``[...]``, ``_{...}`` and ``^{...}`` from ``position``."""
    while True:
        opening = position + (text[position : position + 1] in ("_", "^"))
        end = ends.get(opening)
        if end is None:
            return position
        position = end


def _group_ends(text: str) -> dict[int, int]:
    """Where each group that is closed opens and ends."""
    ends: dict[int, int] = {}
    opened: dict[str, list[int]] = {closing: [] for closing in _CLOSING.values()}
    for bracket in _BRACKETS.finditer(text):
        if bracket[0] in _CLOSING:
            opened[_CLOSING[bracket[0]]].append(bracket.start())
        elif opened[bracket[0]]:
            ends[opened[bracket[0]].pop()] = bracket.end()
    return ends


def _item(value: object, key: str) -> object:
    if key[:1] in "'\"":
        return value[key[1:-1]]  # type: ignore[index]
    try:
        return value[int(key)]  # type: ignore[index]
    except (ValueError, KeyError, TypeError):
        return value[key]  # type: ignore[index]


def _unknown(placeholder: Placeholder, first: list[str], known: list[str], what: str) -> str:
    rest = [name for name in known if not name.startswith("_")]
    near = get_close_matches(placeholder.name, first, n=1)
    near = near or get_close_matches(placeholder.name, rest, n=1)
    hint = f" Did you mean {{{near[0]}}}?" if near else ""
    if not hint and first:
        hint = f" Known: {', '.join(first[:8])}{', …' if len(first) > 8 else ''}."  # noqa: PLR2004
    return (
        f"{placeholder.text} in the prompt is no {what}.{hint} "
        f"For the literal text {placeholder.text}, write {{{placeholder.text}}}."
    )
