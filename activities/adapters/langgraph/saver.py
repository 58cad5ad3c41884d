"""LangGraph's checkpoints as the state of a run.

One saver serves all runs of a graph: what belongs to a run is its `Session`, which travels in the config of the call.
The pending writes of finished branches are not kept: a branch that runs again is answered from the journal.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self, cast
from uuid import UUID

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    BaseCheckpointSaver,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
)
from langgraph.checkpoint.serde.types import INTERRUPT

from activities.adapters.base import BadDefinition, JsonObject, StepContext
from activities.adapters.langgraph.codec import Codec, Unserialisable
from activities.adapters.langgraph.people import Questions
from activities.adapters.langgraph.view import FORMAT

#: Where the session lies in a call's `configurable`.
SESSION = "__omium_session__"

_CHECKPOINT_VERSION = 4


@dataclass(frozen=True)
class Layout:
    """How a graph's channels relate to the fields of a state.

    `field_of` gives the field of a channel, None for LangGraph's own channels. `coded` says that values go
    through the codec; without it they are JSON already and are taken as they are, without looking inside.
    """

    field_of: Callable[[str], str | None]
    channel_of: Callable[[str], str]
    coded: bool


@dataclass
class Session:
    """One call of a graph: the state that it starts from, and the checkpoints that it makes, by namespace."""

    context: StepContext
    inputs: JsonObject
    state: JsonObject
    layout: Layout
    questions: Questions
    #: Path of the node that the graph is in, with a `/` at its end; empty for the run's own graph.
    path: str = ""
    #: The state fields as the nodes of the present super-step see them; kept for graphs in JSON only.
    values: Mapping[str, Any] = field(default_factory=dict)
    saved: dict[str, tuple[Checkpoint, CheckpointMetadata]] = field(default_factory=dict)


class StateSaver(BaseCheckpointSaver[int]):
    """Reads checkpoints from a session's state and leaves new ones in the session."""

    def __init__(self, codec: Codec) -> None:
        super().__init__()
        self.codec = codec

    def with_allowlist(self, extra_allowlist: Iterable[tuple[str, ...] | type]) -> Self:
        """LangGraph tells which types a graph's schema names. The saver stays the same one."""
        self.codec.allow(t if isinstance(t, tuple) else (t.__module__, t.__name__) for t in extra_allowlist)
        return self

    def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        session, namespace = _where(config)
        if namespace not in session.saved:
            stored = _stored(session.state, namespace)
            if stored is None:
                return None
            session.saved[namespace] = self._read(session, stored)
        checkpoint, metadata = session.saved[namespace]
        return CheckpointTuple(_config(config, namespace, checkpoint), checkpoint, metadata, None, [])

    def put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        session, namespace = _where(config)
        session.saved[namespace] = (checkpoint, metadata)
        if not namespace and not session.layout.coded:
            session.values = fields(session.layout, checkpoint)
        return _config(config, namespace, checkpoint)

    def put_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """Finished branches are not kept apart from their step."""

    def list(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> Iterator[CheckpointTuple]:
        """The present checkpoint alone: a state knows no earlier one."""
        present = self.get_tuple(config) if config is not None and before is None else None
        yield from [present] if present is not None else []

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        return self.get_tuple(config)

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        return self.put(config, checkpoint, metadata, new_versions)

    async def aput_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """As `put_writes`."""

    async def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        for present in self.list(config, before=before):
            yield present

    def state(self, session: Session, following: Sequence[str]) -> JsonObject:
        """The state after a session, and the nodes that run next. Raises `BadDefinition` for what cannot be stored."""
        state = {**session.state, **self._write(session, "", session.state), "format": FORMAT, "next": list(following)}
        kept = {
            namespace: self._write(session, namespace, _stored(session.state, namespace) or {})
            for namespace in session.saved
            # The checkpoints of a subgraph's call end with the call; a subgraph with a memory has no task id.
            if namespace and ":" not in namespace
        }
        if kept or "children" in session.state:
            state["children"] = {**session.state.get("children", {}), **kept}
        return state

    def settle(self, session: Session) -> None:
        """Gives the present checkpoint the id that it would have if it had been read from a state."""
        checkpoint, metadata = session.saved[""]
        session.saved[""] = (Checkpoint(**{**checkpoint, "id": _checkpoint_id(metadata["step"])}), metadata)

    def _read(self, session: Session, stored: JsonObject) -> tuple[Checkpoint, CheckpointMetadata]:
        graph, layout = stored["graph"], session.layout
        values = stored["values"]
        channels = {layout.channel_of(name): self.codec.decode(v) if layout.coded else v for name, v in values.items()}
        channels.update((name, self.codec.decode(value)) for name, value in graph["channels"].items())
        checkpoint = Checkpoint(
            v=_CHECKPOINT_VERSION,
            id=_checkpoint_id(graph["step"]),
            ts="",
            channel_values=channels,
            channel_versions=dict(graph["versions"]),
            versions_seen={node: dict(seen) for node, seen in graph["seen"].items()},
            updated_channels=graph["updated"],
        )
        return checkpoint, CheckpointMetadata(source="loop", step=graph["step"], parents={})

    def _write(self, session: Session, namespace: str, previous: JsonObject) -> JsonObject:
        checkpoint, metadata = session.saved[namespace]
        versions = checkpoint["channel_versions"]
        unchanged = previous.get("graph", {}).get("versions", {})
        values: JsonObject = {}
        own: JsonObject = {}
        for channel, value in checkpoint["channel_values"].items():
            name = session.layout.field_of(channel)
            if name is None:
                own[channel] = self._encode(channel, value)
            elif not session.layout.coded:
                values[name] = value
            elif name in previous.get("values", {}) and unchanged.get(channel) == versions.get(channel):
                values[name] = previous["values"][name]
            else:
                values[name] = self._encode(channel, value)
        graph = {
            "step": metadata["step"],
            "versions": versions,
            # What was seen when the last call stopped is filled in again by the next call.
            "seen": {node: seen for node, seen in checkpoint["versions_seen"].items() if node != INTERRUPT},
            "updated": checkpoint["updated_channels"],
            "channels": own,
        }
        return {"values": values, "graph": graph}

    def _encode(self, channel: str, value: Any) -> Any:
        try:
            return self.codec.encode(value)
        except Unserialisable as error:
            raise BadDefinition(f"The state cannot be stored: in {channel!r}, {error}.") from error


def fields(layout: Layout, checkpoint: Checkpoint) -> JsonObject:
    """The state fields of a checkpoint."""
    named = ((layout.field_of(channel), value) for channel, value in checkpoint["channel_values"].items())
    return {name: value for name, value in named if name is not None}


def _checkpoint_id(step: int) -> str:
    """Made from the step's number, not from the clock, so that equal runs have equal states and ask equal questions."""
    return str(UUID(int=step + 1))


def _stored(state: JsonObject, namespace: str) -> JsonObject | None:
    found = state.get("children", {}).get(namespace) if namespace else state
    return found if found is not None and "graph" in found else None


def _where(config: RunnableConfig) -> tuple[Session, str]:
    configurable = config["configurable"]
    return cast(Session, configurable[SESSION]), configurable.get("checkpoint_ns", "")


def _config(config: RunnableConfig, namespace: str, checkpoint: Checkpoint) -> RunnableConfig:
    return {
        "configurable": {
            "thread_id": config["configurable"].get("thread_id", ""),
            "checkpoint_ns": namespace,
            "checkpoint_id": checkpoint["id"],
        }
    }
