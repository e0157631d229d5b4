"""Where rows come from and where answers go, with the frames that people really have."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

from gpt_magics.errors import SourceError
from gpt_magics.jobs.sources import ListSource, PandasSource, open_source


def frame(**columns: list[Any]) -> pd.DataFrame:
    return pd.DataFrame(columns or {"review": ["good", "bad", "fine"], "stars": [5, 1, 3]})


def test_a_frames_columns_are_its_names() -> None:
    source = open_source(frame())
    assert (source.kind, source.names, source.main, len(source)) == (
        "column",
        ("review", "stars"),
        None,
        3,
    )
    assert source.columns(["stars"]) == {"stars": [5, 1, 3]}


def test_a_series_is_a_frame_of_one_column_also_called_text() -> None:
    source = open_source(frame()["review"])
    assert source.main == "review"
    assert source.columns(["review", "text"]) == {
        "review": ["good", "bad", "fine"],
        "text": ["good", "bad", "fine"],
    }


def test_a_series_without_a_name_is_called_text() -> None:
    source = open_source(pd.Series(["a"]))
    assert (source.main, source.names) == ("text", ("text",))


def test_missing_values_are_none() -> None:
    columns = pd.DataFrame(
        {
            "number": [1.5, float("nan")],
            "date": [pd.Timestamp("2026-01-01"), pd.NaT],
            "whole": pd.array([1, pd.NA], dtype="Int64"),
            "word": pd.array(["x", pd.NA], dtype="string"),
            "any": [["a", "list"], None],
        }
    )
    source = open_source(columns)
    rows = source.columns(source.names)
    assert [values[1] for values in rows.values()] == [None] * 5
    assert rows["any"][0] == ["a", "list"]
    assert rows["number"][0] == 1.5


def test_missing_values_in_a_list_are_none_too() -> None:
    gone = [float("nan"), np.float64("nan"), pd.NA, pd.NaT, None]
    assert ListSource(["x", *gone]).columns(["text"]) == {"text": ["x", *[None] * 5]}
    assert ListSource([{"a": each} for each in gone]).columns(["a"]) == {"a": [None] * 5}


def test_values_are_those_of_the_moment() -> None:
    data = frame()
    rows = open_source(data).columns(["review"])
    data.loc[0, "review"] = "changed"
    assert rows["review"][0] == "good"


@pytest.mark.parametrize(
    "index",
    [
        [0, 0, 0],
        ["b", "a", "b"],
        [2, 0, 1],
        pd.MultiIndex.from_tuples([("x", 1), ("x", 1), ("y", 2)]),
        pd.to_datetime(["2026-01-01", None, "2026-01-01"]),
        pd.CategoricalIndex(["a", "b", "a"]),
    ],
    ids=["duplicates", "texts", "shuffled", "multi", "dates", "categories"],
)
def test_answers_are_written_by_position_whatever_the_index(index: Any) -> None:
    data = frame()
    data.index = pd.Index(index) if isinstance(index, list) else index
    source = open_source(data)
    source.write("label", ["p", None, "n"], untouched=[])
    assert data["label"].tolist() == ["p", None, "n"]
    assert source.frame("label", ["x", "y", "z"])["label"].tolist() == ["x", "y", "z"]
    assert data["label"].tolist() == ["p", None, "n"]


def test_untouched_rows_keep_what_they_have() -> None:
    data = frame()
    data["label"] = ["old", "old", "old"]
    open_source(data).write("label", ["new", None, None], untouched=[2])
    assert data["label"].tolist() == ["new", None, "old"]


def test_a_new_column_has_nothing_to_keep() -> None:
    data = frame()
    open_source(data).write("label", ["new", None, None], untouched=[1, 2])
    assert data["label"].tolist() == ["new", None, None]


def test_answers_stay_texts_or_none() -> None:
    data = frame()
    open_source(data).write("label", ["1", None, ""], untouched=[])
    assert data["label"].dtype == object
    assert data["label"].tolist() == ["1", None, ""]


def test_a_filtered_frame_takes_its_answers_and_its_parent_stays_as_it_is() -> None:
    data = frame()
    part = data[data.stars > 2]
    source = open_source(part)
    source.write("label", ["p", "q"], untouched=[])
    assert part["label"].tolist() == ["p", "q"]
    assert "label" not in data.columns


def test_labels_that_are_no_texts_are_found_by_their_text() -> None:
    data = pd.DataFrame({0: ["a"], 1.5: ["b"], pd.Timestamp("2026-01-01"): ["c"], None: ["d"]})
    source = open_source(data)
    assert source.columns(["0", "1.5"]) == {"0": ["a"], "1.5": ["b"]}
    source.write("0", ["x"], untouched=[])
    assert data.columns[0] == 0
    assert data[0].tolist() == ["x"]
    assert source.frame("0", ["y"])[0].tolist() == ["y"]
    assert len(source.frame("0", ["y"]).columns) == 4


def test_multi_level_columns_are_read_and_written() -> None:
    data = pd.DataFrame({("a", "x"): ["p"], ("b", "y"): ["q"]})
    source = open_source(data)
    assert source.columns(["('a', 'x')"]) == {"('a', 'x')": ["p"]}
    for answer in ("first", "second"):
        source.write("answer", [answer], untouched=[])
        assert data["answer"].tolist() == [answer]


@pytest.mark.parametrize("name", ["self", "label", "count", "my col", "0"])
def test_an_answer_column_may_have_any_name(name: str) -> None:
    data = frame()
    source = open_source(data)
    assert source.frame(name, ["a", "b", "c"])[name].tolist() == ["a", "b", "c"]
    source.write(name, ["a", "b", "c"], untouched=[])
    assert data[name].tolist() == ["a", "b", "c"]


def test_two_columns_of_one_name_are_refused() -> None:
    data = pd.DataFrame([[1, 2, 3]], columns=["a", "b", "a"])
    with pytest.raises(SourceError, match="more than one column named a"):
        open_source(data)
    with pytest.raises(SourceError, match="more than one column named 0"):
        open_source(pd.DataFrame([[1, 2]], columns=[0, "0"]))


def test_a_frame_whose_length_changed_is_not_written_to() -> None:
    data = frame()
    source = open_source(data)
    data.loc[3] = ["new", 4]
    for write in (
        lambda: source.write("label", ["a", "b", "c"], untouched=[]),
        lambda: source.frame("label", ["a", "b", "c"]),
    ):
        with pytest.raises(SourceError, match=r"had 3 rows .* has 4 now"):
            write()
    assert "label" not in data.columns


def test_a_series_cannot_be_written_to_and_the_error_says_what_to_do() -> None:
    source = open_source(frame()["review"])
    with pytest.raises(SourceError, match=r"Give it a name first .* job\.frame"):
        source.check_writable("label")
    assert open_source(frame()).check_writable("label") is None  # type: ignore[func-returns-value]
    assert source.frame("label", ["a", "b", "c"])["label"].tolist() == ["a", "b", "c"]


def test_a_frame_without_rows_is_a_source() -> None:
    source = open_source(frame()[:0])
    assert (len(source), source.columns(["review"])) == (0, {"review": []})
    source.write("label", [], untouched=[])


def test_a_list_of_texts_is_a_column_called_text() -> None:
    source = open_source(["a", "b"])
    assert (source.kind, source.names, source.main, len(source)) == ("key", ("text",), "text", 2)
    assert source.columns(["text"]) == {"text": ["a", "b"]}
    assert source.frame("answer", ["x", None]) == [
        {"text": "a", "answer": "x"},
        {"text": "b", "answer": None},
    ]


def test_a_list_of_dicts_has_the_keys_of_all() -> None:
    source = open_source(({"a": 1}, {"a": 2, "b": 3}))
    assert (source.names, source.main) == (("a", "b"), None)
    assert source.columns(["a", "b"]) == {"a": [1, 2], "b": [None, 3]}
    assert source.frame("c", ["x", "y"])[1] == {"a": 2, "b": 3, "c": "y"}


def test_a_list_is_taken_as_it_was() -> None:
    rows = ["a", "b"]
    source = open_source(rows)
    rows.append("c")
    assert len(source) == 2


def test_an_empty_list_is_a_source() -> None:
    assert (len(open_source([])), open_source([]).names) == (0, ("text",))


def test_dicts_and_texts_do_not_mix() -> None:
    with pytest.raises(SourceError, match="mixes dicts with other values"):
        open_source(["a", {"b": 1}])


@pytest.mark.parametrize(
    "source", ["text", 5, None, {"a": 1}, pl.DataFrame({"a": [1]}), np.array(["a"]), {"a"}]
)
def test_anything_else_is_refused_with_a_way_out(source: object) -> None:
    with pytest.raises(SourceError, match=r"got .*Convert it first"):
        open_source(source)


def test_a_pandas_source_may_be_made_for_a_column() -> None:
    data = frame()
    source = PandasSource(data, main="review")
    source.check_writable("label")
    source.write("label", ["a", "b", "c"], untouched=[])
    assert data["label"].tolist() == ["a", "b", "c"]
