"""What an error of Semantic Kernel means: it wraps those of the client, of templates and of tools in its own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import httpx
from semantic_kernel.exceptions import BlockException

from activities.adapters.base import BadDefinition, ModelUnavailable, StepError, ToolFailed
from activities.adapters.model_clients import step_error
from activities.adapters.semantic_kernel.handlebars import HandlebarsError
from activities.templates import TemplateError

#: Raised when a template is read or filled; a tool that failed in it is inside.
_TEMPLATE_ERRORS: Final = (TemplateError, HandlebarsError, BlockException)


class ToolDoorShut(BaseException):
    """Ends a step whose tools cannot be called. No `Exception`: the framework would tell an agent about it and go on."""


class AnswerUnusable(StepError):
    """A model did not answer as it was asked to: the journal would give the same answer again."""

    retryable = False


def meaning_of(error: BaseException) -> Exception | None:
    """The step's error inside one of the framework's; None for one that is its own."""
    known: StepError | None = step_error(error)
    if known is not None:
        return known
    causes = list(_causes(error))
    for cause in causes:
        if isinstance(cause, ToolFailed):
            return cause
        if isinstance(cause, httpx.TransportError):
            # While an answer is streamed, the client lets these through as they are.
            return ModelUnavailable(f"The model endpoint broke off: {cause}")
    unfilled = next((cause for cause in causes if isinstance(cause, _TEMPLATE_ERRORS)), None)
    return BadDefinition(f"A template cannot be filled: {unfilled}") if unfilled is not None else None


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        yield cause
        cause = cause.__cause__
