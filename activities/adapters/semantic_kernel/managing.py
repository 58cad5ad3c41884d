"""A group chat that a model leads: it is asked whether the chat is over, and who speaks next."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, TypeVar

from pydantic import ValidationError
from semantic_kernel.agents.orchestration.group_chat import BooleanResult, StringResult
from semantic_kernel.contents import AuthorRole, ChatHistory, ChatMessageContent

from activities.adapters.base import JsonObject
from activities.adapters.semantic_kernel.build import Workshop, settings_of
from activities.adapters.semantic_kernel.conversation import to_content
from activities.adapters.semantic_kernel.reading import Spec
from activities.adapters.semantic_kernel.schema import GroupChat, ManagerFields
from activities.adapters.semantic_kernel.states import public
from activities.adapters.semantic_kernel.turns import in_turn

_SELECTION: Final = "You lead a conversation. Choose the participant who should speak next. Answer with the exact name."
_PARTICIPANTS: Final = "The participants are:"
_SELECT: Final = "Who speaks next?"
_TERMINATE: Final = "Is the conversation over? Answer true or false."

R = TypeVar("R", BooleanResult, StringResult)


async def choose_speaker(workshop: Workshop, spec: Spec, kind: GroupChat, state: JsonObject) -> list[str]:
    """The name of who speaks next, or nobody when the chat is over. The last round is not the model's to decide."""
    manager = kind.manager
    if manager.termination_prompt is not None and state["spoken"] > 0:
        over = await _ask(workshop, manager, manager.termination_prompt, state["messages"], _TERMINATE, BooleanResult)
        if over is not None and over.result:
            return []
    participants = "\n".join(f"{agent.name}: {agent.fields.description or ''}".rstrip(": ") for agent in spec.members)
    prompt = f"{manager.selection_prompt or _SELECTION}\n\n{_PARTICIPANTS}\n{participants}"
    chosen = await _ask(workshop, manager, prompt, state["messages"], _SELECT, StringResult)
    return [_meant(spec, chosen.result if chosen is not None else "", state["spoken"])]


async def _ask(
    workshop: Workshop,
    manager: ManagerFields,
    prompt: str,
    messages: Sequence[JsonObject],
    question: str,
    form: type[R],
) -> R | None:
    """A model's answer in a form; None if it is in another."""
    history = ChatHistory()
    history.add_system_message(prompt)
    for message in public(list(messages)):
        history.add_message(to_content(message))
    history.add_message(ChatMessageContent(role=AuthorRole.USER, content=question))
    model = manager.chosen_model
    answer = await workshop.service(model).get_chat_message_content(history, settings_of(model, response_format=form))
    try:
        return form.model_validate_json(str(answer))
    except ValidationError:
        return None


def _meant(spec: Spec, answer: str, spoken: int) -> str:
    """The member that an answer names; the one whose turn it is where it names nobody."""
    names = [agent.name for agent in spec.members]
    if answer in names:
        return answer
    named = [name for name in names if name.lower() in answer.lower()]
    return named[0] if len(named) == 1 else in_turn(spec, spoken)
