"""The tables, one aggregate a file. Importing this package registers all of them with the metadata."""

from models.tables.base import Table
from models.tables.checkpoints import Checkpoint, Lineage
from models.tables.consensus import ConsensusAck, ConsensusLog
from models.tables.events import ExecutionEvent
from models.tables.executions import Agent, Execution
from models.tables.failures import Failure
from models.tables.idempotency import IdempotencyKey
from models.tables.journal import JournalEntry
from models.tables.notifications import Notification
from models.tables.policies import ExecutionPolicy, ExecutionPolicyVersion, RecoveryAction
from models.tables.steering import Approval, Effect, Rollback
from models.tables.tenants import ApiKey, Tenant, TenantKey, User
from models.tables.workflows import Workflow, WorkflowVersion

__all__ = [
    "Agent",
    "ApiKey",
    "Approval",
    "Checkpoint",
    "ConsensusAck",
    "ConsensusLog",
    "Effect",
    "Execution",
    "ExecutionEvent",
    "ExecutionPolicy",
    "ExecutionPolicyVersion",
    "Failure",
    "IdempotencyKey",
    "JournalEntry",
    "Lineage",
    "Notification",
    "RecoveryAction",
    "Rollback",
    "Table",
    "Tenant",
    "TenantKey",
    "User",
    "Workflow",
    "WorkflowVersion",
]
