"""What can go wrong for a caller of the SDK, in one family.

OmiumError
├── ConfigurationError      no usable address or key is configured
├── InvalidArgument         what was passed cannot be sent at all
├── OmiumConnectionError    no answer came
├── ExecutionTimeout        the run did not end in the time given
└── OmiumAPIError           the API refused, or could not do it
    ├── InvalidInput        400, 413, 422
    ├── AuthenticationError 401, 403
    ├── NotFound            404
    └── Conflict            409
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from omium.types import Execution


class OmiumError(Exception):
    """Base of all errors of this package."""


class ConfigurationError(OmiumError):
    """No usable address or key is configured; the message says how to set one."""


class InvalidArgument(OmiumError, ValueError):
    """An argument cannot be sent: an empty id, or a value that JSON has no word for. Nothing was sent."""


class OmiumConnectionError(OmiumError, ConnectionError):
    """No answer came: the address cannot be reached, or the connection broke. The message says what to do."""


class Problem(NamedTuple):
    """One thing that is wrong with what was sent; `path` names the field, as in `workflow_definition.nodes[2].tool`."""

    path: str
    message: str


class OmiumAPIError(OmiumError):
    """An answer other than 2xx.

    `code` is stable and meant for programs (`WORKFLOW_NOT_FOUND`), `message` for people. `request_id` finds the request
    in the server's logs; it is empty when the answer did not come from Omium itself, as from a proxy.
    """

    def __init__(
        self,
        status_code: int,
        code: str,
        message: str,
        details: Mapping[str, Any] | None = None,
        request_id: str = "",
    ) -> None:
        super().__init__(status_code, code, message, details, request_id)
        self.status_code = status_code
        self.code = code
        self.message = message
        self.details: dict[str, Any] = dict(details or {})
        self.request_id = request_id

    @property
    def problems(self) -> list[Problem]:
        """The fields that are wrong, where the API names them."""
        errors = self.details.get("errors")
        entries = errors if isinstance(errors, list) else []
        return [
            Problem(str(entry.get("path", "")), str(entry.get("message", "")))
            for entry in entries
            if isinstance(entry, dict)
        ]

    def __str__(self) -> str:
        # one sentence: the message often names the first problem already, so only what is new is added
        told = [
            f"{problem.path}: {problem.message}".strip(": ").rstrip(".")
            for problem in self.problems
            if problem.message not in self.message or problem.path not in self.message
        ]
        sentence = ": ".join(part for part in (self.message.rstrip("."), "; ".join(told)) if part)
        origin = f"{self.code}, request {self.request_id}" if self.request_id else self.code
        return f"{sentence} ({origin})"


class InvalidInput(OmiumAPIError):
    """What was sent is wrong (400, 413, 422); `problems` names the fields."""


class AuthenticationError(OmiumAPIError):
    """The key is missing, wrong or expired (401), or may not do this (403)."""


class NotFound(OmiumAPIError):
    """Nothing of that id exists for this tenant."""


class Conflict(OmiumAPIError):
    """The state of things does not allow it, or an Idempotency-Key came again with another body."""


class ExecutionTimeout(OmiumError, TimeoutError):
    """The run did not end in the time given. It goes on by itself.

    `execution` is what was seen last, None if the API never answered.
    """

    def __init__(self, message: str, execution_id: str, execution: Execution | None = None) -> None:
        super().__init__(message, execution_id, execution)
        self.message = message
        self.execution_id = execution_id
        self.execution = execution

    def __str__(self) -> str:
        return self.message
