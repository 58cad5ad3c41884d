"""What is particular to AutoGen: ends of conversations, failures that it would swallow, models, graphs, long steps."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from activities.adapters.base import (
    Answer,
    BadDefinition,
    Json,
    JsonObject,
    ModelRejected,
    ModelUnavailable,
    StaleAttempt,
)
from activities.adapters.registry import definition_for
from tests.autogen.conftest import Runner
from tests.autogen.teams import agent, condition, either, graph, model, person, team
from tests.support.toolbox import MemoryToolBox

CALL_TOOL = {
    "when": {"tool": "calculator", "not_called": "calculator"},
    "reply": {"tool_calls": [{"name": "calculator", "arguments": {"expression": "6*7"}}]},
}


def pair(**config: Any) -> JsonObject:
    return team("RoundRobinGroupChat", agent("a"), agent("b"), **config)


def sources(outputs: Any) -> list[str]:
    return [message["source"] for message in outputs["messages"]]


# How conversations end


@pytest.mark.parametrize(
    ("condition_or_limit", "turns", "reason"),
    [
        ({"max_turns": 3}, 3, "Maximum number of turns 3 reached."),
        (
            {"termination_condition": condition("MaxMessageTermination", max_messages=4)},
            3,
            "Maximum number of messages 4",
        ),
        ({"termination_condition": condition("SourceMatchTermination", sources=["b"])}, 2, "'b' answered"),
        ({"termination_condition": condition("TokenUsageTermination", max_total_token=1)}, 1, "Token usage limit"),
        ({"termination_condition": condition("TextMessageTermination", source="b")}, 2, "Text message received"),
        (
            {
                "termination_condition": {
                    "provider": "autogen_agentchat.base.AndTerminationCondition",
                    "config": {
                        "conditions": [
                            condition("SourceMatchTermination", sources=["a"]),
                            condition("MaxMessageTermination", max_messages=3),
                        ]
                    },
                }
            },
            2,
            "'a' answered, Maximum number of messages 3",
        ),
        (
            {
                "termination_condition": either(
                    condition("ExternalTermination"),
                    condition("StopMessageTermination"),
                    condition("HandoffTermination", target="a"),
                    condition("MaxMessageTermination", max_messages=2),
                )
            },
            1,
            "Maximum number of messages 2",
        ),
        # a condition that the task itself fulfils ends the conversation before anybody speaks, as in AutoGen
        ({"termination_condition": condition("TextMentionTermination", text="Go")}, 0, "Text 'Go' mentioned"),
    ],
)
async def test_a_team_ends_as_in_autogen(
    runner: Runner, condition_or_limit: JsonObject, turns: int, reason: str
) -> None:
    outputs = await runner.run(pair(**condition_or_limit))
    assert sources(outputs) == ["user", *["a", "b", "a"][:turns]]
    assert outputs["stop_reason"].startswith(reason)


async def test_a_timeout_counts_the_turns_of_all_steps(runner: Runner) -> None:
    runner.server.set_script([{"reply": {"delay": 0.5}, "times": 1}, {"reply": {"delay": 2.0}}])
    definition = pair(termination_condition=condition("TimeoutTermination", timeout_seconds=2.2))
    outputs = await runner.run(definition)
    assert sources(outputs) == ["user", "a", "b"]


async def test_a_function_call_ends_a_team(runner: Runner) -> None:
    runner.server.set_script([CALL_TOOL])
    ends = condition("FunctionCallTermination", function_name="calculator")
    outputs = await runner.run(
        team("RoundRobinGroupChat", agent("a", tools=["calculator"]), agent("b"), termination_condition=ends)
    )
    assert outputs["messages"][-1] == {"source": "a", "content": "42", "type": "ToolCallSummaryMessage"}
    assert outputs["stop_reason"] == "Function 'calculator' was executed."


async def test_nothing_runs_after_the_end(runner: Runner) -> None:
    last = [result async for result in runner.turns(pair(max_turns=1), {"task": "Go"})][-1]
    with pytest.raises(BadDefinition, match="ended"):
        await runner.adapter.run_step(pair(max_turns=1), last.state, runner.context())


async def test_inputs_without_a_task_are_the_first_message(runner: Runner) -> None:
    await runner.run(pair(max_turns=1), {"topic": "tea", "size": 2})
    assert runner.asked()[0]["messages"][-1]["content"] == '{"size": 2, "topic": "tea"}'


# Models


async def test_a_models_parameters_travel_and_its_address_does_not(runner: Runner) -> None:
    client = model(
        "gpt-4o", temperature=0.25, seed=7, base_url="http://192.0.2.1/v1", api_key="secret", max_retries=9, timeout=1
    )
    client["provider"] = "autogen_ext.models.openai.AzureOpenAIChatCompletionClient"
    await runner.run(agent("a", model_client=client))
    body = runner.asked()[0]
    assert {name: body[name] for name in ("model", "temperature", "seed")} == {
        "model": "gpt-4o",
        "temperature": 0.25,
        "seed": 7,
    }
    assert "secret" not in json.dumps([dict(call.headers) for call in runner.server.calls])


async def test_a_stream_ends_as_an_answer(runner: Runner) -> None:
    runner.server.set_script([CALL_TOOL, {"reply": {"content": "It is 42."}}])
    outputs = await runner.run(agent("a", tools=["calculator"], model_client_stream=True, reflect_on_tool_use=True))
    assert outputs["raw"] == "It is 42."
    assert all(body["stream"] and body["stream_options"] == {"include_usage": True} for body in runner.asked())


async def test_an_answer_that_follows_a_schema(runner: Runner) -> None:
    shape = {"type": "object", "properties": {"score": {"type": "integer"}}, "required": ["score"]}
    factory = {
        "provider": "autogen_agentchat.messages.StructuredMessageFactory",
        "config": {"json_schema": shape, "content_model_name": "Score"},
    }
    runner.server.set_script([{"when": {"system": "judge"}, "reply": {"json": {"score": 7}}}])
    judges = [agent(name, structured_message_factory=factory) for name in ("judge", "judge2")]
    outputs = await runner.run(team("RoundRobinGroupChat", *judges, agent("teller"), max_turns=4))
    assert outputs["messages"][1] == {"source": "judge", "content": {"score": 7}, "type": "StructuredMessage"}
    assert outputs["raw"] == '{"score": 7}'
    assert '{"score":7}' in json.dumps(runner.asked()[2]).replace("\\", "")


@pytest.mark.parametrize(
    ("kind", "config", "seen"),
    [
        ("BufferedChatCompletionContext", {"buffer_size": 1}, 2),
        ("HeadAndTailChatCompletionContext", {"head_size": 1, "tail_size": 1}, 4),
        ("TokenLimitedChatCompletionContext", {"token_limit": 40, "model_client": model("gpt-4o")}, 3),
        ("UnboundedChatCompletionContext", {}, 4),
    ],
)
async def test_what_a_model_sees_of_its_conversation(runner: Runner, kind: str, config: JsonObject, seen: int) -> None:
    runner.server.set_script([{"reply": {"content": "An answer of some words."}}])
    context = {"provider": f"autogen_core.model_context.{kind}", "config": config}
    await runner.run(team("RoundRobinGroupChat", agent("a", model_context=context), agent("b"), max_turns=3))
    assert len(runner.asked()[-1]["messages"]) == seen


async def test_initial_messages_come_first(runner: Runner) -> None:
    first = {"type": "UserMessage", "source": "user", "content": "Remember: be brief."}
    context = {
        "provider": "autogen_core.model_context.BufferedChatCompletionContext",
        "config": {"buffer_size": 9, "initial_messages": [first]},
    }
    await runner.run(team("RoundRobinGroupChat", agent("a", model_context=context), max_turns=2))
    assert [body["messages"][1]["content"] for body in runner.asked()] == ["Remember: be brief."] * 2


# Failures


@pytest.mark.parametrize(("status", "error"), [(429, ModelUnavailable), (500, ModelUnavailable), (400, ModelRejected)])
@pytest.mark.parametrize("kind", ["agent", "stream", "selector", "fan-out", "magentic"])
async def test_an_error_of_the_endpoint_keeps_its_class(
    runner: Runner, kind: str, status: int, error: type[Exception], capfd: pytest.CaptureFixture[str]
) -> None:
    definition = {
        "agent": agent("a"),
        "stream": agent("a", model_client_stream=True),
        "selector": team("SelectorGroupChat", agent("a"), agent("b"), selector_prompt="{roles}", max_turns=1),
        "fan-out": team("GraphFlow", agent("a"), agent("b"), agent("c"), graph=graph("a -> c", "b -> c")),
        "magentic": team("MagenticOneGroupChat", agent("a")),
    }[kind]
    runner.server.set_script([{"reply": {"error": {"status": status, "message": "scripted"}}}])
    async with asyncio.timeout(60):
        with pytest.raises(error, match=str(status)):
            await runner.run(definition)
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert "Traceback" not in capfd.readouterr().err


class StaleTools(MemoryToolBox):
    """Tools of a step that a newer attempt has taken over."""

    async def call(self, name: str, arguments: JsonObject, *, errors_as_answers: bool = False) -> Json:
        raise StaleAttempt("A newer attempt is running.")


async def test_what_the_platform_has_against_a_tools_call_ends_the_step(runner: Runner) -> None:
    runner.server.set_script([CALL_TOOL])
    runner.tools = StaleTools()
    async with asyncio.timeout(60):
        with pytest.raises(StaleAttempt):
            await runner.run(agent("a", tools=["calculator"], reflect_on_tool_use=True))
    assert len(runner.server.calls) == 1


class SlowTools(MemoryToolBox):
    """Tools that take for ever."""

    def __init__(self) -> None:
        super().__init__()
        self.called = asyncio.Event()
        self.stopped = asyncio.Event()

    async def call(self, name: str, arguments: JsonObject, *, errors_as_answers: bool = False) -> Json:
        self.called.set()
        try:
            return await asyncio.Event().wait()
        finally:
            self.stopped.set()


async def test_cancelling_stops_a_tool(runner: Runner, capfd: pytest.CaptureFixture[str]) -> None:
    runner.server.set_script([CALL_TOOL])
    runner.tools = tools = SlowTools()
    step = asyncio.create_task(runner.run(agent("a", tools=["calculator"], reflect_on_tool_use=True)))
    await tools.called.wait()
    step.cancel()
    async with asyncio.timeout(60):
        with pytest.raises(asyncio.CancelledError):
            await step
        await tools.stopped.wait()
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert len(runner.server.calls) == 1
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("arguments", ["{", "[1]", '{"no": "expression"}', "null"])
async def test_arguments_that_are_wrong_are_told_to_the_agent(runner: Runner, arguments: str) -> None:
    wrong = {**CALL_TOOL, "reply": {"tool_calls": [{"name": "calculator", "arguments": arguments}]}}
    runner.server.set_script([wrong, {"when": {"last": "^Error"}, "reply": {"content": "I see."}}])
    outputs = await runner.run(agent("a", tools=["calculator"], reflect_on_tool_use=True))
    assert outputs["raw"] == "I see."


async def test_the_source_code_of_a_tool_never_runs(runner: Runner, tmp_path: Path) -> None:
    definition = agent("a", tools=["calculator"])
    marker = tmp_path / "ran"
    code = f"open({str(marker)!r}, 'w').close()\ndef calculator(expression: str) -> str:\n    return 'hacked'\n"
    tool = definition["config"]["workbench"][0]["config"]["tools"][0]
    tool["config"] |= {"source_code": code, "global_imports": ["os", {"module": "subprocess", "imports": ["run"]}]}
    runner.server.set_script([CALL_TOOL])
    outputs = await runner.run(definition)
    assert outputs["raw"] == "42"
    assert not marker.exists()


# Graphs


async def test_edges_with_conditions_decide(runner: Runner) -> None:
    definition = team(
        "GraphFlow",
        agent("judge"),
        agent("yes"),
        agent("no"),
        graph=graph("judge -> yes", "judge -> no", judge_yes="PASS", judge_no="FAIL"),
    )
    runner.server.set_script([{"when": {"system": "judge"}, "reply": {"content": "FAIL"}}])
    outputs = await runner.run(definition)
    assert sources(outputs) == ["user", "judge", "no"]
    assert outputs["stop_reason"] == "Digraph execution is complete"


async def test_a_loop_with_any_of_several_ways_in(runner: Runner) -> None:
    nodes = graph("a -> b", "b -> b2", "b2 -> b", "b2 -> c", b2_b="AGAIN", b2_c="ENOUGH")
    for source in ("a", "b2"):
        for edge in nodes["nodes"][source]["edges"]:
            edge["activation_condition"] = "any" if edge["target"] == "b" else "all"
    runner.server.set_script(
        [
            {"when": {"system": "b2"}, "reply": {"content": "AGAIN"}, "times": 3},
            {"when": {"system": "b2"}, "reply": {"content": "ENOUGH"}},
        ]
    )
    definition = team("GraphFlow", *map(agent, ("a", "b", "b2", "c")), graph=nodes, max_turns=20)
    outputs = await runner.run(definition)
    assert sources(outputs) == ["user", "a", *["b", "b2"] * 4, "c"]


# People


async def test_people_who_speak_at_once_are_asked_at_once(runner: Runner) -> None:
    definition = team(
        "GraphFlow", person("ann"), person("bob"), agent("judge"), graph=graph("ann -> judge", "bob -> judge")
    )
    state = runner.adapter.start(definition, {"task": "Tea?"})
    asked = await runner.adapter.run_step(definition, state, runner.context())
    assert [one.id for one in asked.interrupts] == ["turn-1-ann", "turn-1-bob"]
    assert asked.interrupts[0].question == {"source": "user", "message": "Tea?"}
    answers = {"turn-1-bob": Answer("approve", "Yes")}
    asked = await runner.adapter.run_step(definition, state, runner.context(answers))
    assert [one.id for one in asked.interrupts] == ["turn-1-ann"]
    answers["turn-1-ann"] = Answer("reject")
    done = await runner.adapter.run_step(definition, state, runner.context(answers))
    assert done.unit == [{"agent": "ann", "output": "REJECT"}, {"agent": "bob", "output": "Yes"}]
    assert done.next_step == "turn 2 · judge"


async def test_one_agent_may_ask_and_goes_on(runner: Runner) -> None:
    definition = agent("clerk", handoffs=["user"])
    runner.server.set_script(
        [{"when": {"not_called": "transfer_to_user"}, "reply": {"tool_calls": [{"name": "transfer_to_user"}]}}]
    )
    plan = definition_for("autogen").plan(definition, {})
    assert plan.open_ended
    first, second = [result async for result in runner.turns(definition, {"task": "Go"})]
    assert (first.next_step, second.interrupts[0].id) == ("turn 2 · user", "turn-2-user")
    answered = runner.context({"turn-2-user": Answer("edit", "Rome")})
    heard = await runner.adapter.run_step(definition, first.state, answered)
    assert heard.units == ("user",)
    done = await runner.adapter.run_step(definition, heard.state, runner.context())
    assert done.next_step is None
    assert runner.asked()[-1]["messages"][-1]["content"] == "Rome"


# What runs as one step


async def test_magentic_one_runs_whole(runner: Runner) -> None:
    def ledger(*, done: bool) -> str:
        answers = {
            "is_request_satisfied": done,
            "is_in_loop": False,
            "is_progress_being_made": True,
            "next_speaker": "worker",
            "instruction_or_question": "Do it.",
        }
        return json.dumps({name: {"reason": "so", "answer": answer} for name, answer in answers.items()})

    is_ledger = {"last": "is_request_satisfied"}
    rules: Sequence[JsonObject] = [
        {"when": is_ledger, "reply": {"content": ledger(done=False)}, "times": 1},
        {"when": is_ledger, "reply": {"content": ledger(done=True)}},
        {"when": {"system": "You are worker"}, "reply": {"content": "It is done."}},
        {"reply": {"content": "All done."}},
    ]
    runner.server.set_script(rules)
    definition = team("MagenticOneGroupChat", agent("worker"), model_client=model("boss"), max_stalls=2)
    plan = definition_for("autogen").plan(definition, {})
    assert plan.steps == ("all turns · MagenticOneGroupChat",)
    assert any("one step" in warning for warning in plan.warnings)
    results = [result async for result in runner.turns(definition, {"task": "Go"})]
    assert len(results) == 1
    assert results[0].outputs["raw"] == "All done."
    assert "worker" in sources(results[0].outputs)
