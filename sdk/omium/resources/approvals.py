"""`client.approvals`: what runs ask people."""

from __future__ import annotations

from typing import Any

from omium.calls import ClientT, Request, Resource, endpoint, fresh_key, operation
from omium.types import Approval, ApprovalEnvelope, ApprovalPage


class Approvals(Resource[ClientT]):
    """A run that asks waits as `paused` until all its questions are answered. Each answer is safe to repeat."""

    @operation
    def list(
        self,
        status: str | None = None,
        execution_id: str | None = None,
        assignee: str | None = None,
        limit: int | None = None,
        cursor: str | None = None,
        page: int | None = None,
        per_page: int | None = None,
    ) -> Request[ApprovalPage]:
        """One page of approvals, the newest first; `status` is pending, approved, rejected, edited, expired, cancelled."""
        query = {
            "status": status,
            "execution_id": execution_id,
            "assignee": assignee,
            "limit": limit,
            "cursor": cursor,
            "page": page,
            "per_page": per_page,
        }
        return Request("GET", "approvals", query=query)

    @operation
    def get(self, approval_id: str) -> Request[Approval]:
        """What is asked, of whom, until when, and what was answered."""
        return Request("GET", endpoint("approvals", approval_id))

    @operation
    def approve(
        self, approval_id: str, comment: str | None = None, value: Any = None, idempotency_key: str | None = None
    ) -> Request[ApprovalEnvelope]:
        """Lets the step go on; a `value` is handed to it.

        Raises:
            Conflict: it was answered otherwise, or is no longer open.
        """
        return _answer(approval_id, "approve", comment, value, idempotency_key)

    @operation
    def reject(
        self, approval_id: str, comment: str | None = None, value: Any = None, idempotency_key: str | None = None
    ) -> Request[ApprovalEnvelope]:
        """Says no. What follows from that, the definition decides.

        Raises:
            Conflict: it was answered otherwise, or is no longer open.
        """
        return _answer(approval_id, "reject", comment, value, idempotency_key)

    @operation
    def edit(
        self, approval_id: str, value: Any, comment: str | None = None, idempotency_key: str | None = None
    ) -> Request[ApprovalEnvelope]:
        """Lets the step go on with `value` instead of what it asked about.

        Raises:
            Conflict: it was answered otherwise, or is no longer open.
        """
        return _answer(approval_id, "edit", comment, value, idempotency_key)


def _answer(
    approval_id: str, decision: str, comment: str | None, value: Any, key: str | None
) -> Request[ApprovalEnvelope]:
    path = endpoint("approvals", approval_id, decision)
    return Request("POST", path, body={"value": value, "comment": comment}, idempotency_key=fresh_key(key))
