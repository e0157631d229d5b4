"""The words on a magic line: splitting them, and reading options off them.

IPython's own splitting cuts ``df['my column']`` at the space; here brackets and quotes keep
together what belongs together.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from difflib import get_close_matches
from typing import NoReturn

from gpt_magics.errors import OptionError

_OPENING = {"(": ")", "[": "]", "{": "}"}
_QUOTES = "'\""


class OptionParser(argparse.ArgumentParser):
    """An argparse parser that raises ``OptionError`` and names the nearest option."""

    def __init__(self, name: str) -> None:
        super().__init__(prog=name, add_help=False, allow_abbrev=False, exit_on_error=False)

    def error(self, message: str) -> NoReturn:
        """Raise instead of ending the kernel."""
        raise OptionError(f"{self.prog}: {message}. See {self.prog}? for its options.")

    def parse(self, words: Sequence[str]) -> argparse.Namespace:
        """The options among ``words``; an unknown or a repeated one is an ``OptionError``."""
        self._refuse_repeated(words)
        try:
            options, unknown = self.parse_known_args(list(words))
        except argparse.ArgumentError as error:
            self.error(str(error))
        if unknown:
            self.error(self._unknown(unknown[0]))
        return options

    def takes_value(self, word: str) -> bool:
        """Whether the option ``word`` is followed by a value of its own."""
        action = self._option_string_actions.get(word)
        return action is not None and action.nargs != 0

    def refuse_options_in(self, prompt: str) -> None:
        """Refuse an unquoted prompt that ends in one of our options: it would be sent as text."""
        last = prompt.split()[-2:]
        if len(last) > 1 and self.takes_value(last[0]):
            self.error(f"{last[0]} stands behind the prompt; put it before, or quote the prompt")

    def _refuse_repeated(self, words: Sequence[str]) -> None:
        seen = set()
        for word in words:
            action = self._option_string_actions.get(word.split("=", 1)[0])
            if action is not None:
                if action.dest in seen:
                    self.error(f"{word} is given twice")
                seen.add(action.dest)

    def _unknown(self, word: str) -> str:
        if not word.startswith("-"):
            return f"{word!r} is one word too many; put a prompt of several words in quotes"
        near = get_close_matches(word.split("=", 1)[0], list(self._option_string_actions), n=1)
        return f"there is no option {word}" + (f"; did you mean {near[0]}" if near else "")


def split(line: str) -> list[str]:
    r"""The words of a line. Quotes and brackets keep together what is inside them.

    A word that is one quoted text loses its quotes; ``\"`` inside it is a plain quote. Quotes in
    the middle of a word, as in ``df['my column']``, stay.
    """
    words, position = [], 0
    while (position := _skip_space(line, position)) < len(line):
        end = _word_end(line, position)
        words.append(unquote(line[position:end]))
        position = end
    return words


def split_prompt(line: str, parser: OptionParser) -> tuple[list[str], str]:
    """The options at the start of a line, and the rest of it as it stands: the prompt.

    So that ``%gpt What's new?`` needs no quotes. A quoted prompt may be followed by options.
    """
    words: list[str] = []
    position = _skip_space(line, 0)
    while line[position : position + 1] == "-":
        end = _word_end(line, position)
        word = line[position:end]
        words.append(word)
        position = _skip_space(line, end)
        if parser.takes_value(word) and position < len(line):
            end = _word_end(line, position)
            words.append(unquote(line[position:end]))
            position = _skip_space(line, end)
    rest = line[position:].rstrip()
    if rest[:1] in _QUOTES and rest:
        end = _quoted_end(rest, 0)
        after = rest[end:].strip()
        if end > 1 and (not after or after.startswith("-")):
            return words + split(after), unquote(rest[:end])
    parser.refuse_options_in(rest)
    return words, rest


def unquote(word: str) -> str:
    """Strip one matched pair of quotes around the whole word, if there is one."""
    if len(word) > 1 and word[0] in _QUOTES and _quoted_end(word, 0) == len(word):
        return word[1:-1].replace("\\" + word[0], word[0])
    return word


def _skip_space(line: str, position: int) -> int:
    while position < len(line) and line[position].isspace():
        position += 1
    return position


def _word_end(line: str, position: int) -> int:
    depth: list[str] = []
    while position < len(line):
        character = line[position]
        if character in _QUOTES:
            position = _quoted_end(line, position)
            continue
        if character in _OPENING:
            depth.append(_OPENING[character])
        elif depth and character == depth[-1]:
            depth.pop()
        elif character.isspace() and not depth:
            return position
        position += 1
    return position


def _quoted_end(line: str, position: int) -> int:
    """The position after the closing quote; one after the opening quote if it is never closed."""
    quote, start = line[position], position
    position += 1
    while position < len(line):
        if line[position] == "\\":
            position += 2
        elif line[position] == quote:
            return position + 1
        else:
            position += 1
    return start + 1
