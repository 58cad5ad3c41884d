"""`client.failures`: what went wrong in runs, and what is suggested."""

from __future__ import annotations

from omium.calls import ClientT, Request, Resource, endpoint, operation
from omium.types import Failure, FailurePage


class Failures(Resource[ClientT]):
    """Every failure that ended or disturbed a run."""

    @operation
    def list(
        self,
        execution_id: str | None = None,
        status: str | None = None,
        limit: int | None = None,
        cursor: str | None = None,
        page: int | None = None,
        per_page: int | None = None,
    ) -> Request[FailurePage]:
        """One page of failures, the newest first; `status` is `unresolved` or `resolved`."""
        query = {
            "execution_id": execution_id,
            "status": status,
            "limit": limit,
            "cursor": cursor,
            "page": page,
            "per_page": per_page,
        }
        return Request("GET", "failures", query=query)

    @operation
    def get(self, failure_id: str) -> Request[Failure]:
        """One failure with its stack trace."""
        return Request("GET", endpoint("failures", failure_id))
