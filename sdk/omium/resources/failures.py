"""`client.failures`: what went wrong in runs, why, and doing something about it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from omium.calls import ClientT, Request, Resource, endpoint, fresh_key, operation
from omium.types import Failure, FailureAnalysis, FailureEnvelope, FailurePage, RecoveryActionPage, RecoveryEnvelope


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
        severity: str | None = None,
        failure_type: str | None = None,
    ) -> Request[FailurePage]:
        """One page of failures, the newest first.

        `status` is pending, in_progress, escalated, resolved, or `unresolved` for all but the last.
        """
        query = {
            "execution_id": execution_id,
            "status": status,
            "severity": severity,
            "failure_type": failure_type,
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

    @operation
    def analyze(self, failure_id: str) -> Request[FailureAnalysis]:
        """Why it happened and what would help. `analysis["suggested_action"]` can be given to `recover` as it is."""
        return Request("POST", endpoint("failures", failure_id, "analyze"))

    @operation
    def recover(
        self,
        failure_id: str,
        action_type: str,
        action_config: Mapping[str, Any] | None = None,
        idempotency_key: str | None = None,
    ) -> Request[RecoveryEnvelope]:
        """Does something about a failure; the run goes on from the last checkpoint before it.

        Args:
            action_type: `retry`, `rollback`, `prompt_edit`, `model_fallback`, `manual_intervention` or `escalate`.
            action_config: what the type needs, such as `{"new_prompt": "...", "append": True}`.

        Raises:
            Conflict: the run's state does not let it be done.
            InvalidInput: `problems` names the fields of `action_config` that are wrong.
        """
        body = {"action_type": action_type, "action_config": dict(action_config or {})}
        path = endpoint("failures", failure_id, "recover")
        return Request("POST", path, body=body, idempotency_key=fresh_key(idempotency_key))

    @operation
    def resolve(self, failure_id: str, note: str | None = None) -> Request[FailureEnvelope]:
        """Says that somebody took care of it elsewhere. Nothing is done to the run."""
        return Request("POST", endpoint("failures", failure_id, "resolve"), body={"note": note})

    @operation
    def actions(
        self,
        execution_id: str | None = None,
        failure_id: str | None = None,
        limit: int | None = None,
        cursor: str | None = None,
        page: int | None = None,
        per_page: int | None = None,
        action_type: str | None = None,
        status: str | None = None,
        trigger_type: str | None = None,
    ) -> Request[RecoveryActionPage]:
        """One page of what was done about failures, the newest first; `trigger_type` is policy or manual."""
        query = {
            "execution_id": execution_id,
            "failure_id": failure_id,
            "action_type": action_type,
            "status": status,
            "trigger_type": trigger_type,
            "limit": limit,
            "cursor": cursor,
            "page": page,
            "per_page": per_page,
        }
        return Request("GET", "recovery-actions", query=query)
