"""Automatic top-ups: once for each fall, whoever dies in between; a declined card pauses the rule."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import select
from sqlmodel import col

from activities.payments.applying import Applier
from activities.payments.auto_topups import AutoTopups
from activities.payments.client import open_stripe
from activities.payments.customers import customer_of
from activities.payments.reading import intent
from models.database import Database
from models.repositories.ledger import LedgerRepository, Movement
from models.tables import BillingNotice, Payment
from models.tables.base import new_id
from omium_core.credits import MICRO
from omium_core.settings import Settings
from tests.billing_stripe.conftest import Deliver, credits
from tests.support.stripe_double import StripeDouble, objects


@pytest.fixture
async def topups(database: Database, applier: Applier, settings: Settings) -> AsyncIterator[AutoTopups]:
    api = open_stripe(settings)
    assert api is not None
    yield AutoTopups(database, api, applier, settings)
    await api.close()


async def rule(http: httpx.AsyncClient, **values: Any) -> httpx.Response:
    return await http.put("/billing/auto-topup", json={"threshold_credits": 500, "amount_usd": 20, **values})


async def card(settings: Settings, database: Database, double: StripeDouble, tenant: UUID, name: str) -> None:
    """The tenant's customer with a card on file."""
    api = open_stripe(settings)
    assert api is not None
    double.account.cards[await customer_of(database, api, tenant)] = [name]
    await api.close()


async def spend(database: Database, tenant: UUID, credits: int) -> None:
    async with database.transaction(tenant) as session:
        movement = Movement(key=str(new_id()), amount=credits * MICRO, source="manual")
        await LedgerRepository(session, tenant).take(movement, kind="adjust")


async def payments(database: Database, tenant: UUID) -> list[Payment]:
    async with database.transaction(tenant) as session:
        query = select(Payment).where(col(Payment.tenant_id) == tenant).order_by(col(Payment.id))
        return list((await session.execute(query)).scalars())


async def test_a_fall_is_answered_once(
    http: httpx.AsyncClient,
    topups: AutoTopups,
    double: StripeDouble,
    deliver: Deliver,
    database: Database,
    settings: Settings,
    tenant: UUID,
) -> None:
    await card(settings, database, double, tenant, "pm_card_visa")
    assert (await rule(http)).status_code == 200
    # several workers look at once, and again
    await asyncio.gather(*(topups.once() for _ in range(4)))
    await topups.once(left_after=timedelta(0))
    assert await credits(database, tenant) == 2_000
    (asked,) = [form for method, path, form in double.requests if (method, path) == ("POST", "/v1/payment_intents")]
    assert (asked["off_session"], asked["confirm"], asked["amount"]) == ("true", "true", "2000")
    await deliver(*double.account.events)
    assert await credits(database, tenant) == 2_000
    await spend(database, tenant, 1_400)
    await topups.once()
    assert await credits(database, tenant) == 600
    await spend(database, tenant, 101)
    await topups.once()
    assert await credits(database, tenant) == 2_499
    assert [row.request_key for row in await payments(database, tenant)] == ["auto_topup:1", "auto_topup:2"]
    assert (await http.get("/billing/auto-topup")).json()["topups_this_month"] == 2


@pytest.mark.parametrize("another_card", [False, True])
async def test_who_dies_before_stripe_is_asked_or_answers(
    http: httpx.AsyncClient,
    topups: AutoTopups,
    double: StripeDouble,
    database: Database,
    settings: Settings,
    tenant: UUID,
    another_card: bool,
) -> None:
    await card(settings, database, double, tenant, "pm_card_visa")
    await rule(http)
    assert await topups.begin(tenant) is not None
    assert await topups.begin(tenant) is None
    # as after a death: nothing but the row is left
    double.lose_answer("/v1/payment_intents")
    await topups.once(left_after=timedelta(0))
    assert len(double.account.tables["payment_intent"]) == 1
    if another_card:
        (customer,) = double.account.cards
        double.account.cards[customer].insert(0, "pm_card_mastercard")
    await topups.once(left_after=timedelta(0))
    assert len(double.account.tables["payment_intent"]) == 1
    assert await credits(database, tenant) == 2_000


@pytest.mark.parametrize("name", ["pm_card_declined", "pm_card_authentication_required"])
async def test_a_decline_pauses_the_rule_and_is_told(
    http: httpx.AsyncClient,
    topups: AutoTopups,
    double: StripeDouble,
    deliver: Deliver,
    database: Database,
    settings: Settings,
    tenant: UUID,
    name: str,
) -> None:
    await card(settings, database, double, tenant, name)
    await rule(http)
    for _ in range(3):
        await topups.once(left_after=timedelta(0))
    await deliver(*double.account.events)
    assert len(double.account.tables["payment_intent"]) == 1
    shown = (await http.get("/billing/auto-topup")).json()
    assert shown["paused_at"] is not None
    assert shown["paused_reason"] in ("insufficient_funds", "authentication_required")
    async with database.transaction(tenant) as session:
        notices: list[BillingNotice] = list((await session.execute(select(BillingNotice))).scalars())
    assert [(notice.kind, notice.data["automatic"]) for notice in notices] == [("payment.failed", True)]
    # another card, and the rule is set again
    (customer,) = double.account.cards
    double.account.cards[customer].insert(0, "pm_card_visa")
    assert (await rule(http)).json()["paused_at"] is None
    # Stripe tells again what was known
    for event in double.account.events:
        await deliver(event | {"id": f"{event['id']}_late"})
    assert (await http.get("/billing/auto-topup")).json()["paused_at"] is None
    await topups.once()
    assert await credits(database, tenant) == 2_000


async def test_one_that_is_canceled_pauses_the_rule(
    topups: AutoTopups, http: httpx.AsyncClient, applier: Applier, database: Database, tenant: UUID
) -> None:
    await rule(http)
    payment_id = await topups.begin(tenant)
    told = {"payment_id": str(payment_id), "purpose": "auto_topup"}
    thing = objects.intent(f"pi_{new_id().hex}", 1, {"amount": 2_000, "currency": "usd", "metadata": told})
    await applier.apply(tenant, intent(thing | {"status": "canceled"}))
    assert (await http.get("/billing/auto-topup")).json()["paused_reason"] == "canceled"


async def test_no_card_and_too_often(
    http: httpx.AsyncClient,
    topups: AutoTopups,
    double: StripeDouble,
    database: Database,
    settings: Settings,
    tenant: UUID,
) -> None:
    await rule(http, max_per_month=1)
    await topups.once()
    assert (await http.get("/billing/auto-topup")).json()["paused_reason"] == "no_payment_method"
    await card(settings, database, double, tenant, "pm_card_visa")
    await rule(http, max_per_month=2)
    for _ in range(3):
        await topups.once()
        await spend(database, tenant, 2_000)
    assert await credits(database, tenant) == 0
    assert len(double.account.tables["payment_intent"]) == 1
    async with database.transaction(tenant) as session:
        kinds: list[str] = list((await session.execute(select(col(BillingNotice.kind)))).scalars())
    assert "topup.limit" in kinds
    # with the customer its cards are gone from Stripe
    double.account.delete_customer(next(iter(double.account.cards)))
    await rule(http, max_per_month=3)
    await topups.once()
    assert (await http.get("/billing/auto-topup")).json()["paused_reason"] == "no_payment_method"


async def test_rules_that_are_none(http: httpx.AsyncClient) -> None:
    assert (await http.get("/billing/auto-topup")).json()["enabled"] is False
    for change, status in (
        ({"amount_usd": 5}, 400),
        ({"amount_usd": "x"}, 400),
        ({"threshold_credits": -1}, 422),
        ({"threshold_credits": 1.5}, 422),
        ({"max_per_month": 0}, 422),
        ({"unknown": 1}, 422),
    ):
        assert (await rule(http, **change)).status_code == status, change
    off = await rule(http, enabled=False)
    assert (off.status_code, off.json()["enabled"]) == (200, False)
