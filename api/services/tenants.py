"""The tenant itself: its name and whom to bill."""

from __future__ import annotations

from api.auth.emails import normalised
from api.auth.principal import Principal
from api.schemas.members import TenantUpdate
from api.services.auditing import audited, changes
from api.wiring import Wiring
from models.repositories.members import MemberRepository
from models.tables import Tenant
from models.tables.base import now

_SHOWN = ("name", "billing_email")


class TenantService:
    def __init__(self, process: Wiring) -> None:
        self._process = process

    async def get(self, caller: Principal) -> Tenant:
        async with self._process.database.transaction(caller.tenant_id) as session:
            return await MemberRepository(session, caller.tenant_id).tenant()

    async def update(self, caller: Principal, wanted: TenantUpdate) -> Tenant:
        """The slug stays: others know the tenant by it."""
        async with self._process.database.transaction(caller.tenant_id) as session:
            tenant = await MemberRepository(session, caller.tenant_id).lock_tenant()
            before = {name: getattr(tenant, name) for name in _SHOWN}
            if wanted.name is not None:
                tenant.name = wanted.name
            if "billing_email" in wanted.model_fields_set:
                email = wanted.billing_email
                tenant.billing_email = normalised(email, "billing_email") if email is not None else None
            tenant.updated_at = now()
            session.add(tenant)
            await session.flush()
            old, new = changes(before, {name: getattr(tenant, name) for name in _SHOWN})
            await audited(session, caller, "tenant.update", "tenant", tenant.id, old=old, new=new)
        return tenant
