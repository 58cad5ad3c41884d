"""Checkpoints: read what a run looked like after a step."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from activities.adapters.registry import definition_for
from api.auth.principal import Principal
from api.schemas.checkpoints import CheckpointData, CheckpointView
from api.wiring import Wiring
from models.repositories.base import Listing, Page
from models.repositories.checkpoints import CheckpointRepository
from models.repositories.executions import ExecutionRepository
from models.tables import Checkpoint


class CheckpointService:
    def __init__(self, process: Wiring) -> None:
        self._process = process

    async def get(self, caller: Principal, checkpoint_id: UUID) -> CheckpointView:
        async with self._process.database.transaction() as session:
            return self.view(await CheckpointRepository(session, caller.tenant_id).get(checkpoint_id))

    async def list(self, caller: Principal, execution_id: UUID, page: Page) -> Listing[Checkpoint]:
        async with self._process.database.transaction() as session:
            await ExecutionRepository(session, caller.tenant_id).get(execution_id)
            return await CheckpointRepository(session, caller.tenant_id).list(execution_id, page)

    async def data(self, caller: Principal, checkpoint_id: UUID, *, raw: bool) -> CheckpointData:
        """The state, checked against its hash; `CheckpointCorrupted` if the bytes are not what was written."""
        async with self._process.database.transaction() as session:
            checkpoint = await CheckpointRepository(session, caller.tenant_id).get(checkpoint_id)
            execution = await ExecutionRepository(session, caller.tenant_id).get(checkpoint.execution_id)
        state: Any = await self._process.values.get(str(caller.tenant_id), checkpoint.checksum)
        return CheckpointData(
            checkpoint_id=checkpoint.id,
            execution_id=checkpoint.execution_id,
            checkpoint_number=checkpoint.checkpoint_number,
            state=state if raw else definition_for(execution.framework).view(state),
        )

    def view(self, checkpoint: Checkpoint) -> CheckpointView:
        settings = self._process.settings
        scheme = f"s3://{settings.s3_bucket}" if settings.store == "s3" else "file:"
        digest = checkpoint.checksum
        return CheckpointView(
            **checkpoint.model_dump(exclude={"meta", "checksum"}),
            metadata=checkpoint.meta,
            checksum=f"sha256:{digest}",
            state_blob_uri=f"{scheme}/{checkpoint.tenant_id}/{digest[:2]}/{digest}",
        )
