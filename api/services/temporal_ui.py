"""What the Temporal Web UI asks on behalf of a caller: judged, and told to the audit log."""

from __future__ import annotations

from uuid import UUID

from api.auth.principal import Principal
from api.services.auditing import audited, entry_of, origin_of, write_without_transaction
from api.temporal_ui.rules import Asked, Call, call_for
from api.wiring import Wiring
from models.repositories.executions import ExecutionRepository
from omium_core.errors import NotPermitted

_THROUGH = {"through": "temporal_ui"}


class TemporalUiService:
    """Says what a caller may ask, and notes the commands."""

    def __init__(self, process: Wiring) -> None:
        self._process = process

    async def judge(self, caller: Principal, asked: Asked) -> Call:
        """The call to make. Raises `NotFound` for what is another tenant's, `NotPermitted`, `InvalidInput`."""
        call = call_for(asked, caller.tenant_id, self._process.settings.temporal_namespace, caller.name)
        if not caller.may(call.permission):
            if call.command:
                await self._refused(caller, call)
            raise NotPermitted(f"This needs the permission {call.permission}.", permission=call.permission)
        if call.command:
            execution_id = UUID(call.execution)
            async with self._process.database.transaction(caller.tenant_id) as session:
                await ExecutionRepository(session, caller.tenant_id).get(execution_id)
                await audited(session, caller, _action(call), "execution", execution_id, new=_THROUGH)
        return call

    async def _refused(self, caller: Principal, call: Call) -> None:
        origin = origin_of(caller)
        about = _action(call), "execution", UUID(call.execution)
        entry = entry_of(caller, *about, origin=origin, new=_THROUGH, status="denied")
        await write_without_transaction(self._process.database, entry)


def _action(call: Call) -> str:
    """The name that the same wish has in the log when it comes over REST."""
    return "execution.rollback" if call.command == "rollback" else call.permission.replace(":", ".")
