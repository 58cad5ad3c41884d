"""The worker of the light queue: what the platform does for tenants beside their runs. One in every worker process.

A workflow that belongs to no framework is added to `WORKFLOWS`, its activities to `activities_of`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

from temporalio.client import Client
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from activities.maintenance.erasing import ErasureActivities
from activities.maintenance.exports import ExportActivities
from activities.maintenance.retention import RetentionActivities
from activities.maintenance.rollups import RollupActivities
from activities.maintenance.sealing import Sealer
from activities.maintenance.sweeping import Sweeper
from activities.payments.working import PaymentActivities
from activities.schedules.starting import ScheduleActivities
from activities.stores.factory import open_bytes
from activities.stores.values import ValueStore
from activities.webhooks.sending import WebhookActivities
from models.database import Database
from omium_core import temporal
from omium_core.settings import Settings
from workflows.maintenance import Retention, RollUp, TenantErasure, TenantExport
from workflows.payments import StripeEvent, StripeReconciliation
from workflows.scheduled_start import ScheduledStart
from workflows.webhook_delivery import WebhookDelivery

WORKFLOWS: Sequence[type[Any]] = (
    ScheduledStart,
    WebhookDelivery,
    TenantExport,
    TenantErasure,
    Retention,
    RollUp,
    StripeEvent,
    StripeReconciliation,
)
#: Endpoints that hang hold a place each: there are enough of them.
_AT_ONCE = 100
_POLLS = 2


def activities_of(
    client: Client, database: Database, values: ValueStore, settings: Settings
) -> list[Callable[..., Any]]:
    schedules = ScheduleActivities(client, database, values, settings)
    objects = open_bytes(settings)
    exports = ExportActivities(database, values.objects, values)
    erasure = ErasureActivities(client, database, objects, settings)
    retention = RetentionActivities(database, Sealer(database, settings, objects), Sweeper(database, objects))
    payments = PaymentActivities(database, settings)
    rollups = RollupActivities(database)
    return [
        exports.begin,
        exports.part,
        exports.end,
        exports.remove,
        erasure.cancel,
        erasure.destroy_keys,
        erasure.end_runs,
        erasure.delete_objects,
        erasure.delete_rows,
        erasure.end,
        retention.make_partitions,
        retention.tenants,
        retention.tidy,
        retention.drop_partitions,
        rollups.tenants,
        rollups.roll_up,
        payments.apply,
        payments.refuse,
        payments.reconcile,
        schedules.start,
        schedules.status,
        schedules.cancel,
        WebhookActivities(database, settings).deliver,
    ]


def build_maintenance_worker(client: Client, database: Database, values: ValueStore, settings: Settings) -> Worker:
    return Worker(
        client,
        task_queue=temporal.maintenance_queue(),
        workflows=WORKFLOWS,
        activities=activities_of(client, database, values, settings),
        # as for runs: docs/decisions/0006
        workflow_runner=UnsandboxedWorkflowRunner(),
        max_concurrent_activities=_AT_ONCE,
        max_concurrent_workflow_task_polls=_POLLS,
        max_concurrent_activity_task_polls=_POLLS,
        graceful_shutdown_timeout=timedelta(seconds=5),
    )
