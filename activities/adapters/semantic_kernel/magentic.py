"""A Magentic team, turn by turn: Semantic Kernel's own manager plans, and says after each turn who goes on, or that all is done.

The manager's calls belong to the step of the turn before them. What it remembers is made of the conversation since it planned
last, of its notes (facts and plan) and of three counters.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from pydantic import ValidationError
from semantic_kernel.agents import StandardMagenticManager
from semantic_kernel.agents.orchestration.magentic import MagenticContext, ProgressLedger, _TaskLedger
from semantic_kernel.contents import AuthorRole, ChatHistory, ChatMessageContent

from activities.adapters.base import JsonObject
from activities.adapters.semantic_kernel.build import Workshop, settings_of
from activities.adapters.semantic_kernel.conversation import to_content
from activities.adapters.semantic_kernel.errors import AnswerUnusable
from activities.adapters.semantic_kernel.reading import Spec
from activities.adapters.semantic_kernel.schema import Magentic
from activities.adapters.semantic_kernel.states import public

#: What the framework calls the manager in its requests.
_NAME: Final = "MagenticManagerActor"


@dataclass
class Led:
    """What the manager did after a turn: messages for all, who is next (nobody at the end), and its notes."""

    notes: JsonObject
    messages: list[JsonObject] = field(default_factory=list)
    following: list[str] = field(default_factory=list)


async def lead(workshop: Workshop, spec: Spec, kind: Magentic, state: JsonObject) -> Led:
    """The manager's part after a turn, or before the first one."""
    return await _Manager(workshop, spec, kind, state).lead()


def heard_since_plan(state: JsonObject) -> list[JsonObject]:
    """The conversation since the manager planned last: nobody remembers what was before."""
    since: int = state["notes"]["since"]
    return list(state["messages"][since:])


class _Manager:
    def __init__(self, workshop: Workshop, spec: Spec, kind: Magentic, state: JsonObject) -> None:
        self._kind, self._state = kind, state
        self._people = {agent.name: agent.fields.description or agent.name for agent in spec.members}
        model = kind.manager.chosen_model
        self._manager = StandardMagenticManager(
            chat_completion_service=workshop.service(model), prompt_execution_settings=settings_of(model)
        )
        self._led = Led(dict(state.get("notes") or {}))

    async def lead(self) -> Led:
        notes = self._led.notes
        if not notes:
            notes.update(rounds=0, stalls=0, resets=0, since=len(self._state["messages"]))
            self._publish((await self._manager.plan(self._context())).content, _NAME)
            self._note()
        while not self._is_over():
            notes["rounds"] += 1
            ledger = await self._progress()
            if ledger.is_request_satisfied.answer:
                self._publish((await self._manager.prepare_final_answer(self._context())).content, None)
                return self._led
            stuck = not ledger.is_progress_being_made.answer or bool(ledger.is_in_loop.answer)
            notes["stalls"] = notes["stalls"] + 1 if stuck else max(0, notes["stalls"] - 1)
            if notes["stalls"] > self._kind.manager.max_stall_count:
                await self._plan_again()
                continue
            return self._next(str(ledger.next_speaker.answer), str(ledger.instruction_or_question.answer))
        return self._led

    def _is_over(self) -> bool:
        limits, notes = self._kind.manager, self._led.notes
        too_often = limits.max_reset_count is not None and notes["resets"] > limits.max_reset_count
        return bool(too_often or notes["rounds"] >= limits.max_round_count)

    async def _progress(self) -> ProgressLedger:
        try:
            return await self._manager.create_progress_ledger(self._context())
        except ValidationError as error:
            raise AnswerUnusable(
                f"The manager's model did not answer in the form that it was asked for: {error}"
            ) from error

    async def _plan_again(self) -> None:
        notes = self._led.notes
        self._manager.task_ledger = _TaskLedger(facts=_assistant(notes["facts"]), plan=_assistant(notes["plan"]))
        ledger = await self._manager.replan(self._context())
        notes.update(stalls=0, resets=notes["resets"] + 1, since=len(self._state["messages"]) + len(self._led.messages))
        self._publish(ledger.content, _NAME)
        self._note()

    def _next(self, name: str, instruction: str) -> Led:
        if name not in self._people:
            raise AnswerUnusable(f"The manager's model names a speaker that there is not: {name!r}.")
        self._publish(instruction, _NAME)
        self._led.following = [name]
        return self._led

    def _context(self) -> MagenticContext:
        notes = self._led.notes
        history = ChatHistory()
        for message in public([*self._state["messages"], *self._led.messages][notes["since"] :]):
            if message.get("name") != _NAME:
                history.add_message(
                    ChatMessageContent(role=AuthorRole.USER, content=f"Transferred to {message['name']}")
                )
            history.add_message(to_content(message))
        return MagenticContext(
            task=to_content(self._state["messages"][0]),
            participant_descriptions=self._people,
            chat_history=history,
            round_count=notes["rounds"],
            stall_count=notes["stalls"],
            reset_count=notes["resets"],
        )

    def _publish(self, text: str, name: str | None) -> None:
        self._led.messages.append({"role": "assistant", **({"name": name} if name else {}), "content": text})

    def _note(self) -> None:
        ledger = self._manager.task_ledger
        assert ledger is not None
        self._led.notes.update(facts=ledger.facts.content, plan=ledger.plan.content)


def _assistant(text: str) -> ChatMessageContent:
    return ChatMessageContent(role=AuthorRole.ASSISTANT, content=text)
