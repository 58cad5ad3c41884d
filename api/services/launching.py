"""Gives committed executions to Temporal, in their turn; what does not work now is left to the reconciler."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from temporalio.client import WithStartWorkflowOperation

from activities.launch import start_for_command
from activities.position import load_position
from activities.turns import begin, begin_admitted, fairness_weight
from api.wiring import Wiring
from models.tables import Execution
from models.tables.base import now


async def launch_now(process: Wiring, execution: Execution, *, tier: str | None = None) -> None:
    """Starts the run of a row that is committed and admitted, or does nothing if Temporal does not take it."""
    await begin(process.temporal, process.database, process.settings, execution, tier=tier)


async def launch_admitted(
    process: Wiring, execution: Execution, admitted: Sequence[UUID], *, tier: str | None = None
) -> None:
    """After the commit of a row that is `pending`: starts what its transaction admitted, which may be others too.

    An execution that is not among them waits for its turn.
    """
    others = [execution_id for execution_id in admitted if execution_id != execution.id]
    starts = []
    if len(others) < len(admitted):
        execution.admitted_at = now()
        starts.append(launch_now(process, execution, tier=tier))
    if others:
        starts.append(begin_admitted(process.temporal, process.database, process.settings, execution.tenant_id, others))
    await asyncio.gather(*starts)


async def start_for(process: Wiring, execution: Execution, command_id: str) -> WithStartWorkflowOperation[Any, Any]:
    """Opens a run of an execution whose run has ended, for one command."""
    async with process.database.transaction(execution.tenant_id) as session:
        position = await load_position(session, execution)
    weight = await fairness_weight(process.database, process.settings, execution.tenant_id)
    return start_for_command(execution, process.settings, position, command_id, weight)
