"""Any text parses; what is literal stays; what is inserted stays too."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gpt_magics.prompts.template import Placeholder, parse

# Made of what the grammar is made of, so that near misses are frequent.
plain = [
    "{",
    "}",
    "{{",
    "}}",
    "[",
    "]",
    ".",
    "'",
    '"',
    "\\",
    "$",
    "_",
    "^",
    "a",
    "0",
    " ",
    "\n",
    "é",
]
spelled = ["name", "{name}", "{{name}}", "{a.b}", "{a[0]}", "{a['x y']}", "\\frac", "\\(", "\\)"]
pieces = st.sampled_from([*plain, *spelled])
texts = st.one_of(st.text(), st.lists(pieces, max_size=30).map("".join))


@given(texts)
def test_any_text_parses_and_rendering_placeholders_as_themselves_changes_only_escapes(
    text: str,
) -> None:
    template = parse(text)
    rendered = "".join(p.text if isinstance(p, Placeholder) else p for p in template.parts)
    escaped = len(rendered) - len(text)
    assert escaped <= 0
    assert escaped % 2 == 0
    if "{{" not in text:
        assert rendered == text


@given(texts)
def test_a_text_without_placeholders_round_trips(text: str) -> None:
    template = parse(text)
    if not template.placeholders and "{{" not in text:
        assert template.render({}) == text


@given(st.text().filter(lambda text: "{" not in text))
def test_a_text_without_an_opening_brace_is_literal(text: str) -> None:
    assert parse(text).parts == ((text,) if text else ())


@given(before=st.text("ab{}' \n"), value=st.text(), after=st.text("ab{}' \n"))
def test_a_value_is_inserted_as_it_is(before: str, value: str, after: str) -> None:
    template = parse(f"{before}{{name}}{after}")
    if template.names == {"name"} and "{{" not in f"{before}{{name}}{after}":
        assert template.render({"name": value}) == f"{before}{value}{after}"


@given(st.lists(st.tuples(st.from_regex(r"[A-Za-z_]\w{0,8}", fullmatch=True), texts), max_size=8))
def test_values_are_never_expanded_again(fields: list[tuple[str, str]]) -> None:
    names = dict(fields)
    text = "|".join(f"{{{name}}}" for name in names)
    assert parse(text).render(names) == "|".join(names.values())


@given(st.from_regex(r"[^\W\d]\w{0,8}", fullmatch=True), st.text("ab {}"))
def test_an_escaped_name_is_the_name_in_braces(name: str, value: str) -> None:
    template = parse(f"<{{{{{name}}}}}>")
    assert template.names == frozenset()
    assert template.render({name: value}) == f"<{{{name}}}>"
