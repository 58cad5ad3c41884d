"""Top-ups: from the request to the credits, with the real library in between."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import httpx

from models.database import Database
from tests.billing_stripe.conftest import Deliver, credits, tenant_row
from tests.support.stripe_double import StripeDouble
from tests.support.stripe_double.errors import missing


async def topup(http: httpx.AsyncClient, amount: Any, key: str | None = None, **more: Any) -> httpx.Response:
    headers = {} if key is None else {"Idempotency-Key": key}
    return await http.post("/billing/topup", json={"amount_usd": amount, **more}, headers=headers)


async def test_a_top_up_brings_credits_when_it_is_paid(
    http: httpx.AsyncClient, double: StripeDouble, deliver: Deliver, database: Database, tenant: UUID
) -> None:
    answer = await topup(http, 100.00)
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert told["client_secret"].startswith(told["payment_intent_id"] + "_secret_")
    assert (told["amount_cents"], told["credits_to_add"], told["publishable_key"]) == (10_000, 10_000, "pk_test_double")
    assert await credits(database, tenant) == 0
    double.account.confirm(told["payment_intent_id"])
    for _ in range(2):
        await deliver(*double.account.events)
        assert await credits(database, tenant) == 10_000
    (moved,) = (await http.get("/billing/transactions")).json()["transactions"]
    assert moved["stripe_payment_intent_id"] == told["payment_intent_id"]
    (customer,) = double.account.tables["customer"]
    assert (moved["stripe_customer_id"], moved["payment_method"], moved["payment_status"]) == (
        *(customer, "stripe"),
        "succeeded",
    )


async def test_amounts_that_are_none(http: httpx.AsyncClient, double: StripeDouble) -> None:
    wrong: tuple[Any, ...] = (
        *(9.99, 0, -100, 10.001, 1_000_000, 1e300, "NaN", "Infinity", "1e9", "ten", True, None, [], {}, "1_000", "١٠٠"),
        *("", " ", "10.0000000001", "0x64"),
    )
    for amount in wrong:
        answer = await topup(http, amount)
        assert answer.status_code == 400, (amount, answer.text)
        error = answer.json()["error"]
        assert error["code"] == "INVALID_AMOUNT"
        assert error["details"]["errors"][0]["path"] == "amount_usd"
    for body in ("{}", '{"amount_usd": NaN}', '{"amount_usd": -Infinity}'):
        assert (await http.post("/billing/topup", content=body)).status_code == 400
    assert not double.requests


async def test_amounts_are_never_rounded(http: httpx.AsyncClient) -> None:
    for amount, cents in ((10, 1_000), (10.1, 1_010), ("25.50", 2_550), (999_999.99, 99_999_999)):
        assert (await topup(http, amount)).json()["amount_cents"] == cents


async def test_the_same_key_is_the_same_payment(http: httpx.AsyncClient, double: StripeDouble) -> None:
    first, again = (await topup(http, 50, "k")).json(), (await topup(http, 50.0, "k")).json()
    assert first["payment_intent_id"] == again["payment_intent_id"]
    assert len(double.account.tables["payment_intent"]) == 1
    for other in (await topup(http, 60, "k"), await topup(http, 50, "k", save_card=False)):
        assert (other.status_code, other.json()["error"]["code"]) == (409, "IDEMPOTENCY_CONFLICT")
    assert (await topup(http, 50, "another")).json()["payment_intent_id"] != first["payment_intent_id"]


async def test_an_answer_that_was_lost_makes_no_second_payment(http: httpx.AsyncClient, double: StripeDouble) -> None:
    double.lose_answer("/v1/payment_intents")
    lost = await topup(http, 50, "k")
    assert (lost.status_code, lost.json()["error"]["code"]) == (503, "PAYMENT_SERVICE_UNAVAILABLE")
    again = await topup(http, 50, "k")
    assert again.status_code == 200
    assert list(double.account.tables["payment_intent"]) == [again.json()["payment_intent_id"]]


async def test_a_tenant_is_one_customer(
    http: httpx.AsyncClient, double: StripeDouble, database: Database, tenant: UUID
) -> None:
    answers = await asyncio.gather(*(topup(http, 10 + n) for n in range(6)))
    assert {answer.status_code for answer in answers} == {200}
    (customer,) = double.account.tables["customer"].values()
    assert customer["metadata"] == {"tenant_id": str(tenant)}
    assert (await tenant_row(database, tenant)).stripe_customer_id == customer["id"]
    assert {each["customer"] for each in double.account.tables["payment_intent"].values()} == {customer["id"]}


async def test_a_customer_that_was_deleted_at_stripe_is_made_anew_once(
    http: httpx.AsyncClient, double: StripeDouble, deliver: Deliver, database: Database, tenant: UUID
) -> None:
    account = double.account
    address: dict[str, Any] = {"billing_address": {"country": "DE"}}
    key = {"Idempotency-Key": "k"}
    asks: list[Callable[[], list[Awaitable[httpx.Response]]]] = [
        lambda: [topup(http, 10 + n, f"at-once-{n}") for n in range(3)],
        lambda: [topup(http, 10, "taxed", **address)],
        lambda: [http.post("/billing/portal", json={})],
        lambda: [http.post("/billing/subscription", json={"plan": "pro"}, headers=key)],
    ]
    await topup(http, 10, "before")
    for number, ask in enumerate(asks, 2):
        (gone,) = account.tables["customer"]
        account.delete_customer(gone)
        answers = await asyncio.gather(*ask())
        assert {answer.status_code for answer in answers} <= {200, 201}, [answer.text for answer in answers]
        (customer,) = account.tables["customer"]
        assert (await tenant_row(database, tenant)).stripe_customer_id == customer
        assert len([event for event in account.events if event["type"] == "customer.created"]) == number
    # what it paid for is granted all the same, and its invoices are no error
    early = next(iter(account.tables["payment_intent"]))
    account.confirm(early)
    await deliver(*account.events)
    assert await credits(database, tenant) == 1_000
    double.order("/v1/invoices", 400, missing("customer", "cus_gone", "customer").body)
    assert (await http.get("/billing/invoices")).json()["invoices"] == []
    # one that is refused again is told so
    for _ in range(2):
        double.order("/v1/payment_intents", 400, missing("customer", "cus_x", "customer").body)
    assert (await topup(http, 10)).status_code == 424


async def test_what_stripe_refuses_is_told_in_our_words(http: httpx.AsyncClient, double: StripeDouble) -> None:
    def error(kind: str, **more: str) -> dict[str, Any]:
        return {"error": {"type": kind, "message": "no", **more}}

    request = "invalid_request_error"
    cases: list[tuple[int, dict[str, Any] | None, int, str]] = [
        (429, error(request, code="rate_limit"), 503, "PAYMENT_SERVICE_UNAVAILABLE"),
        (500, None, 503, "PAYMENT_SERVICE_UNAVAILABLE"),
        (401, error(request), 424, "PAYMENT_SERVICE_FAILED"),
        (400, error(request), 424, "PAYMENT_SERVICE_FAILED"),
        (402, error("card_error", code="card_declined"), 402, "PAYMENT_DECLINED"),
        (404, error(request, code="resource_missing"), 424, "PAYMENT_SERVICE_FAILED"),
    ]
    for status, body, expected, code in cases:
        double.order("/v1/payment_intents", status, body)
        answer = await topup(http, 10)
        assert (answer.status_code, answer.json()["error"]["code"]) == (expected, code)
        assert "sk_test" not in answer.text
    # with a key that is wrong, nothing is done
    assert not double.account.tables["payment_intent"]


async def test_address_and_tax_ids_are_passed_on(http: httpx.AsyncClient, double: StripeDouble) -> None:
    tax: dict[str, Any] = {
        "billing_address": {"line1": "Am Bach 1", "country": "DE"},
        "tax_ids": [{"type": "eu_vat", "value": "DE1"}],
    }
    for _ in range(2):
        assert (await topup(http, 10, "k", **tax)).status_code == 200
    (customer,) = double.account.tables["customer"].values()
    assert (customer["address"]["line1"], customer["address"]["country"]) == ("Am Bach 1", "DE")
    (tax_id,) = double.account.tables["tax_id"].values()
    assert (tax_id["type"], tax_id["value"]) == ("eu_vat", "DE1")
