"""Graphs whose nodes ask people: in turn, side by side, in graphs inside of them."""

from __future__ import annotations

import operator
from typing import Annotated, Any, TypedDict

from langchain_core.messages import AIMessage
from langgraph.errors import NodeInterrupt
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.types import RetryPolicy, Send, interrupt


class Said(TypedDict, total=False):
    said: Annotated[list[Any], operator.add]


class Inside(Said, total=False):
    item: int
    rounds: int


def ask_twice(state: Said) -> Said:
    first = interrupt({"ask": "first", "seen": len(state.get("said", []))})
    return {"said": [first, interrupt({"ask": "second", "after": first})]}


def ask_once(state: Said) -> Said:
    return {"said": [interrupt("once")]}


def say(state: Said) -> Said:
    return {"said": ["nothing"]}


_tries: list[int] = []


def ask_and_fail(state: Said) -> Said:
    first = interrupt("first")
    _tries.append(1)
    if len(_tries) % 2:
        raise ConnectionError("try again")
    return {"said": [first, interrupt("second")]}


retried = StateGraph(Said).add_node(ask_and_fail, retry_policy=RetryPolicy(initial_interval=0.01, jitter=False))
retried.add_edge(START, "ask_and_fail")

in_turn = StateGraph(Said).add_node(say).add_node(ask_twice).add_edge(START, "say").add_edge("say", "ask_twice")

side_by_side = (
    StateGraph(Said).add_node(ask_twice).add_node(ask_once).add_node(say)
    .add_edge(START, "ask_twice").add_edge(START, "ask_once").add_edge(START, "say")
)  # fmt: skip


def ask_for_item(state: Inside) -> Inside:
    return {"said": [[state["item"], state.get("rounds", 0), interrupt(f"item {state['item']}")]]}


def count(state: Inside) -> Inside:
    return {"rounds": state.get("rounds", 0) + 1}


def more(state: Inside) -> str:
    return "ask_for_item" if state["rounds"] < 2 else END


#: Asks about its item in two rounds of its own.
_inner = (
    StateGraph(Inside, output_schema=Said).add_node(ask_for_item).add_node(count)
    .add_edge(START, "ask_for_item").add_edge("ask_for_item", "count").add_conditional_edges("count", more)
    .compile()
)  # fmt: skip


def fan_out(state: Said) -> list[Send]:
    return [Send("inner", {"item": item}) for item in (1, 2)]


#: The same graph inside, twice at once, and in the very first step.
nested = StateGraph(Said).add_node("inner", _inner).add_conditional_edges(START, fan_out, ["inner"])


def old_way(state: Said) -> Said:
    raise NodeInterrupt("cannot be answered")


old = StateGraph(Said).add_node(old_way).add_edge(START, "old_way")


def greet(state: MessagesState) -> dict[str, Any]:
    return {"messages": [AIMessage("Good day.", id="greeting")]}


def echo(state: MessagesState) -> dict[str, Any]:
    return {"messages": [AIMessage(f"{state['messages'][-1].type}: {state['messages'][-1].text}", id="echo")]}


chat = StateGraph(MessagesState).add_node(greet).add_node(echo).add_edge(START, "greet").add_edge("greet", "echo")
