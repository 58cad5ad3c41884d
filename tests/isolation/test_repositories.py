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
from models.repositories.billing import BillingRepository, Wanted
from models.repositories.budgets import BudgetRepository
from models.repositories.data_rights import DataRequestRepository, PersonRepository, TenantSettings
from models.repositories.keys import KeyRepository
from models.repositories.members import InvitationRepository, MemberRepository
from models.repositories.notices import NoticeRepository
from models.repositories.parking import ParkingRepository
from models.repositories.payments import AutoTopupRepository, PaymentRepository, SubscriptionRepository
from models.repositories.roles import RoleRepository
from models.repositories.schedules import ScheduleRepository
from models.repositories.sessions import SessionRepository
from models.repositories.spending import SpendingRepository
from models.repositories.webhooks import WebhookRepository
from models.tables import (
    BillingNotice,
    Budget,
    Execution,
    Payment,
    PaymentReturn,
    Role,
    Schedule,
    ScheduleRun,
    Subscription,
    Tenant,
    User,
    UserRole,
    WebhookDelivery,
    WebhookEndpoint,
)
from omium_core.errors import NotFound
from omium_core.settings import Settings
from tests.isolation.rows import Furnished, furnish
from tests.support.tenants import add_tenant

Call = Callable[["Known"], dict[str, Any]]
Method = tuple[type[Repository], str]


class Known:
    """Ids and words of a tenant's rows."""

    budget_key: str | None = None

    def __init__(self, found: Furnished, user: User, role: Role, run: ScheduleRun) -> None:
        self._ids = found.ids
        self.email, self.account, self.role_name, self.at = user.email, user.account_id, role.name, run.scheduled_at

    def tell(self, payment: Payment, back: PaymentReturn, subscription: Subscription) -> None:
        """Ids of Stripe's."""
        self.invoice, self.subscription = payment.stripe_subscription_id, subscription.stripe_subscription_id
        self.back, self.intent = back.stripe_id, back.stripe_payment_intent_id

    def __getattr__(self, table: str) -> UUID:
        return UUID(self._ids[table])


#: How each method that reads is called to find the row of a tenant.
READS: dict[Method, Call] = {
    (AuditRepository, "after"): lambda row: {"wanted": AuditFilter(), "last": None},
    (AuditRepository, "get"): lambda row: {"audit_id": row.audit_logs},
    (AuditRepository, "list"): lambda row: {"page": Page()},
    (BillingRepository, "charges"): lambda row: {"page": Page(), "wanted": Wanted()},
    (BillingRepository, "last_topup"): lambda row: {},
    (BillingRepository, "lots"): lambda row: {},
    (BillingRepository, "parked"): lambda row: {},
    (BillingRepository, "transactions"): lambda row: {"page": Page(), "wanted": Wanted()},
    (BillingRepository, "unpaid"): lambda row: {},
    (SpendingRepository, "charges"): lambda row: {"execution_id": row.executions},
    (SpendingRepository, "usage"): lambda row: {
        **{"group_by": "day", "since": None, "until": None},
        **{"limit": 1, "offset": 0},
    },
    (BudgetRepository, "find"): lambda row: {"scope": "tenant", "scope_id": None},
    (BudgetRepository, "get"): lambda row: {"budget_id": row.budgets},
    (BudgetRepository, "has"): lambda row: {"scope": "execution", "scope_id": row.executions},
    (BudgetRepository, "list"): lambda row: {"page": Page()},
    (BudgetRepository, "made_by"): lambda row: {"key": row.budget_key},
    (BudgetRepository, "spent_before"): lambda row: {"scope": "tenant", "scope_id": None, "period": "total"},
    (NoticeRepository, "claim_mail"): lambda row: {"lease": 1.0},
    (NoticeRepository, "receivers"): lambda row: {},
    (NoticeRepository, "take"): lambda row: {"limit": 1},
    (ParkingRepository, "affordable"): lambda row: {"enforced": False},
    (ParkingRepository, "find"): lambda row: {"execution_id": row.executions},
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
    (AutoTopupRepository, "get"): lambda row: {},
    (PaymentRepository, "failed_since"): lambda row: {
        "subscription_id": row.invoice,
        "since": datetime(2020, 1, 1, tzinfo=UTC),
    },
    (PaymentRepository, "find"): lambda row: {"payment_id": row.payments},
    (PaymentRepository, "find_return"): lambda row: {"stripe_id": row.back},
    (PaymentRepository, "lock"): lambda row: {},
    (PaymentRepository, "returns"): lambda row: {"intent": row.intent},
    (SubscriptionRepository, "all"): lambda row: {},
    (SubscriptionRepository, "find"): lambda row: {"stripe_id": row.subscription},
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
    *((BudgetRepository, name) for name in ("add", "delete", "lock")),
    *((NoticeRepository, name) for name in ("mailed", "warn_by_default")),
    *((ParkingRepository, name) for name in ("park", "unpark", "woken")),
    (DataRequestRepository, "add"),
    (PersonRepository, "forget"),
    (TenantSettings, "change"),
    (RoleRepository, "delete"),
    (RoleRepository, "set_held"),
    (KeyRepository, "add"),
    (MemberRepository, "revoke_keys"),
    (InvitationRepository, "revoke_others"),
    *((ScheduleRepository, name) for name in ("add", "change", "claim", "delete")),
    (AutoTopupRepository, "add"),
    *((PaymentRepository, name) for name in ("add", "link_customer", "notice")),
    (SubscriptionRepository, "add"),
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
        payment = await session.get_one(Payment, UUID(found.ids["payments"]))
        payment.status, payment.failed_at = "failed", datetime.now(UTC)
        back = await session.get_one(PaymentReturn, UUID(found.ids["payment_returns"]))
        subscription = await session.get_one(Subscription, UUID(found.ids["subscriptions"]))
        session.add_all([endpoint, delivery, schedule, payment])
        notice = await session.get_one(BillingNotice, UUID(found.ids["billing_notices"]))
        notice.sent_at, notice.mail_at = None, datetime.now(UTC) - timedelta(days=1)
        budget = await session.get_one(Budget, UUID(found.ids["budgets"]))
        execution = await session.get_one(Execution, UUID(found.ids["executions"]))
        execution.status, execution.reason = "paused", "credits"
        owner = await session.get_one(Tenant, tenant)
        owner.billing_email = "pay@acme.test"
        session.add_all([notice, execution, owner])
        if await session.get(UserRole, (user.id, role.id)) is None:
            session.add(UserRole(user_id=user.id, role_id=role.id, tenant_id=tenant))
    row = Known(found, user, role, run)
    row.tell(payment, back, subscription)
    row.budget_key = budget.idempotency_key
    return tenant, other, row


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
