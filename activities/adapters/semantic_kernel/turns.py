"""Who runs next: the rules of each orchestration, as far as no model is asked. Pure.

They are Semantic Kernel's own. A plan and a run follow the same code, so what was planned is what happens.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from activities.adapters.base import JsonObject
from activities.adapters.semantic_kernel.reading import Spec
from activities.adapters.semantic_kernel.schema import (
    DEFAULT_ROUNDS,
    Concurrent,
    GroupChat,
    Handoff,
    Magentic,
    Sequential,
)
from activities.adapters.semantic_kernel.states import new_state

#: The name of who leads a group chat or a Magentic team.
MANAGER: Final = "manager"
#: The name of the person whom an orchestration asks.
HUMAN: Final = "human"


def person(spec: Spec) -> str:
    """The name of the person whom an orchestration with `human` asks: that of an agent of this type, if there is one."""
    return next((agent.name for agent in spec.agents.values() if agent.is_human), HUMAN)


def is_person(spec: Spec, name: str) -> bool:
    """Whether a turn is a person's."""
    agent = spec.agents.get(name)
    return agent.is_human if agent is not None else name == HUMAN


def all_names(spec: Spec) -> frozenset[str]:
    """Everybody who may ever have a turn."""
    if spec.functions:
        return frozenset(spec.functions)
    names = {agent.name for agent in spec.members}
    if isinstance(spec.orchestration, (GroupChat, Handoff)) and spec.orchestration.human:
        names.add(person(spec))
    if isinstance(spec.orchestration, Magentic):
        names.add(MANAGER)
    return frozenset(names)


def first_state(spec: Spec, inputs: JsonObject) -> JsonObject:
    """The state before the first step."""
    return new_state(inputs, _first(spec), with_task=not spec.functions)


def chooses_by_model(spec: Spec) -> bool:
    """Whether a model is asked who speaks next."""
    return isinstance(spec.orchestration, GroupChat) and spec.orchestration.manager.type == "prompt"


def is_open_ended(spec: Spec) -> bool:
    """Whether only running tells what follows the first step."""
    return isinstance(spec.orchestration, (Handoff, Magentic)) or chooses_by_model(spec)


def step_names(spec: Spec) -> Iterator[str]:
    """The names of all steps, or of the first one where only running tells the rest."""
    state = first_state(spec, {})
    yield step_name(state)
    while not is_open_ended(spec):
        state = {**state, **after(spec, state, names := state["next"])}
        if not state["next"]:
            return
        assert names
        yield step_name(state)


def step_name(state: JsonObject) -> str:
    """What people call the step that comes next: whose turn it is, and the round where it is not the first."""
    if state["next"] is None:
        return f"turn {state['spoken'] + 1}"
    return " + ".join(_label(name, state["turns"].get(name, 0) + 1) for name in state["next"])


def after(spec: Spec, state: JsonObject, names: list[str]) -> JsonObject:
    """The fields of the state that change after a turn of `names`: `next`, `turns`, `spoken`, `asked_by`."""
    turns = {**state["turns"], **{name: state["turns"].get(name, 0) + 1 for name in names}}
    kind, asked_by = spec.orchestration, state["asked_by"]
    if spec.functions or isinstance(kind, (Sequential, Concurrent)):
        return {"turns": turns, "spoken": state["spoken"] + len(names), "next": _following(spec, names)}
    if asked_by is not None:
        # A person answered; in a group chat that is no turn, in a handoff the agent goes on.
        following = [asked_by] if isinstance(kind, Handoff) else speaker(spec, state["spoken"])
        return {"turns": turns, "spoken": state["spoken"], "asked_by": None, "next": following}
    spoken = state["spoken"] + 1
    if isinstance(kind, GroupChat) and _is_asked_after(spec, kind, names[0]):
        return {"turns": turns, "spoken": spoken, "asked_by": names[0], "next": [person(spec)]}
    return {"turns": turns, "spoken": spoken, "asked_by": None, "next": speaker(spec, spoken)}


def speaker(spec: Spec, spoken: int) -> list[str] | None:
    """Who speaks in a group chat after so many turns; nobody after the last round, None where a model chooses."""
    assert isinstance(spec.orchestration, GroupChat)
    if spoken >= max_rounds(spec.orchestration):
        return []
    return None if chooses_by_model(spec) else [in_turn(spec, spoken)]


def in_turn(spec: Spec, spoken: int) -> str:
    """The member whose turn it is when all speak one after the other."""
    return spec.members[spoken % len(spec.members)].name


def max_rounds(kind: GroupChat) -> int:
    """How many turns a group chat has."""
    return kind.max_rounds or DEFAULT_ROUNDS


def _first(spec: Spec) -> list[str] | None:
    kind = spec.orchestration
    if spec.functions:
        return [next(iter(spec.functions))]
    if isinstance(kind, GroupChat):
        return speaker(spec, 0)
    if isinstance(kind, Handoff):
        return [kind.start or next(agent.name for agent in spec.members if not agent.is_human)]
    if isinstance(kind, Magentic):
        return [MANAGER]
    names = [agent.name for agent in spec.members]
    return names[:1] if isinstance(kind, Sequential) else names


def _following(spec: Spec, names: list[str]) -> list[str]:
    """Who comes after `names` when all come one after the other; nobody after the last, and after all at once."""
    order = list(spec.functions) or [agent.name for agent in spec.members]
    position = order.index(names[-1]) + 1
    return order[position : position + 1]


def _is_asked_after(spec: Spec, kind: GroupChat, name: str) -> bool:
    if is_person(spec, name):
        return False
    return name in kind.human if isinstance(kind.human, list) else kind.human


def _label(name: str, turn: int) -> str:
    return name if turn == 1 else f"round {turn} · {name}"
