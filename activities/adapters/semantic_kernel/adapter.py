"""The half of the Semantic Kernel adapter that runs: one turn of an agent, a function or a person per step."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

from activities.adapters.base import BadDefinition, Interrupt, Json, JsonObject, StepContext, StepResult, ToolBox
from activities.adapters.semantic_kernel import conversation, turns
from activities.adapters.semantic_kernel.build import Workshop
from activities.adapters.semantic_kernel.definition import DEFINITION
from activities.adapters.semantic_kernel.errors import AnswerUnusable, ToolDoorShut, meaning_of
from activities.adapters.semantic_kernel.handing import offer_handoffs
from activities.adapters.semantic_kernel.magentic import heard_since_plan, lead
from activities.adapters.semantic_kernel.managing import choose_speaker
from activities.adapters.semantic_kernel.prompting import run_function
from activities.adapters.semantic_kernel.reading import Spec, read
from activities.adapters.semantic_kernel.schema import Concurrent, GroupChat, Handoff, Magentic, Sequential
from activities.adapters.semantic_kernel.states import as_text, check_state, heard_by, last_text, public
from activities.adapters.semantic_kernel.trial import missing_tools, try_to_build
from omium_core.errors import Problem
from omium_core.settings import Settings


def create(settings: Settings, scratch: Path) -> SemanticKernelAdapter:
    """The adapter of a worker process; `scratch` is not needed."""
    # Its messages hold what people and models said.
    logging.getLogger("semantic_kernel").setLevel(logging.CRITICAL)
    return SemanticKernelAdapter(settings.max_steps)


class SemanticKernelAdapter:
    """Implements `Adapter` for Semantic Kernel. Keeps nothing of a run."""

    name = DEFINITION.name

    def __init__(self, max_steps: int) -> None:
        self._max_steps = max_steps

    async def check(self, definition: JsonObject, *, tools: ToolBox) -> list[Problem]:
        """Whether all tools are registered, and whether Semantic Kernel takes the agents and templates."""
        problems = DEFINITION.validate(definition, tools=None)
        spec = read(definition).spec
        return problems or missing_tools(spec, tools) or try_to_build(spec, tools)

    def start(self, definition: JsonObject, inputs: JsonObject) -> JsonObject:
        return turns.first_state(read(definition).spec, inputs)

    async def first_step(self, definition: JsonObject) -> str:
        return next(turns.step_names(_readable(definition)))

    async def run_step(self, definition: JsonObject, state: JsonObject, context: StepContext) -> StepResult:
        """One turn; all agents of a concurrent orchestration at once.

        Raises `BadDefinition` for a definition or a state that cannot be run, `ModelUnavailable` and `ModelRejected` for
        failed model calls, `ToolFailed` for a tool that a template calls.
        """
        spec = _readable(definition)
        check_state(state)
        context.progress(turns.step_name(state) if state["next"] != [] else "")
        try:
            return await _Step(spec, state, context, self._max_steps).run()
        except ToolDoorShut as shut:
            raise (shut.__cause__ or shut) from None
        except Exception as error:
            known = meaning_of(error)
            if known is None or known is error:
                raise
            raise known from error


class _Step:
    """One attempt of one step."""

    def __init__(self, spec: Spec, state: JsonObject, context: StepContext, max_steps: int) -> None:
        self._spec, self._state, self._context = spec, state, context
        self._workshop = Workshop(context, state["inputs"])
        self._max_steps = max_steps

    async def run(self) -> StepResult:
        names = self._state["next"]
        if names is None:
            names = await self._choose(self._state)
        if not names:
            raise BadDefinition("Everybody had a turn; there is no step left to do.")
        if unknown := sorted(set(names) - turns.all_names(self._spec)):
            raise BadDefinition(f"The next turn is {unknown[0]!r}'s, whom the definition does not have.")
        if self._spec.functions:
            return await self._function(names[0])
        if isinstance(self._spec.orchestration, Magentic):
            return await self._team(self._spec.orchestration, names[0])
        if isinstance(self._spec.orchestration, Concurrent):
            return await self._all_at_once(names)
        if turns.is_person(self._spec, names[0]):
            return await self._person(names[0])
        return await self._agent(names[0])

    async def _choose(self, state: JsonObject) -> list[str]:
        assert isinstance(self._spec.orchestration, GroupChat)
        return await choose_speaker(self._workshop, self._spec, self._spec.orchestration, state)

    async def _agent(self, name: str) -> StepResult:
        kind, messages = self._spec.orchestration, self._state["messages"]
        if isinstance(kind, Handoff):
            return await self._handoff(kind, name)
        # In a sequence each agent is given what the one before it said, and nothing else.
        heard = public(messages)[-1:] if isinstance(kind, Sequential) else heard_by(messages, name)
        turn = await conversation.take_turn(self._workshop.agent(self._spec.agents[name]), heard)
        if turn.said is None:
            raise AnswerUnusable(f"The agent {name!r} did not answer.")
        new = [turn.for_all()[-1]] if isinstance(kind, Sequential) else turn.for_all()
        return await self._done(name, new, turn.said)

    async def _handoff(self, kind: Handoff, name: str) -> StepResult:
        if self._state["spoken"] >= (kind.max_turns or self._max_steps):
            raise BadDefinition(
                f"The handoffs did not end within {kind.max_turns or self._max_steps} turns (max_turns)."
            )
        agent = self._workshop.agent(self._spec.agents[name])
        decision = offer_handoffs(agent, _targets(self._spec, kind, name))
        turn = await conversation.take_turn(agent, heard_by(self._state["messages"], name))
        if decision.summary is not None:
            told = {"role": "assistant", "name": name, "content": decision.summary}
            return await self._done(name, [*turn.for_itself(), told], decision.summary, following=[])
        if decision.hand_to is not None:
            said = turn.said or f"Transferred to {decision.hand_to}"
            asked_by = name if turns.is_person(self._spec, decision.hand_to) else None
            return await self._done(name, turn.for_itself(), said, following=[decision.hand_to], asked_by=asked_by)
        if turn.said is None:
            raise AnswerUnusable(f"The agent {name!r} neither answered nor handed over.")
        if kind.human:
            person = turns.person(self._spec)
            return await self._done(name, turn.for_all(), turn.said, following=[person], asked_by=name)
        return await self._done(name, turn.for_all(), turn.said, following=[])

    async def _team(self, kind: Magentic, name: str) -> StepResult:
        """A turn in a Magentic team, and what its manager makes of it."""
        state, new, said = self._state, list[JsonObject](), ""
        if name != turns.MANAGER:
            heard = heard_by(heard_since_plan(state), name)
            turn = await conversation.take_turn(self._workshop.agent(self._spec.agents[name]), heard)
            new, said = turn.for_all(), turn.said or ""
        led = await lead(self._workshop, self._spec, kind, {**state, "messages": [*state["messages"], *new]})
        new += led.messages
        return await self._done(
            name, new, said or led.messages[-1]["content"], following=led.following, notes=led.notes
        )

    async def _person(self, name: str) -> StepResult:
        """Asks a person; the answer is a message of the user."""
        interrupt_id = f"{name}-{self._state['turns'].get(name, 0) + 1}"
        answer = self._context.answers.get(interrupt_id)
        messages = public(self._state["messages"])
        if answer is None:
            asked_by = self._state["asked_by"] or next((m["name"] for m in reversed(messages) if "name" in m), None)
            question = {"asked_by": asked_by, "last": last_text(self._state), "messages": messages}
            title = f"{asked_by} waits for an answer" if asked_by else f"It is the turn of {name}"
            return StepResult(
                self._state, turns.step_name(self._state), interrupts=(Interrupt(interrupt_id, question, title),)
            )
        text = (
            {True: "Approved.", False: "Rejected."}.get(answer.reply) if answer.value is None else as_text(answer.value)
        )
        return await self._done(name, [{"role": "user", "name": name, "content": text}], text or "")

    async def _all_at_once(self, names: list[str]) -> StepResult:
        heard = self._state["messages"][:1]
        try:
            async with asyncio.TaskGroup() as group:
                running = [
                    group.create_task(conversation.take_turn(self._workshop.agent(self._spec.agents[name]), heard))
                    for name in names
                ]
        except BaseExceptionGroup as failures:
            first = failures.exceptions[0]
            # Its cause tells what it means.
            raise first from first.__cause__
        taken = [task.result() for task in running]
        results = {turn.name: turn.said or "" for turn in taken}
        messages = [{"role": "assistant", "name": name, "content": text} for name, text in results.items()]
        after = turns.after(self._spec, self._state, names)
        return self._result({**after, "results": results}, messages, names, results)

    async def _function(self, name: str) -> StepResult:
        text = await run_function(self._workshop, self._spec.functions[name], self._state)
        after = turns.after(self._spec, self._state, [name])
        results = {**self._state["results"], name: text}
        return self._result(
            {**after, "results": results}, [{"role": "assistant", "name": name, "content": text}], [name], text
        )

    async def _done(
        self,
        name: str,
        new: list[JsonObject],
        said: str,
        *,
        following: list[str] | None = None,
        **more: Json,
    ) -> StepResult:
        """The result of a turn. `following` is who comes next where the turn itself decided it."""
        if following is None:
            after = turns.after(self._spec, self._state, [name])
        else:
            counts = {**self._state["turns"], name: self._state["turns"].get(name, 0) + 1}
            after = {"turns": counts, "spoken": self._state["spoken"] + 1, "next": following, "asked_by": None, **more}
        if after["next"] is None:
            state = {**self._state, **after, "messages": [*self._state["messages"], *new]}
            after["next"] = await self._choose(state)
        return self._result(after, new, [name], said)

    def _result(self, after: JsonObject, new: list[JsonObject], names: list[str], said: object) -> StepResult:
        state = {**self._state, **after, "messages": [*self._state["messages"], *new]}
        if state["next"]:
            return StepResult(state, turns.step_name(state), unit=said, units=tuple(names))
        return StepResult(state, None, outputs=_outputs(self._spec, state), unit=said, units=tuple(names))


def _targets(spec: Spec, kind: Handoff, name: str) -> dict[str, str]:
    """To whom an agent may hand over, with what it is told about them."""
    return {
        handoff.to: handoff.description or spec.agents[handoff.to].fields.description or ""
        for handoff in kind.handoffs
        if handoff.source == name
    }


def _outputs(spec: Spec, state: JsonObject) -> JsonObject:
    """The result of a run: the last text that was not a person's, all that was said, and what several said at once."""
    messages = public(state["messages"])
    said = [message for message in messages if not turns.is_person(spec, message.get("name", ""))]
    outputs = {"raw": said[-1]["content"], "messages": messages}
    return {**outputs, "results": state["results"]} if state["results"] else outputs


def _readable(definition: JsonObject) -> Spec:
    for problem in DEFINITION.validate(definition, tools=None):
        raise BadDefinition(f"{problem.path}: {problem.message}")
    return read(definition).spec
