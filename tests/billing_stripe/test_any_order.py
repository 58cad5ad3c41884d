"""Events in any order, any of them more than once: the same credits, the same tier, the same standing."""

from __future__ import annotations

import asyncio
import json
import random
import time
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import select
from sqlmodel import col

from activities.payments.applying import Applier
from activities.payments.reading import HANDLED
from models.database import Database
from models.repositories import stripe_events
from models.repositories.payments import SubscriptionRepository
from models.tables import CreditGrant, Payment
from omium_core.credits import MICRO
from omium_core.settings import Settings
from tests.billing_stripe.conftest import credits, tenant_row
from tests.support.stripe_double import StripeDouble
from tests.support.stripe_double.account import Account
from tests.support.stripe_double.errors import Refusal
from tests.support.stripe_double.objects import Object
from tests.support.stripe_double.server import shuffled
from tests.support.tenants import add_tenant


@dataclass
class Outcome:
    """What is left when all events are worked off."""

    credits: float
    tier: str
    places: int
    status: str
    plans: list[tuple[str | None, str, bool]]
    grants: list[tuple[str, int]]
    payments: list[tuple[str, str, int, int]]


async def outcome(database: Database, tenant_id: UUID) -> Outcome:
    tenant = await tenant_row(database, tenant_id)
    async with database.transaction(tenant_id) as session:
        subscriptions = await SubscriptionRepository(session, tenant_id).all()
        grants: list[CreditGrant] = list((await session.execute(select(CreditGrant))).scalars())
        of_tenant = select(Payment).where(col(Payment.tenant_id) == tenant_id)
        payments: list[Payment] = list((await session.execute(of_tenant)).scalars())
    return Outcome(
        await credits(database, tenant_id),
        tenant.subscription_tier,
        tenant.max_concurrent_executions,
        tenant.subscription_status,
        sorted((each.plan, each.status, each.cancel_at_period_end) for each in subscriptions),
        sorted((each.source, each.amount // MICRO) for each in grants if each.source in ("purchase", "plan")),
        sorted((each.kind, each.status, each.credits // MICRO, each.returned // MICRO) for each in payments),
    )


async def arrive(applier: Applier, database: Database, events: list[Object], *, at_once: int = 1) -> None:
    """Works off events in this order, `at_once` of them by workers who know nothing of each other."""
    for first in range(0, len(events), at_once):
        batch = events[first : first + at_once]
        async with database.system() as session:
            for event in batch:
                await stripe_events.keep(session, event)
        await asyncio.gather(*(applier.work_off(event["id"]) for event in batch))
    # what the workers find again and again, until nothing is left
    ids = {event["id"] for event in events}
    while True:
        async with database.system() as session:
            left = ids & set(await stripe_events.waiting(session, older_than=timedelta(0), limit=10_000))
        if not left:
            return
        for event_id in left:
            await applier.work_off(event_id)


def a_year(tenant: UUID, chance: random.Random) -> Account:
    """What may happen to a customer: payments, refunds, disputes, plans, renewals that fail, an end."""
    account = StripeDouble(now=int(time.time())).account
    names = {"tenant_id": str(tenant)}
    customer = account.new_id("cus")
    account.put("customer", {"id": customer, "metadata": names})
    plan = chance.choice(["price_developer", "price_pro"])
    subscription = account.subscribe(customer, plan, names)["id"]
    for _ in range(chance.randint(4, 6)):
        match chance.randrange(8):
            case 0 | 1:
                account.new_intent(
                    {
                        "amount": str(1000 * chance.randint(1, 9)),
                        "currency": "usd",
                        "customer": customer,
                        "metadata": names,
                    }
                )
                made = list(account.tables["payment_intent"].values())[-1]
                if chance.random() < 0.4:
                    with pytest.raises(Refusal):
                        account.confirm(made["id"], "pm_card_declined")
                account.confirm(made["id"])
            case 2:
                paid = [each for each in account.tables["charge"].values() if not each["refunded"]]
                charge = chance.choice(paid)
                left = charge["amount"] - charge["amount_refunded"]
                refund = account.refund(charge["payment_intent"], chance.randint(1, left))
                if chance.random() < 0.3:
                    account.fail_refund(refund["id"])
            case 3:
                charge = chance.choice(list(account.tables["charge"].values()))
                if not charge["disputed"]:
                    dispute = account.dispute(charge["payment_intent"])
                    if chance.random() < 0.7:
                        account.close_dispute(dispute["id"], chance.choice(["won", "lost"]))
            case 4:
                if account.get("subscription", subscription)["status"] == "active":
                    account.renew(subscription, card=chance.choice([None, "pm_card_declined"]))
            case 5:
                failed = account.get("subscription", subscription)
                if failed["status"] == "past_due":
                    account.retry_invoice(failed["latest_invoice"])
            case 6:
                if account.get("subscription", subscription)["status"] == "active":
                    items = [{"price": chance.choice(["price_developer", "price_pro"])}]
                    account.update_subscription(subscription, {"items": items, "proration_behavior": "always_invoice"})
            case 7:
                if account.get("subscription", subscription)["status"] != "canceled":
                    cancel = str(chance.random() < 0.7).lower()
                    account.update_subscription(subscription, {"cancel_at_period_end": cancel})
                    if chance.random() < 0.4:
                        account.end(subscription)
        account.now += chance.choice([0, 0, 1, 3600])
    return account


def told_of(events: list[Object], tenant: UUID, other: UUID) -> list[Object]:
    """The same events about another tenant: other ids, other metadata."""
    text, mark = json.dumps(events), other.hex[:10]
    account = events[0]["id"].split("_")[1][:10]
    changed: list[Object] = json.loads(text.replace(str(tenant), str(other)).replace(account, mark))
    return changed


@pytest.mark.parametrize(
    "seed", [*range(2), *(pytest.param(seed, marks=pytest.mark.thorough) for seed in range(2, 30))]
)
async def test_order_and_number_do_not_matter(
    seed: int, applier: Applier, database: Database, tenant: UUID, settings: Settings
) -> None:
    chance = random.Random(seed)
    events = [event for event in a_year(tenant, chance).events if event["type"] in HANDLED]
    await arrive(applier, database, events)
    expected = await outcome(database, tenant)
    assert expected.plans
    for turn, at_once in enumerate((1, 4)):
        other = await add_tenant(database)
        changed = told_of(events, tenant, other)
        order = list(reversed(changed)) if turn == 0 else shuffled(changed, chance)
        await arrive(applier, database, order, at_once=at_once)
        assert await outcome(database, other) == expected, (seed, turn, [event["type"] for event in order])


async def test_each_event_of_a_life_says_what_it_should(applier: Applier, database: Database, tenant: UUID) -> None:
    """The same story in its own order, looked at after each step."""
    account = StripeDouble(now=int(time.time())).account
    names, customer, seen = {"tenant_id": str(tenant)}, account.new_id("cus"), 0
    account.put("customer", {"id": customer, "metadata": names})

    async def stands() -> tuple[float, str, str]:
        nonlocal seen
        await arrive(applier, database, account.events[seen:])
        seen = len(account.events)
        row = await tenant_row(database, tenant)
        return await credits(database, tenant), row.subscription_tier, row.subscription_status

    subscription = account.subscribe(customer, "price_developer", names)["id"]
    assert await stands() == (3_900, "starter", "active")
    account.update_subscription(
        subscription, {"items": [{"price": "price_pro"}], "proration_behavior": "always_invoice"}
    )
    assert await stands() == (29_900, "professional", "active")
    paying = account.renew(subscription, card="pm_card_declined")
    assert await stands() == (29_900, "professional", "past_due")
    account.retry_invoice(paying["latest_invoice"])
    assert await stands() == (59_800, "professional", "active")
    intent = next(
        each["payment"]["payment_intent"]
        for each in account.tables["invoice_payment"].values()
        if each["invoice"] == paying["latest_invoice"]
    )
    refund = account.refund(intent, 14_950)
    assert await stands() == (44_850, "professional", "active")
    account.fail_refund(refund["id"])
    assert await stands() == (59_800, "professional", "active")
    dispute = account.dispute(intent)
    assert await stands() == (29_900, "professional", "active")
    account.close_dispute(dispute["id"], "won")
    assert await stands() == (59_800, "professional", "active")
    account.end(subscription)
    assert (await stands())[1:] == ("starter", "cancelled")
