"""The tables, one aggregate a file. Importing this package registers all of them with the metadata."""

from models.tables.audit import AuditHead, AuditLink, AuditLog, AuditPending
from models.tables.base import Table
from models.tables.billing import (
    BillingNotice,
    Budget,
    CreditAccount,
    CreditGrant,
    CreditHold,
    LedgerEntry,
    ParkedRun,
    Price,
)
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
from models.tables.metrics import (
    AgentMetrics,
    ApiUsageHour,
    CostRollup,
    DurationRollup,
    ExecutionMetrics,
    ExecutionRollup,
    RollupMark,
    StepRollup,
)
from models.tables.notifications import Notification
from models.tables.payments import AutoTopup, Payment, PaymentReturn, StripeCursor, StripeWebhookEvent, Subscription
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
    "AgentMetrics",
    "ApiKey",
    "ApiUsage",
    "ApiUsageHour",
    "Approval",
    "AuditHead",
    "AuditLink",
    "AuditLog",
    "AuditPending",
    "AutoTopup",
    "BillingNotice",
    "Budget",
    "Checkpoint",
    "ConsensusAck",
    "ConsensusLog",
    "CostRollup",
    "CreditAccount",
    "CreditGrant",
    "CreditHold",
    "DataRequest",
    "DurationRollup",
    "Effect",
    "Execution",
    "ExecutionEvent",
    "ExecutionMetrics",
    "ExecutionPolicy",
    "ExecutionPolicyVersion",
    "ExecutionRollup",
    "ExternalConnection",
    "ExternalKickoff",
    "Failure",
    "IdempotencyKey",
    "Invitation",
    "JournalEntry",
    "LedgerEntry",
    "Lineage",
    "Notification",
    "OAuthState",
    "ParkedRun",
    "Payment",
    "PaymentReturn",
    "Price",
    "RecoveryAction",
    "Role",
    "Rollback",
    "RollupMark",
    "Schedule",
    "ScheduleCommand",
    "ScheduleRun",
    "Session",
    "SignInFailure",
    "SigningKey",
    "StepRollup",
    "StripeCursor",
    "StripeWebhookEvent",
    "Subscription",
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
