"""What a step has to have agreed before it takes over, and how agents vote by their pre-conditions."""

from __future__ import annotations

from typing import Any

import pytest

from activities.contracts.broken import ContractBroken
from activities.contracts.evaluation import for_step
from activities.contracts.handoffs import HandoffAsk, handoff_ask
from activities.contracts.reading import read
from activities.expressions import scope
from models.wire_handoff import Voter
from workflows import handoff as rounds

SECRET = "the customer's secret"


def ask(
    units: tuple[str, ...], senders: tuple[str, ...], values: dict[str, Any] | None = None, **sections: Any
) -> HandoffAsk | None:
    contracts = read(sections)
    return handoff_ask(contracts, for_step(contracts, units), senders, scope(values or {}, {}), "hash")


def votes(asked: HandoffAsk | None) -> dict[str, bool]:
    assert asked is not None
    return {vote.voter: vote.accept for vote in asked.votes}


def test_the_receiving_agent_votes_by_its_preconditions() -> None:
    sections = {
        "handoffs": [{"to": "publish"}],
        "checkpoints": [
            {"step": "publish", "preconditions": ["score > 0.5"]},
            {"preconditions": ["draft != ''"]},
            {"step": "write", "preconditions": ["false"]},
        ],
    }
    asked = ask(("publish",), ("write",), {"score": 0.6, "draft": "x"}, **sections)
    assert asked is not None
    assert asked.proposal.sender == "write"
    assert asked.proposal.receivers == ["publish"]
    assert asked.proposal.voters == [Voter("publish", "agent")]
    assert (asked.proposal.quorum, asked.proposal.max_terms, asked.proposal.term_seconds) == ("majority", 3, 60)
    assert asked.proposal.payload_hash == asked.votes[0].payload_hash == "hash"
    assert (asked.votes[0].accept, asked.votes[0].reason) == (True, "All pre-conditions hold.")
    for values in ({"score": 0.4, "draft": "x"}, {"score": 0.6, "draft": ""}, {"draft": SECRET}):
        refused = ask(("publish",), ("write",), values, **sections)
        assert votes(refused) == {"publish": False}
    assert refused is not None
    assert refused.votes[0].reason == "checkpoints[0].preconditions[0]: does not hold."


def test_the_only_receiver_votes_for_its_task_as_well() -> None:
    sections = {
        "handoffs": [{"to": "writer"}],
        "checkpoints": [{"step": "the draft", "preconditions": ["ready"]}],
    }
    assert votes(ask(("the draft", "writer"), ("the plan", "planner"), {"ready": False}, **sections)) == {
        "writer": False
    }


def test_all_kinds_of_voters() -> None:
    asked = ask(
        ("publish",),
        ("write",),
        {"draft": "Hello"},
        handoffs=[
            {
                "name": "release",
                "from": "write",
                "to": "publish",
                "voters": [
                    "publish",
                    {"agent": "lawyer", "preconditions": ["draft == ''", "nothing > 1"]},
                    {"validator": "facts", "prompt": "True? {{ draft }}"},
                    {"validator": "tone", "prompt": "Kind?", "model": "small"},
                    {"person": "ada"},
                    {"service": "archive"},
                ],
                "quorum": 4,
                "max_terms": 5,
            }
        ],
    )
    assert asked is not None
    kinds = [(voter.name, voter.kind) for voter in asked.proposal.voters]
    assert kinds == [
        ("publish", "agent"),
        ("lawyer", "agent"),
        ("facts", "validator"),
        ("tone", "validator"),
        ("ada", "person"),
        ("archive", "service"),
    ]
    assert votes(asked) == {"publish": True, "lawyer": False}
    assert "voters[1].preconditions[0], handoffs[0].voters[1].preconditions[1]" in asked.votes[1].reason
    assert asked.votes[0].reason == "There are no pre-conditions."
    prompts = [(one.name, one.prompt, one.model) for one in asked.validators]
    assert prompts == [("facts", "True? Hello", None), ("tone", "Kind?", "small")]
    assert (asked.proposal.name, asked.proposal.quorum, asked.proposal.max_terms) == ("release", 4, 5)
    assert asked.proposal.term_seconds == 86_400


def test_a_prompt_is_always_a_text() -> None:
    asked = ask(
        ("b",),
        ("a",),
        {"draft": {"x": 1}},
        handoffs=[{"to": "b", "voters": [{"validator": "v", "prompt": "{{ draft }}"}]}],
    )
    assert asked is not None
    assert asked.validators[0].prompt == '{"x": 1}'


@pytest.mark.parametrize(
    ("handoff", "units", "senders", "is_asked"),
    [
        ({"from": "a", "to": "b"}, ("b",), ("a",), True),
        ({"from": "a", "to": "b"}, ("b",), ("c",), False),
        ({"from": "a", "to": "b"}, ("c",), ("a",), False),
        ({"to": "b"}, ("b",), ("x", "y"), True),
        ({"to": "b"}, ("b",), (), False),
        ({"to": "b"}, ("task", "b"), ("before", "b"), False),
        ({"from": "b", "to": "b"}, ("b",), ("b",), True),
    ],
)
def test_when_a_handoff_is_asked_for(
    handoff: dict[str, Any], units: tuple[str, ...], senders: tuple[str, ...], is_asked: bool
) -> None:
    assert (ask(units, senders, handoffs=[handoff]) is not None) is is_asked


def test_a_handoff_that_names_the_sender_goes_first() -> None:
    both = [{"to": "b", "quorum": "any"}, {"from": "a", "to": "b", "quorum": "all"}]
    named, other = ask(("b",), ("a",), handoffs=both), ask(("b",), ("c",), handoffs=both)
    assert named is not None
    assert other is not None
    assert (named.proposal.quorum, other.proposal.quorum) == ("all", "any")


def test_several_handoffs_into_one_step_are_one_vote_of_all() -> None:
    asked = ask(
        ("b", "c"),
        ("a",),
        {"ready": True},
        handoffs=[
            {"to": "b", "quorum": "any", "timeout": 5, "voters": ["b", {"validator": "v", "prompt": "One?"}]},
            {"to": "c", "timeout": 7, "voters": ["c", "b", {"validator": "v", "prompt": "Two?", "model": "m"}]},
        ],
        checkpoints=[{"step": "b", "preconditions": ["ready"]}, {"step": "c", "preconditions": ["!ready"]}],
    )
    assert asked is not None
    assert asked.proposal.receivers == ["b", "c"]
    assert [voter.name for voter in asked.proposal.voters] == ["b", "v", "c"]
    assert (asked.proposal.quorum, asked.proposal.term_seconds) == ("all", 7)
    assert votes(asked) == {"b": True, "c": False}
    assert [(one.prompt, one.model) for one in asked.validators] == [("One?\n\nTwo?", "m")]


def test_what_is_asked_makes_a_round() -> None:
    asked = ask(
        ("b",),
        ("a",),
        handoffs=[{"to": "b", "voters": ["b", {"person": "ada"}, {"service": "s"}], "quorum": "majority"}],
    )
    assert asked is not None
    opened = rounds.open_round(1, asked.proposal)
    for vote in asked.votes:
        cast = rounds.cast(opened, rounds.address(opened, vote))
        assert cast.counted
        opened = cast.round
    assert rounds.tally(opened).accepts == 1
    assert rounds.verdict(opened) == "open"


def test_nothing_of_a_run_is_in_what_crosses_temporal() -> None:
    asked = ask(
        ("b",),
        ("a",),
        {"text": SECRET},
        handoffs=[{"to": "b", "voters": [{"agent": "b", "preconditions": ["text == ''", "text > 1"]}]}],
    )
    assert asked is not None
    assert SECRET not in f"{asked.proposal} {asked.votes}"


def test_prompt_that_cannot_be_filled() -> None:
    with pytest.raises(ContractBroken, match=r"handoffs\[0\]\.voters\[0\]\.prompt"):
        ask(("b",), ("a",), handoffs=[{"to": "b", "voters": [{"validator": "v", "prompt": "{{ 1 | divided_by: 0 }}"}]}])
