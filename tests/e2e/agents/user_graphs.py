"""Graphs as users write them: nothing in here knows of Omium. Clients are made at import time, with their defaults."""

from __future__ import annotations

import asyncio
import operator
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, TypedDict

import openai
from langchain_openai import ChatOpenAI
from langgraph.graph import END, START, StateGraph

llm = ChatOpenAI(model="user-model", temperature=0)
client = openai.OpenAI()
async_client = openai.AsyncOpenAI()


class State(TypedDict, total=False):
    topic: str
    notes: Annotated[list[str], operator.add]
    summary: str


def ask(text: str) -> str:
    answer = client.chat.completions.create(model="user-model", messages=[{"role": "user", "content": text}])
    return answer.choices[0].message.content or ""


async def ask_async(text: str) -> str:
    answer = await async_client.chat.completions.create(
        model="user-model", messages=[{"role": "user", "content": text}]
    )
    return answer.choices[0].message.content or ""


def plan(state: State) -> State:
    return {"notes": [str(llm.invoke(f"Plan {state['topic']}").content)]}


def in_threads(state: State) -> State:
    """A pool and a bare thread, both begun inside the step."""
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(ask, [f"{state['topic']} one", f"{state['topic']} two"]))
    thread = threading.Thread(target=lambda: found.append(ask(f"{state['topic']} three")))
    thread.start()
    thread.join()
    return {"notes": found}


async def in_tasks(state: State) -> State:
    return {"notes": list(await asyncio.gather(*(ask_async(f"{state['topic']} task {n}") for n in range(2))))}


async def blocking(state: State) -> State:
    """A coroutine that calls a model synchronously: bad manners, and common."""
    return {"notes": [ask(f"{state['topic']} blocking")]}


def finish(state: State) -> State:
    return {"summary": str(llm.invoke("Sum up: " + "; ".join(state["notes"])).content)}


def build() -> StateGraph[State]:
    graph = StateGraph(State)
    for node in (plan, in_threads, in_tasks, blocking, finish):
        graph.add_node(node.__name__, node)
    graph.add_edge(START, "plan")
    for branch in ("in_threads", "in_tasks", "blocking"):
        graph.add_edge("plan", branch)
        graph.add_edge(branch, "finish")
    graph.add_edge("finish", END)
    return graph


research = build()
compiled = build().compile()


def factory() -> StateGraph[State]:
    return build()


def outside() -> StateGraph[State]:
    """A call that belongs to no step: it is made while the graph is built."""
    ask("who pays for this?")
    return build()


def crash(state: State) -> State:
    raise KeyError("no such thing")


broken = StateGraph(State).add_node("crash", crash).add_edge(START, "crash").add_edge("crash", END)
not_a_graph = 42
