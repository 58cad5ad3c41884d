"""What is said of a tenant's money, and to whom: deliveries to webhook endpoints, and letters.

The ledger and payments write notices along with what they tell of. They are queued here once: the notice is marked in the
transaction that queues it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from models.repositories.notices import NoticeRepository
from models.repositories.webhooks import WebhookRepository
from models.tables import BillingNotice
from models.tables.base import now
from omium_core.credits import to_credits

#: What counts in millionths of a credit, by kind of notice; people are told credits.
_MICRO = {
    "credits.low": ("balance", "threshold"),
    "credits.exhausted": ("available", "required"),
    "budget.threshold": ("amount", "spent"),
    "budget.exceeded": ("amount", "spent"),
}
_SCOPES = {"tenant": "the whole account", "workflow": "a workflow", "api_key": "an API key", "execution": "one run"}


async def queue_notices(notices: NoticeRepository, limit: int) -> int:
    """Queues what endpoints are told, and marks what is to be mailed. How many notices there were."""
    found = await notices.take(limit)
    webhooks = WebhookRepository(notices.session, notices.tenant_id)
    endpoints = await webhooks.listening() if found else ()
    for notice in found:
        await webhooks.tell(
            notice.kind,
            told(notice),
            at=notice.created_at,
            message_id=f"msg_{notice.id.hex}",
            subject=f"billing {notice.kind}",
            endpoints=endpoints,
        )
        notice.sent_at = now()
        if notice.kind in _LETTERS:
            notice.mail_at = notice.sent_at
        notices.session.add(notice)
    return len(found)


def told(notice: BillingNotice) -> dict[str, Any]:
    """What a notice tells, with amounts in credits."""
    amounts = _MICRO.get(notice.kind, ())
    return {
        name: to_credits(value) if name in amounts and isinstance(value, int) else value
        for name, value in notice.data.items()
    }


def letter(notice: BillingNotice) -> tuple[str, str]:
    """Subject and text of the mail about a notice."""
    return _LETTERS[notice.kind](told(notice))


def _low(data: Mapping[str, Any]) -> tuple[str, str]:
    return (
        "Few credits are left",
        f"{data['balance']} credits are left; you asked to hear of less than {data['threshold']}.\n\n"
        "When none are left, runs wait until there are some again. Nothing of them is lost.\n",
    )


def _exhausted(data: Mapping[str, Any]) -> tuple[str, str]:
    return (
        "Your runs wait for credits",
        f"A call that may cost up to {data['required']} credits was not made: {data['available']} are free.\n\n"
        f"Execution: {data['execution_id']}\n\n"
        "Runs wait, and go on by themselves when there are credits. No call is repeated.\n",
    )


def _threshold(data: Mapping[str, Any]) -> tuple[str, str]:
    return (
        f"{data['threshold']} % of a budget are used",
        f"Of the budget for {_scope(data)}, {data['spent']} of {data['amount']} credits are spent.\n\n"
        f"Budget: {data['budget_id']}\n",
    )


def _exceeded(data: Mapping[str, Any]) -> tuple[str, str]:
    return (
        "A budget is used up",
        f"Of the budget for {_scope(data)}, {data['spent']} of {data['amount']} credits are spent, and the next call "
        f"does not fit.\n\nBudget: {data['budget_id']}\nExecution: {data['execution_id']}\n\n"
        "Runs wait, and go on by themselves when the budget is raised or a new month begins.\n",
    )


def _payment_failed(data: Mapping[str, Any]) -> tuple[str, str]:
    why = f" ({data['code']})" if data.get("code") else ""
    what = "An automatic top-up" if data.get("automatic") else "A renewal" if data.get("renewal") else "A payment"
    return (
        "A payment failed",
        f"{what} of {data.get('amount_usd', 0):.2f} US dollars failed{why}.\n\n"
        "Look at your payment method. Nothing was charged.\n",
    )


def _topup_limit(data: Mapping[str, Any]) -> tuple[str, str]:
    return (
        "No more automatic top-ups this month",
        f"Your rule allows {data.get('max_per_month')} automatic top-ups in a month. They are done; the next one comes "
        "next month, or when you change the rule.\n",
    )


def _scope(data: Mapping[str, Any]) -> str:
    return _SCOPES.get(str(data.get("scope")), "your account")


_LETTERS: dict[str, Callable[[Mapping[str, Any]], tuple[str, str]]] = {
    "credits.low": _low,
    "credits.exhausted": _exhausted,
    "budget.threshold": _threshold,
    "budget.exceeded": _exceeded,
    "payment.failed": _payment_failed,
    "topup.limit": _topup_limit,
}
