"""The two clients. They differ in how they send and how they wait, and in nothing else."""

from __future__ import annotations

import asyncio
import time
from types import TracebackType
from typing import Any, Self, TypeVar, cast

import httpx
from tenacity import AsyncRetrying, Retrying

from omium.calls import Download, Flow, Pause, Request
from omium.config import resolve
from omium.errors import OmiumError
from omium.resources import (
    Analytics,
    ApiKeys,
    Approvals,
    AuditLogs,
    Auth,
    Billing,
    Budgets,
    Checkpoints,
    Connections,
    ConsensusLogs,
    DataRights,
    Executions,
    Failures,
    Members,
    Notifications,
    Policies,
    Roles,
    Schedules,
    Webhooks,
    Workflows,
)
from omium.transport import client_options, connection_error, read_answer, request_arguments, retry_policy
from omium.types import JsonObject

T = TypeVar("T")

#: What one asks when nothing else works: without a key, once, and "not ready" is an answer.
HEALTH: Request[JsonObject] = Request("GET", "health/ready", retry=False, needs_key=False, answers=frozenset({503}))


class OmiumClient:
    """Blocking client. Safe to share between threads; close it, or use it in a `with` block.

    Args:
        api_key: defaults to OMIUM_API_KEY, then the configuration file, then the local stack.
        base_url: with or without /api/v1; defaults to OMIUM_BASE_URL, then as above, then http://127.0.0.1:8000.
        timeout: seconds for one request.
        max_retries: how often a request is repeated when the connection fails or a proxy answers 502, 503 or 504.
            Only reads, and starts (which carry an Idempotency-Key), are ever repeated.
        access_token: of a person who signed in (`auth.login`), instead of a key.

    Every method raises a subclass of `omium.OmiumError`.
    """

    def __init__(
        self,
        api_key: str | None = None,
        base_url: str | None = None,
        timeout: float = 30,
        max_retries: int = 4,
        access_token: str | None = None,
    ) -> None:
        self._connection = resolve(api_key, base_url, access_token)
        self._max_retries = max_retries
        self._http = httpx.Client(**client_options(self._connection, timeout))
        self.workflows: Workflows[OmiumClient] = Workflows(self)
        self.executions: Executions[OmiumClient] = Executions(self)
        self.checkpoints: Checkpoints[OmiumClient] = Checkpoints(self)
        self.approvals: Approvals[OmiumClient] = Approvals(self)
        self.connections: Connections[OmiumClient] = Connections(self)
        self.consensus: ConsensusLogs[OmiumClient] = ConsensusLogs(self)
        self.failures: Failures[OmiumClient] = Failures(self)
        self.policies: Policies[OmiumClient] = Policies(self)
        self.auth: Auth[OmiumClient] = Auth(self)
        self.members: Members[OmiumClient] = Members(self)
        self.roles: Roles[OmiumClient] = Roles(self)
        self.api_keys: ApiKeys[OmiumClient] = ApiKeys(self)
        self.notifications: Notifications[OmiumClient] = Notifications(self)
        self.audit: AuditLogs[OmiumClient] = AuditLogs(self)
        self.data_rights: DataRights[OmiumClient] = DataRights(self)
        self.schedules: Schedules[OmiumClient] = Schedules(self)
        self.webhooks: Webhooks[OmiumClient] = Webhooks(self)
        self.billing: Billing[OmiumClient] = Billing(self)
        self.budgets: Budgets[OmiumClient] = Budgets(self)
        self.analytics: Analytics[OmiumClient] = Analytics(self)

    @property
    def base_url(self) -> str:
        """The address in use, with /api/v1."""
        return self._connection.base_url

    def health(self) -> JsonObject:
        """Whether the API is ready, under `status`, and which part is not, under `checks`. Asked once, without a key."""
        return self.run(HEALTH)

    def run(self, plan: Request[T] | Flow[T]) -> T:
        """Carries out what a method of a resource describes."""
        if isinstance(plan, Request):
            return self._send(plan)
        reply: Any = None
        while True:
            try:
                effect = plan.send(reply)
            except StopIteration as end:
                return cast(T, end.value)
            reply = self._perform(effect)

    def _perform(self, effect: Request[Any] | Pause | Download) -> Any:
        if isinstance(effect, Pause):
            time.sleep(effect.seconds)
            return None
        try:
            return self._save(effect) if isinstance(effect, Download) else self._send(effect)
        except OmiumError as error:
            return error

    def _save(self, download: Download) -> int:
        arguments = request_arguments(download.request, self._connection)
        size = 0
        try:
            with self._http.stream(**arguments) as response:
                if not response.is_success:
                    response.read()
                    read_answer(response)
                for piece in response.iter_bytes():
                    size += download.file.write(piece)
        except httpx.RequestError as error:
            raise connection_error(error, self._connection) from error
        return size

    def _send(self, request: Request[T]) -> T:
        arguments = request_arguments(request, self._connection)
        return cast(
            T, Retrying(**retry_policy(request, self._max_retries))(self._send_once, arguments, request.answers)
        )

    def _send_once(self, arguments: dict[str, Any], answers: frozenset[int]) -> Any:
        try:
            return read_answer(self._http.request(**arguments), answers)
        except httpx.RequestError as error:
            raise connection_error(error, self._connection) from error

    def close(self) -> None:
        """Gives the connections back."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class AsyncOmiumClient:
    """The same for asyncio: the same arguments and methods, each of which is awaited. Use it in `async with`."""

    def __init__(
        self,
        api_key: str | None = None,
        base_url: str | None = None,
        timeout: float = 30,
        max_retries: int = 4,
        access_token: str | None = None,
    ) -> None:
        self._connection = resolve(api_key, base_url, access_token)
        self._max_retries = max_retries
        self._http = httpx.AsyncClient(**client_options(self._connection, timeout))
        self.workflows: Workflows[AsyncOmiumClient] = Workflows(self)
        self.executions: Executions[AsyncOmiumClient] = Executions(self)
        self.checkpoints: Checkpoints[AsyncOmiumClient] = Checkpoints(self)
        self.approvals: Approvals[AsyncOmiumClient] = Approvals(self)
        self.connections: Connections[AsyncOmiumClient] = Connections(self)
        self.consensus: ConsensusLogs[AsyncOmiumClient] = ConsensusLogs(self)
        self.failures: Failures[AsyncOmiumClient] = Failures(self)
        self.policies: Policies[AsyncOmiumClient] = Policies(self)
        self.auth: Auth[AsyncOmiumClient] = Auth(self)
        self.members: Members[AsyncOmiumClient] = Members(self)
        self.roles: Roles[AsyncOmiumClient] = Roles(self)
        self.api_keys: ApiKeys[AsyncOmiumClient] = ApiKeys(self)
        self.notifications: Notifications[AsyncOmiumClient] = Notifications(self)
        self.audit: AuditLogs[AsyncOmiumClient] = AuditLogs(self)
        self.data_rights: DataRights[AsyncOmiumClient] = DataRights(self)
        self.schedules: Schedules[AsyncOmiumClient] = Schedules(self)
        self.webhooks: Webhooks[AsyncOmiumClient] = Webhooks(self)
        self.billing: Billing[AsyncOmiumClient] = Billing(self)
        self.budgets: Budgets[AsyncOmiumClient] = Budgets(self)
        self.analytics: Analytics[AsyncOmiumClient] = Analytics(self)

    @property
    def base_url(self) -> str:
        """The address in use, with /api/v1."""
        return self._connection.base_url

    async def health(self) -> JsonObject:
        """Whether the API is ready, under `status`, and which part is not, under `checks`. Asked once, without a key."""
        return await self.run(HEALTH)

    async def run(self, plan: Request[T] | Flow[T]) -> T:
        """Carries out what a method of a resource describes."""
        if isinstance(plan, Request):
            return await self._send(plan)
        reply: Any = None
        while True:
            try:
                effect = plan.send(reply)
            except StopIteration as end:
                return cast(T, end.value)
            reply = await self._perform(effect)

    async def _perform(self, effect: Request[Any] | Pause | Download) -> Any:
        if isinstance(effect, Pause):
            await asyncio.sleep(effect.seconds)
            return None
        try:
            return await (self._save(effect) if isinstance(effect, Download) else self._send(effect))
        except OmiumError as error:
            return error

    async def _save(self, download: Download) -> int:
        arguments = request_arguments(download.request, self._connection)
        size = 0
        try:
            async with self._http.stream(**arguments) as response:
                if not response.is_success:
                    await response.aread()
                    read_answer(response)
                async for piece in response.aiter_bytes():
                    size += await asyncio.to_thread(download.file.write, piece)
        except httpx.RequestError as error:
            raise connection_error(error, self._connection) from error
        return size

    async def _send(self, request: Request[T]) -> T:
        arguments = request_arguments(request, self._connection)
        return cast(
            T,
            await AsyncRetrying(**retry_policy(request, self._max_retries))(
                self._send_once, arguments, request.answers
            ),
        )

    async def _send_once(self, arguments: dict[str, Any], answers: frozenset[int]) -> Any:
        try:
            return read_answer(await self._http.request(**arguments), answers)
        except httpx.RequestError as error:
            raise connection_error(error, self._connection) from error

    async def close(self) -> None:
        """Gives the connections back."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
