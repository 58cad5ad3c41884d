"""Runs turns of a team with AutoGen. The only way into AutoGen for the adapter: importing this module imports the framework."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from autogen_agentchat.messages import BaseAgentEvent, BaseChatMessage, MessageFactory

from activities.adapters.autogen.build import MANAGERS, TeamBuilder, build_condition
from activities.adapters.autogen.conditions import Timeout
from activities.adapters.autogen.graphs import settle
from activities.adapters.autogen.questions import last_said
from activities.adapters.autogen.spec import TeamSpec
from activities.adapters.autogen.states import TeamState, bare
from activities.adapters.autogen.turns import Asked, TurnControl, finish
from activities.adapters.base import BadDefinition, Interrupt, JsonObject, ModelEndpoint, StepContext, ToolBox
from activities.adapters.model_clients import step_error

#: How AutoGen says that nothing of a graph is left to run.
_GRAPH_END: Final = "Digraph execution is complete"


@dataclass(frozen=True)
class Turn:
    """What came of a turn: the state after it with the messages of the turn, or a question to a person."""

    state: TeamState
    said: tuple[JsonObject, ...] = ()
    interrupt: Interrupt | None = None


def quieten() -> None:
    """Errors of a turn are the step's; AutoGen would write each with its traceback, and the agents' words, to stderr."""
    for name in ("autogen_core", "autogen_core.events", "autogen_agentchat", "autogen_agentchat.events"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    for module in (r"autogen_(core|ext|agentchat)\b", r"activities\.adapters\.autogen\b"):
        warnings.filterwarnings("ignore", category=UserWarning, module=module)
    # an answer with a schema, dumped for AutoGen's log
    warnings.filterwarnings("ignore", message="Pydantic serializer warnings", category=UserWarning)


def try_to_build(team: TeamSpec, tools: ToolBox) -> str | None:
    """What AutoGen has against a team; None if it builds. No call is made. For a thread with a running loop."""
    endpoint = ModelEndpoint("http://127.0.0.1/v1", "none", "model")
    try:
        TeamBuilder(team, endpoint, tools, TurnControl(0, {})).team()
        if team.condition is not None:
            build_condition(team.condition)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return None


async def run_turn(team: TeamSpec, state: TeamState, context: StepContext) -> Turn:
    """One turn; of a team that cannot be stepped, all of them. Errors are mapped to those of the contract."""
    control = TurnControl(state.turn + 1, context.answers)
    builder = TeamBuilder(team, context.model, context.tools, control, shown=last_said(state.messages))
    began = time.monotonic()
    try:
        built = builder.team()
        pending = _messages(builder, state.pending)
        if team.is_stepped and state.agents:
            await built.load_state(_to_autogen(team, state))
    except Exception as error:
        raise BadDefinition(f"AutoGen cannot take this team up: {error}") from error
    try:
        result = await finish(built, pending, control)
        saved = await built.save_state()
    except Asked as asked:
        return Turn(state, interrupt=asked.interrupt)
    except Exception as error:
        raise step_error(error) or error from error
    after = _from_autogen(team, state, saved["agent_states"])
    if any(isinstance(one.fields, Timeout) for one in team.conditions()):
        after = replace(after, seconds=(state.seconds or 0.0) + time.monotonic() - began)
    said = tuple(after.thread[len(state.thread) + len(state.pending) :])
    return Turn(await _ended(team, builder, after, result.stop_reason), said)


async def stop_reason(team: TeamSpec, state: TeamState) -> str | None:
    """Whether the messages that the team is about to be told end the conversation, as AutoGen checks before any turn."""
    return await _condition_met(team, MessageFactory(), state)


async def _ended(team: TeamSpec, builder: TeamBuilder, state: TeamState, reason: str | None) -> TeamState:
    """The state with the end of the conversation noted in it, or the person whose turn it is."""
    if not team.is_stepped:
        return replace(state, done=True, stop_reason=reason)
    if team.graph is not None and reason == _GRAPH_END:
        return replace(state, done=True, stop_reason=reason)
    last = state.thread[-1] if state.thread else {}
    if last.get("type") == "HandoffMessage" and last.get("target") in team.people:
        return replace(state, asks=last["target"])
    if team.is_single:
        return replace(state, done=True)
    met = await _condition_met(team, builder.messages(), state)
    limit = team.config.max_turns
    if met is None and limit is not None and state.turns >= limit:
        met = f"Maximum number of turns {limit} reached."
    return state if met is None else replace(state, done=True, stop_reason=met)


async def _condition_met(team: TeamSpec, factory: MessageFactory, state: TeamState) -> str | None:
    """What the team's own condition says to the conversation since the task, or since a person's last answer."""
    if team.condition is None or not team.is_stepped:
        return None
    condition = build_condition(team.condition, elapsed=state.seconds or 0.0)
    heard: list[BaseAgentEvent | BaseChatMessage] = []
    for dumped in [*state.thread, *state.pending][state.since :]:
        heard.append(factory.create(dumped))
        # a condition hears the conversation turn by turn: the events of an agent's work with its message
        if isinstance(heard[-1], BaseChatMessage):
            met = await condition(heard)
            if met is not None:
                return met.content
            heard = []
    return None


def _messages(builder: TeamBuilder, dumped: Sequence[JsonObject]) -> list[BaseChatMessage]:
    factory = builder.messages()
    messages = [factory.create(message) for message in dumped]
    return [message for message in messages if isinstance(message, BaseChatMessage)]


def _to_autogen(team: TeamSpec, state: TeamState) -> JsonObject:
    manager = {**state.manager, "message_thread": state.thread}
    return {"type": "TeamState", "agent_states": {**state.agents, MANAGERS[team.kind]: manager}}


def _from_autogen(team: TeamSpec, state: TeamState, saved: Any) -> TeamState:
    """The state after a turn. Agents of a graph speak at the same time: what they said is kept in the order of the team."""
    manager = dict(saved[MANAGERS[team.kind]])
    thread = [bare(message) for message in manager.pop("message_thread")]
    order = {name: index for index, name in enumerate(team.names)}
    agents = {name: dict(saved[name]) for name in team.names}
    if team.graph is not None:
        told = len(state.thread) + len(state.pending)
        spoke = {message["source"] for message in thread[told:]}
        thread[told:] = sorted(thread[told:], key=lambda message: order.get(message["source"], -1))
        manager = settle(team.graph, team.names, manager)
        for name, container in agents.items():
            heard = len(spoke - {name})
            buffer = container["message_buffer"]
            start = len(buffer) - heard
            container["message_buffer"] = buffer[:start] + sorted(buffer[start:], key=lambda one: order[one["source"]])
    for container in agents.values():
        container["message_buffer"] = [bare(message) for message in container["message_buffer"]]
    return replace(
        state,
        thread=thread,
        pending=[],
        agents=agents if team.is_stepped else {},
        manager=manager if team.is_stepped else {},
        turn=state.turn + 1,
        turns=state.turns + 1,
    )
