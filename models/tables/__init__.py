"""The tables, one aggregate a file. Importing this package registers all of them with the metadata."""

from models.tables.audit import AuditHead, AuditLink, AuditLog, AuditPending
from models.tables.base import Table
from models.tables.checkpoints import Checkpoint, Lineage
from models.tables.connections import ExternalConnection, ExternalKickoff
from models.tables.consensus import ConsensusAck, ConsensusLog
from models.tables.data_rights import DataRequest, UnreferencedObject
from models.tables.events import ExecutionEvent
from models.tables.executions import Agent, Execution
from models.tables.failures import Failure
from models.tables.idempotency import IdempotencyKey
from models.tables.identity import (
    Account,
    AccountToken,
    Invitation,
    OAuthState,
    Role,
    Session,
    SignInFailure,
    SigningKey,
    User,
    UserRole,
)
from models.tables.journal import JournalEntry
from models.tables.notifications import Notification
from models.tables.policies import ExecutionPolicy, ExecutionPolicyVersion, RecoveryAction
from models.tables.schedules import Schedule, ScheduleCommand, ScheduleRun
from models.tables.steering import Approval, Effect, Rollback
from models.tables.tenants import ApiKey, ApiUsage, Tenant, TenantKey
from models.tables.webhooks import WebhookDelivery, WebhookEndpoint
from models.tables.workflows import Workflow, WorkflowVersion

__all__ = [
    "Account",
    "AccountToken",
    "Agent",
    "ApiKey",
    "ApiUsage",
    "Approval",
    "AuditHead",
    "AuditLink",
    "AuditLog",
    "AuditPending",
    "Checkpoint",
    "ConsensusAck",
    "ConsensusLog",
    "DataRequest",
    "Effect",
    "Execution",
    "ExecutionEvent",
    "ExecutionPolicy",
    "ExecutionPolicyVersion",
    "ExternalConnection",
    "ExternalKickoff",
    "Failure",
    "IdempotencyKey",
    "Invitation",
    "JournalEntry",
    "Lineage",
    "Notification",
    "OAuthState",
    "RecoveryAction",
    "Role",
    "Rollback",
    "Schedule",
    "ScheduleCommand",
    "ScheduleRun",
    "Session",
    "SignInFailure",
    "SigningKey",
    "Table",
    "Tenant",
    "TenantKey",
    "UnreferencedObject",
    "User",
    "UserRole",
    "WebhookDelivery",
    "WebhookEndpoint",
    "Workflow",
    "WorkflowVersion",
]
