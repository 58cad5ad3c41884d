"""A prebuilt agent with a tool in Python, whose model client is made at import."""

import warnings

from langchain_openai import ChatOpenAI
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import create_react_agent

model = ChatOpenAI(model="gpt-4o-mini")


def weather(city: str) -> str:
    """Tells the weather in a city."""
    return f"It rains in {city}."


with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    agent = create_react_agent(model, [weather], prompt="You know the weather.")


async def thank(state: MessagesState) -> dict[str, list[tuple[str, str]]]:
    return {"messages": [("user", f"Thanks for {len(state['messages'])} messages")]}


#: The agent as a node: a graph inside one step of another graph.
inside = StateGraph(MessagesState)
inside.add_node("agent", agent)
inside.add_node("thank", thank)
inside.add_edge(START, "agent")
inside.add_edge("agent", "thank")
