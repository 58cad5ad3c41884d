"""Failures, what is done about them, and the policies that say so."""

from __future__ import annotations

from typing import Literal, TypedDict

from omium.types.base import JsonObject, Page
from omium.types.runs import Execution


class Failure(TypedDict, total=False):
    id: str
    execution_id: str
    agent_id: str | None
    checkpoint_id: str | None
    lineage: int
    step_index: int | None
    step_name: str | None
    failure_type: str
    severity: Literal["low", "medium", "high", "critical"]
    error_message: str
    root_cause: str | None
    stack_trace: str | None
    recovery_suggestion: str | None
    suggested_fix: str | None
    is_recoverable: bool
    recovery_action: str | None
    recovery_status: Literal["pending", "in_progress", "escalated", "resolved"]
    metadata: JsonObject
    created_at: str
    detected_at: str
    resolved_at: str | None


class FailurePage(Page, total=False):
    failures: list[Failure]
    pagination: JsonObject


class SuggestedAction(TypedDict, total=False):
    """What `failures.recover` takes."""

    action_type: str
    action_config: JsonObject


class Analysis(TypedDict, total=False):
    """`similar` counts failures of the same type in the same step of the workflow, in the last `similar_days` days."""

    failure_type: str
    severity: str
    root_cause: str
    suggested_fix: str
    is_recoverable: bool
    similar: int
    similar_days: int
    suggested_action: SuggestedAction
    evidence: JsonObject


class FailureAnalysis(TypedDict, total=False):
    """Answer of `failures.analyze`."""

    failure: Failure
    analysis: Analysis


class FailureEnvelope(TypedDict, total=False):
    """Answer of `failures.resolve`."""

    failure: Failure
    message: str


class RecoveryAction(TypedDict, total=False):
    """One thing that was done about a failure, by a policy or by a person."""

    id: str
    failure_id: str
    execution_id: str
    action_type: str
    action_config: JsonObject
    trigger_type: Literal["policy", "manual"]
    triggered_by: str | None
    triggered_at: str
    status: Literal["pending", "in_progress", "completed", "failed", "cancelled"]
    success: bool | None
    error: str | None
    started_at: str | None
    completed_at: str | None
    metadata: JsonObject


class RecoveryActionPage(Page, total=False):
    recovery_actions: list[RecoveryAction]


class RecoveryEnvelope(TypedDict, total=False):
    """Answer of `failures.recover`."""

    recovery_action: RecoveryAction
    execution: Execution
    message: str


class Policy(TypedDict, total=False):
    """What `policy_config` holds depends on the type."""

    id: str
    workflow_id: str | None
    name: str
    description: str | None
    policy_type: Literal["timeout", "retry", "recovery", "rollback", "notification"]
    policy_config: JsonObject
    version: int
    is_active: bool
    created_at: str
    updated_at: str


class PolicyPage(Page, total=False):
    policies: list[Policy]


class PolicyVersion(TypedDict, total=False):
    id: str
    policy_id: str
    version: int
    name: str
    policy_config: JsonObject
    is_active: bool
    created_at: str


class PolicyVersionPage(Page, total=False):
    versions: list[PolicyVersion]


class Notification(TypedDict, total=False):
    """One event for one channel of a policy; `policy_id` is None where a definition names the channel."""

    id: str
    execution_id: str
    event_id: str
    event_type: str
    policy_id: str | None
    policy_version: int | None
    channel: int
    channel_type: Literal["webhook", "log"]
    target: str
    payload: JsonObject
    status: Literal["pending", "sent", "failed", "dropped"]
    attempts: int
    next_attempt_at: str | None
    last_error: str | None
    created_at: str
    sent_at: str | None


class NotificationPage(Page, total=False):
    notifications: list[Notification]


class NotificationEnvelope(TypedDict, total=False):
    """Answer of `notifications.retry`."""

    notification: Notification
    message: str
