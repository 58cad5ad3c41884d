"""The half of the AutoGen adapter that runs teams, one turn at a time. AutoGen is imported by `create`."""

from __future__ import annotations

import importlib
import os
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol, cast

from activities.adapters.autogen.definition import DEFINITION
from activities.adapters.autogen.questions import last_said, question_to, reply_of
from activities.adapters.autogen.reading import read_team
from activities.adapters.autogen.spec import TeamSpec
from activities.adapters.autogen.states import (
    TeamState,
    first_state,
    handoff_of,
    is_chat,
    next_speakers,
    read_state,
    result_of,
    shown,
    step_name,
    with_answer,
)
from activities.adapters.base import (
    BadDefinition,
    Interrupt,
    Json,
    JsonObject,
    StepContext,
    StepResult,
    ToolBox,
)
from omium_core.errors import Problem
from omium_core.settings import Settings


class _Runtime(Protocol):
    """What `runtime`, the module that imports AutoGen, offers."""

    def try_to_build(self, team: TeamSpec, tools: ToolBox) -> str | None: ...

    async def stop_reason(self, team: TeamSpec, state: TeamState) -> str | None: ...

    async def run_turn(self, team: TeamSpec, state: TeamState, context: StepContext) -> Any: ...


class AutoGenAdapter:
    """Implements `Adapter` for teams. Keeps nothing of a run."""

    name = DEFINITION.name

    def __init__(self, runtime: _Runtime) -> None:
        self._runtime = runtime

    async def check(self, definition: JsonObject, *, tools: ToolBox) -> list[Problem]:
        """Whether all tools are registered, and whether AutoGen can build the team."""
        problems = DEFINITION.validate(definition, tools=None)
        team = read_team(definition).team
        if problems or team is None:
            return problems
        for tool in (tool for agent in team.participants for tool in agent.tools):
            try:
                tools.specs([tool.name])
            except Exception as error:
                problems.append(Problem(tool.path, str(error)))
        if not problems and (refusal := self._runtime.try_to_build(team, tools)) is not None:
            problems.append(Problem(team.config_path, f"AutoGen cannot build this team: {refusal}"))
        return problems

    def start(self, definition: JsonObject, inputs: JsonObject) -> JsonObject:
        return first_state(inputs).to_json()

    async def first_step(self, definition: JsonObject) -> str:
        return step_name(_readable(definition), first_state({}))

    async def run_step(self, definition: JsonObject, state: JsonObject, context: StepContext) -> StepResult:
        """Runs the next turn. The turn of a person is an interrupt until it is answered."""
        team, current = _readable(definition), read_state(state)
        if current.done:
            raise BadDefinition("The conversation has ended; there is no turn left to run.")
        context.progress(step_name(team, current))
        open_questions = _open_questions(team, current, context)
        if open_questions:
            return StepResult(state, step_name(team, current), interrupts=open_questions)
        if current.asks is not None:
            return await self._hear(team, current, context)
        if current.turn == 0 and (met := await self._runtime.stop_reason(team, current)) is not None:
            return _result(team, replace(current, done=True, stop_reason=met), [])
        turn = await self._runtime.run_turn(team, current, context)
        if turn.interrupt is not None:
            return StepResult(state, step_name(team, current), interrupts=(turn.interrupt,))
        return _result(team, turn.state, [message for message in turn.said if is_chat(message)])

    async def _hear(self, team: TeamSpec, state: TeamState, context: StepContext) -> StepResult:
        """The turn of a person who was handed over to."""
        person = cast("str", state.asks)
        answer = context.answers[question_to(person, state.turn + 1, None).id]
        after = with_answer(team, state, reply_of(answer))
        met = await self._runtime.stop_reason(team, after)
        if met is not None:
            after = replace(after, done=True, stop_reason=met)
        return _result(team, after, after.pending[-1:])


def create(settings: Settings, scratch: Path) -> AutoGenAdapter:
    """Imports AutoGen into this process, which takes a second, and returns its adapter."""
    # spans with every message in them, of which nobody asked for
    os.environ["AUTOGEN_DISABLE_RUNTIME_TRACING"] = "true"
    runtime = importlib.import_module("activities.adapters.autogen.runtime")
    runtime.quieten()
    return AutoGenAdapter(cast("_Runtime", runtime))


def _readable(definition: JsonObject) -> TeamSpec:
    for problem in DEFINITION.validate(definition, tools=None):
        raise BadDefinition(f"{problem.path}: {problem.message}")
    team = read_team(definition).team
    if team is None:
        raise BadDefinition("The definition is no team.")
    return team


def _open_questions(team: TeamSpec, state: TeamState, context: StepContext) -> tuple[Interrupt, ...]:
    """The questions that have no answer yet, of all people whose turn is known to come next.

    They are asked before any agent runs: an agent that speaks at the same time would be interrupted by the question.
    """
    people = [
        name
        for name in dict.fromkeys(next_speakers(team, state))
        if name == state.asks or ((agent := team.agent(name)) is not None and agent.is_person)
    ]
    question = _handed_over(state) if state.asks is not None else last_said(state.messages)
    questions = (question_to(name, state.turn + 1, question) for name in people)
    return tuple(one for one in questions if one.id not in context.answers)


def _handed_over(state: TeamState) -> JsonObject:
    """What a person is shown of a handoff: the words that led to it as well, since the handoff's own are mostly a formula."""
    handoff = handoff_of(state.thread) or {}
    said = [
        message["content"]
        for message in state.thread
        if message["source"] == handoff.get("source")
        and (message["type"] == "ThoughtEvent" or (is_chat(message) and message["type"] != "HandoffMessage"))
    ]
    return {**last_said(state.messages), "before": said[-1] if said else ""}


def _result(team: TeamSpec, state: TeamState, said: list[JsonObject]) -> StepResult:
    messages = [shown(message) for message in said]
    unit: Json = [_unit(message) for message in messages]
    return StepResult(
        state=state.to_json(),
        next_step=None if state.done else step_name(team, state),
        outputs=result_of(state) if state.done else None,
        unit=unit[0] if len(unit) == 1 else unit,
        units=tuple(dict.fromkeys(message["source"] for message in messages)) if team.is_stepped else (team.name,),
    )


def _unit(message: JsonObject) -> JsonObject:
    target = {"handoff": message["target"]} if "target" in message else {}
    return {"agent": message["source"], "output": message["content"], **target}
