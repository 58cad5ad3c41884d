"""What our side has missed is asked for; and the workers start what nobody started, with Temporal's own server."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from uuid import UUID, uuid4

import httpx
import pytest
from temporalio.client import Client

from activities.payments.applying import Applier
from activities.payments.client import open_stripe
from activities.payments.customers import customer_of
from activities.payments.reconciling import CURSOR, Reconciler
from models.database import Database
from models.repositories import stripe_events
from models.tables.base import now
from omium_core import temporal
from omium_core.errors import Unavailable
from omium_core.settings import Settings
from tests.billing_stripe.conftest import credits, post, stored, tenant_row
from tests.billing_stripe.test_webhook import succeeded
from tests.support.stripe_double import StripeDouble
from tests.support.temporal import running_temporal, serving
from workers.payments import PaymentKeeper


@pytest.fixture(scope="module")
def temporal_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_temporal(tmp_path_factory.mktemp("temporal")) as address:
        yield address


async def forget_where_we_were(database: Database) -> None:
    async with database.system() as session:
        await stripe_events.reach(session, CURSOR, now() - timedelta(days=2))


async def test_everything_that_was_missed_is_found(
    double: StripeDouble, applier: Applier, database: Database, settings: Settings, tenant: UUID
) -> None:
    api = open_stripe(settings)
    assert api is not None
    account, names = double.account, {"tenant_id": str(tenant)}
    customer = await customer_of(database, api, tenant)
    account.subscribe(customer, "price_pro", names)
    api.page = 3
    for _ in range(8):
        account.confirm(account.new_intent({"amount": "1000", "currency": "usd", "metadata": names})["id"])
    last = list(account.tables["payment_intent"])[-1]
    account.refund(last, 400)
    await forget_where_we_were(database)
    found = await Reconciler(database, api, applier).once()
    assert found["events"] > 12
    assert await credits(database, tenant) == 29_900 + 8_000 - 400
    assert (await tenant_row(database, tenant)).subscription_tier == "professional"
    # once more finds nothing new, and books nothing
    again = await Reconciler(database, api, applier).once()
    assert again["events"] == 0
    assert await credits(database, tenant) == 29_900 + 8_000 - 400
    await api.close()


async def test_what_no_event_told_is_found_too(
    double: StripeDouble, applier: Applier, database: Database, settings: Settings, tenant: UUID
) -> None:
    api = open_stripe(settings)
    assert api is not None
    account, names = double.account, {"tenant_id": str(tenant)}
    found = account.confirm(account.new_intent({"amount": "5000", "currency": "usd", "metadata": names})["id"])
    account.refund(found["id"], 1_000)
    subscription = account.subscribe(account.new_id("cus"), "price_pro", names)["id"]
    account.tables["event"].clear()
    await forget_where_we_were(database)
    await Reconciler(database, api, applier).once()
    assert await credits(database, tenant) == 4_000
    assert (await tenant_row(database, tenant)).subscription_tier == "professional"
    account.end(subscription)
    account.tables["event"].clear()
    await Reconciler(database, api, applier).once()
    assert (await tenant_row(database, tenant)).subscription_status == "cancelled"
    # while Stripe is away, the place to go on from stays
    double.order("/v1/events", 500)
    async with database.system() as session:
        before = await stripe_events.reached(session, CURSOR)
    with pytest.raises(Unavailable):
        await Reconciler(database, api, applier).once()
    async with database.system() as session:
        assert await stripe_events.reached(session, CURSOR) == before
    await api.close()


async def test_workers_start_what_nobody_started(
    temporal_address: str,
    settings: Settings,
    stripe_side: httpx.AsyncClient,
    database: Database,
    tenant: UUID,
    tmp_path: Path,
) -> None:
    event = succeeded(tenant, 1_500)
    # the API of this test knows no Temporal: it stores and answers
    assert (await post(stripe_side, event)).status_code == 200
    there = settings.model_copy(update={"temporal_address": temporal_address, "store_path": tmp_path / "objects"})
    async with serving(there) as client:
        keeper = PaymentKeeper(client, database, there)
        await keeper.once(left_after=timedelta(0))
        await keeper.once(left_after=timedelta(0))
        assert await _result(client, event["id"]) == ""
        assert await credits(database, tenant) == 1_500
        row = await stored(database, event["id"])
        assert row is not None
        assert row.processed
        # one that belongs to nobody ends, too
        lost = succeeded(uuid4())
        await post(stripe_side, lost)
        await keeper.once(left_after=timedelta(0))
        assert await _result(client, lost["id"]) == stripe_events.NO_TENANT
        handle = client.get_schedule_handle(temporal.STRIPE_RECONCILIATION_SCHEDULE)
        assert (await handle.describe()).schedule.policy.catchup_window == timedelta(days=1)


async def _result(client: Client, event_id: str) -> str:
    found: str = await client.get_workflow_handle(temporal.stripe_event_id(event_id), result_type=str).result()
    return found
