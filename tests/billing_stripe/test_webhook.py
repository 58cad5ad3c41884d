"""The door that Stripe knocks at: signatures, both ways in time; stored once; what nobody started; what belongs to nobody."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from pydantic import SecretStr
from sqlalchemy import func, select, update
from sqlmodel import col
from temporalio.testing import ActivityEnvironment

from activities.maintenance.erasing import ErasureActivities
from activities.payments.applying import Applier
from activities.payments.signatures import secrets_of, verify
from activities.stores.file import FileStore
from models.database import Database
from models.repositories import stripe_events
from models.tables import StripeWebhookEvent, Tenant
from models.wire_maintenance import ErasureInput
from omium_core.payment_errors import InvalidSignature, PaymentServiceUnavailable
from omium_core.settings import Settings
from tests.billing_stripe.conftest import Deliver, credits, post, stored, tenant_row
from tests.support.stripe_double import StripeDouble, objects
from tests.support.stripe_double.server import SECRET, signed
from tests.support.tenants import add_tenant


def succeeded(tenant: UUID | str | None, amount: int = 10_000, **more: Any) -> dict[str, Any]:
    """A `payment_intent.succeeded` that no request of ours came before."""
    mark = uuid4().hex
    metadata = {} if tenant is None else {"tenant_id": str(tenant)}
    thing = objects.intent(f"pi_{mark}", 1, {"amount": amount, "currency": "usd", "metadata": metadata})
    thing |= {"status": "succeeded", "amount_received": amount, **more}
    return objects.event(f"evt_{mark}", "payment_intent.succeeded", int(time.time()), thing)


async def test_a_signed_payment_grants_with_nothing_else_known(
    deliver: Deliver, database: Database, tenant: UUID
) -> None:
    event = succeeded(tenant, 2_550)
    await deliver(event)
    assert await credits(database, tenant) == 2_550
    row = await stored(database, event["id"])
    assert row is not None
    assert (row.processed, row.processing_error, row.event_type) == (True, None, "payment_intent.succeeded")
    assert row.event_data == event
    # the type of an event says as much as a status
    short = succeeded(tenant, 1_000)
    del short["created"], short["data"]["object"]["status"]
    await deliver(short)
    assert await credits(database, tenant) == 3_550


async def test_the_time_of_a_signature_is_now(stripe_side: httpx.AsyncClient, database: Database, tenant: UUID) -> None:
    for seconds in (-310, 310, -86_400, 10**9):
        event = succeeded(tenant)
        answer = await post(stripe_side, event, at=int(time.time()) + seconds)
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "INVALID_SIGNATURE"), seconds
        assert await stored(database, event["id"]) is None
    for seconds in (-280, 280):
        # clocks differ a little
        answer = await post(stripe_side, succeeded(tenant), at=int(time.time()) + seconds)
        assert (answer.status_code, answer.json()) == (200, {"received": True})


async def test_what_is_not_signed_is_refused(
    stripe_side: httpx.AsyncClient, database: Database, tenant: UUID, settings: Settings
) -> None:
    event = succeeded(tenant)
    body, header = signed(event)
    stamp, signature = header.split(",")
    wrong = [
        *(None, "", "nonsense", stamp, signature, f"{stamp},v0={signature[3:]}", f"{stamp},v1=", f"t=x,{signature}"),
        *(f"t={'9' * 400},{signature}", f"{stamp},t=1,{signature}", f"{stamp},v1={'0' * 64}", f"t=-5,{signature}"),
        signed(event, secret="whsec_another")[1],
    ]
    for given in (*wrong, f"{stamp},v1=\u00e9"):
        sent = {} if given is None else {b"Stripe-Signature": given.encode()}
        answer = await stripe_side.post("/webhooks/stripe", content=body, headers=sent)
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "INVALID_SIGNATURE"), given
    # a body that was changed on its way
    changed = body.replace(b"10000", b"99999")
    headers = {"Stripe-Signature": f"{stamp},{signature}"}
    assert (await stripe_side.post("/webhooks/stripe", content=changed, headers=headers)).status_code == 400
    assert (await stripe_side.post("/webhooks/stripe", content=b"\xff", headers=headers)).status_code == 400
    assert await stored(database, event["id"]) is None


def test_one_of_several_signatures_and_secrets_is_enough() -> None:
    body, header = signed({"id": "evt_1"})
    stamp, right = header.split(",")
    verify(body, f"{stamp},v1={'0' * 64},{right}", [SECRET], 300)
    settings = Settings(stripe_webhook_secret=SecretStr(f"whsec_new, {SECRET}"))
    verify(body, header, secrets_of(settings), 300)
    with pytest.raises(InvalidSignature):
        verify(body, header, ["whsec_new"], 300)


async def test_signed_and_still_no_event(stripe_side: httpx.AsyncClient) -> None:
    texts: tuple[dict[str, Any], ...] = (
        {},
        {"id": 1, "type": "x"},
        {"id": "e" * 300, "type": "x"},
        {"id": "evt", "type": "\x00"},
    )
    things: tuple[Any, ...] = ([], "x", *texts)
    for thing in things:
        answer = await post(stripe_side, thing)
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "MALFORMED_REQUEST"), thing
    body, header = signed({})
    assert body == b"{}"
    answer = await stripe_side.post("/webhooks/stripe", content=b"", headers={"Stripe-Signature": header})
    assert answer.status_code == 400


async def test_stored_once_and_answered_each_time(
    stripe_side: httpx.AsyncClient, applier: Applier, database: Database, tenant: UUID
) -> None:
    event = succeeded(tenant, 1_000)
    answers = await asyncio.gather(*(post(stripe_side, event) for _ in range(8)))
    assert {answer.status_code for answer in answers} == {200}
    query = select(func.count()).where(col(StripeWebhookEvent.stripe_event_id) == event["id"])
    async with database.system() as session:
        assert (await session.execute(query)).scalar_one() == 1
    # two workers at once, and once more
    await asyncio.gather(*(applier.work_off(event["id"]) for _ in range(4)))
    await applier.work_off(event["id"])
    assert await credits(database, tenant) == 1_000


async def test_what_was_stored_and_not_started_is_found(
    stripe_side: httpx.AsyncClient, applier: Applier, database: Database, tenant: UUID
) -> None:
    """As when the API dies after the answer; Temporal is away in this test, so nobody started it."""
    event = succeeded(tenant, 1_000)
    await post(stripe_side, event)
    async with database.system() as session:
        left = await stripe_events.waiting(session, older_than=timedelta(0), limit=1000)
    assert event["id"] in left
    await applier.work_off(event["id"])
    async with database.system() as session:
        assert event["id"] not in await stripe_events.waiting(session, older_than=timedelta(0), limit=1000)
    assert await credits(database, tenant) == 1_000


async def test_killed_between_grant_and_mark(
    stripe_side: httpx.AsyncClient, applier: Applier, database: Database, tenant: UUID
) -> None:
    event = succeeded(tenant, 1_000)
    await post(stripe_side, event)
    # what a worker did that died before it could say so
    assert await applier._apply_event(event["id"], event) is not None
    row = await stored(database, event["id"])
    assert row is not None
    assert row.processed_at is None
    await applier.work_off(event["id"])
    assert await credits(database, tenant) == 1_000


async def test_what_belongs_to_nobody_is_kept(deliver: Deliver, database: Database) -> None:
    for tenant in (None, uuid4(), "not a uuid"):
        event = succeeded(tenant)
        await deliver(event)
        row = await stored(database, event["id"])
        assert row is not None
        assert (row.processed, row.processing_error) == (False, stripe_events.NO_TENANT)
        assert row.processed_at is not None


async def test_it_is_taken_up_again_when_somebody_is_known_by_it(
    deliver: Deliver, applier: Applier, database: Database, tenant: UUID
) -> None:
    customer = f"cus_{uuid4().hex}"
    early = succeeded(None, 1_000, customer=customer)
    await deliver(early)
    assert await credits(database, tenant) == 0
    await deliver(succeeded(tenant, 2_000, customer=customer))
    assert (await tenant_row(database, tenant)).stripe_customer_id == customer
    async with database.system() as session:
        assert early["id"] in await stripe_events.waiting(session, older_than=timedelta(0), limit=1000)
    await applier.work_off(early["id"])
    assert await credits(database, tenant) == 3_000


async def test_what_cannot_be_booked_is_refused_once_and_for_all(
    deliver: Deliver, database: Database, tenant: UUID
) -> None:
    amounts: tuple[Any, ...] = (-5, 0, "100", 10**18, 1.5, True)
    wrong: list[dict[str, Any]] = [
        {"currency": "eur"},
        {"currency": None},
        {"id": None},
        *({"amount_received": each} for each in amounts),
    ]
    for change in wrong:
        event = succeeded(tenant, **change)
        await deliver(event)
        row = await stored(database, event["id"])
        assert row is not None
        assert (row.processed, row.processed_at is None) == (False, False)
        assert row.processing_error
    # the money of a connected account is its own
    connected = succeeded(tenant) | {"account": "acct_another"}
    await deliver(connected)
    row = await stored(database, connected["id"])
    assert row is not None
    assert "connected account" in str(row.processing_error)
    assert await credits(database, tenant) == 0


async def test_a_payment_is_one_tenant_s(deliver: Deliver, database: Database, tenant: UUID) -> None:
    first, other = succeeded(tenant, 1_000), await add_tenant(database)
    again = succeeded(other, 1_000, id=first["data"]["object"]["id"])
    await deliver(first, again)
    row = await stored(database, again["id"])
    assert row is not None
    assert (row.processed, row.processing_error) == (False, "It was booked for another tenant before.")
    assert (await credits(database, tenant), await credits(database, other)) == (1_000, 0)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0)])
async def test_an_inquiry_that_becomes_a_dispute(
    deliver: Deliver, database: Database, tenant: UUID, order: tuple[int, ...]
) -> None:
    paid = succeeded(tenant, 1_000)
    charge = {"id": f"ch_{uuid4().hex}", "payment_intent": paid["data"]["object"]["id"], "currency": "usd"}
    dispute, events = objects.dispute(f"dp_{uuid4().hex}", 1, charge, 400), [paid]
    for kind, status in (("created", "warning_needs_response"), ("updated", "needs_response")):
        told = dispute | {"status": status}
        events.append(objects.event(f"evt_{uuid4().hex}", f"charge.dispute.{kind}", 1, told))
    await deliver(events[0], events[1])
    assert await credits(database, tenant) == 1_000
    await deliver(*(events[place] for place in order))
    assert await credits(database, tenant) == 600


async def test_signed_nonsense_never_fails(deliver: Deliver, database: Database, tenant: UUID) -> None:
    """Whatever stands in a payload: it is applied, or refused with a word on it."""
    whole = json.dumps(succeeded(tenant))
    odd = {"id": "x", "items": 5, "lines": "y"}
    datas: tuple[Any, ...] = (None, [], {}, {"object": None}, {"object": []}, {"object": odd})
    kinds = ("payment_intent.succeeded", "invoice.paid", "charge.refunded", "customer.subscription.updated")
    for kind in (*kinds, "charge.dispute.closed", "checkout.session.completed"):
        for data in datas:
            event = json.loads(whole) | {"id": f"evt_{uuid4().hex}", "type": kind, "data": data}
            await deliver(event)
            row = await stored(database, event["id"])
            assert row is not None
            assert row.processed_at is not None
            assert row.processed == (row.processing_error is None)
    assert await credits(database, tenant) == 0


async def test_what_says_nothing_here_is_done_at_once(
    stripe_side: httpx.AsyncClient, applier: Applier, database: Database
) -> None:
    event = succeeded(None) | {"type": "product.created"}
    await post(stripe_side, event)
    await applier.work_off(event["id"])
    row = await stored(database, event["id"])
    assert row is not None
    assert (row.processed, row.processing_error) == (True, None)


async def test_payments_of_invoices_are_no_top_ups(deliver: Deliver, database: Database, tenant: UUID) -> None:
    customer = f"cus_{uuid4().hex}"
    await deliver(succeeded(tenant, 1_000, customer=customer))
    marks: tuple[dict[str, Any], ...] = (
        {"invoice": "in_1"},
        {"description": "Subscription update"},
        {"payment_details": {"order_reference": "in_1", "customer_reference": None}},
        {"invoice": "in_2", "metadata": {"tenant_id": str(tenant)}},
    )
    for more in marks:
        await deliver(succeeded(None, 3_900, customer=customer, **more))
    assert await credits(database, tenant) == 1_000
    # who pays without a word is found by the customer
    await deliver(succeeded(None, 500, customer=customer))
    assert await credits(database, tenant) == 1_500


async def test_a_customer_is_one_tenant(deliver: Deliver, database: Database, tenant: UUID) -> None:
    other, customer = await add_tenant(database), f"cus_{uuid4().hex}"
    await deliver(succeeded(tenant, 1_000, customer=customer), succeeded(other, 2_000, customer=customer))
    assert (await credits(database, tenant), await credits(database, other)) == (1_000, 2_000)
    assert (await tenant_row(database, other)).stripe_customer_id is None


async def test_get_of_the_same_path_needs_a_key(stripe_side: httpx.AsyncClient, http: httpx.AsyncClient) -> None:
    assert (await stripe_side.get("/webhooks/stripe")).status_code == 401
    assert (await stripe_side.delete("/webhooks/stripe")).status_code == 401
    assert (await http.get("/webhooks/stripe")).status_code == 422


async def test_nothing_of_an_erased_tenant_stays_in_events_or_at_stripe(
    http: httpx.AsyncClient,
    double: StripeDouble,
    deliver: Deliver,
    stripe_side: httpx.AsyncClient,
    applier: Applier,
    database: Database,
    settings: Settings,
    tenant: UUID,
) -> None:
    account = double.account
    account.confirm((await http.post("/billing/topup", json={"amount_usd": 10})).json()["payment_intent_id"])
    session_id = (await http.post("/billing/subscription", json={"plan": "pro"})).json()["checkout_session_id"]
    subscription = account.complete_checkout(session_id)
    (customer,) = account.tables["customer"].values()
    account.tell("customer.updated", customer | {"email": "ann@example.com"})
    account.tell("charge.updated", {"id": "ch_1", "object": "charge", "customer": customer["id"]})
    others = succeeded(await add_tenant(database))

    async def told() -> list[dict[str, Any]]:
        for event in account.events:
            assert (await post(stripe_side, event)).status_code == 200
            await applier.work_off(event["id"])
        rows = [await stored(database, event["id"]) for event in account.events]
        return [row.event_data for row in rows if row is not None]

    await deliver(others)
    assert all(await told())
    # as the workflow does it: the keys first
    await database.keys.destroy(tenant)
    async with database.system() as db:
        await db.execute(update(Tenant).where(col(Tenant.id) == tenant).values(deleted_at=datetime.now(UTC)))
    objects_of_nobody = FileStore(settings.store_path)
    erasing = ErasureActivities(None, database, objects_of_nobody, settings)  # type: ignore[arg-type]
    double.order("/v1/customers", 429)
    for expected in (PaymentServiceUnavailable, None, None):
        with pytest.raises(expected) if expected else nullcontext():
            await ActivityEnvironment().run(erasing.delete_rows, ErasureInput(str(tenant), str(uuid4())))
    assert (account.tables["customer"], subscription["status"]) == ({}, "canceled")
    # also what Stripe tells of that afterwards
    assert not any(await told())
    kept = await stored(database, others["id"])
    assert kept is not None
    assert kept.event_data == others
