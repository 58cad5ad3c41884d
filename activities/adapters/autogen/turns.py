"""What one turn may be stopped by, and how what happens inside AutoGen reaches the step.

AutoGen turns every error into a `RuntimeError` with its text. What matters is therefore noted here, where it happens, and
the turn is cancelled through AutoGen's own token, which drops the calls that are in flight.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final, NoReturn

from autogen_agentchat.base import TaskResult, Team
from autogen_agentchat.messages import BaseChatMessage
from autogen_core import CancellationToken

from activities.adapters.autogen.questions import question_to, reply_of
from activities.adapters.base import Answer, Interrupt, Json

#: How long a cancelled team may take to come to rest.
_GRACE: Final = 0.5


class Asked(Exception):
    """The turn cannot go on before a person answers."""

    def __init__(self, interrupt: Interrupt) -> None:
        super().__init__(interrupt.id)
        self.interrupt = interrupt


class TurnControl:
    """One attempt of one turn: its token, the first thing that went wrong, and the answers of people.

    `turn` is the number of the turn; it is part of what a question is called.
    """

    def __init__(self, turn: int, answers: Mapping[str, Answer]) -> None:
        self.token = CancellationToken()
        self.error: Exception | None = None
        self._turn = turn
        self._answers = answers
        self._questions: dict[str, int] = {}

    def fail(self, error: Exception) -> None:
        """Ends the turn with an error; the first one counts."""
        if self.error is None:
            self.error = error
            self.token.cancel()

    def stop(self, error: Exception) -> NoReturn:
        """Ends the turn from inside AutoGen, which waits for ever when a cancelled turn raises anything else than this."""
        self.fail(error)
        raise asyncio.CancelledError from error

    def ask(self, name: str, question: Json) -> str:
        """What the person called `name` answered; before there is an answer, the turn ends with `Asked`."""
        count = self._questions[name] = self._questions.get(name, 0) + 1
        interrupt = question_to(name, self._turn, question, count)
        answer = self._answers.get(interrupt.id)
        if answer is None:
            self.stop(Asked(interrupt))
        return reply_of(answer)


async def finish(team: Team, messages: list[BaseChatMessage], control: TurnControl) -> TaskResult:
    """Runs a team until it stops. What was noted in `control` is raised; cancelling drops what is in flight."""
    running = asyncio.create_task(_run(team, messages, control.token))
    try:
        await asyncio.wait({running})
    except asyncio.CancelledError:
        control.token.cancel()
        await asyncio.wait({running}, timeout=_GRACE)
        running.cancel()
        raise
    failure = None if running.cancelled() else running.exception()
    if control.error is not None:
        raise control.error from failure
    if running.cancelled():
        raise RuntimeError("AutoGen cancelled a turn by itself.")
    return running.result()


async def _run(team: Team, messages: list[BaseChatMessage], token: CancellationToken) -> TaskResult:
    return await team.run(task=messages or None, cancellation_token=token)
