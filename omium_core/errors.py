"""Every error that a user can meet, with its stable code and HTTP status, in one family.

The layers below `api/` raise these without knowing HTTP; `api/errors.py` turns them into the envelope of the
low-level design (section 5.2) once. Codes are part of the interface: never rename one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with what a user sent.

    `path` names the field from the root of the request's body, as in `workflow_definition.nodes[2].tool`.
    """

    path: str
    message: str


class OmiumError(Exception):
    """Base of all: `code` is stable, `status` is the HTTP status, `details` is JSON for the caller."""

    code: ClassVar[str] = "INTERNAL_ERROR"
    status: ClassVar[int] = 500

    def __init__(self, message: str, **details: Any) -> None:
        super().__init__(message)
        self.message = message
        self.details: dict[str, Any] = details


class InvalidInput(OmiumError):
    """What was sent is understood and wrong: carries the problems, each with the path of its field."""

    code = "INVALID_INPUT"
    status = 422

    def __init__(self, message: str, problems: Sequence[Problem] = (), **details: Any) -> None:
        super().__init__(message, **details)
        self.problems = list(problems)
        if self.problems:
            self.details["errors"] = [{"path": p.path, "message": p.message} for p in self.problems]


class MalformedRequest(OmiumError):
    """What was sent cannot be read at all: no JSON, no UTF-8."""

    code = "MALFORMED_REQUEST"
    status = 400


class PayloadTooLarge(OmiumError):
    code = "PAYLOAD_TOO_LARGE"
    status = 413


class UriTooLong(OmiumError):
    code = "URI_TOO_LONG"
    status = 414


class UnsupportedMediaType(OmiumError):
    """The body is something else than JSON, or compressed."""

    code = "UNSUPPORTED_MEDIA_TYPE"
    status = 415


class HeadersTooLarge(OmiumError):
    code = "HEADERS_TOO_LARGE"
    status = 431


class NotAuthenticated(OmiumError):
    code = "AUTH_INVALID_CREDENTIALS"
    status = 401


class TokenExpired(NotAuthenticated):
    code = "AUTH_TOKEN_EXPIRED"


class TokenReused(NotAuthenticated):
    """A refresh token came a second time: the session that it belonged to is over."""

    code = "AUTH_TOKEN_REUSED"


class MfaRequired(NotAuthenticated):
    """The password is right, and the account also asks for a code (`totp_code`)."""

    code = "AUTH_MFA_REQUIRED"


class TooManyAttempts(OmiumError):
    """Wrong guesses came too often; `retry_after` in the details is in seconds."""

    code = "AUTH_TOO_MANY_ATTEMPTS"
    status = 429


class NotPermitted(OmiumError):
    code = "AUTH_INSUFFICIENT_PERMISSIONS"
    status = 403


class NotFound(OmiumError):
    """Also the answer for what belongs to another tenant: nobody learns what exists elsewhere."""

    code = "NOT_FOUND"
    status = 404


class MemberNotFound(NotFound):
    code = "MEMBER_NOT_FOUND"


class RoleNotFound(NotFound):
    code = "ROLE_NOT_FOUND"


class InvitationNotFound(NotFound):
    code = "INVITATION_NOT_FOUND"


class SessionNotFound(NotFound):
    code = "SESSION_NOT_FOUND"


class DataRequestNotFound(NotFound):
    """No export or erasure of the tenant has this id."""

    code = "DATA_REQUEST_NOT_FOUND"


class WorkflowNotFound(NotFound):
    code = "WORKFLOW_NOT_FOUND"


class ExecutionNotFound(NotFound):
    code = "EXECUTION_NOT_FOUND"


class AgentNotFound(NotFound):
    """No step of the execution has this id."""

    code = "AGENT_NOT_FOUND"


class CheckpointNotFound(NotFound):
    code = "CHECKPOINT_NOT_FOUND"


class FailureNotFound(NotFound):
    code = "FAILURE_NOT_FOUND"


class RecoveryActionNotFound(NotFound):
    code = "RECOVERY_ACTION_NOT_FOUND"


class PolicyNotFound(NotFound):
    code = "POLICY_NOT_FOUND"


class NotificationNotFound(NotFound):
    code = "NOTIFICATION_NOT_FOUND"


class ScheduleNotFound(NotFound):
    code = "SCHEDULE_NOT_FOUND"


class WebhookNotFound(NotFound):
    code = "WEBHOOK_NOT_FOUND"


class WebhookDeliveryNotFound(NotFound):
    code = "WEBHOOK_DELIVERY_NOT_FOUND"


class ApprovalNotFound(NotFound):
    code = "APPROVAL_NOT_FOUND"


class ConsensusNotFound(NotFound):
    code = "CONSENSUS_NOT_FOUND"


class ApiKeyNotFound(NotFound):
    code = "API_KEY_NOT_FOUND"


class RateLimitExceeded(OmiumError):
    """Too many requests in a minute or an hour; `retry_after` says in how many seconds the next one is welcome."""

    code = "RATE_LIMIT_EXCEEDED"
    status = 429


class QuotaExceeded(OmiumError):
    """What a tenant may use in a month is used up; `resets_at` says when the next month begins."""

    code = "QUOTA_EXCEEDED"
    status = 429


class CreditsExhausted(OmiumError):
    """The tenant has no credits for this; `details` say how many are left."""

    code = "CREDITS_EXHAUSTED"
    status = 402


class BudgetExceeded(OmiumError):
    """A budget does not allow it; `details` name the budget."""

    code = "BUDGET_EXCEEDED"
    status = 402


class BudgetNotFound(NotFound):
    code = "BUDGET_NOT_FOUND"


class ConnectionNotFound(NotFound):
    code = "CONNECTION_NOT_FOUND"


class KickoffNotFound(NotFound):
    """The service behind a connection knows no run with this id."""

    code = "KICKOFF_NOT_FOUND"


class Conflict(OmiumError):
    code = "CONFLICT"
    status = 409


class EmailUnavailable(Conflict):
    """The address cannot be registered: it is somebody's already."""

    code = "AUTH_EMAIL_UNAVAILABLE"


class EmailNotVerified(OmiumError):
    code = "AUTH_EMAIL_NOT_VERIFIED"
    status = 403


class SignUpClosed(OmiumError):
    """This installation takes new people by invitation only."""

    code = "AUTH_SIGN_UP_CLOSED"
    status = 403


class NotSupported(Conflict):
    """The identity provider in use does this elsewhere, or not at all."""

    code = "AUTH_NOT_SUPPORTED"


class RoleInUse(Conflict):
    code = "ROLE_IN_USE"


class LastOwner(Conflict):
    """A tenant keeps at least one owner."""

    code = "LAST_OWNER"


class IdempotencyConflict(Conflict):
    """The same Idempotency-Key came with another body."""

    code = "IDEMPOTENCY_CONFLICT"


class ExecutionCannotRetry(Conflict):
    code = "EXECUTION_CANNOT_RETRY"


class ExecutionCannotPause(Conflict):
    code = "EXECUTION_CANNOT_PAUSE"


class ExecutionCannotResume(Conflict):
    code = "EXECUTION_CANNOT_RESUME"


class ExecutionCannotCancel(Conflict):
    code = "EXECUTION_CANNOT_CANCEL"


class WorkflowNotActive(Conflict):
    code = "WORKFLOW_NOT_ACTIVE"


class CheckpointCreationFailed(Conflict):
    """A state cannot be given this name: the name is taken, or there is no state yet."""

    code = "CHECKPOINT_CREATION_FAILED"


class CheckpointInUse(Conflict):
    """A run stands on this checkpoint: without it, it could not go on."""

    code = "CHECKPOINT_IN_USE"


class BudgetExists(Conflict):
    """There is a budget for the same, in the same period: `budget_id` in the details."""

    code = "BUDGET_EXISTS"


class RollbackFailed(Conflict):
    code = "ROLLBACK_FAILED"


class RollbackBlocked(Conflict):
    """What happened after the checkpoint cannot all be undone, and nobody agreed that it stays."""

    code = "ROLLBACK_BLOCKED"


class ApprovalAlreadyAnswered(Conflict):
    code = "APPROVAL_ALREADY_ANSWERED"


class NotificationAlreadySent(Conflict):
    code = "NOTIFICATION_ALREADY_SENT"


class ConsensusClosed(Conflict):
    """The vote on a handoff is over."""

    code = "CONSENSUS_CLOSED"


class CheckpointCorrupted(OmiumError):
    """Stored bytes do not match their hash, or are gone."""

    code = "CHECKPOINT_CORRUPTED"
    status = 500


class KeyUnavailable(OmiumError):
    """A sealed value cannot be opened: its key is gone, or the value was changed."""

    code = "KEY_UNAVAILABLE"
    status = 500


class TenantErased(NotFound):
    """The tenant's keys were destroyed: nothing that it stored can be read again."""

    code = "TENANT_ERASED"


class ExternalServiceFailed(OmiumError):
    """A service that a tenant's connection leads to did not do what was asked of it."""

    code = "EXTERNAL_SERVICE_FAILED"
    status = 424


class Unavailable(OmiumError):
    """A part that the request needs (database, Temporal, a worker) does not answer now; trying again is right."""

    code = "SERVICE_UNAVAILABLE"
    status = 503


class WorkerUnavailable(Unavailable):
    """No worker of the framework answered in time."""

    code = "WORKER_UNAVAILABLE"


class ConfigurationError(OmiumError):
    """The process cannot start with these settings; the message says which one and what to do."""

    code = "CONFIGURATION_ERROR"
