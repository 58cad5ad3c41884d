"""Checkpoints: read what a run looked like after a step, give its present state a name, delete."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy.exc import IntegrityError
from sqlmodel.ext.asyncio.session import AsyncSession

from activities.adapters.registry import definition_for
from activities.stores.blobs import BlobRef
from api.auth.principal import Principal
from api.payloads import check_payloads
from api.schemas.checkpoints import CheckpointCreate, CheckpointData, CheckpointView
from api.schemas.common import json_problems
from api.services.auditing import audited
from api.services.steering import ENDED
from api.wiring import Wiring
from models.repositories.base import Listing, Page
from models.repositories.checkpoints import CheckpointRepository
from models.repositories.executions import ExecutionRepository
from models.tables import Checkpoint, Execution, ExecutionEvent
from models.tables.base import now
from omium_core.errors import CheckpointCreationFailed, CheckpointInUse, InvalidInput, Problem
from omium_core.settings import Settings

#: What reading a state can raise when it is not one of the framework's.
_UNREADABLE = (KeyError, TypeError, ValueError, AttributeError, IndexError)


class CheckpointService:
    def __init__(self, process: Wiring) -> None:
        self._process = process

    async def get(self, caller: Principal, checkpoint_id: UUID) -> CheckpointView:
        async with self._process.database.transaction(caller.tenant_id) as session:
            return self.view(await CheckpointRepository(session, caller.tenant_id).get(checkpoint_id))

    async def list(
        self, caller: Principal, execution_id: UUID, page: Page, *, kind: str | None = None, lineage: int | None = None
    ) -> Listing[Checkpoint]:
        async with self._process.database.transaction(caller.tenant_id) as session:
            await ExecutionRepository(session, caller.tenant_id).get(execution_id)
            found = CheckpointRepository(session, caller.tenant_id)
            return await found.list(execution_id, page, kind=kind, lineage=lineage)

    async def data(self, caller: Principal, checkpoint_id: UUID, *, raw: bool) -> CheckpointData:
        """The state, checked against its hash; `CheckpointCorrupted` if the bytes are not what was written.

        It is nothing but payload: raises `NotPermitted` for a caller who may not see any.
        """
        check_payloads(caller)
        async with self._process.database.transaction(caller.tenant_id) as session:
            checkpoint = await CheckpointRepository(session, caller.tenant_id).get(checkpoint_id)
            execution = await ExecutionRepository(session, caller.tenant_id).get(checkpoint.execution_id)
        state: Any = await self._process.values.get(str(caller.tenant_id), checkpoint.checksum)
        return CheckpointData(
            checkpoint_id=checkpoint.id,
            execution_id=checkpoint.execution_id,
            checkpoint_number=checkpoint.checkpoint_number,
            state=state if raw else definition_for(execution.framework).view(state),
        )

    async def create(self, caller: Principal, wanted: CheckpointCreate) -> CheckpointView:
        """Names the state that the run stands on, or stores another one beside it."""
        problems = json_problems(wanted.metadata, "metadata")
        if problems:
            raise InvalidInput(f"{problems[0].path}: {problems[0].message}", problems)
        async with self._process.database.transaction(caller.tenant_id) as session:
            execution = await ExecutionRepository(session, caller.tenant_id).get(wanted.execution_id)
        blob = None if wanted.state is None else await self._store_state(caller, execution, wanted.state)
        try:
            async with self._process.database.transaction(caller.tenant_id) as session:
                checkpoint = await self._name(session, caller, wanted, blob)
                await audited(session, caller, "checkpoint.create", "checkpoint", checkpoint.id, new=_told(checkpoint))
        except IntegrityError:
            raise _taken(wanted) from None
        return self.view(checkpoint)

    async def _store_state(self, caller: Principal, execution: Execution, state: dict[str, Any]) -> BlobRef:
        problems = json_problems(state, "state")
        if problems:
            raise InvalidInput(f"{problems[0].path}: {problems[0].message}", problems)
        half = definition_for(execution.framework)
        try:
            half.view(state)
            half.values(state)
        except _UNREADABLE:
            message = (
                f"is no state of {execution.framework}: take one from GET /checkpoints/{{id}}/data?raw=true, "
                "or leave it out to name the present one"
            )
            raise InvalidInput(f"state: {message}", [Problem("state", message)]) from None
        return await self._process.values.put(str(caller.tenant_id), state)

    async def _name(
        self, session: AsyncSession, caller: Principal, wanted: CheckpointCreate, blob: BlobRef | None
    ) -> Checkpoint:
        # locked, so that the state that is named is the one that the run stands on
        execution = await ExecutionRepository(session, caller.tenant_id).get(wanted.execution_id, lock=True)
        checkpoints = CheckpointRepository(session, caller.tenant_id)
        if await checkpoints.named(execution.id, wanted.checkpoint_name):
            raise _taken(wanted)
        latest = await checkpoints.latest(execution.id, execution.lineage)
        if latest is None:
            raise CheckpointCreationFailed(
                "The execution has no checkpoint yet: there is no state that could be named.",
                execution_id=str(execution.id),
            )
        if wanted.agent_id is not None:
            await ExecutionRepository(session, caller.tenant_id).agent(execution.id, wanted.agent_id)
        copied = {"tenant_id", "execution_id", "agent_id", "lineage", "branch", "step_index", "checkpoint_number"}
        copied |= {"checksum", "state_size_bytes", "next_step", "preconditions", "postconditions", "validation_passed"}
        checkpoint = Checkpoint(
            **latest.model_dump(include=copied),
            kind="named",
            checkpoint_name=wanted.checkpoint_name,
            meta=wanted.metadata,
        )
        checkpoint.agent_id = wanted.agent_id or latest.agent_id
        if blob is not None:
            checkpoint.checksum, checkpoint.state_size_bytes = blob.key, blob.size
        session.add(checkpoint)
        await session.flush()
        session.add(_event(checkpoint, "checkpoint.named"))
        return checkpoint

    async def delete(self, caller: Principal, checkpoint_id: UUID) -> None:
        """Nothing leads back to it any more. What came after it still stands."""
        async with self._process.database.transaction(caller.tenant_id) as session:
            checkpoints = CheckpointRepository(session, caller.tenant_id)
            checkpoint = await checkpoints.get(checkpoint_id)
            execution = await ExecutionRepository(session, caller.tenant_id).get(checkpoint.execution_id, lock=True)
            # a run that failed or was cancelled may be taken up again
            if execution.status != "completed" and checkpoint.kind != "named":
                stands_on = await checkpoints.latest(execution.id, execution.lineage, checkpoint.branch)
                if stands_on is not None and stands_on.id == checkpoint.id:
                    verb = "would go on" if execution.status in ENDED else "goes on"
                    raise CheckpointInUse(
                        f"The execution is {execution.status} and {verb} from this checkpoint.",
                        checkpoint_id=str(checkpoint_id),
                        execution_id=str(execution.id),
                        status=execution.status,
                    )
            checkpoint.deleted_at = now()
            session.add(checkpoint)
            session.add(_event(checkpoint, "checkpoint.deleted"))
            await audited(session, caller, "checkpoint.delete", "checkpoint", checkpoint.id, old=_told(checkpoint))

    def view(self, checkpoint: Checkpoint) -> CheckpointView:
        return checkpoint_view(checkpoint, self._process.settings)


def checkpoint_view(checkpoint: Checkpoint, settings: Settings) -> CheckpointView:
    scheme = f"s3://{settings.s3_bucket}" if settings.store == "s3" else "file:"
    digest = checkpoint.checksum
    return CheckpointView(
        **checkpoint.model_dump(exclude={"meta", "checksum"}),
        metadata=checkpoint.meta,
        checksum=f"sha256:{digest}",
        state_blob_uri=f"{scheme}/{checkpoint.tenant_id}/{digest[:2]}/{digest}",
    )


def _told(checkpoint: Checkpoint) -> dict[str, Any]:
    """What the audit log says of a checkpoint."""
    return checkpoint.model_dump(include={"execution_id", "checkpoint_name", "checkpoint_number", "lineage", "kind"})


def _event(checkpoint: Checkpoint, event_type: str) -> ExecutionEvent:
    return ExecutionEvent(
        tenant_id=checkpoint.tenant_id,
        execution_id=checkpoint.execution_id,
        event_type=event_type,
        data={"checkpoint_id": str(checkpoint.id), "name": checkpoint.checkpoint_name},
    )


def _taken(wanted: CheckpointCreate) -> CheckpointCreationFailed:
    return CheckpointCreationFailed(
        f"The execution has a checkpoint {wanted.checkpoint_name!r} already.",
        execution_id=str(wanted.execution_id),
        checkpoint_name=wanted.checkpoint_name,
    )
