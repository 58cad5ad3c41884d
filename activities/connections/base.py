"""The interface of services that run agents, what they tell, and how they fail."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Protocol

from activities.adapters.base import Json, JsonObject

Phase = Literal["running", "succeeded", "failed", "cancelled"]

#: What takes the place of a token in texts that a service gave.
_HIDDEN: Final = "***"
_SHORTEST_SECRET: Final = 4
#: The longest text of a service that is told on.
LONGEST_TEXT: Final = 2000


@dataclass(frozen=True)
class Target:
    """Where a connection leads: the type and address of a service, the token it asks for, and what it wants beside."""

    id: str
    name: str
    kind: str
    url: str
    token: str = field(repr=False)
    options: Mapping[str, Any] = field(default_factory=dict)

    def hidden(self, text: str) -> str:
        """A text of the service without the token, which some services send back, and not too long."""
        if len(self.token) >= _SHORTEST_SECRET:
            text = text.replace(self.token, _HIDDEN)
        return text[:LONGEST_TEXT]


@dataclass(frozen=True)
class Kickoff:
    """A run that a service started; `status` is its own word, empty where it gave none."""

    id: str
    status: str = ""


@dataclass(frozen=True)
class Tokens:
    """What a run used, as far as the service tells."""

    input: int = 0
    output: int = 0

    @property
    def total(self) -> int:
        return self.input + self.output


@dataclass(frozen=True)
class RemoteRun:
    """How a run stands. `word` is the service's own for it; `tokens` is None where it tells nothing.

    `text` is what the run gave as text, `data` the same as data where it is more than a text; `error` is why it failed.
    """

    phase: Phase
    word: str
    text: str = ""
    data: Json = None
    error: str = ""
    tokens: Tokens | None = None


@dataclass(frozen=True)
class Inputs:
    """What an agent takes: names, and a JSON Schema where the service has one."""

    names: tuple[str, ...]
    schema: JsonObject | None = None


class ExternalClient(Protocol):
    """One service. Holds nothing of any tenant; belongs to one event loop.

    All calls raise `RemoteUnavailable` or `RemoteRefused`.
    """

    #: Whether `find` can tell what came of a kickoff whose answer was lost.
    can_find: bool

    async def check(self, target: Target) -> str:
        """Whether the service is there, knows the token and the agent: a sentence about what it said."""

    async def inputs(self, target: Target) -> Inputs: ...

    async def kickoff(self, target: Target, inputs: JsonObject, key: str) -> Kickoff:
        """Starts a run. `key` is the same however often the same run is asked for."""

    async def find(self, target: Target, key: str) -> Kickoff | None:
        """The run that was started with this key, None if none was. Only where `can_find`."""

    async def status(self, target: Target, kickoff_id: str) -> RemoteRun: ...

    async def cancel(self, target: Target, kickoff_id: str) -> bool:
        """Asks the service to stop a run. False if it has no way to be asked."""


class RemoteError(Exception):
    """Base of both; the message holds no secret.

    `status` is the service's HTTP status, None where it gave none or was not asked. `arrived`: it may have done what it was
    asked all the same.
    """

    def __init__(self, message: str, status: int | None = None, *, arrived: bool = False) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.arrived = arrived


class RemoteUnavailable(RemoteError):
    """The service did not answer, or said that it cannot now; `retry_after` is in seconds, where it said when."""

    def __init__(
        self, message: str, *, arrived: bool, retry_after: float | None = None, status: int | None = None
    ) -> None:
        super().__init__(message, status, arrived=arrived)
        self.retry_after = retry_after


class RemoteRefused(RemoteError):
    """The service will not do it, or must not be asked. `arrived`: it took it, and answered with something that is not read."""
