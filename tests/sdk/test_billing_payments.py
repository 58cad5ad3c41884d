"""The part of `client.billing` and `omium billing` that Stripe is behind."""

from __future__ import annotations

import json
from typing import Any

import pytest
from omium import AsyncOmiumClient, OmiumClient

from tests.sdk.command_line import run
from tests.sdk.fake_api import API_KEY, ApiServer, FakeApi, Instead

TOPUP = {
    "client_secret": "pi_1_secret_2",
    "amount_cents": 10_000,
    "credits_to_add": 10_000,
    "payment_intent_id": "pi_1",
    "status": "requires_payment_method",
    "publishable_key": "pk_test",
}
SUBSCRIPTION = {"plan": "pro", "status": "active", "tier": "professional", "cancel_at_period_end": True}
RULE = {"enabled": True, "threshold_credits": 500, "amount_usd": 20.0, "max_per_month": 3, "topups_this_month": 1}


def answers(api: FakeApi, content: dict[str, Any]) -> None:
    api.faults.append(Instead(200, json.dumps(content).encode(), {"content-type": "application/json"}))


def test_methods_ask_what_they_say(client: OmiumClient, api: FakeApi) -> None:
    money, plan = client.billing, "billing/subscription"
    rule = {"threshold_credits": 5, "amount_usd": 20, "enabled": True}
    asked: list[tuple[Any, str, str, dict[str, Any] | None]] = [
        (lambda: money.topup(100.0), "POST", "billing/topup", {"amount_usd": 100.0}),
        (lambda: money.create_payment_intent(amount_usd=100.0), "POST", "billing/topup", {"amount_usd": 100.0}),
        (lambda: money.plans(), "GET", "billing/plans", None),
        (lambda: money.get_plans(), "GET", "billing/plans", None),
        (lambda: money.get_invoices(limit=3), "GET", "billing/invoices", None),
        (lambda: money.subscription(), "GET", plan, None),
        (lambda: money.get_subscription(), "GET", plan, None),
        (lambda: money.subscribe("pro"), "POST", plan, {"plan": "pro"}),
        (lambda: money.change_plan("pro"), "PUT", plan, {"plan": "pro"}),
        (lambda: money.resume_subscription(), "PUT", plan, {"cancel_at_period_end": False}),
        (lambda: money.cancel_subscription(), "DELETE", plan, None),
        (lambda: money.portal("https://a.example"), "POST", "billing/portal", {"return_url": "https://a.example"}),
        (lambda: money.invoices(limit=3), "GET", "billing/invoices", None),
        (lambda: money.auto_topup(), "GET", "billing/auto-topup", None),
        (lambda: money.set_auto_topup(5, 20), "PUT", "billing/auto-topup", rule),
    ]
    for ask, method, path, body in asked:
        answers(api, {"answered": path})
        assert ask() == {"answered": path}
        seen = api.seen[-1]
        assert (seen.method, seen.path.endswith(path)) == (method, True)
        if body is not None:
            assert seen.body == body


def test_what_pays_carries_a_key(client: OmiumClient, api: FakeApi) -> None:
    for ask in (
        lambda: client.billing.topup(10),
        lambda: client.billing.topup(10, idempotency_key="mine"),
        lambda: client.billing.subscribe("pro"),
        lambda: client.billing.change_plan("pro"),
    ):
        answers(api, {})
        ask()
    keys = [seen.headers["idempotency-key"] for seen in api.seen[-4:]]
    assert len(set(keys)) == 4
    assert keys[1] == "mine"


async def test_the_same_can_be_awaited(server: ApiServer, api: FakeApi) -> None:
    answers(api, TOPUP)
    async with AsyncOmiumClient(API_KEY, server.url) as client:
        assert (await client.billing.create_payment_intent(amount_usd=100.00)).get("credits_to_add") == 10_000


@pytest.mark.usefixtures("configured")
@pytest.mark.parametrize(
    ("arguments", "answer", "shown"),
    [
        (("topup", "100"), TOPUP, ("pi_1_secret_2", "$100.00", "10000")),
        (("subscription", "show"), SUBSCRIPTION, ("pro", "active", "professional", "ends")),
        (("subscription", "cancel"), SUBSCRIPTION, ("pro", "ends")),
        (("subscription", "start", "pro"), {"checkout_url": "https://pay.example"}, ("https://pay.example",)),
        (("portal",), {"url": "https://portal.example"}, ("https://portal.example",)),
        (("plans",), {"plans": [{"name": "pro", "price_usd": 299.0, "available": True}]}, ("pro", "$299.00 a month")),
        (("invoices",), {"invoices": [{"id": "in_1", "total_usd": 39.0, "status": "paid"}]}, ("in_1", "$39.00")),
        (("auto-topup",), RULE, ("on", "500", "$20.00")),
    ],
)
def test_commands_show_the_answer(
    api: FakeApi, arguments: tuple[str, ...], answer: dict[str, Any], shown: tuple[str, ...]
) -> None:
    answers(api, answer)
    done = run("billing", *arguments)
    assert done.exit_code == 0, done.output
    assert all(text in done.output for text in shown), done.output
