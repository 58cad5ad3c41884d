"""`client.billing`: credits, where they went, and how more are bought."""

from __future__ import annotations

from typing import Literal

from omium.calls import ClientT, Request, operation
from omium.resources.billing_payments import BillingPayments
from omium.types import Balance, CreditUsagePage, Prices, TransactionPage, Usage

Period = Literal["day", "week", "month", "year", "all"]
GroupBy = Literal["day", "model", "tool", "workflow", "api_key", "execution", "agent", "type"]


class Billing(BillingPayments[ClientT]):
    """The credits of the tenant."""

    @operation
    def get_balance(self) -> Request[Balance]:
        """What the tenant has, what of it is held for calls under way, and the lots that it is made of."""
        return Request("GET", "billing/balance")

    @operation
    def get_transactions(
        self,
        limit: int | None = None,
        type: str | None = None,
        execution_id: str | None = None,
        start_date: str | None = None,
        end_date: str | None = None,
        cursor: str | None = None,
        page: int | None = None,
        per_page: int | None = None,
    ) -> Request[TransactionPage]:
        """One page of movements, the newest first.

        Args:
            type: `usage`, `topup`, `subscription`, `gift`, `manual`, `refund`, `dispute`, `expiry` or `adjustment`.
            start_date: the first day, or moment, in ISO 8601. Of `end_date` a day is included, a moment is not.
        """
        query = {
            "limit": limit,
            "type": type,
            "execution_id": execution_id,
            "start_date": start_date,
            "end_date": end_date,
            "cursor": cursor,
            "page": page,
            "per_page": per_page,
        }
        return Request("GET", "billing/transactions", query=query)

    @operation
    def usage(
        self,
        period: Period | None = None,
        group_by: GroupBy | None = None,
        start_date: str | None = None,
        end_date: str | None = None,
        limit: int | None = None,
        offset: int | None = None,
    ) -> Request[Usage]:
        """What was spent in a period that is not over (the month if nothing is said), or between two dates."""
        query = {
            "period": period,
            "group_by": group_by,
            "start_date": start_date,
            "end_date": end_date,
            "limit": limit,
            "offset": offset,
        }
        return Request("GET", "billing/usage", query=query)

    @operation
    def credit_usage(
        self,
        usage_type: Literal["model", "tool", "step", "storage"] | None = None,
        execution_id: str | None = None,
        workflow_id: str | None = None,
        api_key_id: str | None = None,
        start_date: str | None = None,
        end_date: str | None = None,
        limit: int | None = None,
        cursor: str | None = None,
        page: int | None = None,
        per_page: int | None = None,
    ) -> Request[CreditUsagePage]:
        """One page of what each call, step or day of storage did cost, the newest first."""
        query = {
            "usage_type": usage_type,
            "execution_id": execution_id,
            "workflow_id": workflow_id,
            "api_key_id": api_key_id,
            "start_date": start_date,
            "end_date": end_date,
            "limit": limit,
            "cursor": cursor,
            "page": page,
            "per_page": per_page,
        }
        return Request("GET", "billing/credit-usage", query=query)

    @operation
    def prices(self) -> Request[Prices]:
        """What the tenant pays for models, tools, steps and storage, with all versions."""
        return Request("GET", "billing/prices")

    # each reading has its short name, and the one with `get_`
    balance = get_balance
    transactions = get_transactions
    get_usage = usage
    get_credit_usage = credit_usage
    get_prices = prices
