"""Repositories of what belongs to a tenant as a whole, each lock with the other one open. Those of runs: tests/data/test_tenants.py."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy.exc import NoResultFound

from models.database import Database
from models.repositories.audit import AuditFilter, AuditRepository
from models.repositories.base import Listing, Page, Repository
from models.repositories.data_rights import DataRequestRepository, PersonRepository, TenantSettings
from models.repositories.keys import KeyRepository
from models.repositories.members import InvitationRepository, MemberRepository
from models.repositories.roles import RoleRepository
from models.repositories.schedules import ScheduleRepository
from models.repositories.sessions import SessionRepository
from models.repositories.webhooks import WebhookRepository
from models.tables import Role, Schedule, ScheduleRun, User, UserRole, WebhookDelivery, WebhookEndpoint
from omium_core.errors import NotFound
from omium_core.settings import Settings
from tests.isolation.rows import Furnished, furnish
from tests.support.tenants import add_tenant

Call = Callable[["Known"], dict[str, Any]]
Method = tuple[type[Repository], str]


class Known:
    """Ids and words of a tenant's rows."""

    def __init__(self, found: Furnished, user: User, role: Role, run: ScheduleRun) -> None:
        self._ids = found.ids
        self.email, self.account, self.role_name, self.at = user.email, user.account_id, role.name, run.scheduled_at

    def __getattr__(self, table: str) -> UUID:
        return UUID(self._ids[table])


#: How each method that reads is called to find the row of a tenant.
READS: dict[Method, Call] = {
    (AuditRepository, "after"): lambda row: {"wanted": AuditFilter(), "last": None},
    (AuditRepository, "get"): lambda row: {"audit_id": row.audit_logs},
    (AuditRepository, "list"): lambda row: {"page": Page()},
    (DataRequestRepository, "get"): lambda row: {"request_id": row.data_requests, "kind": "export"},
    (DataRequestRepository, "list"): lambda row: {"page": Page(), "kind": "export"},
    (DataRequestRepository, "newest"): lambda row: {"kind": "export"},
    (DataRequestRepository, "open"): lambda row: {"kind": "export", "user_id": None},
    (PersonRepository, "get"): lambda row: {"user_id": row.users},
    (TenantSettings, "get"): lambda row: {},
    (RoleRepository, "all_of"): lambda row: {"role_ids": [row.roles]},
    (RoleRepository, "count_holders"): lambda row: {"role_id": row.roles},
    (RoleRepository, "get"): lambda row: {"role_id": row.roles},
    (RoleRepository, "held_by"): lambda row: {"user_ids": [row.users]},
    (RoleRepository, "list"): lambda row: {"page": Page()},
    (RoleRepository, "named"): lambda row: {"name": row.role_name},
    (KeyRepository, "find"): lambda row: {"key_id": row.api_keys},
    (KeyRepository, "get"): lambda row: {"key_id": row.api_keys},
    (KeyRepository, "list"): lambda row: {"page": Page()},
    (MemberRepository, "by_account"): lambda row: {"account_id": row.account},
    (MemberRepository, "by_email"): lambda row: {"email": row.email},
    (MemberRepository, "get"): lambda row: {"user_id": row.users},
    (MemberRepository, "list"): lambda row: {"page": Page()},
    (MemberRepository, "lock_tenant"): lambda row: {},
    (MemberRepository, "tenant"): lambda row: {},
    (InvitationRepository, "get"): lambda row: {"invitation_id": row.invitations},
    (InvitationRepository, "list"): lambda row: {"page": Page()},
    (ScheduleRepository, "count"): lambda row: {},
    (ScheduleRepository, "find"): lambda row: {"schedule_id": row.schedules},
    (ScheduleRepository, "get"): lambda row: {"schedule_id": row.schedules},
    (ScheduleRepository, "list"): lambda row: {"page": Page()},
    (ScheduleRepository, "run_at"): lambda row: {"schedule_id": row.schedules, "scheduled_at": row.at},
    (ScheduleRepository, "runs"): lambda row: {"schedule_id": row.schedules, "page": Page()},
    (SessionRepository, "get"): lambda row: {"session_id": row.sessions, "user_id": row.users},
    (SessionRepository, "list"): lambda row: {"page": Page(), "user_id": row.users},
    (WebhookRepository, "count"): lambda row: {},
    (WebhookRepository, "deliveries"): lambda row: {"endpoint_id": row.webhook_endpoints, "page": Page()},
    (WebhookRepository, "delivery"): lambda row: {
        "endpoint_id": row.webhook_endpoints,
        "delivery_id": row.webhook_deliveries,
    },
    (WebhookRepository, "get"): lambda row: {"endpoint_id": row.webhook_endpoints},
    (WebhookRepository, "list"): lambda row: {"page": Page()},
    (WebhookRepository, "listening"): lambda row: {},
    (WebhookRepository, "next_due"): lambda row: {"endpoint_id": row.webhook_endpoints},
    (WebhookRepository, "claim"): lambda row: {"endpoint_id": row.webhook_endpoints, "busy": (), "lease": 1.0},
}
#: Methods that write, with rows that were read before, or as statements that the walk over the operations tries.
WRITES: set[Method] = {
    (DataRequestRepository, "add"),
    (PersonRepository, "forget"),
    (TenantSettings, "change"),
    (RoleRepository, "delete"),
    (RoleRepository, "set_held"),
    (KeyRepository, "add"),
    (MemberRepository, "revoke_keys"),
    (InvitationRepository, "revoke_others"),
    *((ScheduleRepository, name) for name in ("add", "change", "claim", "delete")),
    (SessionRepository, "end_of"),
    *((WebhookRepository, name) for name in ("add", "delete", "queue", "switch_off", "tell")),
}


@pytest.fixture
async def known(database: Database, settings: Settings) -> tuple[UUID, UUID, Known]:
    """A tenant with rows that every method finds, another one without any, and what is known of the rows."""
    tenant, other = await add_tenant(database), await add_tenant(database)
    found = await furnish(settings.database_url.get_secret_value(), database, tenant, "repositories")
    async with database.transaction(tenant) as session:
        endpoint = await session.get_one(WebhookEndpoint, UUID(found.ids["webhook_endpoints"]))
        endpoint.enabled = True
        delivery = await session.get_one(WebhookDelivery, UUID(found.ids["webhook_deliveries"]))
        delivery.status, delivery.next_attempt_at = "pending", datetime.now(UTC) - timedelta(days=1)
        schedule = await session.get_one(Schedule, UUID(found.ids["schedules"]))
        user = await session.get_one(User, UUID(found.ids["users"]))
        role = await session.get_one(Role, UUID(found.ids["roles"]))
        run = await session.get_one(ScheduleRun, UUID(found.ids["schedule_runs"]))
        session.add_all([endpoint, delivery, schedule])
        if await session.get(UserRole, (user.id, role.id)) is None:
            session.add(UserRole(user_id=user.id, role_id=role.id, tenant_id=tenant))
    return tenant, other, Known(found, user, role, run)


async def find(database: Database, owner: UUID, kind: type[Repository], name: str, bound_to: UUID, row: Known) -> Any:
    """What a repository of one tenant finds in a transaction of another."""

    class Undone(Exception):
        pass

    try:
        async with database.transaction(owner) as session:
            found = await getattr(kind(session, bound_to), name)(**READS[kind, name](row))
            raise Undone
    except Undone:
        return found
    except (NotFound, NoResultFound):
        return None


def is_there(answer: Any) -> bool:
    if isinstance(answer, tuple):
        return is_there(answer[0])
    if isinstance(answer, Listing):
        assert answer.total == len(answer.rows)
        return bool(answer.rows)
    if isinstance(answer, Mapping):
        return any(answer.values())
    return bool(answer)


async def test_rows_are_found_by_their_tenant_alone(database: Database, known: tuple[UUID, UUID, Known]) -> None:
    tenant, other, row = known
    for kind, name in READS:
        called = f"{kind.__name__}.{name}"
        assert is_there(await find(database, tenant, kind, name, tenant, row)), (
            f"{called} finds the row of its own tenant"
        )
        assert not is_there(await find(database, tenant, kind, name, other, row)), f"{called} does not name its tenant"
        assert not is_there(await find(database, other, kind, name, tenant, row)), (
            f"{called} is not bound by the database"
        )
