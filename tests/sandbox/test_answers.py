from __future__ import annotations

import json
import random
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpt_magics.sandbox.answers import Message, Wish, answer, embedding, pieces, tokens_of
from gpt_magics.sandbox.instances import instance


def ask(text: str, model: str = "gpt-4o-mini", **wish: Any) -> Any:
    return answer(model, [Message("user", text)], Wish(**wish))


@given(st.text(), st.text(max_size=10))
def test_the_same_question_has_the_same_marked_answer(text: str, model: str) -> None:
    assert ask(text, model) == ask(text, model)
    assert ask(text, model).text.startswith("[sandbox] ")


@given(st.text())
def test_the_echo_model_answers_with_the_very_same_text(text: str) -> None:
    assert ask(text, "sandbox-echo").text == text


@given(st.text(), st.integers(0, 30))
def test_an_answer_is_cut_at_max_tokens_and_says_so(text: str, longest: int) -> None:
    whole, cut = ask(text, "sandbox-echo"), ask(text, "sandbox-echo", max_tokens=longest)
    assert cut.completion_tokens <= longest
    assert whole.text.startswith(cut.text)
    assert cut.finish_reason == ("stop" if whole.completion_tokens <= longest else "length")


def test_prose_has_the_length_that_was_set() -> None:
    assert ask("Hi", tokens=200).completion_tokens == 200
    assert ask("Hi", tokens=5).completion_tokens == 5


def test_usage_counts_bytes_and_messages() -> None:
    made = answer("gpt-4o", [Message("system", "x" * 8), Message("user", "ü" * 4)], Wish())
    assert made.prompt_tokens == 4 + 2 * 3
    assert made.completion_tokens == tokens_of(made.text)


@given(st.text())
def test_stream_pieces_join_to_the_text(text: str) -> None:
    assert "".join(pieces(text)) == text


def test_half_a_surrogate_pair_does_no_harm() -> None:
    assert ask("\ud83d", "sandbox-echo").text == "\ud83d"


def test_embeddings_are_unit_vectors_of_the_text() -> None:
    vector = embedding("one", 16)
    assert vector == embedding("one", 16) != embedding("two", 16)
    assert sum(x * x for x in vector) == pytest.approx(1, abs=1e-4)


def test_json_mode_without_a_schema_is_an_object() -> None:
    assert json.loads(ask("Hi", schema={}).text)["sandbox"] is True


NUMBERS = st.fixed_dictionaries(
    {"type": st.sampled_from(["integer", "number"])},
    optional={
        "minimum": st.integers(-50, 0),
        "maximum": st.integers(5, 50),
        "exclusiveMinimum": st.integers(-50, 0),
        "exclusiveMaximum": st.integers(5, 50),
    },
)
STRINGS = st.fixed_dictionaries(
    {"type": st.just("string")},
    optional={"minLength": st.integers(0, 40), "maxLength": st.integers(40, 80)},
)
LEAVES = st.one_of(
    NUMBERS,
    STRINGS,
    st.sampled_from([{"type": "boolean"}, {"type": "null"}, {"$ref": "#/$defs/leaf"}]),
    st.lists(st.text(max_size=5), min_size=1, max_size=4).map(lambda names: {"enum": names}),
    st.integers().map(lambda number: {"const": number}),
    st.just({"type": ["string", "null"]}),
    st.just({"type": "string", "format": "date-time"}),
)


def _object(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.dictionaries(st.text(min_size=1, max_size=6), inner, max_size=4).map(
        lambda properties: {
            "type": "object",
            "properties": properties,
            "required": list(properties),
            "additionalProperties": False,
        }
    )


def _array(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    bounds = {"minItems": st.integers(0, 4), "maxItems": st.integers(4, 6)}
    return st.fixed_dictionaries({"type": st.just("array"), "items": inner}, optional=bounds)


def _choice(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(inner, min_size=1, max_size=3).map(lambda branches: {"anyOf": branches})


SCHEMAS = st.recursive(
    LEAVES, lambda inner: st.one_of(_object(inner), _array(inner), _choice(inner)), max_leaves=12
)


@given(SCHEMAS, st.integers(0, 5))
def test_an_instance_is_valid_for_its_schema(schema: dict[str, Any], seed: int) -> None:
    whole = {**schema, "$defs": {"leaf": {"type": "integer", "minimum": 3}}}
    made = instance(whole, random.Random(seed))  # noqa: S311
    jsonschema.validate(made, whole)
    assert made == instance(whole, random.Random(seed))  # noqa: S311


TREE = {
    "$defs": {
        "node": {
            "type": "object",
            "properties": {
                "name": {"type": "string"},
                "children": {"type": "array", "items": {"$ref": "#/$defs/node"}},
                "next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]},
            },
            "required": ["name", "children", "next"],
            "additionalProperties": False,
        }
    },
    "$ref": "#/$defs/node",
}


@pytest.mark.parametrize(
    "schema",
    [
        TREE,
        {"type": "array", "items": {"enum": ["a", "b"]}, "minItems": 2, "uniqueItems": True},
        {"type": "array", "prefixItems": [{"type": "null"}, {"type": "boolean"}], "minItems": 2},
        {"allOf": [{"properties": {"a": {"type": "string"}}}, {"required": ["a"]}]},
        {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 0.001},
        {"type": "integer", "minimum": 7, "maximum": 7},
        {"type": "integer", "multipleOf": 5, "minimum": 3, "maximum": 9},
        {"type": "object", "required": ["x"], "additionalProperties": {"type": "integer"}},
        {"properties": {"a": True}, "required": ["a"]},
        {"type": "object", "minProperties": 2},
    ],
)
@pytest.mark.parametrize("seed", range(8))
def test_harder_schemas_hold_as_well(schema: dict[str, Any], seed: int) -> None:
    jsonschema.validate(instance(schema, random.Random(seed)), schema)  # noqa: S311


def test_free_text_in_an_instance_is_marked() -> None:
    luck = random.Random(1)  # noqa: S311
    made = instance({"type": "object", "properties": {"note": {"type": "string"}}}, luck)
    assert isinstance(made, dict)
    assert "sandbox" in made["note"]
