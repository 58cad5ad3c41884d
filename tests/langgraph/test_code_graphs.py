"""Graphs in code: every kind of state over steps, and what loading tells."""

from __future__ import annotations

import asyncio
import json
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from activities.adapters.base import Adapter, BadDefinition, ModelRejected
from activities.adapters.langgraph.definition import DEFINITION
from tests.langgraph.support import Run, adapter
from tests.support.model_server import ModelServer
from tests.support.toolbox import MemoryToolBox

HERE = Path(__file__).parent / "agents"
SAMPLES = Path(__file__).parents[2] / "samples" / "agents"


@pytest.fixture(scope="module")
def kinds() -> Iterator[Adapter]:
    before = list(sys.path)
    yield adapter(agent_path=(str(HERE),), agent_modules=("kinds_of_state", "fails_on_import"))
    sys.path[:] = before


def entry(name: str, **fields: Any) -> dict[str, Any]:
    return {"entrypoint": f"kinds_of_state:{name}", **fields}


async def problem(kinds: Adapter, definition: dict[str, Any]) -> str:
    (found,) = await kinds.check(definition, tools=MemoryToolBox())
    assert found.path == "entrypoint"
    return found.message


async def test_typed_state_keeps_its_types(kinds: Adapter) -> None:
    run = Run(kinds, entry("drawing"), {"title": "House"})
    outputs = await run.finish()
    assert run.steps == ["inspect", None]
    assert outputs["done"] is True
    assert outputs["shape"]["points"] == [{"x": 1, "when": "2026-01-02T00:00:00Z", "colour": "red"}]
    assert DEFINITION.view(run.state)["values"] == outputs


async def test_untyped_state_keeps_its_types_too(kinds: Adapter) -> None:
    outputs = await Run(kinds, entry("loose")).finish()
    assert outputs["seen"] == [
        "Point x=2 when=datetime.datetime(2026, 1, 2, 0, 0) colour=<Colour.RED: 'red'>",
        "tuple (1, 2)",
        "set {1, 2}",
        "dict {3: 'int key'}",
        "float inf",
        f"int {2**70}",
        "bytes b'raw'",
        "dict {'__omium__': \"user's own\"}",
        f"dict {outputs['seen'][8].removeprefix('dict ')}",
        "Colour Colour.RED",
    ]
    assert "HumanMessage" in outputs["seen"][8]
    assert outputs["things"][7] == {"__omium__": "user's own"}


async def test_messages_are_readable(kinds: Adapter) -> None:
    run = Run(kinds, entry("make_chat"), {"messages": [{"role": "user", "content": "hello"}]})
    outputs = await run.finish()
    told = [(message["type"], message["content"]) for message in outputs["messages"]]
    assert told == [("human", "hello"), ("ai", "You said: hello"), ("ai", "2 messages")]
    stored = run.state["values"]["messages"][0]
    assert (stored["__omium__"], stored["message"]["type"]) == ("message", "human")


async def test_a_factory_gets_the_config(kinds: Adapter) -> None:
    run = Run(kinds, entry("make_counter", config={"configurable": {"width": 4}}))
    outputs = await run.finish()
    assert run.steps == ["square ×4", None]
    assert outputs["things"] == [0, 1, 4, 9]
    assert run.results[1].unit == {"square": [{"things": [n]} for n in (0, 1, 4, 9)]}


async def test_a_subgraph_with_a_memory_keeps_it(kinds: Adapter) -> None:
    outputs = await Run(kinds, entry("with_memory")).finish()
    assert outputs["seen"] == ["fresh [0]", "kept [0]", "kept [0, 1]", "kept [0, 1, 2]"]


async def test_the_entry_point_is_loaded_once_and_off_the_loop(kinds: Adapter) -> None:
    await asyncio.gather(*(kinds.check(entry("drawing"), tools=MemoryToolBox()) for _ in range(3)))
    loaded_by = sys.modules["kinds_of_state"].LOADED
    assert loaded_by != threading.get_ident()
    assert await kinds.first_step(entry("drawing")) == "draw"


async def test_what_cannot_be_stored_is_named(kinds: Adapter) -> None:
    with pytest.raises(BadDefinition, match=r"in 'things', a value of type _thread\.lock cannot be stored"):
        await Run(kinds, entry("locking")).step()


@pytest.mark.parametrize(
    ("entrypoint", "words"),
    [
        ("kinds_of_state:nothing", "has no 'nothing'"),
        ("kinds_of_state:a_number", "is no graph and no function that returns one, but a int"),
        ("kinds_of_state:imported_function", "is no graph"),
        ("kinds_of_state:no_graph", "returned no graph, but a int"),
        ("kinds_of_state:failing", "LookupError: no such agent"),
        ("kinds_of_state:broken", "Graph must have an entrypoint"),
        ("kinds_of_state:asking_before", "interrupt_before"),
        ("kinds_of_state.inner:graph", "ModuleNotFoundError"),
        ("fails_on_import:graph", "RuntimeError: the configuration is missing"),
        ("os:getcwd", "'os' is not allowed; the operator allows: kinds_of_state, fails_on_import"),
        ("kinds_of_state_too:graph", "is not allowed"),
    ],
)
async def test_what_cannot_be_loaded_is_told(kinds: Adapter, entrypoint: str, words: str) -> None:
    assert words in await problem(kinds, {"entrypoint": entrypoint})
    with pytest.raises(BadDefinition):
        await kinds.first_step({"entrypoint": entrypoint})


async def test_max_steps_ends_a_run(kinds: Adapter) -> None:
    run = Run(kinds, entry("drawing", max_steps=1), {"title": "House"})
    await run.step()
    with pytest.raises(BadDefinition, match="within 1 steps"):
        await run.step()


@pytest.fixture
def openai_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModelServer]:
    """The endpoint of clients that take it from the environment, for modules that are imported in the test."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    with ModelServer() as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
        monkeypatch.setenv("OPENAI_API_KEY", "placeholder")
        for module in ("react_agent", "research_graph"):
            monkeypatch.delitem(sys.modules, module, raising=False)
        yield server


async def test_the_sample_runs_with_its_own_client(openai_server: ModelServer) -> None:
    openai_server.set_script(
        [
            {"when": {"last": "Name three"}, "reply": {"content": "What?\nWhy?\nHow?"}},
            {"when": {"last": "Why"}, "reply": {"content": "Because."}},
            {"when": {"last": "Write a short report"}, "reply": {"content": "All about tea."}},
        ]
    )
    sample = adapter(agent_path=(str(SAMPLES),), agent_modules=("research_graph",))
    run = Run(sample, {"entrypoint": "research_graph:graph"}, {"topic": "tea"})
    outputs = await run.finish()
    assert [call.status for call in openai_server.calls] == [200] * 5
    assert run.steps == ["search ×3", "write", "decide", None]
    assert outputs["report"] == "All about tea."
    assert outputs["findings"][1] == {"question": "Why?", "answer": "Because."}
    json.dumps(run.results[0].unit)


CALL_WEATHER: list[dict[str, Any]] = [
    {
        "when": {"tool": "weather", "not_called": "weather"},
        "reply": {"tool_calls": [{"name": "weather", "arguments": {"city": "Ghent"}}]},
    },
    {"when": {"last": "It rains in Ghent."}, "reply": {"content": "Take an umbrella."}},
]


@pytest.mark.parametrize(
    ("name", "steps"), [("agent", ["tools", "agent", None]), ("inside", ["thank", None])], ids=["alone", "inside"]
)
async def test_a_prebuilt_agent(openai_server: ModelServer, name: str, steps: list[str | None]) -> None:
    openai_server.set_script(CALL_WEATHER)
    agents = adapter(agent_path=(str(HERE),), agent_modules=("react_agent",))
    run = Run(agents, {"entrypoint": f"react_agent:{name}"}, {"messages": [{"role": "user", "content": "Rain?"}]})
    outputs = await run.finish()
    assert run.steps == steps
    assert [message["type"] for message in outputs["messages"]][:4] == ["human", "ai", "tool", "ai"]
    assert outputs["messages"][3]["content"] == "Take an umbrella."
    assert len(openai_server.calls) == 2


async def test_a_refused_call_of_the_agents_own_client_is_told_as_such(openai_server: ModelServer) -> None:
    openai_server.set_script([{"reply": {"error": {"status": 401}}}])
    agents = adapter(agent_path=(str(HERE),), agent_modules=("react_agent",))
    with pytest.raises(ModelRejected, match="401"):
        await Run(agents, {"entrypoint": "react_agent:agent"}, {"messages": [("user", "Rain?")]}).step()
