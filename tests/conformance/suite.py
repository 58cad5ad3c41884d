"""The tests that every adapter passes before it is registered.

An adapter's test module is a few lines: a subclass of `AdapterConformance` named `Test...` with its cases.
"""

from __future__ import annotations

import asyncio
import copy
import json
import subprocess
import sys
from typing import ClassVar

import jsonschema
import pytest

from activities.adapters.base import Adapter, FrameworkDefinition, JsonObject, ModelRejected, StepError
from tests.conformance.edits import Edits
from tests.conformance.questions import Questions
from tests.conformance.runs import Case, Run, advance, run_to_the_end, to_bytes
from tests.conformance.setting import step_in_a_process
from tests.support.model_server import ModelServer
from tests.support.toolbox import MemoryToolBox

#: What the pure half must not import, itself or through others.
FRAMEWORK_MODULES = (
    *("crewai", "langgraph", "langchain_core", "langchain_openai", "openai", "litellm", "fastapi"),
    *("autogen_agentchat", "autogen_core", "autogen_ext", "semantic_kernel", "tiktoken"),
)

_PURE = """
import json, sys
from activities.adapters.base import Edit
from activities.adapters.registry import definition_for
definition = definition_for(sys.argv[1])
for case in json.load(sys.stdin):
    assert definition.validate(case["definition"], tools=frozenset(case["tools"])) == []
    assert definition.validate_inputs(case["definition"], case["inputs"]) == []
    definition.plan(case["definition"], case["inputs"])
    definition.needs_worker(case["definition"], tools=frozenset(case["tools"]))
    definition.view(case["state"])
    definition.values(case["state"])
    definition.units(case["definition"], case["state"])
    definition.unit_names(case["definition"])
    definition.edit(case["definition"], case["state"], Edit(models={"*": "other"}))
definition.json_schema()
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
"""

_FAILURES: dict[str, JsonObject] = {
    "429": {"error": {"status": 429, "retry_after": 0.01}},
    "500": {"error": {"status": 500}},
    "503": {"error": {"status": 503}},
    "400": {"error": {"status": 400}},
    "401": {"error": {"status": 401}},
    "404": {"error": {"status": 404}},
    "disconnect": {"disconnect": True},
}

#: Failures that come again with the same request.
_REFUSALS = frozenset({"400", "401", "404"})


class AdapterConformance(Edits, Questions):
    """Subclass it with the adapter's name and cases. Every case begins with a step that calls the model."""

    #: A case in which `broken_tool` is called, and what comes of it: None, or the error that the step raises.
    broken_tool_case: ClassVar[Case]
    broken_tool_error: ClassVar[type[Exception] | None] = None
    #: Wrong definitions with the path of the one problem that each must have.
    wrong: ClassVar[tuple[tuple[str, JsonObject], ...]] = ()

    # The pure half

    def test_the_pure_half_imports_no_framework(self, adapter: Adapter) -> None:
        cases = [
            {
                "definition": case.definition,
                "inputs": case.inputs,
                "tools": sorted(MemoryToolBox().names),
                "state": adapter.start(case.definition, case.inputs),
            }
            for case in self.cases
        ]
        done = subprocess.run(
            [sys.executable, "-c", _PURE, self.framework], input=json.dumps(cases), capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        imported = set(json.loads(done.stdout))
        assert "activities" in imported
        assert imported.isdisjoint(FRAMEWORK_MODULES)

    def test_definitions_fit_the_published_schema(self, definition: FrameworkDefinition, case: Case) -> None:
        schema = definition.json_schema()
        jsonschema.Draft202012Validator.check_schema(schema)
        jsonschema.validate(case.definition, schema)

    def test_wrong_definitions_are_told_by_path(self, definition: FrameworkDefinition) -> None:
        tools = MemoryToolBox().names
        for path, wrong in self.wrong:
            before = copy.deepcopy(wrong)
            problems = definition.validate(wrong, tools=tools)
            assert [problem.path for problem in problems] == [path], problems
            assert wrong == before

    def test_a_tool_that_is_not_known_here_needs_a_worker(self, definition: FrameworkDefinition) -> None:
        case = self.broken_tool_case
        assert not definition.needs_worker(case.definition, tools=MemoryToolBox().names)
        assert definition.needs_worker(case.definition, tools=frozenset())
        assert definition.validate(case.definition, tools=None) == []
        assert definition.validate(case.definition, tools=frozenset()) != []

    # Step by step

    async def test_a_valid_definition_passes_the_worker_too(self, adapter: Adapter, case: Case) -> None:
        assert await adapter.check(case.definition, tools=MemoryToolBox()) == []

    async def test_runs_step_by_step_to_its_end(
        self, adapter: Adapter, definition: FrameworkDefinition, case: Case, server: ModelServer
    ) -> None:
        server.set_script(case.rules)
        run = await run_to_the_end(adapter, case, server)
        assert tuple(run.names) == case.steps
        plan = definition.plan(case.definition, case.inputs)
        assert plan.steps == (case.steps[:1] if plan.open_ended else case.steps)
        assert run.result is not None
        assert case.says in json.dumps(run.result.outputs, ensure_ascii=False, allow_nan=False)
        json.dumps(run.result.unit, allow_nan=False)

    async def test_everything_goes_to_the_endpoint(self, adapter: Adapter, case: Case, server: ModelServer) -> None:
        server.set_script(case.rules)
        run = await run_to_the_end(adapter, case, server)
        assert [call.status for call in server.calls] == [200] * case.model_calls
        assert {call.body["model"] for call in server.calls} == case.models
        expected = [(name, json.dumps(arguments, sort_keys=True)) for name, arguments in case.tool_calls]
        assert sorted(run.tools.calls) == sorted(expected)

    async def test_equal_runs_have_equal_bytes(self, adapter: Adapter, case: Case) -> None:
        runs = []
        for _ in range(2):
            with ModelServer(case.rules) as server:
                runs.append(await run_to_the_end(adapter, case, server))
        assert runs[0].states == runs[1].states
        assert runs[0].requests() == runs[1].requests()

    async def test_a_repeated_step_asks_the_same_and_changes_nothing(self, adapter: Adapter, case: Case) -> None:
        state = adapter.start(case.definition, case.inputs)
        definition = copy.deepcopy(case.definition)
        for _ in case.steps:
            before = to_bytes(state)
            attempts = []
            for _attempt in range(2):
                with ModelServer(case.rules) as server:
                    run = Run(case, server)
                    after = await advance(adapter, run, state)
                    attempts.append((run.requests(), sorted(run.tools.calls), run.states))
            assert attempts[0] == attempts[1]
            assert to_bytes(state) == before
            assert case.definition == definition
            state = after

    @pytest.mark.thorough
    async def test_each_step_may_run_in_another_process(self, adapter: Adapter) -> None:
        case = self.cases[0]
        with ModelServer(case.rules) as server:
            here = await run_to_the_end(adapter, case, server)
            alone = here.requests()
        state, pids = None, set()
        with ModelServer(case.rules) as server:
            for index in range(len(case.steps)):
                answer = await step_in_a_process(self.framework, case, server, state, index)
                state = answer["state"]
                pids.add(answer["pid"])
                assert to_bytes(answer["state"]) == here.states[index]
            assert Run(case, server).requests() == alone
        assert len(pids) == len(case.steps)
        assert here.result is not None
        assert answer["outputs"] == here.result.outputs

    async def test_a_state_can_be_shown(
        self, adapter: Adapter, definition: FrameworkDefinition, case: Case, server: ModelServer
    ) -> None:
        server.set_script(case.rules)
        run = await run_to_the_end(adapter, case, server)
        for state in (to_bytes(adapter.start(case.definition, case.inputs)), *run.states):
            view = definition.view(json.loads(state))
            assert json.loads(json.dumps(view, allow_nan=False)) == view
        assert case.says in json.dumps(view, ensure_ascii=False)

    # What goes wrong

    @pytest.mark.parametrize("kind", _FAILURES)
    async def test_model_errors_fail_the_step(self, adapter: Adapter, server: ModelServer, kind: str) -> None:
        case = self.cases[0]
        server.set_script([{"reply": _FAILURES[kind]}])
        run = Run(case, server)
        async with asyncio.timeout(60):
            with pytest.raises(Exception) as failure:  # noqa: PT011 - which one is the framework's to say
                await advance(adapter, run, adapter.start(case.definition, case.inputs))
        assert not isinstance(failure.value, BaseExceptionGroup)
        if kind in _REFUSALS:
            # The platform knows a refusal by its class, or by the client's error inside what the framework raised.
            assert isinstance(failure.value, ModelRejected) or _endpoints_status(failure.value) == int(kind)
        else:
            # The platform knows by itself that the model is away; the adapter must not say that a retry is in vain.
            assert not isinstance(failure.value, StepError) or failure.value.retryable
        # Retries are the platform's: a framework that retries too would multiply them.
        assert len(server.calls) == 1

    async def test_a_step_that_failed_can_be_taken_up_again(self, adapter: Adapter, server: ModelServer) -> None:
        case = self.cases[0]
        server.set_script([{"reply": _FAILURES["503"], "times": 1}, *case.rules])
        run = Run(case, server)
        state = adapter.start(case.definition, case.inputs)
        with pytest.raises(Exception):  # noqa: B017, PT011
            await advance(adapter, run, state)
        await advance(adapter, run, state)
        with ModelServer(case.rules) as undisturbed:
            expected = Run(case, undisturbed)
            await advance(adapter, expected, state)
        assert run.states == expected.states

    async def test_a_failing_tool(self, adapter: Adapter, server: ModelServer) -> None:
        case = self.broken_tool_case
        server.set_script(case.rules)
        if self.broken_tool_error is not None:
            with pytest.raises(self.broken_tool_error):
                await run_to_the_end(adapter, case, server)
            return
        run = await run_to_the_end(adapter, case, server)
        assert run.result is not None
        assert case.says in json.dumps(run.result.outputs)
        assert any("Error: " in request for request in run.requests())

    async def test_cancelling_stops_the_step_at_once(self, adapter: Adapter, server: ModelServer) -> None:
        case = self.cases[0]
        server.set_script(case.rules, hold_call=1)
        run = Run(case, server)
        step = asyncio.create_task(advance(adapter, run, adapter.start(case.definition, case.inputs)))
        await asyncio.to_thread(server.wait_until_held)
        step.cancel()
        async with asyncio.timeout(60):
            with pytest.raises(asyncio.CancelledError):
                await step
        await asyncio.to_thread(server.wait_for, lambda calls: calls[0].state == "disconnected", 5)
        # What still ran in the step would call the model now.
        server.release("call-1")
        await run_to_the_end(adapter, case, server)
        assert len(server.calls) == 1 + case.model_calls

    async def test_runs_beside_each_other_do_not_mix(self, adapter: Adapter) -> None:
        async def alone(case: Case) -> tuple[list[bytes], list[str], list[tuple[str, str]]]:
            with ModelServer(case.rules) as server:
                run = await run_to_the_end(adapter, case, server)
                return run.states, run.requests(), sorted(run.tools.calls)

        expected = [await alone(case) for case in self.cases]
        together = await asyncio.gather(*(alone(case) for case in self.cases * 2))
        assert together == expected * 2

    async def test_the_loop_stays_free(self, adapter: Adapter, server: ModelServer) -> None:
        """Heartbeats go on while a step waits for a model."""
        case = self.cases[0]
        server.set_script(case.rules, hold_call=1)
        run = Run(case, server)
        step = asyncio.create_task(advance(adapter, run, adapter.start(case.definition, case.inputs)))
        await asyncio.to_thread(server.wait_until_held)
        beats = 0
        async with asyncio.timeout(60):
            while beats < 20:
                await asyncio.sleep(0.01)
                beats += 1
        assert not step.done()
        server.release("call-1")
        await step


def _endpoints_status(error: BaseException | None) -> int | None:
    """The status of the endpoint's answer, in an error or in what it was made of."""
    while error is not None:
        status = getattr(error, "status_code", None)
        if isinstance(status, int):
            return status
        error = error.__cause__ or error.__context__
    return None
