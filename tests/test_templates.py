"""Templates: what they give, what is told about wrong ones, and that no template holds up a worker."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from activities.templates import TemplateError, check, render, render_value, variables
from tests.support.effort import cpu_seconds

PAGE = Path(__file__).parents[1] / "docs" / "expressions.md"
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@pytest.mark.parametrize(
    ("source", "values", "text"),
    [
        ("Hi {{ name }}!", {"name": "Bo"}, "Hi Bo!"),
        ("{{ a.b[0] }}", {"a": {"b": ["x"]}}, "x"),
        ("{{ a['due-date'] }}", {"a": {"due-date": "soon"}}, "soon"),
        ("{{ missing }}|{{ missing.a.b }}|{{ null }}", {"null": None}, "||"),
        ("{{ drafts }}", {"drafts": ["ä", 1, None, True, {"a": 1.5}]}, '["ä", 1, null, true, {"a": 1.5}]'),
        ("{% echo document %}", {"document": {"a": []}}, '{"a": []}'),
        ("{{ drafts | first }}", {"drafts": [{"a": 1}]}, '{"a": 1}'),
        ("{{ drafts | append: '!' }}", {"drafts": [{"a": 1}]}, '[{"a": 1}]!'),
        ("{{ '!' | append: drafts }}", {"drafts": [{"a": 1}]}, '![{"a": 1}]'),
        ("{{ drafts | join: '; ' }}", {"drafts": [{"a": 1}, "x"]}, '{"a": 1}; x'),
        ("{{ document | json | upcase }}", {"document": {"a": 1}}, '{"A": 1}'),
        ("{{ done }} {{ count }} {{ score }}", {"done": True, "count": 3, "score": 0.5}, "true 3 0.5"),
        (
            "{% for d in drafts %}{{ forloop.index }}. {{ d.t }} {% endfor %}",
            {"drafts": [{"t": "a"}, {"t": "b"}]},
            "1. a 2. b ",
        ),
        ("{% if score < 0.5 %}low{% else %}high{% endif %}", {"score": 0.7}, "high"),
        ("{% if tags contains 'refund' %}yes{% endif %}", {"tags": ["refund"]}, "yes"),
        ("{% raw %}{{ name }}{% endraw %}", {"name": "x"}, "{{ name }}"),
        ('A JSON example: {"a": {"b": 1}}', {}, 'A JSON example: {"a": {"b": 1}}'),
    ],
)
def test_texts(source: str, values: dict[str, Any], text: str) -> None:
    assert check(source) is None
    assert render(source, values) == text


@pytest.mark.parametrize("hidden", ["{{ secret }}", "{% if true %}x{% endif %}", "{{", "%}", "{% raw %}"])
def test_data_is_never_read_as_a_template(hidden: str) -> None:
    values = {"name": hidden, "secret": "s3cret", "names": [hidden], "tool": {"args": hidden}}
    assert render("<{{ name }}>", values) == f"<{hidden}>"
    assert render("{% capture again %}{{ name }}{% endcapture %}{{ again }}", values) == hidden
    assert render_value({"a": "{{ names }}", "b": "{{ tool }}"}, values) == {"a": [hidden], "b": {"args": hidden}}


@given(JSON)
@settings(max_examples=100, deadline=None)
def test_a_single_expression_gives_the_value_itself(value: Any) -> None:
    assert render_value("{{ value }}", {"value": value}) == value
    assert render_value(["{{value}}", {"k": "{{- box.value -}}"}], {"value": value, "box": {"value": value}}) == [
        value,
        {"k": value},
    ]


@given(st.lists(JSON) | st.dictionaries(st.text(), JSON))
@settings(max_examples=100, deadline=None)
def test_lists_and_maps_are_json_in_a_text(value: Any) -> None:
    assert json.loads(render(" {{ value }} ", {"value": value})) == value


def test_values_keep_their_types_and_keys() -> None:
    values = {"n": 7, "words": "a,b"}
    given_value = {
        "{{ n }}": 1,
        "text": "no. {{ n }}",
        "sum": "{{ n | plus: 1 }}",
        "list": "{{ words | split: ',' }}",
        "x": [None, 2.5],
    }
    assert render_value(given_value, values) == {
        "{{ n }}": 1,
        "text": "no. 7",
        "sum": 8,
        "list": ["a", "b"],
        "x": [None, 2.5],
    }
    assert render_value("{{ missing }}", values) is None
    assert render_value("{{ (1..3) }}", values) == [1, 2, 3]


def test_variables_are_the_names_that_come_from_outside() -> None:
    source = (
        "{{ name }}{{ a.b[index] }}{% assign x = inputs.topic | default: other %}{{ x }}"
        "{% for d in drafts %}{{ d.title }}{{ forloop.index }}{% endfor %}{% if state.ready %}{% endif %}"
    )
    assert variables(source) == {"name", "a", "index", "inputs", "other", "drafts", "state"}


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("a\n {{ name", "Line 2, column 2: {{ is not closed"),
        ("{% if a", "Line 1, column 1: {% is not closed"),
        ("{% if a %}", "endif"),
        ("{% raw %}", "{% raw %} is not closed"),
        ("{% endif %}", "unexpected tag 'endif'"),
        ("{{ }}", "found end of expression"),
        ("{% include 'x' %}", "unexpected tag 'include'"),
        ("{% render 'x' %}", "unexpected tag 'render'"),
        ("{% exec 'x' %}", "unexpected tag 'exec'"),
        ("{{ a | shell }}", "no filter 'shell'"),
        ("{{ 'now' | date: '%Y' }}", "no filter 'date'"),
        ("x" * 100_001, "100000 characters"),
    ],
)
def test_what_the_text_tells_is_told_when_it_arrives(source: str, told: str) -> None:
    assert told in (check(source) or "nothing")


@pytest.mark.parametrize(
    ("source", "values", "told"),
    [
        ("{{ n | divided_by: 0 }}", {"n": 1}, "can't divide by 0"),
        ("{{ mixed | sort }}", {"mixed": [1, "a", None]}, "can't sort"),
        ("{{ text }}", {"text": "\ud800"}, "surrogates not allowed"),
    ],
)
def test_what_only_the_data_tells(source: str, values: dict[str, Any], told: str) -> None:
    assert check(source) is None
    with pytest.raises(TemplateError, match=told):
        render(source, values)


def test_nothing_depends_on_the_clock_or_on_python() -> None:
    values = {"x": "text", "items": [1]}
    assert render("{{ now }}{{ today }}{{ 'now' | default: '' | remove: 'now' }}", values) == ""
    assert (
        render("{{ x.__class__ }}{{ x.upper }}{{ items.append }}{{ __builtins__ }}{{ x['__class__'] }}", values) == ""
    )


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("source", "values"),
    [
        ("{{ text }}{{ text }}", {"text": "a" * 600_000}),
        ("{{ text | replace: '', text }}", {"text": "a" * 100_000}),
        ("{{ text | split: '' | join: text }}", {"text": "a" * 100_000}),
        ("{{ (1..1000000000) | join: ' ' }}", {}),
        ("{% for i in (1..1000000000) %}x{% endfor %}", {}),
        ("{% for i in (1..90) %}{% for j in (1..90) %}{% for k in (1..90) %}x{% endfor %}{% endfor %}{% endfor %}", {}),
        ("{% for i in (1..10000) %}x{% endfor %}" * 2500, {}),
        ("{% for i in (1..10000) %}{{ text | upcase | size }}{% endfor %}", {"text": "a" * 500_000}),
        ("{% for i in (1..10000) %}" + "{%if 1%}{%endif%}" * 5000 + "{% endfor %}", {}),
        ("{% assign a = 'aaaaaaaaaa' %}" + "{% assign a = a | append: a %}" * 60, {}),
        ("{% assign a = 9 %}" + "{% assign a = a | times: a %}" * 60 + "{{ a }}", {}),
        ("{% if a %}" * 500 + "{% endif %}" * 500, {}),
        ("{{" * 50_000, {}),
        ("{{ a" + " " * 99_000, {}),
        ("{% a" + " " * 99_000, {}),
        ("{% raw %}" * 11_000, {}),
        ("{{ deep }}", {"deep": nested(5_000)}),
    ],
)
def test_a_hostile_template_ends_soon(source: str, values: dict[str, Any]) -> None:
    def refused() -> None:
        check(source)
        with pytest.raises(TemplateError):
            render(source, values)
        with pytest.raises(TemplateError):
            render_value([source, f"x{source}"], values)

    assert cpu_seconds(refused) < 10


def test_many_texts_of_one_value_are_bounded_together() -> None:
    with pytest.raises(TemplateError, match="1 MB together"):
        render_value([" {{ text }}"] * 100, {"text": "a" * 20_000})
    with pytest.raises(TemplateError, match="100 levels"):
        render_value(nested(1_000), {})


@given(
    st.text(alphabet="ab .|{}%-:'\"()[]\n<=,1", max_size=60), st.dictionaries(st.sampled_from("ab"), JSON, max_size=2)
)
@settings(max_examples=300, deadline=None)
def test_any_text_gives_a_text_or_a_sentence(source: str, values: dict[str, Any]) -> None:
    problem = check(source)
    try:
        text = render(source, values)
        json.dumps(render_value(source, values), allow_nan=False)
    except TemplateError:
        return
    assert problem is None
    assert isinstance(text, str)
    assert render(source, values) == text


def test_the_examples_of_the_page_are_templates() -> None:
    examples = re.findall(r"^\| `([^`]+)` \|", PAGE.read_text().partition("## Templates")[2], re.MULTILINE)
    assert len(examples) >= 5
    assert {source: problem for source in examples if (problem := check(source.replace(r"\|", "|")))} == {}
