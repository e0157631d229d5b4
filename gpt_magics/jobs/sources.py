"""Where rows come from and where answers go: pandas frames and columns, lists of texts or dicts.

A source knows the names that a prompt may use for a row, gives the rows' values as they were when
the job was submitted, and takes the answers back by position.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from gpt_magics.errors import SourceError

TEXT = "text"
"""The name of a row's value where the source is one column, beside the column's own name."""

_MISSING = ("NAType", "NaTType")


class Source(Protocol):
    """What a job needs of its rows.

    Attributes:
        kind: what one of ``names`` is called in messages: ``column`` or ``key``.
        names: what a placeholder may be, beside the caller's own names.
        main: the name of the row's value where the source is a single column, else ``None``.
    """

    kind: str
    names: tuple[str, ...]
    main: str | None

    def __len__(self) -> int: ...

    def columns(self, names: Iterable[str]) -> dict[str, list[Any]]:
        """The values of these names, row by row, with ``None`` for a missing value."""

    def check_writable(self, name: str) -> None:
        """Raise ``SourceError`` if answers could not be written to ``name``."""

    def write(self, name: str, answers: Sequence[object], *, untouched: Iterable[int]) -> None:
        """Write the answers back, by position; rows in ``untouched`` keep what they have."""

    def frame(self, name: str, answers: Sequence[object]) -> Any:
        """A copy of the source with the answers beside it."""


class ListSource:
    """A list of texts (named ``text``) or of dicts (named by their keys)."""

    def __init__(self, rows: Sequence[Any]) -> None:
        self.kind = "key"
        self._rows = list(rows)
        self._records = bool(rows) and all(isinstance(row, Mapping) for row in rows)
        if not self._records and any(isinstance(row, Mapping) for row in rows):
            raise SourceError("The list mixes dicts with other values; make it one or the other.")
        keys = dict.fromkeys(str(key) for row in rows for key in row) if self._records else {}
        self.names = tuple(keys) if self._records else (TEXT,)
        self.main = None if self._records else TEXT

    def __len__(self) -> int:
        return len(self._rows)

    def columns(self, names: Iterable[str]) -> dict[str, list[Any]]:
        """The values of these names, with ``None`` for a missing value, NaN, NaT and NA."""
        if self._records:
            return {name: [_present(row.get(name)) for row in self._rows] for name in names}
        return {name: [_present(row) for row in self._rows] for name in names}

    def check_writable(self, name: str) -> None:
        """Allow it: answers to a list are bound to a name, or read off the job."""

    def write(self, name: str, answers: Sequence[object], *, untouched: Iterable[int]) -> None:
        """Do nothing: a list has no columns. The magic binds the answers to a name."""

    def frame(self, name: str, answers: Sequence[object]) -> list[dict[str, Any]]:
        """A list of dicts: each row's values and its answer under ``name``."""
        rows = self._rows if self._records else [{TEXT: row} for row in self._rows]
        return [{**row, name: answer} for row, answer in zip(rows, answers, strict=True)]


class PandasSource:
    """A pandas DataFrame, or a Series as a frame of one column.

    Args:
        frame: the DataFrame itself (not a copy: answers are written back to it).
        main: the column that the prompt is about, if the source was one.
        writable: whether writing to ``frame`` reaches anything that the user holds.
    """

    def __init__(self, frame: Any, *, main: str | None = None, writable: bool = True) -> None:
        self.kind = "column"
        self._frame = frame
        self._rows = len(frame)
        self._writable = writable
        labels = list(frame.columns)
        self._labels = {str(label): label for label in labels}
        if len(self._labels) < len(labels):
            twice = sorted({str(a) for a in labels if sum(str(b) == str(a) for b in labels) > 1})
            raise SourceError(f"The frame has more than one column named {', '.join(twice)}.")
        self.main = main
        if main is not None:  # also for columns whose name no placeholder could spell
            self._labels.setdefault(TEXT, self._labels[main])
        self.names = tuple(self._labels)
        self._index = frame.index
        self._read: dict[str, list[Any]] = {}

    def __len__(self) -> int:
        return self._rows

    def columns(self, names: Iterable[str]) -> dict[str, list[Any]]:
        """The values of these columns, with ``None`` for NaN, NaT and NA."""
        self._read = {name: self._values(self._frame[self._labels[name]]) for name in names}
        return self._read

    def check_writable(self, name: str) -> None:
        """Raise ``SourceError`` for a source that only the job holds."""
        if not self._writable:
            raise SourceError(
                "The source is no frame that you hold by a name, so the answers would be lost. "
                f"Give it a name first (part = df[…]), or drop {name!r} and use job.frame."
            )

    def write(self, name: str, answers: Sequence[object], *, untouched: Iterable[int]) -> None:
        """Set a column of the frame that was passed in, by position, whatever its index."""
        self._check_rows()
        label = self._label(name)
        values = list(answers)
        if label in self._frame.columns:
            before = self._frame[label].tolist()
            for row in untouched:
                values[row] = before[row]
        self._frame[label] = self._column(values)

    def frame(self, name: str, answers: Sequence[object]) -> Any:
        """A copy of the frame with the answers in column ``name``."""
        self._check_rows()
        copy = self._frame.copy()
        copy[self._label(name)] = self._column(answers)
        return copy

    def _label(self, name: str) -> Any:
        columns = self._frame.columns
        new = name if columns.nlevels == 1 else (name, *[""] * (columns.nlevels - 1))
        return next((label for label in columns if label == new or str(label) == name), new)

    def _check_rows(self) -> None:
        """Refuse if rows came, went or moved since the job began: positions would lie."""
        if len(self._frame) != self._rows:
            raise SourceError(
                f"The frame had {self._rows} rows when the job began and has {len(self._frame)} "
                "now, so answers and rows no longer match. The answers are in job.texts."
            )
        if not self._frame.index.equals(self._index) or any(map(self._is_shuffled, self._read)):
            raise SourceError(
                "The frame's rows have moved since the job began (sorted, perhaps), so answers and "
                "rows no longer match. The answers, in the old order, are in job.texts."
            )

    def _is_shuffled(self, name: str) -> bool:
        """Whether a column that was read holds the same values in another order."""
        if self._labels[name] not in self._frame.columns:
            return False
        before, now = self._read[name], self._values(self._frame[self._labels[name]])
        return now != before and Counter(map(repr, now)) == Counter(map(repr, before))

    def _column(self, answers: Sequence[object]) -> Any:
        import pandas as pd  # noqa: PLC0415 - the caller has it; we do not depend on it

        # dtype object: a text or None, never NaN; the frame's own index: no alignment.
        return pd.Series(list(answers), index=self._frame.index, dtype=object)

    @staticmethod
    def _values(column: Any) -> list[Any]:
        missing = column.isna().tolist()
        values = column.tolist()
        return [None if gone else value for value, gone in zip(values, missing, strict=True)]


def _present(value: Any) -> Any:
    """The value, or ``None`` for what pandas puts in the place of a missing one."""
    if isinstance(value, float) and math.isnan(value):
        return None
    return None if type(value).__name__ in _MISSING else value


def open_source(source: object) -> Source:
    """The source for a value: a pandas DataFrame or Series, or a list of texts or dicts."""
    library, kind = type(source).__module__.partition(".")[0], type(source).__name__
    if library == "pandas" and hasattr(source, "columns"):
        return PandasSource(source)
    if library == "pandas" and kind == "Series":
        series: Any = source
        name = str(series.name) if series.name is not None else TEXT
        return PandasSource(series.to_frame(name), main=name, writable=False)
    if isinstance(source, (list, tuple)):
        return ListSource(source)
    raise SourceError(
        f"A batch source is a pandas DataFrame or Series, or a list of texts or dicts; got "
        f"{library}.{kind}. Convert it first, for instance with .to_pandas() or list()."
    )
