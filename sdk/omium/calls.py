"""What the methods of the SDK are made of: descriptions of requests, which say nothing about how they are sent.

A method of a resource returns a `Request`, or a `Flow` where one request is not enough. `OmiumClient` and
`AsyncOmiumClient` each know how to run both, so a method is written once and serves both clients:

    class Workflows(Resource[ClientT]):
        @operation
        def get(self, workflow_id: str) -> Request[Workflow]: ...

    OmiumClient().workflows.get(id)             # Workflow
    await AsyncOmiumClient().workflows.get(id)  # Workflow
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator, Mapping
from dataclasses import dataclass, field
from functools import wraps
from typing import IO, TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, Self, TypeVar, overload
from urllib.parse import quote
from uuid import uuid4

from omium.errors import InvalidArgument

if TYPE_CHECKING:
    from omium.client import AsyncOmiumClient, OmiumClient

T = TypeVar("T")
P = ParamSpec("P")
ClientT = TypeVar("ClientT")


@dataclass(frozen=True, slots=True)
class Request(Generic[T]):
    """One HTTP request whose answer is a `T`.

    `path` is relative to the base URL. Entries of `query` and `body` that are None are left out. `timeout` in seconds
    overrides the client's. `retry=False` leaves it to the caller to try again. `answers` are the statuses beside 2xx
    whose content is an answer too, not an error.
    """

    method: str
    path: str
    query: Mapping[str, str | int | bool | None] = field(default_factory=dict)
    body: Mapping[str, Any] | None = None
    idempotency_key: str | None = None
    timeout: float | None = None
    retry: bool = True
    needs_key: bool = True
    answers: frozenset[int] = frozenset()

    @property
    def repeatable(self) -> bool:
        """Whether sending it twice does no more than sending it once: reads, and starts that carry a key."""
        return self.retry and (self.method == "GET" or self.idempotency_key is not None)


@dataclass(frozen=True, slots=True)
class Pause:
    """A flow waits this many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Download:
    """An answer of any kind that goes to a file as it arrives, however long it is. What comes back is its length in bytes."""

    request: Request[Any]
    file: IO[bytes]


#: Several requests and pauses that end in a `T`. To a `Request` the client sends back the answer, or the `OmiumError`
#: as a value, so that a flow can decide which errors it lives with.
Flow = Generator[Request[Any] | Pause | Download, Any, T]


class Resource(Generic[ClientT]):
    """Methods that belong together, bound to the client that runs them."""

    def __init__(self, client: ClientT) -> None:
        self._client = client


class operation(Generic[P, T]):
    """Makes a description of requests a method: blocking on `OmiumClient`, awaitable on `AsyncOmiumClient`."""

    def __init__(self, describe: Callable[Concatenate[Any, P], Request[T] | Flow[T]]) -> None:
        self._describe = describe
        self.__doc__ = describe.__doc__

    @overload
    def __get__(self, resource: None, owner: type) -> Self: ...
    @overload
    def __get__(self, resource: Resource[OmiumClient], owner: type) -> Callable[P, T]: ...
    @overload
    def __get__(self, resource: Resource[AsyncOmiumClient], owner: type) -> Callable[P, Coroutine[Any, Any, T]]: ...
    def __get__(self, resource: Resource[Any] | None, owner: type) -> Any:
        if resource is None:
            return self

        @wraps(self._describe.__get__(resource, owner))
        def run(*args: P.args, **kwargs: P.kwargs) -> Any:
            return resource._client.run(self._describe(resource, *args, **kwargs))

        return run


def endpoint(*segments: str) -> str:
    """A path from its segments, quoted.

    Raises:
        InvalidArgument: a segment would change the meaning of the path, as an empty id would.
    """
    for segment in segments:
        if segment in ("", ".", ".."):
            raise InvalidArgument(f"{segment!r} is not an id.")
    return "/".join(quote(segment, safe="") for segment in segments)


def fresh_key(given: str | None) -> str:
    """The Idempotency-Key of a request that starts something: the caller's, or a new one."""
    return given if given is not None else str(uuid4())
