"""`/billing`: the balance, movements, usage, charges and prices of a tenant."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from models.database import Database
from models.repositories.ledger import LedgerRepository, Movement
from models.repositories.prices import add_price
from models.tables import ParkedRun, Price
from models.tables.base import now
from tests.api.conftest import Caller, KeyMaker
from tests.billing.conftest import Payer
from tests.support.tenants import add_tenant


async def asked(client: httpx.AsyncClient, path: str, **query: Any) -> dict[str, Any]:
    answer = await client.get(f"/api/v1{path}", params=query)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_tenant_without_entries_has_nothing(http: httpx.AsyncClient) -> None:
    found = await asked(http, "/billing/balance")
    assert (found["balance"], found["balance_usd"], found["last_topup_at"]) == (0, 0.0, None)
    assert (found["available"], found["held"], found["spent"], found["unpaid"], found["grants"]) == (0, 0, 0, 0, [])
    assert (await asked(http, "/billing/transactions"))["transactions"] == []
    assert (await asked(http, "/billing/usage"))["credits"] == 0


async def test_balance_is_what_is_left(http: httpx.AsyncClient, payer: Payer) -> None:
    await payer.grant(5000)
    await payer.grant(100, "gift", expires_at=now() + timedelta(days=1))
    await payer.grant(7, "gift", expires_at=now() - timedelta(days=1))
    run = await payer.run()
    await payer.call(run, 0, 1_500_001)
    await payer.add(ParkedRun(execution_id=run.execution, tenant_id=payer.tenant, reason="credits", required=1))
    found = await asked(http, "/billing/balance")
    assert (found["balance"], found["balance_usd"]) == (5098.499999, 50.98499999)
    assert found["last_topup_at"] is not None
    assert (found["available"], found["held"], found["spent"]) == (5098.499999, 0, 1.500001)
    assert (found["parked_runs"], found["enforced"], found["low_credits"], found["is_low"]) == (1, False, 100, False)
    # what expired was taken, and what expires first burnt first
    assert [(lot["source"], lot["priority"], lot["remaining"]) for lot in found["grants"]] == [
        ("gift", 20, 98.499999),
        ("purchase", 30, 5000),
    ]


async def test_every_movement_is_a_transaction(http: httpx.AsyncClient, payer: Payer) -> None:
    await payer.grant(1000)
    await payer.grant(20, "manual")
    run = await payer.run()
    await payer.call(run, 0, 250_000, held=2_000_000)
    async with payer.database.transaction(payer.tenant) as db:
        taken = Movement("a", 5_000_000, "manual", description="by mistake")
        await LedgerRepository(db, payer.tenant).take(taken, kind="adjust")
    found = await asked(http, "/billing/transactions")
    rows = found["transactions"]
    told = [(row["type"], row["amount"], row["credits_before"], row["credits_after"]) for row in rows]
    assert told == [
        ("adjustment", -5, 1019.75, 1014.75),
        ("usage", -0.25, 1020, 1019.75),
        ("manual", 20, 1000, 1020),
        ("topup", 1000, 0, 1000),
    ]
    assert (found["total"], found["limit"], found["next_cursor"], found["page"], found["per_page"]) == (
        4,
        20,
        None,
        1,
        20,
    )
    assert (rows[3]["payment_status"], rows[1]["execution_id"]) == ("succeeded", str(run.execution))
    assert rows[0]["description"] == "by mistake"


async def test_transactions_are_paged_and_filtered(http: httpx.AsyncClient, payer: Payer) -> None:
    for amount in range(1, 6):
        await payer.grant(amount)
    run = await payer.run()
    await payer.call(run, 0, 1_000_000)

    async def amounts(**query: Any) -> list[float]:
        return [row["amount"] for row in (await asked(http, "/billing/transactions", **query))["transactions"]]

    assert await amounts() == [-1, 5, 4, 3, 2, 1]
    first = await asked(http, "/billing/transactions", limit=2)
    assert (len(first["transactions"]), first["total"]) == (2, 6)
    assert await amounts(limit=2, cursor=first["next_cursor"]) == [4, 3] == await amounts(page=2, per_page=2)
    # an id of a row works as well, as it does in other lists
    assert await amounts(limit=2, cursor=first["transactions"][-1]["id"]) == [4, 3]
    assert await amounts(cursor="ffffffff-ffff-4fff-bfff-ffffffffffff") == []
    assert await amounts(type="usage") == await amounts(execution_id=str(run.execution)) == [-1]
    assert await amounts(type="topup", limit=1) == [5]
    today, tomorrow = now().date().isoformat(), (now() + timedelta(days=1)).date().isoformat()
    assert len(await amounts(start_date=today, end_date=today)) == 6
    assert await amounts(start_date=tomorrow) == await amounts(end_date="2026-01-01") == []
    assert (await http.get("/api/v1/billing/transactions", params={"type": "other"})).status_code == 422


async def test_usage_is_summed_exactly(http: httpx.AsyncClient, payer: Payer) -> None:
    await payer.grant(1)
    one, two = await payer.run(), await payer.run()
    for _ in range(3):
        await payer.call(one, 0, 100_001)
    await payer.call(two, 1, 800_000, resource="large", tokens=(100, 0, 50))
    await payer.call(two, 1, 7, usage_type="tool", resource="search", tokens=(0, 0, 0))
    found = await asked(http, "/billing/usage")
    assert (found["credits"], found["unpaid"], found["calls"]) == (1.10001, 0.10001, 5)
    assert (found["tokens"], found["input_tokens"], found["cached_tokens"], found["output_tokens"]) == (
        195,
        130,
        12,
        65,
    )
    assert (found["period"], found["group_by"], found["total"]) == ("month", "day", 1)
    assert found["usage"][0]["key"] == now().date().isoformat()

    async def groups(name: str, **query: Any) -> list[tuple[Any, Any, int]]:
        answer = await asked(http, "/billing/usage", group_by=name, **query)
        assert answer["credits"] == 1.10001
        return [(group["key"], group["credits"], group["calls"]) for group in answer["usage"]]

    assert await groups("model") == [("large", 0.8, 1), ("small", 0.300003, 3), (None, 0.000007, 1)]
    assert await groups("tool") == [(None, 1.100003, 4), ("search", 0.000007, 1)]
    assert await groups("type") == [("model", 1.100003, 4), ("tool", 0.000007, 1)]
    assert await groups("execution", limit=1) == [(str(two.execution), 0.800007, 2)]
    assert await groups("execution", limit=1, offset=9) == []
    assert await groups("agent") == [("step 1", 0.800007, 2), ("step 0", 0.300003, 3)]
    assert await groups("api_key") == [(None, 1.10001, 5)]
    workflows = await asked(http, "/billing/usage", group_by="workflow", period="all")
    assert [(group["key"], group["name"]) for group in workflows["usage"]] == [
        (str(two.workflow), "of a tenant"),
        (str(one.workflow), "of a tenant"),
    ]


async def test_usage_is_of_a_time(http: httpx.AsyncClient, payer: Payer) -> None:
    await payer.call(await payer.run(), 0, 5_000_000)
    yesterday = (now() - timedelta(days=1)).date().isoformat()
    today = now().date().isoformat()
    for query, credits in (
        ({"period": "day"}, 5),
        ({"period": "week"}, 5),
        ({"period": "year"}, 5),
        ({"start_date": today}, 5),
        ({"start_date": today.replace("-", "")}, 5),
        ({"start_date": f"{today}T00:00:00 00:00"}, 5),
        ({"start_date": today, "end_date": today}, 5),
        ({"end_date": yesterday}, 0),
    ):
        assert (await asked(http, "/billing/usage", **query))["credits"] == credits, query
    wrong = await http.get("/api/v1/billing/usage", params={"start_date": today, "end_date": "2025-01-01"})
    assert wrong.json()["error"]["details"]["errors"][0]["path"] == "start_date"
    # a number of digits is a day or nothing, never a count of seconds
    for query in ({"period": "decade"}, {"group_by": "colour"}, {"start_date": "soon"}, {"end_date": "1763800000"}):
        assert (await http.get("/api/v1/billing/usage", params=query)).status_code == 422


async def test_each_charge_is_listed(http: httpx.AsyncClient, payer: Payer) -> None:
    run = await payer.run()
    await payer.call(run, 0, 1_500_000)
    await payer.call(run, 0, 10, usage_type="tool", resource="search", tokens=(0, 0, 0))
    found = await asked(http, "/billing/credit-usage", execution_id=str(run.execution))
    told = [(row["usage_type"], row["resource_type"], row["credits_used"]) for row in found["credit_usage"]]
    assert told == [("tool", "search", 0.00001), ("model", "small", 1.5)]
    assert [row["units_consumed"] for row in found["credit_usage"]] == [1, 15]
    only = await asked(http, "/billing/credit-usage", usage_type="model", workflow_id=str(run.workflow))
    assert (only["total"], only["credit_usage"][0]["unpaid"]) == (1, 1.5)


async def test_prices_that_hold_are_told(http: httpx.AsyncClient, payer: Payer, database: Database) -> None:
    common: dict[str, Any] = {"kind": "model", "name": f"model of {payer.tenant}"}
    other = await add_tenant(database)
    async with database.system() as db:
        for row in (
            Price(**common, input_per_1m=Decimal(100), effective_from=now() - timedelta(days=2)),
            Price(**common, input_per_1m=Decimal(90), tenant_id=payer.tenant, effective_from=now() - timedelta(days=1)),
            Price(**common, input_per_1m=Decimal(80), tenant_id=payer.tenant, effective_from=now() + timedelta(days=1)),
            Price(**common, input_per_1m=Decimal(1), tenant_id=other),
        ):
            await add_price(db, row)
    found = await asked(http, "/billing/prices")
    mine = [price for price in found["prices"] if price["name"] == common["name"]]
    assert [(price["input_per_1m"], price["own"], price["current"]) for price in mine] == [
        (80, True, False),
        (90, True, True),
        (100, False, False),
    ]
    assert found["unpriced_models"]["refused"] is False


async def test_usage_is_no_payment(as_caller: Caller, key_of: KeyMaker, payer: Payer) -> None:
    async with as_caller(await key_of(payer.tenant, "read")) as client:
        for path in ("usage", "credit-usage", "prices"):
            await asked(client, f"/billing/{path}")
        for path in ("balance", "transactions"):
            answer = await client.get(f"/api/v1/billing/{path}")
            assert (answer.status_code, answer.json()["error"]["code"]) == (403, "AUTH_INSUFFICIENT_PERMISSIONS"), (
                answer.text
            )


async def test_retention_leaves_the_ledger(payer: Payer) -> None:
    await payer.grant(1)
    with pytest.raises(Exception, match="permission denied"):
        await payer.execute(text("DELETE FROM ledger_entries"))
