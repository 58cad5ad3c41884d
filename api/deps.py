"""What routes ask for: the caller, the use cases."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import Depends, Request

from api.auth.principal import Origin, Principal
from api.payloads import show_payloads_to
from api.services.analytics import AnalyticsService
from api.services.analytics_reports import AnalyticsReports
from api.services.api_keys import ApiKeyService
from api.services.approvals import ApprovalService
from api.services.audit import AuditService
from api.services.billing import BillingService
from api.services.billing_payments import PaymentService
from api.services.budgets import BudgetService
from api.services.checkpoints import CheckpointService
from api.services.codec import CodecService
from api.services.connections import ConnectionService
from api.services.consensus import ConsensusService
from api.services.costs import CostService
from api.services.credentials import CredentialService
from api.services.data_rights import DataRightsService
from api.services.executions import ExecutionService
from api.services.failures import FailureService
from api.services.forks import ForkService
from api.services.limits import LimitsService
from api.services.lineage import LineageService
from api.services.members import MemberService
from api.services.notifications import NotificationService
from api.services.policies import PolicyService
from api.services.recovery import RecoveryService
from api.services.retries import RetryService
from api.services.roles import RoleService
from api.services.rollbacks import RollbackService
from api.services.schedules import ScheduleService
from api.services.sessions import SessionService
from api.services.sign_in import SignInService
from api.services.sign_up import SignUpService
from api.services.steering import SteeringService
from api.services.stripe_inbox import StripeInboxService
from api.services.temporal_ui import TemporalUiService
from api.services.tenants import TenantService
from api.services.webhooks import WebhookService
from api.services.workflows import WorkflowService
from api.wiring import Wiring
from omium_core.errors import NotPermitted


# asynchronous, although they await nothing: the framework runs the others in threads
async def wiring(request: Request) -> Wiring:
    process: Wiring = request.app.state.wiring
    return process


def requires(permission: str) -> Any:
    """The caller, who must hold the permission. One per route."""

    async def check(request: Request) -> Principal:
        principal: Principal = request.state.principal
        if permission not in principal.permissions:
            raise NotPermitted(f"This needs the permission {permission}.", permission=permission)
        show_payloads_to(principal)
        return principal

    # read by those who must know it without a request: the audit log, tests
    check.permission = permission  # type: ignore[attr-defined]
    return Depends(check)


def caller_of(permission: str) -> Any:
    """The caller, whoever it is: for what everybody may do about themselves. `permission` is what records call it."""

    async def check(request: Request) -> Principal:
        principal: Principal = request.state.principal
        return principal

    check.permission = permission  # type: ignore[attr-defined]
    return Depends(check)


async def _origin(request: Request) -> Origin:
    origin: Origin = request.state.origin
    return origin


def _service(kind: Callable[[Wiring], Any]) -> Any:
    async def build(request: Request) -> Any:
        return kind(request.app.state.wiring)

    return Depends(build)


Process = Annotated[Wiring, Depends(wiring)]
Sender = Annotated[Origin, Depends(_origin)]
SignUp = Annotated[SignUpService, _service(SignUpService)]
SignIn = Annotated[SignInService, _service(SignInService)]
PersonSessions = Annotated[SessionService, _service(SessionService)]
Credentials = Annotated[CredentialService, _service(CredentialService)]
Members = Annotated[MemberService, _service(MemberService)]
Roles = Annotated[RoleService, _service(RoleService)]
Tenants = Annotated[TenantService, _service(TenantService)]
ApiKeys = Annotated[ApiKeyService, _service(ApiKeyService)]
Limits = Annotated[LimitsService, _service(LimitsService)]
DataRights = Annotated[DataRightsService, _service(DataRightsService)]
Audit = Annotated[AuditService, _service(AuditService)]
Analytics = Annotated[AnalyticsService, _service(AnalyticsService)]
Reports = Annotated[AnalyticsReports, _service(AnalyticsReports)]
Workflows = Annotated[WorkflowService, _service(WorkflowService)]
Executions = Annotated[ExecutionService, _service(ExecutionService)]
Checkpoints = Annotated[CheckpointService, _service(CheckpointService)]
Steering = Annotated[SteeringService, _service(SteeringService)]
Rollbacks = Annotated[RollbackService, _service(RollbackService)]
Forks = Annotated[ForkService, _service(ForkService)]
Retries = Annotated[RetryService, _service(RetryService)]
Lineages = Annotated[LineageService, _service(LineageService)]
Approvals = Annotated[ApprovalService, _service(ApprovalService)]
Connections = Annotated[ConnectionService, _service(ConnectionService)]
Consensus = Annotated[ConsensusService, _service(ConsensusService)]
Failures = Annotated[FailureService, _service(FailureService)]
Notifications = Annotated[NotificationService, _service(NotificationService)]
Policies = Annotated[PolicyService, _service(PolicyService)]
Recovery = Annotated[RecoveryService, _service(RecoveryService)]
Schedules = Annotated[ScheduleService, _service(ScheduleService)]
Webhooks = Annotated[WebhookService, _service(WebhookService)]
Billing = Annotated[BillingService, _service(BillingService)]
Costs = Annotated[CostService, _service(CostService)]
Budgets = Annotated[BudgetService, _service(BudgetService)]
Payments = Annotated[PaymentService, _service(PaymentService)]
StripeInbox = Annotated[StripeInboxService, _service(StripeInboxService)]
Codec = Annotated[CodecService, _service(CodecService)]
TemporalUiRules = Annotated[TemporalUiService, _service(TemporalUiService)]
