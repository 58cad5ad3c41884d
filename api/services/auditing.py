"""What the audit log is told by use cases: who did what to which thing, in the transaction that does it.

Each request that may change something leaves one entry. A use case that knows more than the request itself (old and new
values, another action) calls `audited` in its own transaction; the middleware (`api.audit_trail`) sees that and writes none. One
that steers a run, which changes nothing in a transaction of the API, gives the values with `detailed`.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from pydantic_core import to_jsonable_python
from sqlmodel.ext.asyncio.session import AsyncSession

from activities.webhooks.queueing import queue_action
from api.auth.principal import Origin, Principal
from models.database import Database
from models.repositories.audit import INSERT, AuditEntry, row_of, write_entry
from models.sealing import sealed_with
from omium_core.errors import TenantErased

#: Longer texts of callers (agents, addresses) are cut.
LONGEST = 1000


@dataclass
class Noted:
    """What use cases have told the log within one request. `settled`: whatever the answer, nothing need be added."""

    origin: Origin
    written: bool = False
    settled: bool = False
    old: dict[str, Any] | None = None
    new: dict[str, Any] | None = None
    #: What the request is about, where neither its path nor its answer says so.
    resource: tuple[str, UUID] | None = None


#: The request that is being worked on; None outside of one that may change something.
current: ContextVar[Noted | None] = ContextVar("omium_audit", default=None)


async def audited(
    session: AsyncSession,
    caller: Principal,
    action: str,
    resource_type: str,
    resource_id: UUID | None,
    *,
    old: Mapping[str, Any] | None = None,
    new: Mapping[str, Any] | None = None,
) -> None:
    """Writes the entry of one change. `action` is `<resource>.<what>`; values hold no secret and no payload."""
    entry = entry_of(caller, action, resource_type, resource_id, origin=origin_of(caller), old=old, new=new)
    await write_entry(session, entry)
    # webhook endpoints hear of the same, in the same transaction
    await queue_action(session, caller.tenant_id, action, resource_type, resource_id, caller.name, _plain(new))
    if (noted := current.get()) is not None:
        noted.written = True


def detailed(
    *,
    old: Mapping[str, Any] | None = None,
    new: Mapping[str, Any] | None = None,
    resource: tuple[str, UUID] | None = None,
) -> None:
    """Values for the entry that the middleware writes: for use cases whose change is not made in a transaction of theirs."""
    if (noted := current.get()) is not None:
        noted.old, noted.new, noted.resource = _plain(old), _plain(new), resource


async def audited_by_system(
    database: Database,
    tenant_id: UUID,
    action: str,
    resource_type: str,
    resource_id: UUID | None = None,
    *,
    user_id: UUID | None = None,
    api_key_id: UUID | None = None,
    old: Mapping[str, Any] | None = None,
    new: Mapping[str, Any] | None = None,
    status: str = "success",
    origin: Origin | None = None,
    session: AsyncSession | None = None,
) -> None:
    """The same where nobody is authenticated yet or any more: sign-in, a failed one, a replayed token.

    Within `session`, a transaction of the system role, or in one of its own. `status` is success, denied or failure.
    `origin` is that of the request that is being worked on, unless it is given.
    """
    noted = current.get()
    origin = origin or (noted.origin if noted else Origin())
    entry = AuditEntry(
        tenant_id=tenant_id,
        action=action,
        resource_type=resource_type,
        resource_id=resource_id,
        user_id=user_id,
        api_key_id=api_key_id,
        old_values=_plain(old),
        new_values=_plain(new),
        metadata={"source": "api" if origin.request_id else "system"},
        status=status,
        **_from(origin),
    )
    await write_without_transaction(database, entry, session)
    if noted is not None:
        noted.written = noted.settled = True


def entry_of(
    caller: Principal,
    action: str,
    resource_type: str,
    resource_id: UUID | None,
    *,
    origin: Origin,
    old: Mapping[str, Any] | None = None,
    new: Mapping[str, Any] | None = None,
    status: str = "success",
    metadata: Mapping[str, Any] | None = None,
) -> AuditEntry:
    """The entry of something that an authenticated caller did, or tried."""
    return AuditEntry(
        tenant_id=caller.tenant_id,
        action=action,
        resource_type=resource_type,
        resource_id=resource_id,
        user_id=caller.user_id,
        api_key_id=caller.key_id,
        old_values=_plain(old),
        new_values=_plain(new),
        metadata={"source": "api", **(metadata or {})},
        status=status,
        **_from(origin),
    )


async def write_without_transaction(
    database: Database, entry: AuditEntry, session: AsyncSession | None = None, *, patience: float = 5.0
) -> None:
    """Writes an entry in one statement: with the tenant's key, or without what would be sealed when that key is destroyed."""
    try:
        cipher = await database.keys.cipher(entry.tenant_id)
    except TenantErased:
        bare = row_of(entry) | dict.fromkeys(("old_values", "new_values", "ip_address", "user_agent"))
        await database.statement(entry.tenant_id, INSERT, bare, patience=patience)
        return
    with sealed_with(cipher):
        if session is not None:
            await write_entry(session, entry)
        else:
            await database.statement(entry.tenant_id, INSERT, row_of(entry), patience=patience)


def origin_of(caller: Principal) -> Origin:
    """Where the request came from: as its caller was told, else as the middleware saw it."""
    noted = current.get()
    return caller.origin if caller.origin.request_id or noted is None else noted.origin


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What differs, as it was and as it is: the `old` and `new` of an entry."""
    names = [name for name in after if before.get(name) != after[name]]
    return {name: before.get(name) for name in names}, {name: after[name] for name in names}


def _plain(values: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Values as JSON has them."""
    return None if values is None else to_jsonable_python(dict(values), fallback=str)


def _from(origin: Origin) -> dict[str, Any]:
    return {
        "ip_address": origin.address[:LONGEST] if origin.address else None,
        "user_agent": origin.user_agent[:LONGEST] if origin.user_agent else None,
        "request_id": origin.request_id or None,
    }
