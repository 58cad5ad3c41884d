"""The part of the suite about steps that ask people."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest

from activities.adapters.base import Adapter, Answer, Interrupt, JsonObject, StepError
from tests.conformance.runs import Case, Run, advance_with_people, answer_to, check_questions, run_to_the_end, to_bytes
from tests.conformance.setting import Setting, step_in_a_process
from tests.support.model_server import ModelServer


class Questions(Setting):
    """Needs `asking_cases`; each asks in one of its steps at least and has `answers`."""

    async def test_a_question_is_the_same_in_every_attempt(self, adapter: Adapter, asking: Case) -> None:
        run, state, first = await _to_the_first_question(adapter, asking)
        with ModelServer(asking.rules) as server:
            again = Run(asking, server, states=run.states)
            stale = {"no-such-question": Answer("reject")}
            for context in (again.context(2), again.context(3, stale)):
                result = await adapter.run_step(asking.definition, state, context)
                assert result.interrupts == first
                check_questions(result.interrupts, stale)

    @pytest.mark.thorough
    async def test_a_question_is_the_same_in_another_process(self, adapter: Adapter) -> None:
        asking = self.asking_cases[0]
        run, state, first = await _to_the_first_question(adapter, asking)
        index = len(run.states)
        with ModelServer(asking.rules) as server:
            here = Run(asking, server, states=list(run.states))
            await advance_with_people(adapter, here, state)
            elsewhere = await step_in_a_process(self.framework, asking, server, state, index)
            assert elsewhere["interrupts"] == [asdict(interrupt) for interrupt in first]
            elsewhere = await step_in_a_process(self.framework, asking, server, state, index, here.answers)
        assert elsewhere["interrupts"] == []
        assert to_bytes(elsewhere["state"]) == here.states[-1]

    async def test_answers_take_a_run_to_its_end(self, adapter: Adapter, asking: Case) -> None:
        runs = []
        for _ in range(2):
            with ModelServer(asking.rules) as server:
                runs.append(await run_to_the_end(adapter, asking, server, step=advance_with_people))
        run = runs[0]
        assert tuple(run.names) == asking.steps
        assert run.paid_calls == asking.model_calls
        assert run.result is not None
        assert asking.says in json.dumps(run.result.outputs, ensure_ascii=False, allow_nan=False)
        assert runs[1].states == run.states

    async def test_a_step_that_asks_leaves_what_it_was_given(self, adapter: Adapter, asking: Case) -> None:
        definition = to_bytes(asking.definition)
        _, state, _ = await _to_the_first_question(adapter, asking)
        before = to_bytes(state)
        with ModelServer(asking.rules) as server:
            await adapter.run_step(asking.definition, state, Run(asking, server).context())
        assert to_bytes(state) == before
        assert to_bytes(asking.definition) == definition

    async def test_what_is_rejected_is_not_done(self, adapter: Adapter, asking: Case) -> None:
        run, state, first = await _to_the_first_question(adapter, asking)
        answers = {first[0].id: Answer("reject")}
        with ModelServer(asking.rules) as server:
            rejecting = Run(asking, server, states=list(run.states))
            if not isinstance(asking.rejected, str):
                with pytest.raises(asking.rejected) as failure:
                    await _finish(adapter, rejecting, state, answers)
                assert isinstance(failure.value, StepError)
                assert not failure.value.retryable
                return
            outputs = await _finish(adapter, rejecting, state, answers)
            assert asking.rejected in json.dumps(outputs, ensure_ascii=False)


async def _to_the_first_question(adapter: Adapter, case: Case) -> tuple[Run, JsonObject, tuple[Interrupt, ...]]:
    """The run so far, the state that the asking step begins with, and its questions."""
    with ModelServer(case.rules) as server:
        run = Run(case, server)
        state = json.loads(to_bytes(adapter.start(case.definition, case.inputs)))
        for _ in case.steps:
            result = await adapter.run_step(case.definition, state, run.context())
            if result.interrupts:
                check_questions(result.interrupts, {})
                return run, state, result.interrupts
            state = json.loads(to_bytes(result.state))
            run.states.append(to_bytes(state))
    raise AssertionError("no step asks")


async def _finish(adapter: Adapter, run: Run, state: JsonObject, answers: dict[str, Answer]) -> object:
    """Runs to the end with these answers to the first asking step, and the case's own to all others; the outputs."""
    result = await adapter.run_step(run.case.definition, state, run.context(2, dict(answers)))
    while result.interrupts or result.next_step is not None:
        if result.interrupts:
            asked = result.interrupts[0]
            assert asked.id not in answers
            answers[asked.id] = answer_to(run.case, asked)
        else:
            state, answers = json.loads(to_bytes(result.state)), {}
            run.states.append(to_bytes(state))
        result = await adapter.run_step(run.case.definition, state, run.context(1, dict(answers)))
    return result.outputs
