"""Entries in the audit log for what steers a run and did not come through the API: plain signals, policies, Temporal itself.

A command of the API names its caller, a user or a key, and the API has written the entry. Whatever else changed a run is
written down by the activity that records the change, in the same transaction.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from models.repositories.audit import AuditEntry, write_entry

_OF_API = re.compile(r"(?:user|key):[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


async def note_steering(
    db: AsyncSession,
    tenant_id: str | UUID,
    execution_id: str | UUID,
    action: str,
    actor: str,
    *,
    resource: tuple[str, UUID] | None = None,
    new: Mapping[str, Any] | None = None,
) -> None:
    """Writes the entry of one steering action, unless the API has. `actor` is as the command told it, and only sealed.

    `resource` is what it was about, where that is not the execution.
    """
    if _OF_API.fullmatch(actor):
        return
    kind, about = resource or ("execution", UUID(str(execution_id)))
    told = {name: value for name, value in {"by": actor, **(new or {})}.items() if value not in (None, "")}
    if resource is not None:
        told["execution_id"] = str(execution_id)
    await write_entry(
        db,
        AuditEntry(
            tenant_id=UUID(str(tenant_id)),
            action=action,
            resource_type=kind,
            resource_id=about,
            new_values=told or None,
            metadata={"source": "run"},
        ),
    )
