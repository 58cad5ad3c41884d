"""The activities of an erasure. The keys go first: what is left after that is ciphertext that nobody can open, and is removed."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import Table, text, update
from sqlmodel import col
from temporalio import activity
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice.v1 import DeleteWorkflowExecutionRequest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from activities.heartbeat import heartbeat
from activities.payments.client import open_stripe
from activities.payments.erasing import erase_at_stripe
from activities.stores.base import ObjectStore
from models.database import Database
from models.repositories.audit import INSERT, AuditEntry, row_of
from models.repositories.data_rights import delete_accounts
from models.tables import ApiKey, DataRequest, Session, Tenant
from models.tables import Table as Base
from models.tables.base import now
from models.wire_maintenance import ErasureInput
from omium_core import temporal
from omium_core.settings import Settings

log = structlog.get_logger(__name__)

#: What stays of a tenant that is gone: that it was there, that its keys are destroyed, and the log, without what was sealed in it.
KEPT = frozenset({"tenants", "tenant_keys", "audit_logs", "audit_pending", "audit_chain", "data_requests"})
#: Numbered rows that are not the tenant's to remove: the platform alone may, and only those of a tenant that is erased.
NUMBERED = frozenset({"ledger_entries", "prices"})
BATCH = 1000


class ErasureActivities:
    """Belongs to one event loop. `objects` is the store itself: no key is needed to remove what lies in it."""

    def __init__(self, client: Client, database: Database, objects: ObjectStore, settings: Settings) -> None:
        self._client = client
        self._database = database
        self._objects = objects
        self._settings = settings

    @activity.defn(name="cancel_erasure")
    async def cancel(self, erasure: ErasureInput) -> None:
        """It was taken back in time."""
        await self._tell(erasure, status="cancelled", phase="", completed_at=now())

    @activity.defn(name="destroy_keys")
    async def destroy_keys(self, erasure: ErasureInput) -> None:
        """Nothing that the tenant stored can be read from here on, and nobody can act for it."""
        tenant_id = UUID(erasure.tenant_id)
        async with heartbeat():
            await self._database.keys.destroy(tenant_id)
            async with self._database.system() as db:
                at = now()
                await db.execute(
                    update(Tenant)
                    .where(col(Tenant.id) == tenant_id)
                    .values(deleted_at=at, subscription_status="cancelled", updated_at=at)
                )
                await db.execute(
                    update(ApiKey).where(col(ApiKey.tenant_id) == tenant_id).values(is_active=False, revoked_at=at)
                )
                await db.execute(
                    update(Session)
                    .where(col(Session.tenant_id) == tenant_id, col(Session.ended_at).is_(None))
                    .values(ended_at=at, end_reason="account")
                )
            await self._tell(erasure, status="running", phase="runs")

    @activity.defn(name="erase_runs")
    async def end_runs(self, erasure: ErasureInput) -> None:
        """Ends the tenant's workflows and schedules, and deletes their histories."""
        tenant_id = UUID(erasure.tenant_id)
        async with heartbeat():
            for schedule_id in await self._ids("schedules", tenant_id):
                await self._gone(self._client.get_schedule_handle(temporal.schedule_id(tenant_id, schedule_id)).delete)
            known = [temporal.workflow_id(tenant_id, row) for row in await self._ids("executions", tenant_id)]
            known += [temporal.webhook_id(tenant_id, row) for row in await self._ids("webhook_endpoints", tenant_id)]
            for workflow_id in known:
                await self._delete_workflow(workflow_id, "")
            # runs that went on in another history, and what no row knows; Temporal's list is a moment late, so it is asked twice
            query = f"WorkflowId STARTS_WITH '{tenant_id}/'"
            found = [(run.id, run.run_id) async for run in self._client.list_workflows(query)]
            for workflow_id, run_id in found:
                await self._delete_workflow(workflow_id, run_id)

    @activity.defn(name="erase_objects")
    async def delete_objects(self, erasure: ErasureInput) -> None:
        async with heartbeat():
            await self._tell(erasure, phase="objects")
            async for key in self._objects.list(f"{UUID(erasure.tenant_id)}/"):
                await self._objects.delete(key)

    @activity.defn(name="erase_rows")
    async def delete_rows(self, erasure: ErasureInput) -> None:
        """Removes the rows of all tables but those that say that there was a tenant; at Stripe, its customer."""
        tenant_id = UUID(erasure.tenant_id)
        async with heartbeat():
            await self._tell(erasure, phase="rows")
            # the rows that go say what Stripe and its events know the tenant by
            await self._at_stripe(tenant_id)
            async with self._database.system() as db:
                await delete_accounts(db, tenant_id)
            for table in reversed(Base.metadata.sorted_tables):
                if table.name in NUMBERED:
                    await self._empty_numbered(table, tenant_id)
                elif "tenant_id" in table.c and table.name not in KEPT:
                    await self._empty(table, tenant_id)

    @activity.defn(name="end_erasure")
    async def end(self, erasure: ErasureInput) -> None:
        """Leaves a tombstone: the tenant's row without its name, the request, and an entry in the log."""
        tenant_id = UUID(erasure.tenant_id)
        async with heartbeat():
            entry = AuditEntry(
                tenant_id,
                "tenant.erased",
                "tenant",
                tenant_id,
                metadata={"source": "system", "data_request_id": erasure.request_id},
            )
            anonymous: dict[str, Any] = {
                "name": "Erased",
                "slug": f"erased-{tenant_id}",
                "stripe_customer_id": None,
                "billing_email": None,
                "billing_address": None,
                "settings": {},
                "updated_at": now(),
            }
            async with self._database.system() as db:
                done = await db.execute(
                    update(DataRequest)
                    .where(col(DataRequest.id) == UUID(erasure.request_id), col(DataRequest.status) == "running")
                    .values(status="completed", phase="", completed_at=now())
                    .returning(col(DataRequest.id))
                )
                if done.scalar_one_or_none() is None:
                    return
                await db.execute(update(Tenant).where(col(Tenant.id) == tenant_id).values(**anonymous))
                # whoever asked for it is named by an id that leads nowhere any more
                await db.execute(INSERT, row_of(entry))
        log.info("a tenant was erased", tenant_id=str(tenant_id))

    async def _at_stripe(self, tenant_id: UUID) -> None:
        api = open_stripe(self._settings)
        try:
            await erase_at_stripe(self._database, api, tenant_id)
        finally:
            if api is not None:
                await api.close()

    async def _ids(self, table: str, tenant_id: UUID) -> list[UUID]:
        """The ids of a tenant's rows: no cipher is needed for them, and there is none any more."""
        statement = text(f"SELECT coalesce(array_agg(id), '{{}}') AS ids FROM {table} WHERE tenant_id = :tenant")  # noqa: S608 - made of our own names
        row = await self._database.statement(tenant_id, statement, {"tenant": tenant_id})
        return [UUID(str(found)) for found in row.ids]

    async def _empty(self, table: Table, tenant_id: UUID) -> None:
        # in small batches: a run of many steps takes its rows with it, and nobody else must wait for that
        statement = text(
            f"WITH gone AS (DELETE FROM {table.name} WHERE ctid IN "  # noqa: S608 - made of our own names
            f"(SELECT ctid FROM {table.name} WHERE tenant_id = :tenant LIMIT {BATCH}) RETURNING 1) "
            "SELECT count(*) AS gone FROM gone"
        )
        while (await self._database.statement(tenant_id, statement, {"tenant": tenant_id})).gone:
            pass

    async def _empty_numbered(self, table: Table, tenant_id: UUID) -> None:
        statement = text(
            f"DELETE FROM {table.name} WHERE tenant_id = :tenant AND number IN "  # noqa: S608 - made of our own names
            f"(SELECT number FROM {table.name} WHERE tenant_id = :tenant ORDER BY number LIMIT {BATCH}) RETURNING number"
        )
        gone = True
        while gone:
            async with self._database.system() as db:
                gone = (await db.execute(statement, {"tenant": tenant_id})).first() is not None

    async def _delete_workflow(self, workflow_id: str, run_id: str) -> None:
        # one that runs is ended by that, and goes at once; one that was terminated before goes half a minute later
        request = DeleteWorkflowExecutionRequest(
            namespace=self._client.namespace,
            workflow_execution=WorkflowExecution(workflow_id=workflow_id, run_id=run_id),
        )
        await self._gone(lambda: self._client.workflow_service.delete_workflow_execution(request))

    @staticmethod
    async def _gone(call: object) -> None:
        """Calls; what is not there any more is as good as gone."""
        try:
            await call()  # type: ignore[operator]
        except RPCError as error:
            if error.status != RPCStatusCode.NOT_FOUND:
                raise

    async def _tell(self, erasure: ErasureInput, **values: object) -> None:
        async with self._database.system() as db:
            await db.execute(
                update(DataRequest).where(col(DataRequest.id) == UUID(erasure.request_id)).values(**values)
            )
