"""The resources of the API, one module each. Their methods describe requests; see `omium.calls`."""

from __future__ import annotations

from omium.resources.analytics import Analytics
from omium.resources.api_keys import ApiKeys
from omium.resources.approvals import Approvals
from omium.resources.audit import AuditLogs
from omium.resources.auth import Auth
from omium.resources.billing import Billing
from omium.resources.budgets import Budgets
from omium.resources.checkpoints import Checkpoints
from omium.resources.connections import Connections
from omium.resources.consensus import ConsensusLogs
from omium.resources.data_rights import DataRights
from omium.resources.executions import Executions
from omium.resources.failures import Failures
from omium.resources.members import Members
from omium.resources.notifications import Notifications
from omium.resources.policies import Policies
from omium.resources.roles import Roles
from omium.resources.schedules import Schedules
from omium.resources.webhooks import Webhooks
from omium.resources.workflows import Workflows

__all__ = [
    "Analytics",
    "ApiKeys",
    "Approvals",
    "AuditLogs",
    "Auth",
    "Billing",
    "Budgets",
    "Checkpoints",
    "Connections",
    "ConsensusLogs",
    "DataRights",
    "Executions",
    "Failures",
    "Members",
    "Notifications",
    "Policies",
    "Roles",
    "Schedules",
    "Webhooks",
    "Workflows",
]
