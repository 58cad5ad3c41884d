"""Subscriptions through the API: checkout, upgrade, downgrade, the end and its taking back; portal, invoices, plans."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
from fastapi import FastAPI
from sqlalchemy import select, update
from sqlmodel import col

from api.app import create_app
from models.database import Database
from models.tables import CreditGrant, Tenant
from omium_core.settings import Settings
from tests.billing_stripe.conftest import Deliver, credits, tenant_row
from tests.support.stripe_double import StripeDouble


async def subscribe(http: httpx.AsyncClient, double: StripeDouble, deliver: Deliver, plan: str) -> str:
    """The id of a subscription that was paid."""
    answer = await http.post("/billing/subscription", json={"plan": plan})
    assert answer.status_code == 201, answer.text
    made = double.account.complete_checkout(answer.json()["checkout_session_id"])
    await deliver(*double.account.events)
    return str(made["id"])


async def shown(http: httpx.AsyncClient) -> dict[str, Any]:
    answer = await http.get("/billing/subscription")
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def test_a_checkout_becomes_a_plan_with_its_credits(
    http: httpx.AsyncClient, double: StripeDouble, deliver: Deliver, database: Database, tenant: UUID
) -> None:
    before = await shown(http)
    assert (before["plan"], before["status"], before["tier"]) == (None, "none", "starter")
    answer = await http.post(
        "/billing/subscription",
        json={"plan": "pro", "success_url": "https://app.example.com/ok", "cancel_url": "https://app.example.com/no"},
    )
    told = answer.json()
    assert (answer.status_code, told["plan"]) == (201, "pro")
    assert told["checkout_url"].startswith("https://checkout.stripe.com/")
    (asked,) = [form for method, path, form in double.requests if path == "/v1/checkout/sessions"]
    assert asked["mode"] == "subscription"
    assert asked["success_url"] == "https://app.example.com/ok"
    assert asked["subscription_data"]["metadata"] == {"tenant_id": str(tenant), "plan": "pro"}
    assert asked["line_items"] == [{"price": "price_pro", "quantity": "1"}]
    double.account.complete_checkout(told["checkout_session_id"])
    await deliver(*double.account.events)
    now = await shown(http)
    assert (now["plan"], now["status"], now["tier"], now["credits_per_month"]) == (
        *("pro", "active", "professional"),
        29_900,
    )
    assert await credits(database, tenant) == 29_900
    async with database.transaction(tenant) as session:
        query = select(CreditGrant).where(col(CreditGrant.source) == "plan")
        grant: CreditGrant = (await session.execute(query)).scalar_one()
    end = datetime.fromisoformat(now["current_period_end"])
    assert grant.expires_at == end + timedelta(days=3)
    again = await http.post("/billing/subscription", json={"plan": "developer"})
    assert (again.status_code, again.json()["error"]["code"]) == (409, "ALREADY_SUBSCRIBED")


async def test_an_upgrade_holds_at_once(
    http: httpx.AsyncClient, double: StripeDouble, deliver: Deliver, database: Database, tenant: UUID
) -> None:
    await subscribe(http, double, deliver, "developer")
    assert await credits(database, tenant) == 3_900
    # a plan is also known by its title
    answer = await http.put("/billing/subscription", json={"plan": "Pro"})
    # before any event of it came
    assert (answer.status_code, answer.json()["plan"], answer.json()["tier"]) == (200, "pro", "professional")
    await deliver(*double.account.events)
    assert await credits(database, tenant) == 29_900
    assert (await shown(http))["plan"] == "pro"
    (invoice, _) = reversed(double.account.tables["invoice"].values())
    assert (invoice["billing_reason"], invoice["total"]) == ("subscription_update", 26_000)


async def test_a_downgrade_begins_with_the_next_period(
    http: httpx.AsyncClient, double: StripeDouble, deliver: Deliver, database: Database, tenant: UUID
) -> None:
    # the operator gave it a number of its own: no plan takes that away
    by_hand = update(Tenant).where(col(Tenant.id) == tenant).values(max_api_calls_per_month=123_456)
    async with database.system() as session:
        await session.execute(by_hand)

    async def limits() -> tuple[int, int, int]:
        row = await tenant_row(database, tenant)
        return row.max_concurrent_executions, row.max_checkpoints_per_month, row.max_api_calls_per_month

    found = await subscribe(http, double, deliver, "pro")
    pro = next(plan for plan in (await http.get("/billing/plans")).json()["plans"] if plan["current"])["limits"]
    gained = (pro["max_concurrent_executions"], pro["max_checkpoints_per_month"], 123_456)
    assert await limits() == gained == (50, 500_000, 123_456)
    answer = await http.put("/billing/subscription", json={"plan": "developer"})
    assert answer.status_code == 200, answer.text
    assert (answer.json()["plan"], answer.json()["next_plan"]) == ("pro", "developer")
    await deliver(*double.account.events)
    told = await shown(http)
    assert (told["plan"], told["next_plan"], told["tier"]) == ("pro", "developer", "professional")
    assert await limits() == gained
    # taken back, and wanted again
    kept = (await http.put("/billing/subscription", json={"plan": "pro"})).json()
    assert (kept["plan"], kept["next_plan"]) == ("pro", None)
    assert (await http.put("/billing/subscription", json={"plan": "developer"})).json()["next_plan"] == "developer"
    double.account.renew(found)
    await deliver(*double.account.events)
    told = await shown(http)
    assert (told["plan"], told["next_plan"], told["tier"]) == ("developer", None, "starter")
    assert await limits() == (10, 50_000, 123_456)
    assert await credits(database, tenant) == 29_900 + 3_900


async def test_the_end_with_the_period_and_its_taking_back(
    http: httpx.AsyncClient, double: StripeDouble, deliver: Deliver, database: Database, tenant: UUID
) -> None:
    found = await subscribe(http, double, deliver, "pro")
    ending = await http.delete("/billing/subscription")
    assert (ending.status_code, ending.json()["cancel_at_period_end"], ending.json()["status"]) == (200, True, "active")
    back = await http.put("/billing/subscription", json={"cancel_at_period_end": False})
    assert back.json()["cancel_at_period_end"] is False
    # in the portal, and taken back here
    (item,) = double.account.tables["subscription"][found]["items"]["data"]
    double.account.end_at(found, item["current_period_end"])
    await deliver(*double.account.events)
    assert (await shown(http))["cancel_at_period_end"] is True
    back = await http.put("/billing/subscription", json={"cancel_at_period_end": False})
    assert back.json()["cancel_at_period_end"] is False
    assert double.account.tables["subscription"][found]["cancel_at"] is None
    await http.delete("/billing/subscription")
    await deliver(*double.account.events)
    assert (await shown(http))["cancel_at_period_end"] is True
    double.account.renew(found)
    await deliver(*double.account.events)
    told = await shown(http)
    assert (told["status"], told["tier"]) == ("canceled", "starter")
    assert (await tenant_row(database, tenant)).subscription_status == "cancelled"
    gone = await http.delete("/billing/subscription")
    assert (gone.status_code, gone.json()["error"]["code"]) == (404, "SUBSCRIPTION_NOT_FOUND")
    assert (await http.post("/billing/subscription", json={"plan": "pro"})).status_code == 201


async def test_the_end_at_once(http: httpx.AsyncClient, double: StripeDouble, deliver: Deliver) -> None:
    await subscribe(http, double, deliver, "pro")
    answer = await http.delete("/billing/subscription", params={"immediately": "true"})
    assert (answer.json()["status"], answer.json()["tier"]) == ("canceled", "starter")
    # what was told before comes late
    await deliver(*double.account.events)
    assert (await shown(http))["status"] == "canceled"


async def test_a_renewal_that_fails(
    http: httpx.AsyncClient, double: StripeDouble, deliver: Deliver, database: Database, tenant: UUID
) -> None:
    found = await subscribe(http, double, deliver, "pro")
    double.account.renew(found, card="pm_card_declined")
    failed = [event for event in double.account.events if event["type"] == "invoice.payment_failed"]
    # the word of the invoice alone, before Stripe says it of the subscription
    await deliver(*[event for event in double.account.events if event["type"] != "customer.subscription.updated"])
    assert failed
    told = await shown(http)
    assert (told["status"], told["tier"]) == ("past_due", "professional")
    assert (await tenant_row(database, tenant)).subscription_status == "past_due"
    double.account.retry_invoice(double.account.get("subscription", found)["latest_invoice"])
    await deliver(*double.account.events)
    assert (await shown(http))["status"] == "active"
    assert await credits(database, tenant) == 2 * 29_900


async def test_changes_that_are_none(http: httpx.AsyncClient, double: StripeDouble, deliver: Deliver) -> None:
    nothing = await http.put("/billing/subscription", json={"plan": "pro"})
    assert (nothing.status_code, nothing.json()["error"]["code"]) == (404, "SUBSCRIPTION_NOT_FOUND")
    await subscribe(http, double, deliver, "pro")
    for body in ({}, {"plan": "gold"}, {"plan": "pro", "cancel_at_period_end": True}, {"plan": None}):
        assert (await http.put("/billing/subscription", json=body)).status_code == 422, body
    unsold = await http.put("/billing/subscription", json={"plan": "enterprise"})
    assert (unsold.status_code, unsold.json()["error"]["code"]) == (503, "BILLING_NOT_CONFIGURED")
    bad = {"plan": "pro", "success_url": "javascript:alert(1)"}
    assert (await http.post("/billing/subscription", json=bad)).status_code == 422


async def test_portal_plans_and_invoices(
    http: httpx.AsyncClient, double: StripeDouble, deliver: Deliver, settings: Settings
) -> None:
    assert (await http.get("/billing/invoices")).json() == {"invoices": [], "limit": 20, "next_cursor": None}
    portal = await http.post("/billing/portal", json={"return_url": "https://app.example.com/billing"})
    assert portal.json()["url"].startswith("https://billing.stripe.com/")
    assert (await http.post("/billing/portal")).status_code == 200
    found = await subscribe(http, double, deliver, "developer")
    for _ in range(2):
        double.account.renew(found)
    first = (await http.get("/billing/invoices", params={"limit": 2})).json()
    assert [each["total_usd"] for each in first["invoices"]] == [39.0, 39.0]
    assert first["invoices"][0]["pdf_url"].startswith("https://pay.stripe.com/invoice/")
    rest = (await http.get("/billing/invoices", params={"limit": 2, "cursor": first["next_cursor"]})).json()
    assert (len(rest["invoices"]), rest["next_cursor"]) == (1, None)
    plans = (await http.get("/billing/plans")).json()
    assert [(each["name"], each["price_usd"], each["available"], each["current"]) for each in plans["plans"]] == [
        ("developer", 39.0, True, True),
        ("pro", 299.0, True, False),
        ("enterprise", None, False, False),
    ]
    assert (plans["credits_per_usd"], plans["minimum_topup_usd"]) == (100, 10.0)


async def test_without_keys_of_stripe(settings: Settings, http: httpx.AsyncClient, tenant: UUID) -> None:
    bare = settings.model_copy(update={"stripe_secret_key": None, "stripe_webhook_secret": None})
    app: FastAPI = create_app(bare)
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        headers = {"X-API-Key": http.headers["x-api-key"]}
        async with httpx.AsyncClient(transport=transport, base_url="http://api/api/v1", headers=headers) as client:
            for method, path, body in (
                ("POST", "/billing/topup", {"amount_usd": 10}),
                ("POST", "/billing/subscription", {"plan": "pro"}),
                ("PUT", "/billing/subscription", {"plan": "pro"}),
                ("DELETE", "/billing/subscription", None),
                ("POST", "/billing/portal", {}),
                ("PUT", "/billing/auto-topup", {"threshold_credits": 1, "amount_usd": 10}),
                ("POST", "/webhooks/stripe", {}),
            ):
                answer = await client.request(method, path, json=body)
                assert (answer.status_code, answer.json()["error"]["code"]) == (503, "BILLING_NOT_CONFIGURED"), path
            assert (await client.post("/billing/topup", json={"amount_usd": 1})).status_code == 400
            plans = (await client.get("/billing/plans")).json()
            assert not any(each["available"] for each in plans["plans"])
            assert (await client.get("/billing/subscription")).json()["status"] == "none"
            assert (await client.get("/billing/invoices")).json()["invoices"] == []
            assert (await client.get("/billing/auto-topup")).json()["enabled"] is False
