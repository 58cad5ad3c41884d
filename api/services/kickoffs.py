"""Runs of external agents that requests start: with an Idempotency-Key, once.

A request with a key is written down before the service is asked, so that a repetition is answered with the same run. When
the answer of the service was lost, the run is looked up there, where that can be done; else nobody asks a second time.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

from activities.connections.base import ExternalClient, Kickoff, RemoteRefused, RemoteUnavailable, Target
from api.auth.principal import Principal
from api.services.auditing import audited
from api.services.idempotency import request_hash
from models.database import Database
from models.repositories.connections import ConnectionRepository
from models.repositories.starts import Paying, check_start
from models.tables import ExternalKickoff
from models.tables.base import now
from omium_core.errors import Conflict, IdempotencyConflict

#: For so long a request that was written down may still be on its way.
_UNDER_WAY = timedelta(minutes=2)


async def start(
    database: Database,
    caller: Principal,
    target: Target,
    client: ExternalClient,
    inputs: dict[str, Any],
    key: str | None,
    *,
    enforced: bool,
) -> Kickoff:
    """Raises `RemoteRefused`, `RemoteUnavailable`, `Conflict` for a key whose request cannot be repeated, and
    `CreditsExhausted` or `BudgetExceeded` where there is no money; `enforced` says whether credits are."""
    row = ExternalKickoff(
        tenant_id=caller.tenant_id,
        connection_id=UUID(target.id),
        idempotency_key=key or "",
        request_hash=request_hash("execute-connection", target.id, inputs),
    )
    async with database.transaction(caller.tenant_id) as session:
        connections = ConnectionRepository(session, caller.tenant_id)
        earlier = None if key is None else await connections.claim_kickoff(row)
        if earlier is None:
            # a key that is refused here is not claimed
            await check_start(session, caller.tenant_id, Paying(enforced, caller.key_id))
    if earlier is not None:
        return await _again(database, caller, target, client, earlier, row.request_hash)
    try:
        kickoff = await client.kickoff(target, inputs, row.id.hex)
    except (RemoteUnavailable, RemoteRefused) as error:
        if not error.arrived:
            await _settle(database, caller, row, None, key)
        raise
    await _settle(database, caller, row, kickoff, key)
    return kickoff


async def _again(
    database: Database,
    caller: Principal,
    target: Target,
    client: ExternalClient,
    earlier: ExternalKickoff,
    digest: str,
) -> Kickoff:
    if earlier.request_hash != digest:
        raise IdempotencyConflict("This Idempotency-Key was used for another request.")
    if earlier.kickoff_id is not None:
        return Kickoff(earlier.kickoff_id)
    found = await client.find(target, earlier.id.hex) if client.can_find else None
    if found is not None:
        await _settle(database, caller, earlier, found, earlier.idempotency_key)
        return found
    if now() - earlier.created_at < _UNDER_WAY:
        raise Conflict("A request with this Idempotency-Key is under way.", retry_after=5)
    raise Conflict(
        "Nobody can tell whether the agent was started: the service's answer was lost. Look at the service; "
        "another Idempotency-Key starts the agent once more."
    )


async def _settle(
    database: Database, caller: Principal, row: ExternalKickoff, kickoff: Kickoff | None, key: str | None
) -> None:
    async with database.transaction(caller.tenant_id) as session:
        if key is not None:
            await ConnectionRepository(session, caller.tenant_id).settle_kickoff(
                row.id, None if kickoff is None else kickoff.id
            )
        if kickoff is not None:
            told = {"kickoff_id": kickoff.id}
            await audited(session, caller, "connection.execute", "connection", row.connection_id, new=told)
