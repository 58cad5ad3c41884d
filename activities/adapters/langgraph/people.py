"""Questions of nodes to people: names that stay the same over attempts, and the way of an answer to `interrupt()`.

Every attempt of a step begins anew with all answers so far, so LangGraph is never resumed: it looks for an answer that
was given to the whole call, and finds this module instead, which has one for each question.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Final

from langgraph.config import get_config
from langgraph.errors import GraphInterrupt
from langgraph.types import Interrupt as GraphQuestion

from activities.adapters.base import Answer, BadDefinition, Interrupt, Json

#: Where LangGraph looks in a call's `configurable` for what surrounds the call.
SURROUNDING: Final = "__pregel_scratchpad"

#: Separates the tasks in a LangGraph namespace, and ends the name of each.
_TASKS, _NAME = "|", ":"


@dataclass
class Questions:
    """The questions of one call of a graph. Stands where LangGraph keeps the answers of a surrounding call."""

    answers: Mapping[str, Answer]
    #: How often each node of a graph in JSON asked.
    _asked: Counter[str] = field(default_factory=Counter)
    #: Open questions of `interrupt()`: LangGraph's id of each, with ours and the name of the node.
    _open: dict[str, tuple[str, str]] = field(default_factory=dict)

    def get_null_resume(self, consume: bool = False) -> Any:
        """What the `interrupt()` that calls this returns; None if it is not answered. LangGraph's own name of it."""
        config = get_config()
        namespace = str(config["configurable"]["checkpoint_ns"])
        # A node that asks again gets the answers in the order of its questions.
        earlier = len(config["configurable"][SURROUNDING].resume)
        metadata = config.get("metadata", {})
        name = f"{metadata.get('langgraph_node')}-{_digest(namespace, metadata, earlier)}"
        if (answer := self.answers.get(name)) is not None:
            return answer.reply
        slot = f"{namespace}{_TASKS}{earlier}" if earlier else namespace
        graphs_id = GraphQuestion.from_ns(value=None, ns=slot).id
        self._open[graphs_id] = (name, str(metadata.get("langgraph_node")))
        return None

    def ask(self, path: str, question: Json, title: str) -> Answer:
        """The answer to the question of a node of a graph in JSON. Without one it ends the node, as `interrupt()` does."""
        self._asked[path] += 1
        # A graph inside a node may come to the same node again within one step.
        name = path if self._asked[path] == 1 else f"{path}#{self._asked[path]}"
        answer = self.answers.get(name)
        if answer is None:
            raise interruption([Interrupt(name, question, title)])
        return answer

    def named(self, question: GraphQuestion[Any], shown: Json) -> Interrupt:
        """A question of LangGraph's as ours; `shown` is its value as plain JSON. Raises `BadDefinition`."""
        if isinstance(question.value, Interrupt):
            return question.value
        if question.id not in self._open:
            raise BadDefinition("A node raised NodeInterrupt, which cannot be answered: call interrupt() instead.")
        name, node = self._open[question.id]
        return Interrupt(name, shown, node)


def interruption(questions: list[Interrupt]) -> GraphInterrupt:
    """What a node raises to ask these."""
    return GraphInterrupt([GraphQuestion(value=question, id=question.id) for question in questions])


def _digest(namespace: str, metadata: Mapping[str, Any], earlier: int) -> str:
    """What tells a question from all others of its step.

    The id of an outer task is made from the step's state. Those inside of it are made from the clock as well; there the
    names of the nodes, the place among equal tasks and the number of the inner step say which one it is.
    """
    outer, *inner = namespace.split(_TASKS)
    names = [task.partition(_NAME)[0] for task in inner]
    place = (outer, names, metadata.get("langgraph_path"), metadata.get("langgraph_step"), earlier)
    return sha256(repr(place).encode()).hexdigest()[:12]
