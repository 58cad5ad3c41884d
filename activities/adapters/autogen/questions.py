"""Questions to people: what a person is shown at their turn, and what the team hears of the answer. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from activities.adapters.autogen.states import as_text
from activities.adapters.base import Answer, Interrupt, Json, JsonObject


def question_to(name: str, turn: int, question: Json, count: int = 1) -> Interrupt:
    """The question to the person called `name` in a turn; `count` tells several of one turn apart."""
    number = f"-{count}" if count > 1 else ""
    return Interrupt(id=f"turn-{turn}-{name}{number}", question=question, title=f"Turn of {name}")


def last_said(messages: Sequence[JsonObject]) -> JsonObject:
    """What a person is shown: who spoke last, and what."""
    last = messages[-1] if messages else {"source": "", "content": ""}
    return {"source": last["source"], "message": as_text(last["content"])}


def reply_of(answer: Answer) -> str:
    """The person's words: what came with the answer; a rejection says so, and an answer without words is one word."""
    text = as_text(answer.value) if answer.value is not None else ""
    if answer.decision == "reject":
        return f"REJECT: {text}" if text else "REJECT"
    return text or "APPROVE"
