"""Events of Stripe as they wait and are worked off, and whose an event is. All of it is the platform's: `Database.system()`."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import String, bindparam, select, text, update
from sqlalchemy.dialects.postgresql import ARRAY, insert
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from models.tables import StripeCursor, StripeWebhookEvent, Tenant
from models.tables.base import new_id, now

#: Said of an event that nobody here is known by.
NO_TENANT = "No tenant is known by this event."
#: Said of an event whose tenant is gone. Its body goes too.
ERASED = "The tenant is erased."
#: Whoever learns a tenant and whoever finds none take turns: none is missed in between.
_TURN = text("SELECT pg_advisory_xact_lock(hashtextextended('stripe-owners', 0))")

_OWNER = text("""
SELECT tenant_id FROM (
    SELECT 1 AS rank, id AS tenant_id FROM tenants WHERE id = CAST(:tenant AS uuid)
    UNION ALL SELECT 2, id FROM tenants WHERE stripe_customer_id = CAST(:customer AS text)
    UNION ALL SELECT 3, tenant_id FROM payments WHERE stripe_payment_intent_id = CAST(:intent AS text)
    UNION ALL SELECT 4, tenant_id FROM payments WHERE stripe_invoice_id = CAST(:invoice AS text)
    UNION ALL SELECT 5, tenant_id FROM subscriptions WHERE stripe_subscription_id = CAST(:subscription AS text)
) AS known ORDER BY rank LIMIT 1
""")


_FORGET_ABOUT = text("""
UPDATE stripe_webhook_events SET event_data = '{}', about = '{}'
WHERE event_data <> '{}' AND EXISTS (
    SELECT FROM jsonb_path_query(event_data, 'strict $.** ? (@.type() == "string")') AS named
    WHERE named #>> '{}' = ANY (:ids)
)
RETURNING id
""").bindparams(bindparam("ids", type_=ARRAY(String)))


@dataclass(frozen=True)
class Traces:
    """What an event knows of its tenant: `tenant` as our metadata name it, and ids of Stripe's."""

    tenant: UUID | None = None
    customer: str | None = None
    intent: str | None = None
    invoice: str | None = None
    subscription: str | None = None

    def ids(self) -> list[str]:
        """The ids of Stripe's by which somebody may be known later."""
        return [found for found in (self.customer, self.intent, self.invoice, self.subscription) if found]


async def owner_of(session: AsyncSession, traces: Traces) -> UUID | None:
    """The tenant: by our metadata, else by its customer, else by a payment or subscription that is known."""
    values = {name: getattr(traces, name) for name in ("tenant", "customer", "intent", "invoice", "subscription")}
    found: UUID | None = (await session.execute(_OWNER, values)).scalar_one_or_none()
    return found


async def keep(session: AsyncSession, event: Mapping[str, Any]) -> bool:
    """Stores an event, once. Whether it is new."""
    statement = (
        insert(StripeWebhookEvent)
        .values(
            id=new_id(),
            stripe_event_id=event["id"],
            event_type=event["type"],
            processed=False,
            event_data=event,
            about=[],
            created_at=now(),
        )
        .on_conflict_do_nothing(index_elements=["stripe_event_id"])
        .returning(col(StripeWebhookEvent.id))
    )
    return (await session.execute(statement)).scalar_one_or_none() is not None


async def find(session: AsyncSession, event_id: str) -> StripeWebhookEvent | None:
    query = select(StripeWebhookEvent).where(col(StripeWebhookEvent.stripe_event_id) == event_id)
    return (await session.execute(query)).scalar_one_or_none()


async def waiting(session: AsyncSession, *, older_than: timedelta, limit: int) -> Sequence[str]:
    """Ids of events that nobody has worked off, the oldest first."""
    query = (
        select(col(StripeWebhookEvent.stripe_event_id))
        .where(col(StripeWebhookEvent.processed_at).is_(None), col(StripeWebhookEvent.created_at) < now() - older_than)
        .order_by(col(StripeWebhookEvent.created_at))
        .limit(limit)
    )
    return (await session.execute(query)).scalars().all()


async def end(session: AsyncSession, event_id: str, error: str | None = None, about: Sequence[str] = ()) -> None:
    """An event is worked off, or refused for good with an `error`; `about` where it may be taken up again."""
    await session.execute(
        update(StripeWebhookEvent)
        .where(col(StripeWebhookEvent.stripe_event_id) == event_id)
        .values(processed=error is None, processing_error=error, about=list(about), processed_at=now())
    )


async def end_without_tenant(session: AsyncSession, event_id: str, traces: Traces) -> UUID | None:
    """Sets an event aside until somebody is known by its ids. The tenant, if it became known just now: nothing is done then."""
    await session.execute(_TURN)
    found = await owner_of(session, traces)
    if found is None:
        await end(session, event_id, NO_TENANT, traces.ids())
    return found


async def reopen(session: AsyncSession, ids: Collection[str]) -> Sequence[str]:
    """Takes up events again that were set aside for want of a tenant, now that one is known by these ids."""
    if not ids:
        return []
    await session.execute(_TURN)
    known = col(StripeWebhookEvent.about).overlap(list(ids))  # type: ignore[attr-defined]
    found = await session.execute(
        update(StripeWebhookEvent)
        .where(text("cardinality(about) > 0"), known, col(StripeWebhookEvent.processed_at).is_not(None))
        .values(processed_at=None, processing_error=None, about=[])
        .returning(col(StripeWebhookEvent.stripe_event_id))
    )
    return found.scalars().all()


async def forget(session: AsyncSession, before: datetime) -> int:
    """Empties events that are older: they hold names and addresses. Their ids stay, so that none is taken twice."""
    gone = await session.execute(
        update(StripeWebhookEvent)
        .where(
            col(StripeWebhookEvent.created_at) < before,
            col(StripeWebhookEvent.processed_at).is_not(None),
            col(StripeWebhookEvent.event_data) != {},
        )
        .values(event_data={}, about=[])
        .returning(col(StripeWebhookEvent.id))
    )
    return len(gone.scalars().all())


async def forget_about(session: AsyncSession, ids: Sequence[str]) -> int:
    """Empties all events in which one of these ids stands, wherever: a tenant's, or Stripe's of what was the tenant's."""
    return len((await session.execute(_FORGET_ABOUT, {"ids": list(ids)})).all())


async def forget_one(session: AsyncSession, event_id: str) -> None:
    """Empties one event. Its id stays, so that it is not taken twice."""
    await session.execute(
        update(StripeWebhookEvent)
        .where(col(StripeWebhookEvent.stripe_event_id) == event_id)
        .values(event_data={}, about=[])
    )


async def is_erased(session: AsyncSession, traces: Traces) -> bool:
    """Whether its tenant is known, and was erased."""
    owner = await owner_of(session, traces)
    query = select(col(Tenant.deleted_at)).where(col(Tenant.id) == owner)
    return owner is not None and (await session.execute(query)).scalar_one_or_none() is not None


async def reached(session: AsyncSession, name: str) -> datetime | None:
    """Up to when Stripe was asked."""
    query = select(col(StripeCursor.reached_at)).where(col(StripeCursor.name) == name)
    return (await session.execute(query)).scalar_one_or_none()


async def reach(session: AsyncSession, name: str, at: datetime) -> None:
    statement = insert(StripeCursor).values(name=name, reached_at=at)
    await session.execute(
        statement.on_conflict_do_update(index_elements=["name"], set_={"reached_at": statement.excluded.reached_at})
    )
