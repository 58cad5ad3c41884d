"""What people hear of their money: once, in credits, by webhook and by mail, whoever dies in between."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select, update
from sqlmodel import col

from activities.billing_notices import queue_notices
from models.database import Database
from models.repositories.journal import StepKey
from models.repositories.ledger import CallKey, LedgerRepository, reserve
from models.repositories.notices import NoticeRepository
from models.tables import BillingNotice, Budget, Role, Tenant, User, UserRole, WebhookDelivery, WebhookEndpoint
from models.tables.base import now
from omium_core.credits import MICRO
from omium_core.settings import Settings
from tests.auth.mailbox import Mailbox, running_mailbox
from tests.billing.conftest import Payer
from tests.support.database import PostgresServer
from tests.support.loopback import free_port
from tests.support.tenants import add_tenant
from workers.notices import Notices


@pytest.fixture
def mail_server() -> Iterator[tuple[Mailbox, int]]:
    with running_mailbox() as found:
        yield found


@pytest.fixture
def postbox(mail_server: tuple[Mailbox, int]) -> Mailbox:
    return mail_server[0]


@pytest.fixture
def settings(postgres: PostgresServer, tmp_path: Path, mail_server: tuple[Mailbox, int]) -> Settings:
    return Settings(
        database_url=postgres.url,
        store_path=tmp_path,
        mail_sender="smtp",
        mail_from="Omium <omium@example.org>",
        smtp_port=mail_server[1],
        smtp_security="none",
    )


@pytest.fixture
async def owner(database: Database, tenant: UUID) -> str:
    async with database.transaction(tenant) as db:
        role = Role(tenant_id=tenant, name="owner", is_system_role=True)
        person, left = (User(tenant_id=tenant, email=f"{name}@{tenant}.test") for name in ("ada", "bob"))
        left.removed_at = now()
        endpoint = WebhookEndpoint(
            tenant_id=tenant, url="https://hooks.test/", host="hooks.test", events=["credits.*", "budget.*"], secret="s"
        )
        db.add_all([role, person, left, endpoint])
        await db.flush()
        db.add_all(UserRole(tenant_id=tenant, user_id=user.id, role_id=role.id) for user in (person, left))
    return person.email


async def deliveries(database: Database, tenant: UUID) -> dict[str, Any]:
    async with database.transaction(tenant) as db:
        rows: Sequence[WebhookDelivery] = (
            (await db.execute(select(WebhookDelivery).order_by(col(WebhookDelivery.id)))).scalars().all()
        )
    assert len({row.message_id for row in rows}) == len(rows)
    return {row.event_type: row.payload["data"] for row in rows}


async def test_low_and_none(
    payer: Payer, owner: str, postbox: Mailbox, settings: Settings, database: Database, tenant: UUID
) -> None:
    notices = Notices(database, settings.model_copy(update={"low_credits": 4}))
    await payer.grant(6)
    # the account is watched from the first look on
    await notices.once()
    run = await payer.run()
    await payer.call(run, 0, 3 * MICRO)
    await payer.call(run, 1, 1 * MICRO)
    key = CallKey(StepKey(run.execution, 0, 2), "f" * 64, 0)
    for _ in range(2):
        refused = await reserve(database, tenant, key, 1, 5 * MICRO, enforced=True)
        assert refused.outcome == "credits"
    await notices.once()
    await notices.once()
    told = await deliveries(database, tenant)
    assert told["credits.low"] == {"balance": 3, "threshold": 4}
    assert told["credits.exhausted"] == {"available": 2, "required": 5, "execution_id": str(run.execution)}
    assert [str(mail["To"]) for mail in postbox.messages] == [owner, owner]
    assert {mail["Subject"] for mail in postbox.messages} == {"Few credits are left", "Your runs wait for credits"}
    # a top-up, and the next shortage is told of again
    await payer.grant(1)
    assert (await reserve(database, tenant, key, 1, 5 * MICRO, enforced=True)).outcome == "credits"
    await notices.once()
    assert len(postbox.messages) == 3


async def test_budgets(
    payer: Payer, owner: str, postbox: Mailbox, settings: Settings, database: Database, tenant: UUID
) -> None:
    budget = Budget(tenant_id=tenant, scope="tenant", amount=4 * MICRO, period_start=now().date())
    await payer.add(budget)
    await payer.execute(update(Tenant).where(col(Tenant.id) == tenant).values(billing_email="pay@acme.test"))
    run = await payer.run()
    await payer.call(run, 0, 3 * MICRO, held=3 * MICRO)
    key = CallKey(StepKey(run.execution, 0, 2), "f" * 64, 0)
    assert (await reserve(database, tenant, key, 1, 2 * MICRO, enforced=False)).outcome == "budget"
    await Notices(database, settings).once()
    told = await deliveries(database, tenant)
    common = {"budget_id": str(budget.id), "scope": "tenant", "scope_id": None, "amount": 4, "spent": 3}
    assert told["budget.threshold"] == {**common, "threshold": 50}
    assert told["budget.exceeded"] == {**common, "execution_id": str(run.execution)}
    assert {str(mail["To"]) for mail in postbox.messages} == {"pay@acme.test"}
    assert "3 of 4 credits are spent" in postbox.messages[0].get_content()


async def test_told_once_whoever_dies(
    payer: Payer, owner: str, postbox: Mailbox, settings: Settings, database: Database, tenant: UUID
) -> None:
    data = {"balance": 3 * MICRO, "threshold": 4 * MICRO}
    await payer.add(BillingNotice(tenant_id=tenant, kind="credits.low", dedup_key="one", data=data))
    await payer.add(BillingNotice(tenant_id=tenant, kind="subscription.nobody_mails_this", dedup_key="two"))

    async def queue_and_die() -> None:
        async with database.transaction(tenant) as db:
            assert await queue_notices(NoticeRepository(db, tenant), 10) == 2
            raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await queue_and_die()
    assert await deliveries(database, tenant) == {}
    # queued by one that died before it mailed
    async with database.transaction(tenant) as db:
        await queue_notices(NoticeRepository(db, tenant), 10)
    away = Notices(database, settings.model_copy(update={"smtp_port": free_port()}))
    await away.once()
    await away.once()
    async with database.transaction(tenant) as db:
        row: BillingNotice = (
            await db.execute(select(BillingNotice).where(col(BillingNotice.kind) == "credits.low"))
        ).scalar_one()
        assert (row.mail_attempts, row.mail_at is not None) == (1, True)
        row.mail_at = now()
        db.add(row)
    notices = Notices(database, settings)
    await notices.once()
    await notices.once()
    assert [(str(mail["To"]), mail["Subject"]) for mail in postbox.messages] == [(owner, "Few credits are left")]
    assert list(await deliveries(database, tenant)) == ["credits.low"]
    async with database.transaction(tenant) as db:
        left = select(BillingNotice).where(
            col(BillingNotice.sent_at).is_(None) | col(BillingNotice.mail_at).is_not(None)
        )
        assert (await db.execute(left)).scalars().all() == []


async def test_default_watches_every_balance(
    database: Database, settings: Settings, payer: Payer, tenant: UUID
) -> None:
    other = Payer(database, await add_tenant(database))
    await payer.grant(1)
    await other.grant(1)
    async with database.transaction(other.tenant) as db:
        await NoticeRepository(db, other.tenant).warn_by_default(5)
    await Notices(database, settings.model_copy(update={"low_credits": 0})).once()
    for one, below in ((payer, 0), (other, 5)):
        async with database.transaction(one.tenant) as db:
            assert (await LedgerRepository(db, one.tenant).account()).warn_below == below
