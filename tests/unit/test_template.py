"""Templates: what is a placeholder, and what stays literal byte for byte."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from gpt_magics.errors import PromptError
from gpt_magics.prompts.template import parse

TRACEBACK = """Traceback (most recent call last):
  File "x.py", line 1, in <module>
    print({'a': 1}['b'])
KeyError: 'b'"""


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no braces",
        "{'a': 1}",
        '{"name": "x", "tags": ["a", "b"], "sub": {"k": null}}',
        '{"a": {"b": {}}}',
        "body { color: red; } .x{margin:0}",
        "@media (min-width: 1px) { p { margin: 0 } }",
        "{}",
        "{{}}",
        "{0}",
        "{ name }",
        "{{ name }}",
        "{% if x %}{# jinja #}",
        "{name!r}",
        "{name:>10}",
        "{name",
        "name}",
        "}{",
        "{a b}",
        "{a-b}",
        "{a.}",
        "{a[}",
        "{a[]}",
        "{a['b]}",
        "f(x) = {x | x > 0}",
        "for (;;) { i++; }",
        "${VAR-default}",
        "\\",
        r"\frac{a}{b}",
        r"\frac{a}{\sqrt{b}}",
        r"\sqrt[n]{x}",
        r"\sum_{i=1}^{n} x",
        r"\sum_{i}^{n}",
        r"\begin{equation}\label{eq}\end{equation}",
        r"\operatorname*{argmax}_{x}",
        "$x_{i}$",
        "$x_{i}^{n} + y_{j}$",
        "$$x_{i}$$",
        r"\(x_{i}\) and \[y^{n}\]",
        TRACEBACK,
        "text \x00 with ünïcödé 🎉 and \r\n line ends\u2028",
        "\ud800 a lone surrogate",
    ],
)
def test_this_is_literal_byte_for_byte(text: str) -> None:
    template = parse(text)
    assert template.names == frozenset()
    assert template.render({}) == text


@pytest.mark.parametrize(
    ("text", "rendered"),
    [
        ("{name}", "Ada"),
        ("a{name}b", "aAdab"),
        ("{name}{name}", "AdaAda"),
        ("{'name': '{name}'}", "{'name': 'Ada'}"),
        ('{"name": "{name}", "n": 1}', '{"name": "Ada", "n": 1}'),
        ("{{name}}", "{name}"),
        ("{{name}} is {name}", "{name} is Ada"),
        ("{{person.title}}", "{person.title}"),
        ("{{{name}}}", "{{name}}"),
        ("{person.title}", "Countess"),
        ("{row[title]}", "Notes"),
        ("{row['my key']}", "spaced"),
        ('{row["my key"]}', "spaced"),
        ("{row[my key]}", "spaced"),
        ("{row[7]}", "seven"),
        ("{row['7']}", "text seven"),
        ("{words[0]} {words[-1]}", "first last"),
        ("{row[inner][0].title}", "Countess"),
        ("{größe}", "groß"),
        ("report_{name}.txt", "report_Ada.txt"),
        (r"{name}: \frac{a}{b} and $x_{i}$ of {name}", r"Ada: \frac{a}{b} and $x_{i}$ of Ada"),
        ("costs $5 for {name} and $10", "costs $5 for Ada and $10"),
        ("$5_{name} only", "$5_Ada only"),
        (r"\n{name}\t{name}", r"\nAda\tAda"),
        (r"\frac{a {name}", r"\frac{a Ada"),
    ],
)
def test_this_is_replaced(text: str, rendered: str) -> None:
    person = SimpleNamespace(title="Countess")
    names = {
        "name": "Ada",
        "person": person,
        "row": {
            "title": "Notes",
            "my key": "spaced",
            7: "seven",
            "7": "text seven",
            "inner": [person],
        },
        "words": ["first", "middle", "last"],
        "größe": "groß",
    }
    assert parse(text).render(names) == rendered


def test_a_key_that_is_a_number_may_be_a_text() -> None:
    assert parse("{row[7]}").render({"row": {"7": "text"}}) == "text"


@pytest.mark.parametrize("value", ["{secret}", "{{secret}}", "{name}", r"\1 \g<0>", "%s {0}"])
def test_inserted_values_are_never_expanded_again(value: str) -> None:
    rendered = parse("<{name}>").render({"name": value, "secret": "leaked"})
    assert rendered == f"<{value}>"


def test_values_become_text_once_the_way_that_is_asked_for() -> None:
    assert parse("{a} {a}").render({"a": 1.5}, as_text=lambda value: f"<{value}>") == "<1.5> <1.5>"


def test_names_are_those_before_any_step() -> None:
    template = parse("{a.b} {c[d]} {a} {{e}} {'f': 1}")
    assert template.names == {"a", "c"}
    assert [placeholder.text for placeholder in template.placeholders] == ["{a.b}", "{c[d]}", "{a}"]


def test_an_unknown_name_is_an_error_that_tells_the_nearest() -> None:
    with pytest.raises(PromptError, match=r"\{reviw\} .*no column.*Did you mean \{review\}\?"):
        parse("Label {reviw}").check(["id", "review"], what="column")


def test_without_a_near_name_it_tells_the_known_ones() -> None:
    with pytest.raises(PromptError, match=r"Known: a0, a1, .*, …\."):
        parse("{zzzzzz}").check([f"a{number}" for number in range(20)])


def test_it_tells_how_to_mean_the_text() -> None:
    with pytest.raises(PromptError, match=r"literal text \{x\.y\}, write \{\{x\.y\}\}"):
        parse("{x.y}").check([])


def test_only_what_may_be_suggested_is() -> None:
    with pytest.raises(PromptError) as caught:
        parse("{_hiden}").check(["_hidden", "text"], suggest=["text"])
    assert "_hidden" not in str(caught.value)


def test_known_names_pass() -> None:
    parse("{a} {b[c].d}").check(iter(["b", "a"]))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{row.nothing}", r"\{row\.nothing\} .*\.nothing failed with AttributeError .* dict"),
        ("{row[nothing]}", r"\[nothing\] failed with KeyError"),
        ("{row[a][9]}", r"\[9\] failed with .*Error on a value of type list"),
        ("{number[x]}", r"\[x\] failed with TypeError on a value of type int"),
    ],
)
def test_a_step_that_fails_is_named(text: str, why: str) -> None:
    with pytest.raises(PromptError, match=why):
        parse(text).render({"row": {"a": [1]}, "number": 5})


@pytest.mark.parametrize("piece", [r"\a{", "$x_{", "{a", "{{", r"\(", "$$", r"\a{b}", "{a[", "]"])
@pytest.mark.timeout(10)
def test_long_and_broken_texts_parse_soon(piece: str) -> None:
    text = piece * 5_000
    assert parse(text).render({}) == text or "{b}" in piece
