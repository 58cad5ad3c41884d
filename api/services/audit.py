"""Reads the audit log: pages, exports, and whether it is what was written."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Literal
from uuid import UUID

from activities.maintenance.verification import Verdict, verify_tenant
from api.auth.principal import Principal
from api.schemas.audit import AuditView, view
from api.spreadsheets import line
from api.wiring import Wiring
from models.repositories.audit import AuditFilter, AuditRepository, all_after
from models.repositories.base import Listing, Page
from models.tables import AuditLog

Format = Literal["jsonl", "csv"]
COLUMNS = list(AuditView.model_fields)


class AuditService:
    def __init__(self, process: Wiring) -> None:
        self._process = process

    async def get(self, caller: Principal, audit_id: UUID) -> AuditView:
        async with self._process.database.transaction(caller.tenant_id) as session:
            return view(await AuditRepository(session, caller.tenant_id).get(audit_id))

    async def list(self, caller: Principal, page: Page, wanted: AuditFilter) -> Listing[AuditLog]:
        async with self._process.database.transaction(caller.tenant_id) as session:
            return await AuditRepository(session, caller.tenant_id).list(page, wanted)

    async def export(self, caller: Principal, wanted: AuditFilter, kind: Format) -> AsyncIterator[bytes]:
        """All entries that match, the oldest first, as JSON lines or CSV with a heading. Never more than a batch in memory."""
        if kind == "csv":
            yield line(COLUMNS)
        async for rows in all_after(self._process.database.transaction, caller.tenant_id, wanted):
            shown = [view(row).model_dump(mode="json") for row in rows]
            if kind == "csv":
                yield b"".join(line([item[name] for name in COLUMNS]) for item in shown)
            else:
                yield b"".join(json.dumps(item, separators=(",", ":")).encode() + b"\n" for item in shown)

    async def verify(self, caller: Principal) -> Verdict:
        return await verify_tenant(self._process.database, caller.tenant_id)
