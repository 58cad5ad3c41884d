"""Graphs in code, one per way of writing a state, and the ways of going wrong when they are loaded."""

import datetime
import operator
import threading
from dataclasses import dataclass, field
from enum import Enum
from os import getcwd as imported_function  # noqa: F401 - a test names it as an entry point
from typing import Annotated, Any, TypedDict

from langchain_core.messages import HumanMessage
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.types import Send
from pydantic import BaseModel

LOADED = threading.get_ident()


class Colour(Enum):
    RED = "red"


class Point(BaseModel):
    x: int
    when: datetime.datetime
    colour: Colour = Colour.RED


@dataclass
class Shape:
    points: list[Point] = field(default_factory=list)
    names: set[str] = field(default_factory=set)
    pair: tuple[int, str] = (0, "")
    extra: dict[str, Any] = field(default_factory=dict)


class Drawing(BaseModel):
    title: str
    shape: Shape | None = None
    done: bool = False


def draw(state: Drawing) -> dict[str, Any]:
    assert isinstance(state, Drawing)
    when = datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC)
    shape = Shape([Point(x=1, when=when)], {state.title}, (1, "one"), {"__omium__": "mine"})
    return {"shape": shape}


def inspect(state: Drawing) -> dict[str, Any]:
    shape = state.shape
    assert isinstance(shape, Shape)
    assert shape.pair[1] == "one"
    assert shape.points[0].colour is Colour.RED
    assert shape.names == {state.title}
    return {"done": True}


drawing = StateGraph(Drawing)
drawing.add_node("draw", draw)
drawing.add_node("inspect", inspect)
drawing.add_edge(START, "draw")
drawing.add_edge("draw", "inspect")


class Loose(TypedDict, total=False):
    things: Annotated[list[Any], operator.add]
    seen: list[str]


def gather(state: Loose) -> Loose:
    things = [
        Point(x=2, when=datetime.datetime(2026, 1, 2)),
        (1, 2),
        {1, 2},
        {3: "int key"},
        float("inf"),
        2**70,
        b"raw",
    ]
    return {"things": [*things, {"__omium__": "user's own"}, {"deep": [HumanMessage("hi", id="m1")]}, Colour.RED]}


def look(state: Loose) -> Loose:
    return {"seen": [f"{type(thing).__name__} {thing}" for thing in state["things"]]}


loose = StateGraph(Loose)
loose.add_sequence([gather, look])
loose.add_edge(START, "gather")


def greet(state: MessagesState) -> dict[str, Any]:
    return {"messages": [("ai", f"You said: {state['messages'][-1].text}")]}


def count(state: MessagesState) -> dict[str, Any]:
    return {"messages": [("ai", f"{len(state['messages'])} messages")]}


async def make_chat() -> StateGraph[Any]:
    """A factory that is a coroutine."""
    chat = StateGraph(MessagesState)
    chat.add_sequence([greet, count])
    chat.add_edge(START, "greet")
    return chat


def make_counter(config: dict[str, Any]) -> Any:
    """A factory with a config, of a compiled graph that fans out with items of a type of its own."""
    width = config["configurable"]["width"]

    def split(state: Loose) -> list[Send]:
        return [Send("square", Point(x=n, when=datetime.datetime(2026, 1, 2))) for n in range(width)]

    def square(point: Any) -> Loose:
        assert isinstance(point, Point)
        return {"things": [point.x * point.x]}

    graph = StateGraph(Loose)
    graph.add_node("begin", lambda state: {"seen": ["begun"]})
    graph.add_node("square", square)
    graph.add_edge(START, "begin")
    graph.add_conditional_edges("begin", split, ["square"])
    graph.add_edge("square", END)
    return graph.compile(name="counter")


def with_memory() -> StateGraph[Any]:
    """A graph inside a graph: once per call, and once with a memory of its own."""
    inner = StateGraph(Loose)
    inner.add_node("one", lambda state: {"things": [len(state.get("things", []))]})
    inner.add_edge(START, "one")
    fresh, kept = inner.compile(), inner.compile(checkpointer=True)

    outer = StateGraph(Loose)
    outer.add_node("a", lambda state: {"seen": [*state.get("seen", []), f"fresh {fresh.invoke({})['things']}"]})
    outer.add_node("b", lambda state: {"seen": [*state["seen"], f"kept {kept.invoke({})['things']}"]})
    outer.add_edge(START, "a")
    outer.add_edge("a", "b")
    outer.add_conditional_edges("b", lambda state: "b" if len(state["seen"]) < 4 else END, ["b", END])
    return outer


def keep_a_lock(state: Loose) -> Loose:
    return {"things": [threading.Lock()]}


locking = StateGraph(Loose).add_node(keep_a_lock).add_edge(START, "keep_a_lock")


asking_before = locking.compile(interrupt_before=["keep_a_lock"])

broken = StateGraph(Loose).add_node(look)

a_number = 7


def no_graph() -> int:
    return 7


def failing() -> None:
    raise LookupError("no such agent")
