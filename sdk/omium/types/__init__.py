"""The API's answers, for type checkers and editors; at run time they are plain dicts.

No field is required here: an older or newer server may leave one out or add one. Times are ISO 8601 strings in UTC,
ids are UUID strings, sizes are bytes.
"""

from __future__ import annotations

from omium.types.audit import AuditEntry as AuditEntry
from omium.types.audit import AuditPage as AuditPage
from omium.types.audit import AuditVerdict as AuditVerdict
from omium.types.audit import DataExport as DataExport
from omium.types.audit import DataExportPage as DataExportPage
from omium.types.audit import Erasure as Erasure
from omium.types.audit import PersonErasure as PersonErasure
from omium.types.audit import RetentionDays as RetentionDays
from omium.types.base import TERMINAL_STATUSES as TERMINAL_STATUSES
from omium.types.base import JsonObject as JsonObject
from omium.types.base import Page as Page
from omium.types.base import Status as Status
from omium.types.connections import Connection as Connection
from omium.types.connections import ConnectionInputs as ConnectionInputs
from omium.types.connections import ConnectionPage as ConnectionPage
from omium.types.connections import ConnectionTest as ConnectionTest
from omium.types.connections import Kickoff as Kickoff
from omium.types.connections import KickoffStatus as KickoffStatus
from omium.types.recovery import Analysis as Analysis
from omium.types.recovery import Failure as Failure
from omium.types.recovery import FailureAnalysis as FailureAnalysis
from omium.types.recovery import FailureEnvelope as FailureEnvelope
from omium.types.recovery import FailurePage as FailurePage
from omium.types.recovery import Notification as Notification
from omium.types.recovery import NotificationEnvelope as NotificationEnvelope
from omium.types.recovery import NotificationPage as NotificationPage
from omium.types.recovery import Policy as Policy
from omium.types.recovery import PolicyPage as PolicyPage
from omium.types.recovery import PolicyVersion as PolicyVersion
from omium.types.recovery import PolicyVersionPage as PolicyVersionPage
from omium.types.recovery import RecoveryAction as RecoveryAction
from omium.types.recovery import RecoveryActionPage as RecoveryActionPage
from omium.types.recovery import RecoveryEnvelope as RecoveryEnvelope
from omium.types.recovery import SuggestedAction as SuggestedAction
from omium.types.runs import Agent as Agent
from omium.types.runs import Checkpoint as Checkpoint
from omium.types.runs import CheckpointData as CheckpointData
from omium.types.runs import CheckpointEnvelope as CheckpointEnvelope
from omium.types.runs import CheckpointPage as CheckpointPage
from omium.types.runs import Execution as Execution
from omium.types.runs import ExecutionEnvelope as ExecutionEnvelope
from omium.types.runs import ExecutionPage as ExecutionPage
from omium.types.runs import Progress as Progress
from omium.types.runs import StartedExecution as StartedExecution
from omium.types.runs import TemporalLink as TemporalLink
from omium.types.runs import Workflow as Workflow
from omium.types.runs import WorkflowPage as WorkflowPage
from omium.types.schedules import RunError as RunError
from omium.types.schedules import Schedule as Schedule
from omium.types.schedules import ScheduleCounts as ScheduleCounts
from omium.types.schedules import ScheduleEnvelope as ScheduleEnvelope
from omium.types.schedules import SchedulePage as SchedulePage
from omium.types.schedules import ScheduleRun as ScheduleRun
from omium.types.schedules import ScheduleRunPage as ScheduleRunPage
from omium.types.schedules import Webhook as Webhook
from omium.types.schedules import WebhookAttempt as WebhookAttempt
from omium.types.schedules import WebhookDelivery as WebhookDelivery
from omium.types.schedules import WebhookDeliveryEnvelope as WebhookDeliveryEnvelope
from omium.types.schedules import WebhookDeliveryPage as WebhookDeliveryPage
from omium.types.schedules import WebhookEvent as WebhookEvent
from omium.types.schedules import WebhookEvents as WebhookEvents
from omium.types.schedules import WebhookPage as WebhookPage
from omium.types.steering import Acknowledgement as Acknowledgement
from omium.types.steering import Approval as Approval
from omium.types.steering import ApprovalEnvelope as ApprovalEnvelope
from omium.types.steering import ApprovalPage as ApprovalPage
from omium.types.steering import Consensus as Consensus
from omium.types.steering import ConsensusAck as ConsensusAck
from omium.types.steering import ConsensusLog as ConsensusLog
from omium.types.steering import Lineage as Lineage
from omium.types.steering import LineageTree as LineageTree
from omium.types.steering import Rollback as Rollback
from omium.types.steering import RollbackEnvelope as RollbackEnvelope
from omium.types.steering import RollbackPlan as RollbackPlan
