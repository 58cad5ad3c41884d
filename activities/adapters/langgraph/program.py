"""A graph that is ready to run, and how one step of it is done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from langchain_core.runnables import RunnableConfig
from langgraph.errors import GraphRecursionError, InvalidUpdateError
from langgraph.pregel import Pregel
from pydantic_core import to_jsonable_python

from activities.adapters.base import BadDefinition, Interrupt, Json, JsonObject, StepContext
from activities.adapters.langgraph.codec import Unserialisable
from activities.adapters.langgraph.people import SURROUNDING, Questions
from activities.adapters.langgraph.saver import SESSION, Layout, Session, StateSaver
from activities.adapters.langgraph.view import plain

#: Nodes of one super-step that run at the same time, where a definition names no bound.
MAX_CONCURRENCY = 32


@dataclass(frozen=True)
class Program:
    """A compiled graph; shared by all runs, holds nothing of any."""

    graph: Pregel[Any, Any, Any, Any]
    saver: StateSaver
    layout: Layout
    #: What every call gets besides the session.
    config: RunnableConfig = field(default_factory=lambda: RunnableConfig())
    run_context: Mapping[str, Any] | None = None
    #: Name of the first step of a graph in code; empty where a condition decides it.
    first_step: str = ""

    def session(self, context: StepContext, state: JsonObject, path: str = "") -> Session:
        """What one call of the graph starts from."""
        return Session(context, state["inputs"], state, self.layout, Questions(context.answers), path)

    def shown(self, value: Any) -> Json:
        """A value of a node as plain JSON, for people."""
        if not self.layout.coded:
            return value
        try:
            return plain(self.saver.codec.encode(value))
        except Unserialisable:
            # Written to a channel that is not kept; people still see what it was.
            return to_jsonable_python(value, bytes_mode="base64", inf_nan_mode="strings", fallback=repr)


@dataclass(frozen=True)
class Progress:
    """What a call of a graph did: the updates of each node that ran, in order, and the nodes that run next.

    With `interrupts` the super-step is not done; these are its open questions.
    """

    updates: list[tuple[str, Any]]
    following: Sequence[str]
    interrupts: tuple[Interrupt, ...] = ()


async def begin(program: Program, session: Session, first_input: Any) -> Sequence[str]:
    """Takes the input in and runs no node yet; the nodes that are first. `advance` then goes on with the session."""
    following: Sequence[str] = ()
    config = _config(program, session, going_on=False)
    async for event in program.graph.astream(
        first_input, config, context=program.run_context, stream_mode="checkpoints", interrupt_before="*"
    ):
        following = cast(dict[str, Any], event)["next"]
    program.saver.settle(session)
    return following


async def advance(program: Program, session: Session, first_input: Any, *, one_step: bool) -> Progress:
    """Does one super-step, or runs to the end, from the session's state; `first_input` is None once it has begun.

    Raises what the nodes raise, and `BadDefinition` for writes that exclude each other.
    """
    updates: list[tuple[str, Any]] = []
    interrupts: dict[str, Interrupt] = {}
    following: Sequence[str] = ()
    call = program.graph.astream(
        first_input,
        _config(program, session, going_on=first_input is None),
        context=program.run_context,
        stream_mode=["updates", "checkpoints"],
        interrupt_after="*" if one_step else None,
        durability="sync",
    )
    try:
        async for part in call:
            mode, event = cast(tuple[str, dict[str, Any]], part)
            if mode == "checkpoints":
                following = event["next"]
            elif "__interrupt__" not in event:
                updates.extend(event.items())
            else:
                for question in event["__interrupt__"]:
                    asked = session.questions.named(question, program.shown(question.value))
                    interrupts[asked.id] = asked
    except InvalidUpdateError as error:
        # The rest of LangGraph's message is a link to its documentation.
        raise BadDefinition(str(error).partition("\n")[0]) from error
    except GraphRecursionError as error:
        limit = program.config.get("recursion_limit")
        raise BadDefinition(f"A graph inside a node did not end within {limit} steps.") from error
    # Branches ask in the order in which they come to it, which is not the same every time.
    return Progress(updates, following, tuple(interrupts[name] for name in sorted(interrupts)))


def _config(program: Program, session: Session, *, going_on: bool) -> RunnableConfig:
    configurable = {
        **program.config.get("configurable", {}),
        "thread_id": session.context.execution_id,
        SESSION: session,
        SURROUNDING: session.questions,
    }
    if going_on:
        # Going on from a checkpoint looks to LangGraph like the answer to an interrupt, and a subgraph with a memory of
        # its own would then take no input. This is the beginning of a new step instead.
        configurable["__pregel_resuming"] = False
    return {"max_concurrency": MAX_CONCURRENCY, **program.config, "configurable": configurable}
