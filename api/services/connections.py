"""External connections: make, read, change, delete, try out; start an agent there and ask how it stands."""

from __future__ import annotations

import asyncio
import time
from typing import Any
from uuid import UUID

import httpx

from activities.adapters.base import ToolFailed
from activities.connections import reading
from activities.connections.base import ExternalClient, Inputs, RemoteError, RemoteRefused, RemoteUnavailable, Target
from activities.connections.book import opened
from activities.connections.options import options_of
from activities.tools.guarded import HostNotFound
from api.auth.principal import Principal
from api.schemas.common import json_problems
from api.schemas.connections import ConnectionTest, ConnectionUpdate, KickoffStatus, KickoffView
from api.services import kickoffs
from api.services.auditing import audited
from api.wiring import Wiring
from models.repositories.base import Listing, Page
from models.repositories.connections import ConnectionRepository
from models.tables import ExternalConnection
from models.tables.base import now
from omium_core.errors import Conflict, ExternalServiceFailed, InvalidInput, KickoffNotFound, OmiumError, Problem

#: Seconds for finding out whether a name leads to a private address when a connection is made.
_LOOK_UP = 3.0
_HINT = 4
#: The shortest token of which a hint is given: the rest must stay hard to guess.
_SHORTEST_HINTED = 12
_LONGEST_ID = 200

# `list` is a method below
Problems = list[Problem]


class ConnectionService:
    def __init__(self, process: Wiring) -> None:
        self._process = process
        self._services = process.external

    async def create(
        self, caller: Principal, connection_type: str, fields: dict[str, Any], options: dict[str, Any]
    ) -> ExternalConnection:
        """`fields` are those of the table, `options` those of the type. Raises `InvalidInput`."""
        token = fields.pop("bearer_token") or ""
        # first, for what follows takes names of fields for text
        _refuse(json_problems(fields["metadata"], "metadata"))
        meta, problems = options_of(connection_type, fields.pop("metadata"), options)
        problems += await self._url_problems(fields["crew_url"])
        if connection_type != "autogen_studio" and not token:
            problems.append(Problem("bearer_token", "Is required."))
        _refuse(problems)
        cipher = await self._process.database.keys.cipher(caller.tenant_id)
        connection = ExternalConnection(
            tenant_id=caller.tenant_id,
            connection_type=connection_type,
            bearer_token_encrypted=cipher.seal_token(token),
            token_hint=_hint(token),
            meta=meta,
            **{**fields, "crew_url": fields["crew_url"].rstrip("/")},
        )
        async with self._process.database.transaction(caller.tenant_id) as session:
            await ConnectionRepository(session, caller.tenant_id).add(connection)
            await audited(session, caller, "connection.create", "connection", connection.id, new=_told(connection))
        return connection

    async def get(self, caller: Principal, connection_id: UUID) -> ExternalConnection:
        async with self._process.database.transaction(caller.tenant_id) as session:
            return await ConnectionRepository(session, caller.tenant_id).get(connection_id)

    async def list(self, caller: Principal, page: Page, **filters: Any) -> Listing[ExternalConnection]:
        async with self._process.database.transaction(caller.tenant_id) as session:
            return await ConnectionRepository(session, caller.tenant_id).list(page, **filters)

    async def update(self, caller: Principal, connection_id: UUID, wanted: ConnectionUpdate) -> ExternalConnection:
        """Used as it is now by runs within seconds. Raises `InvalidInput`, `ConnectionNotFound`."""
        changes = wanted.model_dump(exclude_unset=True, exclude_none=True)
        options = {name: changes.pop(name) for name in _OPTIONS if name in changes}
        problems = json_problems(changes.get("metadata", {}), "metadata")
        if "crew_url" in changes:
            problems += await self._url_problems(changes["crew_url"])
        _refuse(problems)
        cipher = await self._process.database.keys.cipher(caller.tenant_id)
        async with self._process.database.transaction(caller.tenant_id) as session:
            connections = ConnectionRepository(session, caller.tenant_id)
            row = await connections.get(connection_id, lock=True)
            before = _told(row)
            meta, problems = options_of(row.connection_type, changes.pop("metadata", row.meta), options)
            token = changes.pop("bearer_token", None)
            if "crew_url" in changes and token is None and not _same_origin(changes["crew_url"], row.crew_url):
                moved = "Give the token again: a new address is not sent a token that was meant for another."
                problems.append(Problem("bearer_token", moved))
            _refuse(problems)
            if token is not None:
                row.bearer_token_encrypted, row.token_hint = cipher.seal_token(token), _hint(token)
            for name, value in changes.items():
                setattr(row, name, value.rstrip("/") if name == "crew_url" else value)
            row.meta, row.updated_at = meta, now()
            await connections.add(row)
            after = {**_told(row), "token_changed": token is not None}
            await audited(session, caller, "connection.update", "connection", row.id, old=before, new=after)
        return row

    async def delete(self, caller: Principal, connection_id: UUID) -> None:
        """Its token is gone with it. Runs that wait for an agent behind it fail at their next look."""
        async with self._process.database.transaction(caller.tenant_id) as session:
            connections = ConnectionRepository(session, caller.tenant_id)
            row = await connections.get(connection_id, lock=True)
            await audited(session, caller, "connection.delete", "connection", row.id, old=_told(row))
            await connections.delete(row)

    async def test(self, caller: Principal, connection_id: UUID) -> ConnectionTest:
        """Asks the service whether it is there and knows the token. What it says is an answer, not an error."""
        target = await self._target(caller, connection_id)
        began = time.monotonic()
        status: int | None = None
        try:
            client = self._services.client(target.kind)
            message, ok = await (client.check(target) if client else self._services.check_provider(target)), True
        except RemoteError as error:
            message, ok, status = error.message, False, error.status
        async with self._process.database.transaction(caller.tenant_id) as session:
            if ok:
                await ConnectionRepository(session, caller.tenant_id).synced(connection_id, now())
            await audited(session, caller, "connection.test", "connection", connection_id, new={"ok": ok})
        latency = int((time.monotonic() - began) * 1000)
        return ConnectionTest(ok=ok, message=message, remote_status=status, latency_ms=latency)

    async def inputs(self, caller: Principal, connection_id: UUID) -> Inputs:
        """What the agent takes. Raises `ExternalServiceFailed`."""
        target, client = await self._agent(caller, connection_id)
        try:
            return await client.inputs(target)
        except RemoteError as error:
            raise _failed(error) from None

    async def execute(
        self, caller: Principal, connection_id: UUID, inputs: dict[str, Any], key: str | None
    ) -> KickoffView:
        """Starts the agent; with a key once, however often it is asked. Raises `ExternalServiceFailed`, `Conflict`."""
        _refuse(json_problems(inputs, "inputs"))
        target, client = await self._agent(caller, connection_id)
        try:
            enforced = self._process.settings.enforces_credits
            kickoff = await kickoffs.start(
                self._process.database, caller, target, client, inputs, key, enforced=enforced
            )
        except RemoteError as error:
            raise _failed(error) from None
        message = "Crew execution started" if target.kind == "crewai_aop" else "Agent execution started"
        return KickoffView(kickoff_id=kickoff.id, status=reading.shown(kickoff.status), message=message)

    async def status(self, caller: Principal, connection_id: UUID, kickoff_id: str) -> KickoffStatus:
        """How a run stands at the service. Raises `KickoffNotFound`, `ExternalServiceFailed`."""
        if len(kickoff_id) > _LONGEST_ID or not kickoff_id.isprintable() or set(kickoff_id) <= {"."}:
            raise KickoffNotFound("The service knows no run with this id.", kickoff_id=kickoff_id[:_LONGEST_ID])
        target, client = await self._agent(caller, connection_id)
        try:
            run = await client.status(target, kickoff_id)
        except RemoteRefused as error:
            if error.status == 404:
                raise KickoffNotFound("The service knows no run with this id.", kickoff_id=kickoff_id) from None
            raise _failed(error) from None
        except RemoteError as error:
            raise _failed(error) from None
        sees = caller.may("payload:read") and run.phase == "succeeded"
        return KickoffStatus(
            kickoff_id=kickoff_id,
            status=reading.shown(run.word) if reading.phase_of(run.word) == run.phase else reading.SHOWN[run.phase],
            remote_status=run.word,
            output=run.text if sees else None,
            output_json=run.data if sees else None,
            error=(run.error or None) if caller.may("payload:read") else None,
            token_usage=run.tokens.total if run.tokens else None,
        )

    async def _agent(self, caller: Principal, connection_id: UUID) -> tuple[Target, ExternalClient]:
        target = await self._target(caller, connection_id, must_be_active=True)
        client = self._services.client(target.kind)
        if client is None:
            raise Conflict("A model provider runs no agents.", connection_id=str(connection_id))
        return target, client

    async def _target(self, caller: Principal, connection_id: UUID, *, must_be_active: bool = False) -> Target:
        row = await self.get(caller, connection_id)
        if must_be_active and not row.is_active:
            raise Conflict("The connection is switched off.", connection_id=str(connection_id))
        return opened(row, await self._process.database.keys.cipher(caller.tenant_id))

    async def _url_problems(self, text: str) -> Problems:
        """What is wrong with an address as far as it can be told now; each request to it is judged again."""
        try:
            url = httpx.URL(text)
        except (httpx.InvalidURL, ValueError):
            return [Problem("crew_url", "Is no address.")]
        if url.query or url.fragment or "?" in text or "#" in text:
            return [Problem("crew_url", "Must have neither a query nor a fragment.")]
        try:
            async with asyncio.timeout(_LOOK_UP):
                await self._services.guard.judge(url)
        except (HostNotFound, TimeoutError):
            # names may be known later, and to the workers alone
            return []
        except ToolFailed as error:
            return [Problem("crew_url", str(error))]
        return []


_OPTIONS = ("assistant_id", "team_id", "user_id", "models", "default")


def _refuse(problems: list[Problem]) -> None:
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise InvalidInput(f"{problems[0].path}: {problems[0].message}{more}", problems)


def _failed(error: RemoteError) -> OmiumError:
    details: dict[str, Any] = {"remote_status": error.status}
    if isinstance(error, RemoteUnavailable) and error.retry_after is not None:
        details["retry_after"] = int(error.retry_after) + 1
    return ExternalServiceFailed(error.message, **details)


def _hint(token: str) -> str:
    return token[-_HINT:] if len(token) >= _SHORTEST_HINTED else ""


def _told(row: ExternalConnection) -> dict[str, Any]:
    """A connection as the audit log may know it."""
    return {
        "connection_type": row.connection_type,
        "connection_name": row.connection_name,
        "crew_url": row.crew_url,
        "is_active": row.is_active,
    }


def _same_origin(first: str, second: str) -> bool:
    a, b = httpx.URL(first), httpx.URL(second)
    return (a.scheme, a.host, a.port) == (b.scheme, b.host, b.port)
