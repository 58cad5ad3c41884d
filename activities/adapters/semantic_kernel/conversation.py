"""One turn of an agent: messages into the framework's objects, the agent's turn, and what came of it as messages again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from semantic_kernel import Kernel
from semantic_kernel.agents import ChatCompletionAgent, ChatHistoryAgentThread
from semantic_kernel.contents import (
    AuthorRole,
    ChatMessageContent,
    FunctionCallContent,
    FunctionResultContent,
    TextContent,
)
from semantic_kernel.contents.chat_message_content import CMC_ITEM_TYPES

from activities.adapters.base import BadDefinition, JsonObject
from activities.adapters.semantic_kernel.states import as_text


@dataclass(frozen=True)
class Turn:
    """What an agent did: `said` is its answer (None if it only called functions), `kept` what it remembers of the turn."""

    name: str
    said: str | None
    kept: list[JsonObject] = field(default_factory=list)

    def for_all(self) -> list[JsonObject]:
        """The turn as messages of a conversation: what all hear, and what only the agent itself knows."""
        if self.said is None:
            return self.for_itself()
        heard = {"role": "assistant", "name": self.name, "content": self.said}
        if self.kept and self.kept[-1] == heard:
            return [*self._own(self.kept[:-1]), heard]
        # It said something while it called tools as well, which it remembers as one text.
        return [*self._own(self.kept), {**heard, "but": self.name}]

    def for_itself(self) -> list[JsonObject]:
        """The turn as messages that nobody else hears."""
        return self._own(self.kept)

    def _own(self, messages: Sequence[JsonObject]) -> list[JsonObject]:
        return [{**message, "only": self.name} for message in messages]


async def take_turn(agent: ChatCompletionAgent, heard: Sequence[JsonObject], kernel: Kernel | None = None) -> Turn:
    """Lets an agent answer what it heard. `kernel` is another one than its own."""
    messages: list[str | ChatMessageContent] = [to_content(message) for message in heard]
    if not messages:
        raise BadDefinition("There is no message that the agent could answer.")
    thread = ChatHistoryAgentThread()
    texts: list[str] = []
    async for item in agent.invoke_stream(messages, thread=thread, kernel=kernel):
        texts.append(item.message.content)
    remembered = [message async for message in thread.get_messages()]
    kept = [from_content(message) for message in remembered[len(messages) :]]
    return Turn(agent.name, "".join(texts) if texts else None, kept)


def to_content(message: JsonObject) -> ChatMessageContent:
    """A message as the framework has it. People have no names there."""
    try:
        role = AuthorRole(message["role"])
        items: list[CMC_ITEM_TYPES] = [
            *(FunctionCallContent(**call) for call in message.get("calls", ())),
            *(FunctionResultContent(**result) for result in message.get("results", ())),
        ]
        items = items or [TextContent(text=message["content"])]
    except (KeyError, TypeError, ValueError) as error:
        raise BadDefinition(f"A message of the state cannot be read: {error}") from error
    return ChatMessageContent(role=role, items=items, name=message.get("name") if role != AuthorRole.USER else None)


def from_content(content: ChatMessageContent) -> JsonObject:
    """A message as JSON data: what the next request is made of, and nothing that differs from run to run."""
    message: JsonObject = {"role": content.role.value, "content": content.content}
    if content.name:
        message["name"] = content.name
    calls = [item for item in content.items if isinstance(item, FunctionCallContent)]
    results = [item for item in content.items if isinstance(item, FunctionResultContent)]
    if calls:
        message["calls"] = [{"id": c.id, "name": c.name, "arguments": c.arguments} for c in calls]
    if results:
        message["results"] = [{"id": r.id, "name": r.name, "result": as_text(str(r.result))} for r in results]
    return message
