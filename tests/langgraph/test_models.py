"""What `llm` nodes ask, and what they make of the answers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest

from activities.adapters.base import ModelRejected, ModelUnavailable, StepError
from activities.adapters.langgraph.models import BadAnswer
from tests.langgraph.support import Run, adapter, edges, graph
from tests.support.model_server import ModelServer
from tests.support.toolbox import MemoryToolBox

GRAPHS = adapter()
SCHEMA = {"type": "object", "properties": {"score": {"type": "integer", "maximum": 10}}, "required": ["score"]}


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with ModelServer() as server:
        yield server


def ask(server: ModelServer, kind: str = "string", toolbox: MemoryToolBox | None = None, **node: Any) -> Run:
    """A run of one `llm` node that writes `answer`."""
    asking = {"id": "ask", "type": "llm", "prompt": "About {{ inputs.topic }}", "output": "answer", **node}
    definition = graph([asking], edges("START -> ask"), answer={"type": kind})
    return Run(GRAPHS, definition, {"topic": "tea"}, base_url=server.base_url, tools=toolbox)


async def test_what_a_node_says_is_what_is_asked(server: ModelServer) -> None:
    await ask(server, system="You know {{ inputs.topic }}", model="big", temperature=0.5, max_tokens=7).finish()
    assert server.calls[0].body == {
        "model": "big",
        "messages": [{"role": "system", "content": "You know tea"}, {"role": "user", "content": "About tea"}],
        "temperature": 0.5,
        "max_tokens": 7,
    }
    await ask(server).finish()
    assert server.calls[1].body["model"] == "default-model"


async def test_an_output_schema_gives_a_value(server: ModelServer) -> None:
    server.set_script([{"reply": {"content": '```json\n{"score": 7}\n```'}}])
    assert await ask(server, "object", output_schema=SCHEMA).finish() == {"answer": {"score": 7}}
    assert server.calls[0].body["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "ask", "schema": SCHEMA},
    }


@pytest.mark.parametrize(
    ("answer", "words"),
    [("seven", "is not JSON"), ('{"score": 70}', r"at \$\.score \(maximum: 10\)"), ('{"score": NaN}', "is not JSON")],
)
async def test_an_answer_that_breaks_the_schema_fails_the_step(server: ModelServer, answer: str, words: str) -> None:
    server.set_script([{"reply": {"content": answer}}])
    with pytest.raises(BadAnswer, match=words) as failure:
        await ask(server, "object", output_schema=SCHEMA).step()
    assert not failure.value.retryable
    assert answer not in str(failure.value)


async def test_an_answer_for_a_number_is_read_as_one(server: ModelServer) -> None:
    server.set_script([{"reply": {"content": " 42\n"}}])
    assert await ask(server, "integer").finish() == {"answer": 42}


def calls(*tools: tuple[str, Any]) -> dict[str, Any]:
    return {"tool_calls": [{"name": name, "arguments": arguments} for name, arguments in tools]}


async def test_a_models_mistakes_with_tools_are_answered(server: ModelServer) -> None:
    wrong = calls(
        ("nope", {}), ("broken_tool", {"reason": "out of ink"}), ("calculator", "{bad"), ("calculator", "[1]"),
        ("calculator", {"expression": "2 + 2"}),
    )  # fmt: skip
    server.set_script([{"reply": wrong, "times": 1}, {"reply": {"content": "done"}}])
    tools = MemoryToolBox()
    run = ask(server, toolbox=tools, tools=["calculator", "broken_tool"])
    assert await run.finish() == {"answer": "done"}
    said = [message["content"] for message in server.calls[1].body["messages"] if message["role"] == "tool"]
    assert said[0] == "Error: there is no tool 'nope'; the tools are: calculator, broken_tool."
    assert "out of ink" in said[1]
    assert said[2].startswith("Error: the arguments are not JSON")
    assert said[3] == "Error: the arguments must be a JSON object."
    assert said[4] == "4"
    assert [name for name, _ in tools.calls] == ["broken_tool", "calculator"]
    names = [tool["function"]["name"] for tool in server.calls[0].body["tools"]]
    assert names == ["calculator", "broken_tool"]


async def test_after_the_last_round_the_model_has_to_answer(server: ModelServer) -> None:
    more = {"when": {"tool": "calculator"}, "reply": calls(("calculator", {"expression": "1"})), "times": 2}
    server.set_script([more, {"reply": {"content": "enough"}}])
    run = ask(server, tools=["calculator"], max_tool_rounds=2)
    assert await run.finish() == {"answer": "enough"}
    assert [call.body.get("tool_choice") for call in server.calls] == [None, None, "none"]


async def test_a_chat_is_sent_along_and_carried_on(server: ModelServer) -> None:
    server.set_script([{"when": {"last": "And now"}, "reply": {"content": "Still fine."}}])
    node = {"id": "ask", "type": "llm", "prompt": "And now?", "messages": "chat", "output": "chat"}
    definition = graph([node], edges("START -> ask"), chat={"type": "array", "reducer": "append"})
    chat = [{"role": "user", "content": "How are you?"}, {"role": "assistant", "content": "Fine."}]
    outputs = await Run(GRAPHS, definition, {"chat": chat}, base_url=server.base_url).finish()
    asked = {"role": "user", "content": "And now?"}
    assert server.calls[0].body["messages"] == [*chat, asked]
    assert outputs["chat"] == [*chat, asked, {"role": "assistant", "content": "Still fine."}]


@pytest.mark.parametrize(
    ("status", "kind", "retryable"),
    [
        (400, ModelRejected, False),
        (404, ModelRejected, False),
        (429, ModelUnavailable, True),
        (500, ModelUnavailable, True),
    ],
)
async def test_refusals_are_told_apart(
    server: ModelServer, status: int, kind: type[StepError], retryable: bool
) -> None:
    server.set_script([{"reply": {"error": {"status": status, "retry_after": 3}}}])
    with pytest.raises(kind, match=str(status)) as failure:
        await ask(server).step()
    assert isinstance(failure.value, StepError)
    assert failure.value.retryable is retryable
    assert failure.value.retry_after == (3 if retryable else None)
    assert len(server.calls) == 1


async def test_branches_of_a_step_ask_at_the_same_time(server: ModelServer) -> None:
    server.set_script([{"when": {"last": "item 0"}, "reply": {"content": "late"}, "gate": "first"}])
    node = {"id": "ask", "type": "llm", "prompt": "item {{ index }}", "output": "said"}
    definition = graph(
        [node],
        [{"from": "START", "to": "ask", "each": "items"}],
        items={"type": "array"},
        said={"reducer": "append"},
    )
    run = Run(GRAPHS, definition, {"items": [1, 2, 3]}, base_url=server.base_url)
    step = asyncio.create_task(run.step())
    await asyncio.to_thread(server.wait_for, lambda calls: sum(call.status == 200 for call in calls) == 2, 10)
    server.release("first")
    await step
    assert json.dumps(run.state["values"]["said"]).startswith('["late", "Answer')
