"""People's say in a crew: a task with `human_input` asks for approval where CrewAI would wait at a terminal.

Every attempt of a step begins anew with all answers so far; an attempt that has none for a question ends with it. What is
rejected with a word of feedback goes back to the agent, by CrewAI's own rules, and is asked about again.
"""

from __future__ import annotations

from dataclasses import replace

from crewai.agents.parser import AgentFinish
from crewai.core.providers.human_input import AsyncExecutorContext, ExecutorContext, SyncHumanInputProvider

from activities.adapters.base import Answer, Interrupt, StepContext, StepError
from activities.adapters.crewai.line import Line, LineCut
from activities.adapters.crewai.tools import as_text


class Rejected(StepError):
    """A person rejected the output of a task, and said nothing that the agent could do better."""

    failure_type = "validation_error"
    retryable = False
    redoable = False


class Asked(Exception):
    """A question has no answer yet."""

    def __init__(self, interrupt: Interrupt) -> None:
        super().__init__(interrupt.id)
        self.interrupt = interrupt


class Reviewer(SyncHumanInputProvider):
    """Stands where CrewAI looks for a person, for one task of one attempt."""

    def __init__(self, task: str, agent: str, context: StepContext, line: Line) -> None:
        self._task, self._agent, self._context, self._line = task, agent, context, line
        self._asked = 0

    def handle_feedback(self, formatted_answer: AgentFinish, context: ExecutorContext) -> AgentFinish:
        """The output as a person accepted it. CrewAI's own name, and its way to give feedback to the agent."""
        answer = self._answer_to(formatted_answer)
        while answer.decision == "reject":
            self._tell(context, formatted_answer, self._feedback(answer))
            formatted_answer = context._invoke_loop()
            answer = self._answer_to(formatted_answer)
        return _accepted(formatted_answer, answer)

    async def handle_feedback_async(self, formatted_answer: AgentFinish, context: AsyncExecutorContext) -> AgentFinish:
        """As `handle_feedback`."""
        answer = self._answer_to(formatted_answer)
        while answer.decision == "reject":
            self._tell(context, formatted_answer, self._feedback(answer))
            formatted_answer = await context._ainvoke_loop()
            answer = self._answer_to(formatted_answer)
        return _accepted(formatted_answer, answer)

    def _answer_to(self, output: AgentFinish) -> Answer:
        """What a person said to the output; without it the attempt ends with the question."""
        self._asked += 1
        name = self._task if self._asked == 1 else f"{self._task}#{self._asked}"
        if (answer := self._context.answers.get(name)) is not None:
            return answer
        question = {"task": self._task, "agent": self._agent, "output": self._get_output_string(output)}
        self._line.fail(Asked(Interrupt(name, question, self._task)))
        raise LineCut

    def _tell(self, context: ExecutorContext, output: AgentFinish, feedback: str) -> None:
        said = self._get_output_string(output)
        # CrewAI keeps an answer in the conversation only where tools were offered; feedback is about it, so it has to be there.
        if context.messages[-1].get("content") != said:
            context.messages.append({"role": "assistant", "content": said})
        context.messages.append(context._format_feedback_message(feedback))

    def _feedback(self, answer: Answer) -> str:
        """What the agent is told; a rejection without a word fails the step."""
        feedback = "" if answer.value is None else as_text(answer.value).strip()
        if not feedback:
            self._line.fail(Rejected(f"The output of the task {self._task!r} was rejected by a person."))
            raise LineCut
        return feedback


def _accepted(output: AgentFinish, answer: Answer) -> AgentFinish:
    if answer.decision != "edit" or answer.value is None:
        return output
    text = as_text(answer.value)
    return replace(output, output=text, text=text)
