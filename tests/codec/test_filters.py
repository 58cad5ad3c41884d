"""A list filter of the Web UI, held to one tenant whatever is typed."""

from __future__ import annotations

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.temporal_ui.filters import of_tenant
from api.temporal_ui.rules import Asked, call_for
from omium_core.errors import InvalidInput, NotFound

TENANT = UUID(int=7)
OWN = f"Tenant = '{TENANT}'"


@pytest.mark.parametrize(
    ("typed", "asked"),
    [
        ("", OWN),
        ("RunState='failed'", f"{OWN} AND ( RunState = 'failed' )"),
        ("a=1 OR b=2", f"{OWN} AND ( a = 1 OR b = 2 )"),
        (f"Tenant='{UUID(int=8)}'", f"{OWN} AND ( Tenant = '{UUID(int=8)}' )"),
        ('`Framework` = "flow" AND (a!=1)', f'{OWN} AND ( `Framework` = "flow" AND ( a != 1 ) )'),
        ("GROUP BY ExecutionStatus", f"{OWN} GROUP BY ExecutionStatus"),
        ("a IN ('x','y') group by RunState", f"{OWN} AND ( a IN ( 'x' , 'y' ) ) group by RunState"),
        ("a = ') OR (1=1'", f"{OWN} AND ( a = ') OR (1=1' )"),
        ('a = "it\'s"', f'{OWN} AND ( a = "it\'s" )'),
    ],
)
def test_filter_is_held_to_the_tenant(typed: str, asked: str) -> None:
    assert of_tenant(typed, TENANT) == asked


@pytest.mark.parametrize(
    "typed",
    [
        "a = 1) OR (b = 2",
        "a = 1)",
        "(a = 1",
        "a = 'x",
        "a = 'x\\' OR 1=1",
        "a = 1 -- the rest",
        "a = 1 /* the rest */",
        "a = 1; b = 2",
        "a = 'x\x00",
        "a = 1 GROUP BY x) OR (b",
        "a = 1 # x",
        "x" * 5000,
    ],
)
def test_what_is_no_filter_is_told(typed: str) -> None:
    with pytest.raises(InvalidInput, match="query"):
        of_tenant(typed, TENANT)


@given(st.text(alphabet="ab=<>()'\"`\\,; -/*#\x00\n1.GROUPBYOR", max_size=60))
def test_nothing_reaches_out_of_its_parentheses(typed: str) -> None:
    try:
        asked = of_tenant(typed, TENANT)
    except InvalidInput:
        return
    assert asked.startswith(OWN)
    rest = asked.removeprefix(OWN)
    depth, quote, closed = 0, "", 0
    for character in rest:
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"`":
            quote = character
        elif character == "(":
            assert not closed, "a second group behind the first would not be held by AND"
            depth += 1
        elif character == ")":
            depth -= 1
            closed += depth == 0
        assert depth >= 0
    assert (depth, quote) == (0, "")


@pytest.mark.parametrize("name", ["-" * 36, "0" * 36, f"{UUID(int=1)}/x", str(UUID(int=10**37)).upper()])
@pytest.mark.parametrize("what", [("signal", "pause"), ("cancel",)])
def test_what_is_no_id_of_a_run_is_nowhere(name: str, what: tuple[str, ...]) -> None:
    segments = ["namespaces", "default", "workflows", f"{TENANT}/{name}", *what]
    with pytest.raises(NotFound):
        call_for(Asked("POST", segments, {}, {}), TENANT, "default", "key:1")
