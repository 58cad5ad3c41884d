"""A research graph in plain LangGraph code: nothing in it knows the platform.

The model client is made when the module is imported, without a key or an address: both come from the environment, as
anywhere else. Run it with `{"entrypoint": "research_graph:graph"}`, and `OMIUM_AGENT_PATH` and `OMIUM_AGENT_MODULES`
naming this folder and this module.
"""

import operator
from typing import Annotated, Literal, TypedDict

from langchain_openai import ChatOpenAI
from langgraph.graph import START, StateGraph
from langgraph.types import Command, Send

model = ChatOpenAI(model="gpt-4o-mini", temperature=0)


class Question(TypedDict):
    question: str


class Finding(TypedDict):
    question: str
    answer: str


class Research(TypedDict, total=False):
    topic: str
    questions: list[str]
    findings: Annotated[list[Finding], operator.add]
    report: str
    revisions: int


def plan(state: Research) -> dict[str, list[str]]:
    """Asks for three questions, one a line."""
    answer = model.invoke(f"Name three short questions about {state['topic']}, one per line.")
    questions = [line.strip() for line in answer.text.splitlines() if line.strip()]
    return {"questions": questions[:3]}


def fan_out(state: Research) -> list[Send]:
    return [Send("search", {"question": question}) for question in state["questions"]]


async def search(task: Question) -> dict[str, list[Finding]]:
    answer = await model.ainvoke(f"Answer in one sentence: {task['question']}")
    return {"findings": [{"question": task["question"], "answer": answer.text}]}


async def write(state: Research) -> dict[str, object]:
    notes = "\n".join(f"- {finding['answer']}" for finding in state["findings"])
    answer = await model.ainvoke(f"Write a short report about {state['topic']} from these notes:\n{notes}")
    return {"report": answer.text, "revisions": state.get("revisions", 0) + 1}


def decide(state: Research) -> Command[Literal["write", "__end__"]]:
    """Lets an empty report be written again, once."""
    if state["report"].strip() or state["revisions"] > 1:
        return Command(goto="__end__")
    return Command(goto="write")


builder = StateGraph(Research)
builder.add_node("plan", plan)
builder.add_node("search", search)
builder.add_node("write", write)
builder.add_node("decide", decide)
builder.add_edge(START, "plan")
builder.add_conditional_edges("plan", fan_out, ["search"])
builder.add_edge("search", "write")
builder.add_edge("write", "decide")

graph = builder.compile()
