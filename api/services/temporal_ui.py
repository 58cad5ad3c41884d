"""What the Temporal Web UI asks on behalf of a caller: judged, and told to the audit log."""

from __future__ import annotations

from uuid import UUID

from api.auth.principal import Principal
from api.services.auditing import audited
from api.temporal_ui.rules import Asked, Call, call_for
from api.wiring import Wiring
from models.repositories.executions import ExecutionRepository
from omium_core.errors import NotPermitted


class TemporalUiService:
    """Says what a caller may ask, and notes the commands."""

    def __init__(self, process: Wiring) -> None:
        self._process = process

    async def judge(self, caller: Principal, asked: Asked) -> Call:
        """The call to make. Raises `NotFound` for what is another tenant's, `NotPermitted`, `InvalidInput`."""
        call = call_for(asked, caller.tenant_id, self._process.settings.temporal_namespace, caller.name)
        if not caller.may(call.permission):
            raise NotPermitted(f"This needs the permission {call.permission}.", permission=call.permission)
        if call.command:
            execution_id = UUID(call.execution)
            async with self._process.database.transaction(caller.tenant_id) as session:
                await ExecutionRepository(session, caller.tenant_id).get(execution_id)
                action = f"execution.{call.command}"
                await audited(session, caller, action, "execution", execution_id, new={"through": "temporal_ui"})
        return call
