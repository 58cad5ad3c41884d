"""Applies facts: finds the tenant, books in one transaction of it. Works off stored events, however often and in any order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy.exc import IntegrityError

from activities.payments.booking import Books, Refused
from activities.payments.facts import Back, Fact, Intent, Invoice, InvoicePaid, Sub
from activities.payments.plans import PlanBook
from activities.payments.reading import Unreadable, read, traces_of
from activities.payments.standing import Standing
from models.database import Database
from models.repositories import stripe_events
from models.repositories.payments import PaymentRepository
from omium_core.errors import TenantErased
from omium_core.settings import Settings

log = structlog.get_logger(__name__)


class Applier:
    """Belongs to one event loop. Needs no key of Stripe: a signed event says it all."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
        self._grace_days = settings.plan_grace_days
        self.plans = PlanBook(settings)

    async def work_off(self, event_id: str) -> str | None:
        """Applies a stored event. None when it is done, else why it was refused.

        Raises only what trying again may cure: a database that is away.
        """
        async with self._database.system() as session:
            row = await stripe_events.find(session, event_id)
        if row is None or row.processed_at is not None:
            return None if row is None else row.processing_error
        # an event without a time is as old as our copy of it
        event = {"created": int(row.created_at.timestamp()), **row.event_data}
        error, traces = await self._apply_event(event_id, event)
        if error == stripe_events.NO_TENANT and traces is not None:
            async with self._database.system() as session:
                known = await stripe_events.end_without_tenant(session, event_id, traces)
            if known is None:
                log.warning("an event of Stripe belongs to nobody", event_id=event_id, event_type=row.event_type)
                return error
            return await self.work_off(event_id)
        async with self._database.system() as session:
            await stripe_events.end(session, event_id, error)
            if error == stripe_events.ERASED:
                await stripe_events.forget_one(session, event_id)
            if error is None and traces is not None:
                await stripe_events.reopen(session, traces.ids())
        if error is not None:
            log.warning("an event of Stripe was refused", event_id=event_id, event_type=row.event_type, reason=error)
        return error

    async def refuse(self, event_id: str, error: str) -> None:
        """Sets an event aside that could not be applied, for a fault of ours."""
        async with self._database.system() as session:
            await stripe_events.end(session, event_id, error)

    async def _apply_event(
        self, event_id: str, event: Mapping[str, Any]
    ) -> tuple[str | None, stripe_events.Traces | None]:
        try:
            fact = read(event, self.plans)
        except Unreadable as error:
            return f"The event cannot be read: {error}.", None
        if fact is None:
            return await self._about_nothing(event), None
        async with self._database.system() as session:
            tenant_id = await stripe_events.owner_of(session, fact.traces)
        if tenant_id is None:
            return stripe_events.NO_TENANT, fact.traces
        try:
            await self.apply(tenant_id, fact)
        except Refused as error:
            return str(error), None
        except TenantErased:
            return stripe_events.ERASED, None
        except IntegrityError:
            if await self._is_elsewhere(tenant_id, fact):
                return "It was booked for another tenant before.", None
            raise
        return None, fact.traces

    async def _about_nothing(self, event: Mapping[str, Any]) -> str | None:
        """For an event that says nothing here: whether it must not be kept, for it may hold names and addresses all the same."""
        traces = traces_of(event)
        if traces.tenant is None and traces.customer is None:
            return None
        async with self._database.system() as session:
            return stripe_events.ERASED if await stripe_events.is_erased(session, traces) else None

    async def _is_elsewhere(self, tenant_id: UUID, fact: Fact) -> bool:
        """Whether what a fact is about is known, as another tenant's than its metadata say."""
        known = replace(fact.traces, tenant=None, customer=None)
        async with self._database.system() as session:
            return await stripe_events.owner_of(session, known) not in (None, tenant_id)

    async def apply(self, tenant_id: UUID, fact: Fact) -> None:
        """Raises `Refused`, and then nothing has changed."""
        async with self._database.transaction(tenant_id) as session:
            payments = PaymentRepository(session, tenant_id)
            tenant = await payments.lock()
            if fact.traces.customer is not None and tenant.stripe_customer_id is None:
                await payments.link_customer(fact.traces.customer)
                await session.refresh(tenant)
            books = Books(session, tenant, self.plans, self._grace_days)
            standing = Standing(session, tenant, self.plans)
            match fact:
                case Intent():
                    await books.intent(fact)
                case Back():
                    await books.back(fact)
                case InvoicePaid():
                    await books.invoice_paid(fact)
                case Invoice():
                    await books.invoice(fact)
                    await standing.work_out()
                case Sub():
                    await standing.told(fact)
