"""`client.budgets`: what may be spent, by whom, in which time."""

from __future__ import annotations

from collections.abc import Sequence

from omium.calls import ClientT, Request, Resource, endpoint, fresh_key, operation
from omium.types import Alerts, Budget, BudgetPage


class Budgets(Resource[ClientT]):
    """Budgets of a tenant, a workflow, an API key, or a run with all its forks. Runs that find no room wait for it."""

    @operation
    def create(
        self,
        scope: str,
        amount: float,
        scope_id: str | None = None,
        period: str | None = None,
        thresholds: Sequence[int] | None = None,
        idempotency_key: str | None = None,
    ) -> Request[Budget]:
        """Makes a budget, which counts what was spent before in its period.

        Args:
            scope: `tenant`, `workflow`, `api_key` or `execution`.
            amount: in credits, to the millionth.
            scope_id: what it is for; a tenant's budget has none.
            period: `total`, or `month` (in UTC).
            thresholds: percent at which people are told.

        Raises:
            NotFound: there is nothing with this `scope_id`.
            Conflict: there is such a budget, or the key was used for another.
        """
        body = {
            "scope": scope,
            "scope_id": scope_id,
            "period": period,
            "amount": amount,
            "thresholds": None if thresholds is None else list(thresholds),
        }
        return Request("POST", "billing/budgets", body=body, idempotency_key=fresh_key(idempotency_key))

    @operation
    def list(
        self,
        scope: str | None = None,
        scope_id: str | None = None,
        period: str | None = None,
        limit: int | None = None,
        cursor: str | None = None,
        page: int | None = None,
        per_page: int | None = None,
    ) -> Request[BudgetPage]:
        """One page of budgets, the newest first."""
        query = {
            "scope": scope,
            "scope_id": scope_id,
            "period": period,
            "limit": limit,
            "cursor": cursor,
            "page": page,
            "per_page": per_page,
        }
        return Request("GET", "billing/budgets", query=query)

    @operation
    def get(self, budget_id: str) -> Request[Budget]:
        """A budget, and what is spent of it."""
        return Request("GET", endpoint("billing", "budgets", budget_id))

    @operation
    def update(
        self, budget_id: str, amount: float | None = None, thresholds: Sequence[int] | None = None
    ) -> Request[Budget]:
        """Changes what is given. Raised, it wakes the runs that wait for it; lowered, runs stop at their next call."""
        body = {"amount": amount, "thresholds": None if thresholds is None else list(thresholds)}
        return Request("PUT", endpoint("billing", "budgets", budget_id), body=body)

    @operation
    def delete(self, budget_id: str) -> Request[None]:
        """Nothing is limited by it any more; runs that wait for it go on."""
        return Request("DELETE", endpoint("billing", "budgets", budget_id))

    @operation
    def get_for_execution(self, execution_id: str) -> Request[Budget]:
        """What a run may spend in all: its own budget, or that of the run it was forked from.

        Raises:
            NotFound: there is no such run, or nothing limits it.
        """
        return Request("GET", endpoint("executions", execution_id, "budget"))

    @operation
    def set_for_execution(self, execution_id: str, amount: float) -> Request[Budget]:
        """What a run may spend in all, with its forks; its budget is made where it has none."""
        return Request("PUT", endpoint("executions", execution_id, "budget"), body={"amount": amount})

    @operation
    def alerts(self) -> Request[Alerts]:
        """Below how many credits people are told."""
        return Request("GET", "billing/alerts")

    @operation
    def set_alerts(self, low_credits: float) -> Request[Alerts]:
        """Changes below how many credits people are told; 0 for never."""
        return Request("PUT", "billing/alerts", body={"low_credits": low_credits})
