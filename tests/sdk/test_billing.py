"""`client.billing` and the client's commands of `omium billing`: what they ask, and how they show the answer."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from omium import AsyncOmiumClient, OmiumClient

from tests.sdk.command_line import run
from tests.sdk.fake_api import API_KEY, ApiServer, FakeApi, Instead

BALANCE = {
    "balance": 5000.5,
    "balance_usd": 50.005,
    "last_topup_at": None,
    "available": 4000,
    "held": 1000.5,
    "spent": 12.000001,
    "enforced": True,
    "is_low": True,
    "low_credits": 9000,
    "parked_runs": 2,
    "grants": [{"source": "gift", "remaining": 20, "amount": 30, "expires_at": None, "created_at": None}],
}
USAGE = {
    "credits": 3.25,
    "calls": 4,
    "usage": [{"key": "small", "name": None, "credits": 3.25, "calls": 4, "input_tokens": 1200}],
    "total": 2,
}


def answers(api: FakeApi, content: dict[str, Any]) -> None:
    api.faults.append(Instead(200, json.dumps(content).encode(), {"content-type": "application/json"}))


def test_methods_ask_what_they_say(client: OmiumClient, api: FakeApi) -> None:
    asked: list[tuple[Callable[[], Any], str, dict[str, str]]] = [
        (lambda: client.billing.get_balance(), "billing/balance", {}),
        (lambda: client.billing.balance(), "billing/balance", {}),
        (lambda: client.billing.transactions(limit=3), "billing/transactions", {"limit": "3"}),
        (lambda: client.billing.get_usage(period="month"), "billing/usage", {"period": "month"}),
        (lambda: client.billing.get_credit_usage(limit=5), "billing/credit-usage", {"limit": "5"}),
        (lambda: client.billing.get_prices(), "billing/prices", {}),
        (lambda: client.billing.get_transactions(limit=20, type="topup"), "billing/transactions", {"limit": "20", "type": "topup"}),
        (lambda: client.billing.usage("month", "model"), "billing/usage", {"period": "month", "group_by": "model"}),
        (lambda: client.billing.credit_usage("model", limit=5), "billing/credit-usage", {"usage_type": "model", "limit": "5"}),
        (lambda: client.billing.prices(), "billing/prices", {}),
        (lambda: client.executions.costs("e/1"), "executions/e%2F1/costs", {}),
    ]  # fmt: skip
    for ask, path, query in asked:
        answers(api, {"answered": path})
        assert ask() == {"answered": path}
        seen = api.seen[-1]
        assert (seen.method, seen.query) == ("GET", query)
        assert seen.path.endswith(path.replace("%2F", "/"))


async def test_the_same_can_be_awaited(server: ApiServer, api: FakeApi) -> None:
    answers(api, BALANCE)
    async with AsyncOmiumClient(API_KEY, server.url) as client:
        assert (await client.billing.get_balance()).get("balance") == 5000.5


@pytest.mark.usefixtures("configured")
def test_balance_is_shown(api: FakeApi) -> None:
    answers(api, BALANCE)
    shown = run("billing", "balance").output
    for words in (
        "5,000.5 credits (50.01 USD)",
        "1,000.5 for calls under way",
        "12.000001",
        "runs wait",
        "9,000",
        "gift",
    ):
        assert words in shown, shown
    answers(api, BALANCE)
    assert json.loads(run("billing", "balance", "--json").output) == BALANCE


@pytest.mark.usefixtures("configured")
def test_transactions_are_shown(api: FakeApi) -> None:
    rows = [{"type": "usage", "amount": -0.25, "credits_after": 99.75, "execution_id": "run 1", "created_at": None}]
    answers(api, {"transactions": rows, "next_cursor": "c1"})
    result = run("billing", "transactions", "--limit", "20", "--from", "2026-01-01")
    assert all(words in result.output for words in ("usage", "-0.25", "99.75", "run 1", "--cursor c1"))
    assert api.seen[-1].query == {"limit": "20", "start_date": "2026-01-01"}


@pytest.mark.usefixtures("configured")
def test_usage_is_shown_with_its_sum(api: FakeApi) -> None:
    answers(api, USAGE)
    result = run("billing", "usage", "--period", "month")
    assert all(words in result.output for words in ("small", "3.25", "1,200", "all", "add --limit"))
    assert api.seen[-1].query == {"period": "month", "group_by": "model"}
    assert run("billing", "usage", "--period", "decade").exit_code == 2


@pytest.mark.usefixtures("configured")
def test_costs_and_prices_are_shown(api: FakeApi) -> None:
    wasted = {"credits": 0.5, "calls": 1, "retried": {"credits": 0.5, "calls": 1}}
    step = {"step_index": 0, "agent": "writer", "status": "completed", "calls": 3, "credits": 2, "wasted": 0.5}
    answers(
        api, {"execution_id": "e1", "credits_used": 2, "useful": {"credits": 1.5}, "wasted": wasted, "steps": [step]}
    )
    shown = run("billing", "costs", "e1").output
    assert all(words in shown for words in ("useful", "1.5", "retried", "0.5", "writer"))
    known = {"kind": "model", "name": "small", "input_per_1m": 15, "current": True}
    answers(api, {"prices": [known, {**known, "name": "old", "current": False}]})
    shown = run("billing", "prices").output
    assert ("small" in shown, "old" in shown) == (True, False), shown
