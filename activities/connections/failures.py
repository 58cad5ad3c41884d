"""How a step fails that waits for an agent elsewhere."""

from __future__ import annotations

from activities.adapters.base import StepError


class ExternalUnavailable(StepError):
    """The service cannot be reached; what it was asked to do goes on, or was not begun. Worth another try."""

    failure_type = "external_unavailable"


class ExternalRefused(StepError):
    """The service refused (token, inputs, address): it will again until somebody changes that."""

    failure_type = "external_refused"
    retryable = False
    redoable = True


class ExternalFailed(StepError):
    """The agent's run ended without a result. Another one costs again, and may act again: somebody decides."""

    failure_type = "external_failed"
    retryable = False
    redoable = True


class ExternalUnknown(StepError):
    """Nobody can tell whether the service started a run. It is not asked again unless somebody decides so."""

    failure_type = "external_unknown"
    retryable = False
    redoable = True
