"""What people have a right to: a copy of what is stored, that it is forgotten, and that it is kept no longer than said."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import structlog
from temporalio.client import WorkflowUpdateRPCTimeoutOrCancelledError
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError

from activities.maintenance.zipping import zipped
from api.auth.networks import network_of
from api.auth.principal import Principal
from api.schemas.data_rights import ErasureRequest, RetentionUpdate
from api.services.auditing import audited, changes, detailed
from api.services.members import MemberService
from api.services.sessions import SessionService
from api.wiring import Wiring
from models.repositories.base import Listing, Page
from models.repositories.data_rights import (
    DataRequestRepository,
    PersonRepository,
    TenantSettings,
    delete_accounts,
)
from models.tables import DataRequest
from models.tables.base import now
from models.wire_maintenance import ErasureInput, ExportInput
from omium_core import temporal
from omium_core.errors import (
    Conflict,
    DataRequestNotFound,
    InvalidInput,
    NotAuthenticated,
    NotPermitted,
    Problem,
    Unavailable,
)
from omium_core.retention import Retention, retention_of

log = structlog.get_logger(__name__)

_PATIENCE = timedelta(seconds=5)
#: Who signed in without a password of ours must have done so this lately to erase a tenant.
_FRESH = timedelta(minutes=15)


class DataRightsService:
    def __init__(self, process: Wiring) -> None:
        self._process = process

    async def export(self, caller: Principal, user_id: UUID | None) -> DataRequest:
        """Begins an export. Raises `NotPermitted` for who may not see payloads, `MemberNotFound`, `Conflict` while there is one."""
        if not caller.may("payload:read"):
            raise NotPermitted("An export holds payloads: this needs payload:read too.", permission="payload:read")
        request = self._request(caller, "export", user_id)
        async with self._process.database.transaction(caller.tenant_id) as session:
            requests = DataRequestRepository(session, caller.tenant_id)
            if user_id is not None:
                await PersonRepository(session, caller.tenant_id).get(user_id)
            await TenantSettings(session, caller.tenant_id).get(lock=True)
            if (other := await requests.open("export", user_id)) is not None:
                raise Conflict("Such an export is being made already.", id=str(other.id))
            await requests.add(request)
        detailed(new={"user_id": user_id} if user_id else None, resource=("data_request", request.id))
        argument = ExportInput(str(caller.tenant_id), str(request.id), str(user_id or ""))
        await self._start(request, temporal.EXPORT_WORKFLOW, argument, temporal.export_id(request.id))
        return request

    async def get_export(self, caller: Principal, request_id: UUID) -> DataRequest:
        async with self._process.database.transaction(caller.tenant_id) as session:
            return await DataRequestRepository(session, caller.tenant_id).get(request_id, "export")

    async def exports(self, caller: Principal, page: Page) -> Listing[DataRequest]:
        async with self._process.database.transaction(caller.tenant_id) as session:
            return await DataRequestRepository(session, caller.tenant_id).list(page, "export")

    async def download(self, caller: Principal, request_id: UUID) -> AsyncIterator[bytes]:
        """The zip of an export that is ready, piece by piece. Raises `DataRequestNotFound`, `Conflict`."""
        if not caller.may("payload:read"):
            raise NotPermitted("An export holds payloads: this needs payload:read too.", permission="payload:read")
        async with self._process.database.transaction(caller.tenant_id) as session:
            request = await DataRequestRepository(session, caller.tenant_id).get(request_id, "export")
            if request.status != "ready":
                raise Conflict(f"The export is {request.status}.", id=str(request_id), status=request.status)
            await audited(session, caller, "tenant.export_download", "data_request", request.id)
        about = {
            "export_id": str(request.id),
            "tenant_id": str(request.tenant_id),
            "user_id": str(request.subject_user_id) if request.subject_user_id else None,
            "created_at": request.created_at.isoformat(),
            "rows": request.rows_done,
        }
        return zipped(self._process.values.objects, caller.tenant_id, request.id, about)

    async def erase(self, caller: Principal, wanted: ErasureRequest) -> DataRequest:
        """Begins the erasure of the tenant, at once or after a time of grace.

        Raises `InvalidInput` unless the slug is given, `NotAuthenticated` for a wrong password, `Conflict` while there is one.
        """
        if caller.session_id is not None:
            await self._confirm_person(caller, wanted)
        grace = timedelta(days=wanted.grace_days)
        request = self._request(caller, "erasure", None)
        request.due_at = now() + grace
        async with self._process.database.transaction(caller.tenant_id) as session:
            tenant = await TenantSettings(session, caller.tenant_id).get(lock=True)
            if wanted.confirm != tenant.slug:
                problem = Problem("confirm", "must be the slug of the tenant")
                raise InvalidInput(f"confirm: {problem.message}", [problem])
            requests = DataRequestRepository(session, caller.tenant_id)
            if (other := await requests.open("erasure", None)) is not None:
                raise Conflict("The tenant is to be erased already.", id=str(other.id))
            await requests.add(request)
        detailed(new={"due_at": request.due_at}, resource=("tenant", caller.tenant_id))
        argument = ErasureInput(str(caller.tenant_id), str(request.id), grace.total_seconds())
        await self._start(request, temporal.ERASURE_WORKFLOW, argument, temporal.erasure_id(request.id))
        return request

    async def erasure(self, caller: Principal) -> DataRequest:
        """The last one that was asked for, or `DataRequestNotFound`."""
        async with self._process.database.transaction(caller.tenant_id) as session:
            found = await DataRequestRepository(session, caller.tenant_id).newest("erasure")
        if found is None:
            raise DataRequestNotFound("Nobody asked for the tenant's erasure.")
        return found

    async def cancel_erasure(self, caller: Principal) -> DataRequest:
        """Takes it back in the time of grace. Raises `Conflict` once it has begun."""
        request = await self.erasure(caller)
        if request.status == "pending":
            handle = self._process.temporal.get_workflow_handle(temporal.erasure_id(request.id))
            try:
                taken_back = await handle.execute_update("cancel", result_type=bool, rpc_timeout=_PATIENCE)
            except (RPCError, RuntimeError, WorkflowUpdateRPCTimeoutOrCancelledError) as error:
                log.warning("an erasure could not be taken back yet", error=str(error))
                raise Unavailable("Temporal does not answer; try again in a moment.") from error
            if taken_back:
                async with self._process.database.transaction(caller.tenant_id) as session:
                    row = await DataRequestRepository(session, caller.tenant_id).get(request.id, "erasure", lock=True)
                    row.status, row.completed_at = "cancelled", now()
                    session.add(row)
                    await audited(session, caller, "tenant.erase_cancel", "tenant", caller.tenant_id)
                return row
        raise Conflict(f"The erasure is {request.status}.", id=str(request.id), status=request.status)

    async def erase_person(self, caller: Principal, user_id: UUID) -> DataRequest:
        """Makes a person unknown: who they are is replaced, they cannot sign in, what they did stays under their id.

        Raises `MemberNotFound`, `LastOwner`, `NotPermitted` for who holds more than the caller.
        """
        database = self._process.database
        async with database.transaction(caller.tenant_id) as session:
            person = await PersonRepository(session, caller.tenant_id).get(user_id)
        if person.removed_at is None:
            await MemberService(self._process).remove(caller, person.id)
        async with database.system() as session:
            await delete_accounts(session, caller.tenant_id, person.id)
        request = self._request(caller, "erasure", person.id)
        request.status, request.completed_at = "completed", now()
        async with database.transaction(caller.tenant_id) as session:
            await PersonRepository(session, caller.tenant_id).forget(person.id)
            await DataRequestRepository(session, caller.tenant_id).add(request)
            await audited(session, caller, "user.erase", "user", person.id)
        return request

    async def retention(self, caller: Principal) -> Retention:
        async with self._process.database.transaction(caller.tenant_id) as session:
            return retention_of((await TenantSettings(session, caller.tenant_id).get()).settings)

    async def change_retention(self, caller: Principal, wanted: RetentionUpdate) -> Retention:
        wishes = {name: days for name, days in wanted.model_dump().items() if days is not None}
        async with self._process.database.transaction(caller.tenant_id) as session:
            tenant = TenantSettings(session, caller.tenant_id)
            before = retention_of((await tenant.get(lock=True)).settings)
            after = {**_days(before), **wishes}
            await tenant.change({"retention": after})
            old, new = changes(_days(before), after)
            await audited(session, caller, "tenant.update", "tenant", caller.tenant_id, old=old, new=new)
        return Retention(**after)

    async def _confirm_person(self, caller: Principal, wanted: ErasureRequest) -> None:
        """The password again, and a code where one is asked for: an open session alone does not erase a tenant."""
        account, _ = await SessionService(self._process).account_of(caller)
        provider = self._process.people.provider
        if wanted.password is not None:
            # a guess that is counted: an open session must not help to guess the password
            network = network_of(caller.origin.address)
            async with self._process.people.limiter.guess(account.email, network, None):
                await provider.sign_in(account.email, wanted.password, wanted.code)
        elif account.hashed_password is not None or account.last_login_at is None:
            raise NotAuthenticated("Give your password too: this cannot be taken back.")
        elif account.last_login_at < now() - _FRESH:
            raise NotAuthenticated("Sign in again first: this cannot be taken back.")

    @staticmethod
    def _request(caller: Principal, kind: str, user_id: UUID | None) -> DataRequest:
        return DataRequest(
            tenant_id=caller.tenant_id,
            kind=kind,
            subject_user_id=user_id,
            requested_by_user=caller.user_id,
            requested_by_key=caller.key_id,
        )

    async def _start(self, request: DataRequest, workflow: str, argument: Any, workflow_id: str) -> None:
        """Starts what works a request off. One that cannot be started is over: asking again makes another."""
        try:
            await self._process.temporal.start_workflow(
                workflow, argument, id=workflow_id, task_queue=temporal.maintenance_queue(), rpc_timeout=_PATIENCE
            )
        except WorkflowAlreadyStartedError:
            log.info("a data request was started before", request_id=str(request.id))
        except (RPCError, RuntimeError) as error:
            async with self._process.database.transaction(request.tenant_id) as session:
                row = await DataRequestRepository(session, request.tenant_id).get(request.id, request.kind, lock=True)
                row.status, row.error = "failed", Unavailable.code
                session.add(row)
            raise Unavailable("Temporal does not answer; try again in a moment.") from error


def _days(kept: Retention) -> dict[str, int]:
    return {"checkpoint_days": kept.checkpoint_days, "trace_days": kept.trace_days, "audit_days": kept.audit_days}
