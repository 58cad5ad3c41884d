"""Edits of states: the way that new values lead to, and values of graphs in code."""

from __future__ import annotations

import copy
import sys
from pathlib import Path
from typing import Any

import pytest

from activities.adapters.base import Edit, JsonObject
from activities.adapters.langgraph.definition import DEFINITION
from omium_core.errors import InvalidInput
from tests.langgraph.support import Run, adapter, edges, graph, template

HERE = Path(__file__).parent / "agents"

#: One value decides which way the run goes, another how often.
WAYS = graph(
    [
        template("judge", "score", "{{ inputs.score }}"),
        template("good", "way", "good"),
        template("bad", "way", "bad"),
        template("each", "seen", "{{ item }}"),
        template("last", "way", "{{ way }} at last"),
    ],
    [
        {"from": "START", "to": "judge"},
        {"from": "judge", "to": "good", "when": "score > 5"},
        {"from": "judge", "to": "each", "each": "items", "when": "score < 0"},
        {"from": "judge", "to": "bad"},
        *edges("good -> last", "bad -> last", "each -> last"),
    ],
    score={"type": "integer"},
    items={"type": "array"},
    seen={"type": "array", "reducer": "append"},
    way={"type": "string"},
)


async def judged(score: int = 1) -> Run:
    run = Run(adapter(), WAYS, {"score": score})
    await run.step()
    return run


async def test_new_values_lead_another_way() -> None:
    run = await judged()
    assert DEFINITION.units(WAYS, run.state) == ("bad",)
    _, run.state = DEFINITION.edit(WAYS, run.state, Edit(values={"score": 6}))
    assert DEFINITION.units(WAYS, run.state) == ("good",)
    assert (await run.finish())["way"] == "good at last"
    assert [result.units for result in run.results] == [("judge",), ("good",), ("last",)]


async def test_new_values_lead_to_items_and_away_from_them() -> None:
    run = await judged()
    _, state = DEFINITION.edit(WAYS, run.state, Edit(values={"score": -1, "items": [{"__omium__": 1}, "b"]}))
    assert DEFINITION.units(WAYS, state) == ("each",)
    run.state = copy.deepcopy(state)
    outputs = await run.finish()
    assert outputs["seen"] == [{"__omium__": 1}, "b"]
    assert outputs["way"] == " at last"
    again = await judged()
    _, again.state = DEFINITION.edit(WAYS, state, Edit(values={"score": 7}))
    assert (await again.finish())["seen"] == []


async def test_an_edit_of_other_values_changes_no_way() -> None:
    run = await judged(9)
    _, state = DEFINITION.edit(WAYS, run.state, Edit(values={"way": "x"}))
    assert state == {**run.state, "values": {**run.state["values"], "way": "x"}}


async def test_the_end_of_a_run_can_be_its_middle_again() -> None:
    again = {"from": "add", "to": "add", "when": "total < goal"}
    state = {"total": {"reducer": "add"}, "goal": {"type": "number", "default": 2}}
    counting = graph([template("add", "total", 1)], [*edges("START -> add"), again], **state)
    run = Run(adapter(), counting)
    assert (await run.finish())["total"] == 2
    assert DEFINITION.units(counting, run.state) == ()
    _, run.state = DEFINITION.edit(counting, run.state, Edit(values={"goal": 4}))
    assert DEFINITION.units(counting, run.state) == ("add",)
    assert (await run.finish())["total"] == 4


async def test_a_condition_that_the_new_values_break_is_told() -> None:
    conditions = [{"from": "a", "to": "b", "when": "1 / score > 0"}, *edges("START -> a")]
    definition = graph(
        [template("a", "x"), template("b", "x")], conditions, score={"type": "integer", "default": 1}, x={}
    )
    run = Run(adapter(), definition)
    await run.step()
    with pytest.raises(InvalidInput) as refused:
        DEFINITION.edit(definition, run.state, Edit(values={"score": 0}))
    assert [problem.path for problem in refused.value.problems] == ["values"]


def test_prompts_and_models_of_graphs_inside_have_their_path() -> None:
    say = {"id": "say", "type": "llm", "prompt": "x", "output": "said"}
    inner = graph([say], edges("START -> say"), said={})
    definition = graph([{"id": "talk", "type": "subgraph", "graph": inner}], edges("START -> talk"), said={})
    state = adapter().start(definition, {})
    edit = Edit(prompts={"talk/say": {"system": "Be kind."}}, models={"*": "small"})
    after, _ = DEFINITION.edit(definition, state, edit)
    assert after["nodes"][0]["graph"]["nodes"][0] == {**say, "system": "Be kind.", "model": "small"}
    with pytest.raises(InvalidInput) as refused:
        DEFINITION.edit(definition, state, Edit(prompts={"talk/say": {"prompt": "{{ other }}"}}))
    assert [problem.path for problem in refused.value.problems] == ["prompts.talk/say.prompt"]


# Graphs in code

CHAT = {"entrypoint": "asking:chat"}


@pytest.fixture
def chat(monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setattr(sys, "path", list(sys.path))
    coded = adapter(agent_path=(str(HERE),), agent_modules=("asking",))
    return Run(coded, CHAT, {"messages": [{"role": "user", "content": "Hi", "id": "hi"}]})


async def test_messages_are_edited_as_people_see_them(chat: Run) -> None:
    await chat.step()
    messages = DEFINITION.values(chat.state)["messages"]
    assert [message["content"] for message in messages] == ["Hi", "Good day."]
    messages[1]["content"] = "Good night."
    edits: list[tuple[Any, str]] = [
        (messages, "ai: Good night."),
        ([*messages, {"role": "user", "content": "And?"}], "human: And?"),
        (["Only this"], "human: Only this"),
    ]
    before = copy.deepcopy(chat.state)
    for value, echoed in edits:
        _, chat.state = DEFINITION.edit(CHAT, before, Edit(values={"messages": value}))
        outputs = await chat.finish()
        assert outputs["messages"][-1]["content"] == echoed
        assert len(outputs["messages"]) == len(value) + 1


@pytest.mark.parametrize(
    ("edit", "path"),
    [
        (Edit(prompts={"echo": "x"}), "prompts.echo"),
        (Edit(models={"*": "x"}), "models.*"),
        (Edit(values={"message": []}), "values.message"),
        (Edit(values={"messages": "no list"}), "values.messages"),
        (Edit(values={"messages": [{"role": "robot", "content": "x"}]}), "values.messages"),
        (Edit(values={"messages": [{"role": "tool", "content": "x"}]}), "values.messages"),
    ],
)
async def test_what_does_not_fit_a_graph_in_code(chat: Run, edit: Edit, path: str) -> None:
    await chat.step()
    with pytest.raises(InvalidInput) as refused:
        DEFINITION.edit(CHAT, chat.state, edit)
    assert [problem.path for problem in refused.value.problems] == [path]


def test_values_keep_their_kind() -> None:
    packed = {"__omium__": "msgpack", "type": "datetime.date", "data": "", "shown": "2026-01-01"}
    state: JsonObject = {"format": 1, "coded": True, "inputs": {"n": 1, "m": 1}, "next": ["x"], "graph": {}}
    state["values"] = {"n": 1, "m": 2, "pair": {"__omium__": "tuple", "items": [1, 2]}, "day": packed}
    edit = Edit(inputs={"n": 5, "m": 6}, values={"pair": [3, {"__omium__": "x"}]})
    _, after = DEFINITION.edit(CHAT, state, edit)
    assert after["inputs"] == {"n": 5, "m": 6}
    # A value that a node wrote since is not the input any more.
    assert (after["values"]["n"], after["values"]["m"]) == (5, 2)
    assert DEFINITION.values(after)["pair"] == [3, {"__omium__": "x"}]
    with pytest.raises(InvalidInput, match="does not fit"):
        DEFINITION.edit(CHAT, state, Edit(values={"day": "2026-01-02"}))
