"""SOURCE on a magic line: an expression in the notebook's names, read as a frame and a column."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from gpt_magics.errors import SourceError
from gpt_magics.jobs.sources import PandasSource, Source, open_source


def read_source(text: str, names: Mapping[str, Any]) -> Source:
    """The source that an expression such as ``df.review``, ``df['my column']`` or ``texts`` names.

    A column of a frame becomes the frame with that column as its main one, so that answers can
    be written beside it. The frame is looked up by its columns, never by attribute: ``df.count``
    is a method unless there is a column of that name.
    """
    try:
        node = ast.parse(text.strip(), mode="eval").body
    except SyntaxError:
        raise SourceError(
            f"{text!r} is no Python expression. Give a frame, a column or a list: df.review, "
            "df['my column'], texts."
        ) from None
    column = _column(node)
    if column is not None:
        base = _evaluate(column[0], names)
        if _is_frame(base):
            return _column_of(base, column[0], column[1])
    value = _evaluate(node, names)
    if _is_frame(value):
        return PandasSource(value, writable=_is_held(node, names))
    return open_source(value)


def _column_of(frame: Any, base: ast.expr, column: str) -> Source:
    labels = [str(label) for label in frame.columns]
    if column not in labels:
        near = get_close_matches(column, labels, n=1)
        hint = f"Did you mean {near[0]!r}?" if near else f"It has: {', '.join(labels[:8])}."
        raise SourceError(f"{ast.unparse(base)} has no column {column!r}. {hint}")
    return PandasSource(frame, main=column, writable=_is_plain(base))


def _column(node: ast.expr) -> tuple[ast.expr, str] | None:
    if isinstance(node, ast.Attribute):
        return node.value, node.attr
    if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant):
        return node.value, str(node.slice.value)
    return None


def _is_frame(value: object) -> bool:
    library = type(value).__module__.partition(".")[0]
    return library == "pandas" and hasattr(value, "columns")


def _is_plain(node: ast.expr) -> bool:
    """Whether the expression names something that lasts: a name, an attribute, a constant key."""
    if isinstance(node, ast.Name):
        return True
    if isinstance(node, ast.Attribute):
        return _is_plain(node.value)
    if isinstance(node, ast.Subscript):
        return isinstance(node.slice, ast.Constant) and _is_plain(node.value)
    return False


def _is_held(node: ast.expr, names: Mapping[str, Any]) -> bool:
    """Whether a frame is kept by what the expression names, rather than made by it."""
    if isinstance(node, ast.Subscript):
        return _is_plain(node) and not _is_frame(_evaluate(node.value, names))
    return _is_plain(node)


def _evaluate(node: ast.expr, names: Mapping[str, Any]) -> Any:
    text = ast.unparse(node)
    try:
        code = compile(ast.Expression(node), "<SOURCE>", "eval")
        return eval(code, {"__builtins__": __builtins__}, names)  # noqa: S307 - the user's own line
    except NameError as error:
        near = get_close_matches(str(error.name), list(names), n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise SourceError(f"{text}: there is no {error.name}.{hint}") from None
    except Exception as error:  # noqa: BLE001 - it is the user's expression
        raise SourceError(f"{text} cannot be read: {type(error).__name__}: {error}") from None
